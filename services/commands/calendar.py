"""The command calendar: a year's working days, and what they rest on."""

import click

from services.commands.common import print_json, ruleset
from shared.calendars import days_of_year
from shared.commandline import settings
from shared.helptext import ChineseCommand
from shared.times import FIRST_YEAR, LAST_YEAR
from shared.workdays import WEEKDAYS, Day


@click.command("calendar", cls=ChineseCommand)
@click.argument("year", type=click.IntRange(FIRST_YEAR, LAST_YEAR), metavar="年份")
@click.option("--county", metavar="县区", help="县区标识：连同它自己的放假、上班日（默认全国）")
@click.option("--json", "as_json", is_flag=True, help="以 JSON 输出全年每一天")
def calendar_command(year: int, county: str | None, as_json: bool) -> None:
    """一年的工作日、放假与调休，依据的通知，是否已经确认。"""
    rules = ruleset(settings())
    if county is not None and county not in rules.registry.county_names:
        raise click.BadParameter(
            f"没有县区 {county}；有 {'、'.join(rules.registry.county_names)}", param_hint="--county"
        )
    calendar = rules.calendars.of(county) if county else rules.calendars.national
    days = calendar.days(*days_of_year(year))
    if as_json:
        print_json({"year": year, "county": county, "working_days": sum(day.working for day in days), "days": days})
        return
    click.echo(f"{year} 年，工作日 {sum(day.working for day in days)} 天")
    unconfirmed = [day.date for day in days if not day.confirmed]
    if unconfirmed:
        click.echo(
            f"{unconfirmed[0]} 至 {unconfirmed[-1]} 尚无通知确认：按《全国年节及纪念日放假办法》推定，截止时间为暂定"
        )
    for month in range(1, 13):
        click.echo(f"\n{month}月")
        click.echo("".join(f" {name[1]}  " for name in WEEKDAYS))
        _print_month([day for day in days if day.date.month == month])
    click.echo("\n休 放假   班 调休上班   无标记的周一至周五上班、周六周日休息\n")
    for day in days:
        if day.source:
            kind = "上班" if day.working else "放假"
            click.echo(f"{day.date} {WEEKDAYS[day.date.weekday()]}  {kind}  {day.reason}  依据：{day.source}")


def _print_month(days: list[Day]) -> None:
    cells = ["    "] * days[0].date.weekday()
    for day in days:
        ordinary = day.working == (day.date.weekday() < 5) and not (day.source and not day.working)
        cells.append(f"{day.date.day:>2}" + ("  " if ordinary else "班" if day.working else "休"))
    for week in range(0, len(cells), 7):
        click.echo("".join(cells[week : week + 7]).rstrip())
