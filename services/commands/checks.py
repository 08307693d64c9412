"""Commands that look after the data: reconcile, dead-letters."""

import click
import msgspec

from services.commands.common import db_option, now, opened, progress, require_known_platforms, ruleset
from services.commands.services import cluster, needed, opened_postgres, require_topics, told
from services.commands.stores import opened_store
from services.standalone.reconcile import reconcile as find_differences
from shared.commandline import fail, one_line, settings
from shared.helptext import ChineseCommand
from shared.rules import Ruleset
from shared.settings import Settings
from shared.times import show


@click.command("reconcile", cls=ChineseCommand)
@click.option("--bootstrap", metavar="地址", help="Kafka 的地址；只用于分布式部署（默认取设置 kafka）")
@db_option
def reconcile_command(bootstrap: str | None, db: str | None) -> None:
    """由日志重新计算全部办件与统计，与表中逐项核对；有任何差异则列出，退出码 1。

    分布式部署的日志是主题 liuyan.messages.v1：由本命令自己从头读一遍，与 PostgreSQL 里的表核对；服务可以照常运行。
    """
    found = settings()
    rules = ruleset(found)
    address = db or found.db
    differences = _of_topic(bootstrap, db, rules) if address.startswith("postgres") else _of_file(db, found, rules)
    for line in differences[:1000]:
        click.echo(line)
    if differences:
        fail(f"有 {len(differences)} 处差异")
    click.echo("核对完毕，没有差异")


def _of_file(db: str | None, found: Settings, rules: Ruleset) -> list[str]:
    with opened(db, found) as database, database.reading() as connection, progress("核对", "件") as advance:
        return find_differences(connection, rules, now(), lambda done, total: advance("核对", done, total))


def _of_topic(bootstrap: str | None, db: str | None, rules: Ruleset) -> list[str]:
    found, kafka = cluster(bootstrap)
    with needed(), opened_postgres(db, found) as database, progress("核对", "") as advance, told(kafka, db or found.db):
        from services.distributed.reconcile import NotComparableError, reconcile

        require_topics(kafka, found)
        require_known_platforms(database, rules)
        try:
            return reconcile(database, kafka, rules, advance)
        except NotComparableError as error:
            fail(str(error))


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
                click.echo(one_line(f"{show(at)}  {letter.origin}  {letter.reason}  {letter.detail}"))
