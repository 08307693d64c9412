"""Commands that look after the data: reconcile, dead-letters."""

import click
import msgspec

from services.commands.common import db_option, now, opened, progress, ruleset
from services.commands.stores import opened_store
from services.standalone.reconcile import reconcile as find_differences
from shared.commandline import fail, settings
from shared.helptext import ChineseCommand
from shared.times import show


@click.command("reconcile", cls=ChineseCommand)
@db_option
def reconcile_command(db: str | None) -> None:
    """由日志重新计算全部办件与统计，与表中逐项核对；有任何差异则列出，退出码 1。"""
    found = settings()
    rules = ruleset(found)
    with opened(db, found) as database, database.reading() as connection, progress("核对", "件") as advance:
        differences = find_differences(connection, rules, now(), lambda done, total: advance("核对", done, total))
    for line in differences[:1000]:
        click.echo(line)
    if differences:
        fail(f"有 {len(differences)} 处差异")
    click.echo("核对完毕，没有差异")


@click.command("dead-letters", cls=ChineseCommand)
@db_option
@click.option("--jsonl", is_flag=True, help="每行一条的 JSON")
def dead_letters_command(db: str | None, jsonl: bool) -> None:
    """不能使用的事件：来处、原因。"""
    found = settings()
    with opened_store(db, found) as store, store.reading() as connection:
        for at, letter in store.buried(connection):
            if jsonl:
                row = {"at": at, "origin": letter.origin, "reason": letter.reason, "detail": letter.detail}
                click.echo(msgspec.json.encode({**row, "event": letter.event}).decode())
            else:
                click.echo(f"{show(at)}  {letter.origin}  {letter.reason}  {letter.detail}")
