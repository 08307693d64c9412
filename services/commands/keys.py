"""The commands keys create, list, revoke."""

import threading

import click

from services.commands.common import db_option, ruleset
from services.commands.stores import opened_store
from services.compose.clock import SystemClock
from services.ingest.keys import FRESH_SECONDS, create_key, list_keys, revoke_key
from shared.commandline import fail, settings
from shared.helptext import ChineseCommand, ChineseGroup
from shared.times import show


@click.group("keys", cls=ChineseGroup)
def keys_group() -> None:
    """平台的推送密钥：建立、列出、作废。"""


@keys_group.command("create", cls=ChineseCommand)
@click.argument("platform", metavar="平台")
@db_option
def keys_create(platform: str, db: str | None) -> None:
    """为平台建立一个密钥；只显示这一次，库里只存散列值。同一平台可有多个，便于轮换。"""
    found = settings()
    rules = ruleset(found)
    if platform not in rules.registry:
        raise click.BadParameter(
            f"没有平台 {platform}；已登记的有 {'、'.join(rules.registry.slugs)}", param_hint="平台"
        )
    with opened_store(db, found, create=True) as store, store.writing() as connection:
        identifier, key = create_key(connection, platform, SystemClock().now())
        click.echo(f"数据库 {store.place}", err=True)
    click.echo(f"密钥编号 {identifier}，平台 {platform}（{rules.registry[platform].name}），只显示这一次：", err=True)
    click.echo(key)


@keys_group.command("list", cls=ChineseCommand)
@db_option
def keys_list(db: str | None) -> None:
    """列出密钥的编号、平台和状态（密钥本身无法再显示）。"""
    found = settings()
    with opened_store(db, found) as store, store.reading() as connection:
        for key in list_keys(connection):
            state = "有效" if key.revoked_at is None else f"已于 {show(key.revoked_at)} 作废"
            click.echo(f"{key.id}\t{key.platform}\t{show(key.created_at)} 建立\t{state}")


@keys_group.command("revoke", cls=ChineseCommand)
@click.argument("identifier", metavar="密钥编号")
@db_option
def keys_revoke(identifier: str, db: str | None) -> None:
    """作废一个密钥：命令结束时，运行中的服务也已不再认它；已收下的事件不受影响。"""
    found = settings()
    with opened_store(db, found, write=True) as store, store.writing() as connection:
        known = revoke_key(connection, identifier, SystemClock().now())
    if not known:
        fail(f"没有编号为 {identifier[:40]} 的密钥；liuyan keys list 可列出")
    threading.Event().wait(FRESH_SECONDS + 0.1)  # running services have read their keys anew by then
    click.echo(f"密钥 {identifier} 已作废")
