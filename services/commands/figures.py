"""The command export."""

import sys
from datetime import datetime
from pathlib import Path

import click

from services.alerts.exports import FORMATS, Report, export
from services.alerts.standings import figures_of
from services.commands.common import as_of_option, db_option, now, ruleset
from services.commands.stores import opened_store
from services.compose.cases import recaller
from shared.commandline import fail, settings
from shared.figures import Period, PeriodError
from shared.helptext import ChineseCommand


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
    with opened_store(db, found) as store:
        store.bring_up_to_date(rules)
        instant = now()
        with store.reading() as connection:
            figures = figures_of(
                connection, recaller(store.histories, rules), rules.registry, wanted.months, instant, as_of
            )
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
