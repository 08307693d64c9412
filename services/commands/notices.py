"""The commands notices list, notices test."""

import uuid
from datetime import timedelta

import click
import msgspec

from services.alerts.notices.digests import Entry, make_digest, make_part
from services.alerts.notices.listing import STATES, Notice, NoticeFilters, list_notices
from services.alerts.people.guard import EVERYBODY
from services.commands.common import db_option, notices, ruleset, through_pages
from services.commands.stores import opened_store
from services.compose.clock import SystemClock
from shared.commandline import fail, settings
from shared.helptext import ChineseCommand, ChineseGroup
from shared.times import show
from shared.zh import NOTICE_STATES


@click.group("notices", cls=ChineseGroup)
def notices_group() -> None:
    """提醒的通知：列出、试发一条。通道见设置 notices 所指的文件（docs/notices.zh-CN.md）。"""


@notices_group.command("list", cls=ChineseCommand)
@click.option("--channel", metavar="通道", help="只列这个通道的通知")
@click.option("--state", type=click.Choice(list(STATES)), help=f"只列这样的通知：{'、'.join(NOTICE_STATES.values())}")
@click.option("--limit", type=click.IntRange(min=1), metavar="条数", help="最多列几条（默认不限）")
@db_option
@click.option("--jsonl", is_flag=True, help="每行一条通知的 JSON")
def list_command(channel: str | None, state: str | None, limit: int | None, db: str | None, jsonl: bool) -> None:
    """每一条通知：发给谁、关于几条提醒、送达与否，最新的在前。"""
    filters = NoticeFilters(channel=channel, state=state)  # type: ignore[arg-type]
    with opened_store(db, settings()) as store, store.reading() as connection:

        def read(most: int, cursor: str | None) -> tuple[list[Notice], str | None]:
            page = list_notices(connection, EVERYBODY, filters, most, cursor)
            return page.notices, page.next

        for found in through_pages(read, limit):
            click.echo(msgspec.json.encode(found).decode() if jsonl else notice_line(found))


def notice_line(found: Notice) -> str:
    """A notice in words."""
    error = f"  {found.error}" if found.error else ""
    state = NOTICE_STATES[found.state] + (f"（第 {found.attempts} 次）" if found.attempts > 1 else "")
    return f"{show(found.created_at)}\t{found.channel}\t{state}\t{found.title}{error}"


@notices_group.command("test", cls=ChineseCommand)
@click.argument("channel", metavar="通道")
def test_command(channel: str) -> None:
    """立即向一个通道试发一条通知，不读写数据库；办件是虚构的。"""
    from services.alerts.notices.channels import try_out

    found = settings()
    rules = ruleset(found)
    told = notices(found, rules)
    if told is None:
        fail("没有设置 notices：请让它指向写有通道的文件（docs/notices.zh-CN.md）")
    to = told.channel(channel)
    if to is None:
        fail(f"没有通道 {channel}；已设置的有 {'、'.join(one.name for one in told.channels)}")
    now = SystemClock().now()
    platform = next((p for p in rules.registry if to.counties is None or p.county in to.counties), None)
    assert platform is not None
    due = now - timedelta(minutes=1)
    entry = Entry(f"{platform.slug}/shifa-0001", "raised", "overdue", "complete", 1, due, now, "试发：虚构的办件")
    parts = [make_part("raised", {("overdue", None): 1}, [entry])]
    digest = make_digest(platform.county, f"（试发）{platform.county_name}", now, parts, {}, told.page)
    outcome = try_out(to, f"msg_{uuid.uuid4().hex}", digest, now)
    if outcome.state != "sent":
        fail(f"通道 {channel} 没有送达：{outcome.detail}")
    click.echo(f"通道 {channel} 已送达{f'，但{outcome.detail}' if outcome.detail else ''}")
