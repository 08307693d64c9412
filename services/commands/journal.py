"""The command journal."""

from datetime import timedelta

import click
import msgspec

from services.alerts.journal import Alert, AlertFilters, Recorded, list_alerts
from services.alerts.rungs import NEXT_RUNG
from services.commands.common import db_option, ruleset, through_pages
from services.commands.stores import opened_store
from shared.commandline import settings
from shared.helptext import ChineseCommand
from shared.times import show
from shared.zh import CLEARED, RUNGS, TARGETS


@click.command("journal", cls=ChineseCommand)
@click.option("--platform", metavar="平台", help="只列这个平台的提醒")
@click.option("--county", metavar="县区", help="只列这个县区的提醒")
@click.option("--rung", type=click.Choice(list(NEXT_RUNG)), help="只列这一级的提醒")
@click.option("--standing/--cleared", default=None, help="只列仍然有效的，或只列已解除的（默认都列）")
@click.option("--limit", type=click.IntRange(min=1), metavar="条数", help="最多列几条（默认不限）")
@db_option
@click.option("--jsonl", is_flag=True, help="每行一条提醒的 JSON")
def journal_command(
    platform: str | None,
    county: str | None,
    rung: str | None,
    standing: bool | None,
    limit: int | None,
    db: str | None,
    jsonl: bool,
) -> None:
    """每一次提醒：何时提出、何时解除及原因，最新提出的在前。"""
    found = settings()
    registry = ruleset(found).registry
    for value, known, what, option in (
        (platform, registry.slugs, "平台", "--platform"),
        (county, list(registry.county_names), "县区", "--county"),
    ):
        if value is not None and value not in known:
            raise click.BadParameter(f"没有{what} {value}；已登记的有 {'、'.join(known)}", param_hint=option)
    filters = AlertFilters(platform, county, rung, standing)
    with opened_store(db, found) as store, store.reading() as connection:

        def read(most: int, cursor: str | None) -> tuple[list[Recorded], str | None]:
            page = list_alerts(connection, registry, filters, most, cursor)
            return page.alerts, page.next

        for alert in through_pages(read, limit):
            click.echo(msgspec.json.encode(alert).decode() if jsonl else f"{alert.key}\t{alert_line(alert)}")


def alert_line(alert: Alert) -> str:
    """An alert in words: what was reached, when it was raised, and how it was cleared."""
    due = show(alert.due_at, (alert.due_at - timedelta(microseconds=1)).date())
    quiet = "（只列出）" if alert.quiet else ""
    cleared = ""
    if alert.cleared_at is not None:
        cleared = f"  {show(alert.cleared_at)} {CLEARED.get(alert.clear_reason or '', alert.clear_reason)}"
    what = f"第{alert.round}轮{TARGETS[alert.target]}  {RUNGS[alert.rung]}（{due}）"
    return f"{what}  {show(alert.raised_at)} 提出{quiet}{cleared}"
