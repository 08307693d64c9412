"""The command export, and the table of figures on a terminal."""

import sys
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from services.alerts import queries
from services.alerts.exports import FORMATS, Report, export
from services.standalone.commands.common import as_of_option, bring_up_to_date, db_option, now, opened, ruleset
from services.standalone.compose import recaller
from shared.commandline import fail, settings
from shared.figures import Period, PeriodError
from shared.helptext import ChineseCommand
from shared.times import show


@click.command("export", cls=ChineseCommand)
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
        instant = now()
        with database.reading() as connection:
            figures = queries.figures_of(connection, recaller(rules), rules.registry, wanted.months, instant, as_of)
    body = export(Report(wanted, as_of or instant, rules.hash, figures), kind, rules.registry)
    if out is None:
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
        return
    try:
        out.write_bytes(body)
    except OSError as error:
        fail(f"写不进 {out}（{error.strerror}），请换一个位置")
    click.echo(f"已写入 {out}", err=True)


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
