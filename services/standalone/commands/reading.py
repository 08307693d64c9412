"""Commands that answer a question: case, cases, deadline, calendar, export, reconcile, dead-letters."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from services.alerts import queries
from services.alerts.app import case_file_json
from services.alerts.exports import FORMATS, Report, export
from services.alerts.sql import chunks
from services.sla.explain import Explanation, explain
from services.sla.rules import evaluate
from services.standalone.commands.common import (
    INSTANT,
    as_of_option,
    bring_up_to_date,
    db_option,
    fail,
    opened,
    progress,
    ruleset,
    settings,
)
from services.standalone.compose import open_file, recaller
from services.standalone.log import buried
from services.standalone.reconcile import reconcile as find_differences
from shared.calendars import days_of_year
from shared.case import Case, Target, encode_case
from shared.events import Received, ReceivedData
from shared.figures import Period, PeriodError
from shared.rules import Ruleset
from shared.times import FIRST_YEAR, LAST_YEAR, SHANGHAI, isoformat, show
from shared.workdays import WEEKDAYS, Day
from shared.zh import OUTCOMES, STATUSES, TARGETS, VERDICTS


def _now() -> datetime:
    return datetime.now(SHANGHAI)


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


@click.command("case")
@click.argument("key", metavar="平台/留言编号")
@as_of_option
@db_option
@click.option("--json", "as_json", is_flag=True, help="以 JSON 输出全部内容")
def case_command(key: str, as_of: datetime | None, db: str | None, as_json: bool) -> None:
    """一个办件：状态、各轮时限与判定，截止时间逐日说明。"""
    found = settings()
    rules = ruleset(found)
    instant = as_of or _now()
    with opened(db, found) as database, database.reading() as connection:
        file = open_file(connection, rules, key, instant) if key.partition("/")[0] in rules.registry else None
    if file is None:
        fail(f"截至 {show(instant)} 没有办件 {key[:100]}：请核对写法（平台标识/留言编号，如 zhenkang/zk-000123）")
    if as_json:
        _print_json(case_file_json(file, instant))
        return
    _print_case(file.case, rules)
    _print_explanations(explain(file.case, rules))


def _print_case(case: Case, rules: Ruleset) -> None:
    lines = [
        ("办件", case.key),
        ("平台", f"{rules.registry[case.platform].name}（{rules.registry[case.platform].county_name}）"),
        ("标题", case.title or ""),
        ("类别", rules.policies.category_name(case.category) if case.category else "—"),
        ("状态", STATUSES[case.status]),
        ("结果", OUTCOMES[case.outcome] if case.outcome else "—"),
        ("接到", show(case.received_at) if case.received_at else "—"),
        ("承办", rules.registry.holder_name(case.holder) if case.holder else "—"),
    ]
    for name, text in lines:
        click.echo(f"{name}  {text}")
    for number, current in enumerate(case.rounds, 1):
        for name, target in (("reply", current.targets.reply), ("complete", current.targets.complete)):
            click.echo(f"第{number}轮{TARGETS[name]}  截止 {_due(target)}  {VERDICTS[target.verdict]}{_met(target)}")
    for ignored in case.ignored:
        click.echo(f"不计  {ignored.id}  {ignored.reason}")


def _due(target: Target) -> str:
    if target.due_at is None:
        return "已暂停" if target.met_at is None else "（中止中办结）"
    return show(target.due_at, target.due_day) + ("（暂定）" if target.provisional else "")


def _met(target: Target) -> str:
    return f"（{show(target.met_at)}）" if target.met_at else ""


def _print_explanations(explanations: list[Explanation]) -> None:
    for found in explanations:
        click.echo(f"\n第{found.round}轮{TARGETS[found.target]}，自 {show(found.anchor)} 起算；依据：{found.source}")
        for day in found.days:
            count = f"第{day.number}个工作日" if day.counted and day.hours is None else ""
            hours = f"计 {day.hours:g} 小时" if day.hours else ""
            mark = "" if day.confirmed else "（暂定：尚无当年通知）"
            source = f"  依据：{day.source}" if day.source else ""
            click.echo(f"  {day.date} {WEEKDAYS[day.date.weekday()]}  {day.reason}  {count}{hours}{mark}{source}")
        if found.due_at is not None:
            click.echo(f"  → {show(found.due_at, found.days[-1].date)} 到期")


@click.command("cases")
@as_of_option
@click.option("--platform", metavar="平台", help="只列这个平台的办件")
@db_option
@click.option("--jsonl", is_flag=True, help="每行一个办件的 JSON")
def cases_command(as_of: datetime | None, platform: str | None, db: str | None, jsonl: bool) -> None:
    """全部办件：按平台登记顺序、再按留言编号。"""
    found = settings()
    rules = ruleset(found)
    if platform is not None and platform not in rules.registry:
        raise click.BadParameter(
            f"没有平台 {platform}；已登记的有 {'、'.join(rules.registry.slugs)}", param_hint="--platform"
        )
    instant = as_of or _now()
    with opened(db, found) as database:
        bring_up_to_date(database, rules)
        with database.reading() as connection:
            for keys in chunks(queries.all_keys(connection, rules.registry, platform)):
                for case in recaller(rules)(connection, keys, instant):
                    if jsonl:
                        click.echo(encode_case(case).decode())
                    else:
                        outcome = OUTCOMES[case.outcome] if case.outcome else "—"
                        click.echo(f"{case.key}\t{STATUSES[case.status]}\t{outcome}\t{case.title or ''}")


@click.command("deadline")
@click.option("--category", required=True, metavar="类别", help="类别标识，如 simple_inquiry")
@click.option(
    "--received", required=True, type=INSTANT, metavar="时刻", help="接到的时刻，如 2026-02-13T10:00:00+08:00"
)
@click.option("--platform", metavar="平台", help="平台标识：决定用哪个县区的日历（默认登记表的第一个平台）")
@click.option("--json", "as_json", is_flag=True, help="以 JSON 输出")
def deadline_command(category: str, received: datetime, platform: str | None, as_json: bool) -> None:
    """一件留言何时到期，逐日说明。"""
    found = settings()
    rules = ruleset(found)
    platform = platform or rules.registry.slugs[0]
    if platform not in rules.registry:
        raise click.BadParameter(
            f"没有平台 {platform}；已登记的有 {'、'.join(rules.registry.slugs)}", param_hint="--platform"
        )
    known = rules.policies.known_categories
    if category not in known:
        raise click.BadParameter(f"没有类别 {category}；可用的有 {'、'.join(sorted(known))}", param_hint="--category")
    reception = Received(
        specversion="1.0", id="-", source=f"/platforms/{platform}", subject="-", time=received,
        data=ReceivedData(category=category),
    )  # fmt: skip
    case = evaluate([reception], rules, received)
    assert case is not None
    explanations = explain(case, rules)
    targets = case.rounds[0].targets
    if not as_json:
        name = rules.policies.category_name(category)
        click.echo(f"{name}，{show(received)} 由{rules.registry[platform].name}接到")
        for label, target in (("reply", targets.reply), ("complete", targets.complete)):
            click.echo(f"{TARGETS[label]}截止 {_due(target)}")
        _print_explanations(explanations)
        return
    _print_json(
        {
            "category": category,
            "platform": platform,
            "received": isoformat(received),
            "due_at": targets.complete.due_at,
            "due_day": targets.complete.due_day,
            "provisional": targets.complete.provisional,
            "targets": {
                each.target: {
                    "due_at": target.due_at,
                    "due_day": target.due_day,
                    "provisional": target.provisional,
                    "source": each.source,
                    "policy": each.policy,
                    "explanation": each.days,
                }
                for each, target in zip(explanations, (targets.reply, targets.complete), strict=True)
            },
            "explanation": explanations[-1].days,
            "ruleset": rules.hash,
        }
    )


@click.command("calendar")
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
        _print_json({"year": year, "county": county, "working_days": sum(day.working for day in days), "days": days})
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


@click.command("export")
@click.argument("period", metavar="统计期")
@as_of_option
@click.option("--format", "kind", type=click.Choice(list(FORMATS)), default="text", show_default=True, help="格式")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="文件", help="写入文件（默认标准输出）")
@db_option
def export_command(period: str, as_of: datetime | None, kind: str, out: Path | None, db: str | None) -> None:
    """统计期（2022-03、2022Q1、2022）的件数与比率：json、csv（Excel 可开），或通报文字 text。"""
    found = settings()
    rules = ruleset(found)
    try:
        wanted = Period.parse(period)
    except PeriodError as error:
        raise click.BadParameter(str(error), param_hint="统计期") from error
    with opened(db, found) as database:
        bring_up_to_date(database, rules)
        now = _now()
        with database.reading() as connection:
            figures = queries.figures_of(connection, recaller(rules), rules.registry, wanted.months, now, as_of)
    body = export(Report(wanted, as_of or now, rules.hash, figures), kind, rules.registry)
    if out is None:
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
        return
    try:
        out.write_bytes(body)
    except OSError as error:
        fail(f"写不进 {out}（{error.strerror}），请换一个位置")
    click.echo(f"已写入 {out}", err=True)


@click.command("reconcile")
@db_option
def reconcile_command(db: str | None) -> None:
    """由日志重新计算全部办件与统计，与表中逐项核对；有任何差异则列出，退出码 1。"""
    found = settings()
    rules = ruleset(found)
    with opened(db, found) as database, database.reading() as connection, progress("核对", "件") as advance:
        differences = find_differences(connection, rules, _now(), lambda done, total: advance("核对", done, total))
    for line in differences[:1000]:
        click.echo(line)
    if differences:
        fail(f"有 {len(differences)} 处差异")
    click.echo("核对完毕，没有差异")


@click.command("dead-letters")
@db_option
@click.option("--jsonl", is_flag=True, help="每行一条的 JSON")
def dead_letters_command(db: str | None, jsonl: bool) -> None:
    """不能使用的事件：来处、原因。"""
    found = settings()
    with opened(db, found) as database, database.reading() as connection:
        for at, letter in buried(connection):
            if jsonl:
                row = {"at": at, "origin": letter.origin, "reason": letter.reason, "detail": letter.detail}
                body = None if letter.body is None else msgspec.Raw(letter.body)
                click.echo(msgspec.json.encode({**row, "event": body}).decode())
            else:
                click.echo(f"{show(at)}  {letter.origin}  {letter.reason}  {letter.detail}")


def print_report(report: Report, console: Console) -> None:
    """The table per platform on a terminal."""
    table = Table(title=f"{report.period.title}（截至 {show(report.as_of)}）")
    for name in (
        "平台",
        "接到",
        "应办",
        "按时\n办结",
        "逾期\n办结",
        "逾期\n未办结",
        "在办\n未逾期",
        "办结率",
        "按时\n办结率",
    ):
        table.add_column(name, justify="left" if name == "平台" else "right", no_wrap=True)
    rows = [(row.name, row.counts) for row in report.figures.rows] + [("合计", report.figures.total)]
    for name, c in rows:
        rates = [f"{rate}%" if rate else "—" for rate in (c.completion_rate, c.on_time_rate)]
        counts = (c.received, c.accountable, c.on_time, c.late, c.overdue, c.pending)
        style = "bold red" if c.overdue and name != "合计" else "bold" if name == "合计" else None
        table.add_row(name, *map(str, counts), *rates, style=style)
    console.print(table)
