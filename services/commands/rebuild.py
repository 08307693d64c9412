"""The command rebuild."""

import click

from services.commands.common import progress, ruleset
from services.commands.services import cluster, db_option, needed, opened_postgres, require_topics, told
from shared.commandline import fail
from shared.cycles import search_seldom
from shared.helptext import ChineseCommand


@click.command("rebuild", cls=ChineseCommand)
@click.option("--bootstrap", metavar="地址", help="Kafka 的地址，多个用逗号分开（默认取设置 kafka）")
@db_option
def rebuild_command(bootstrap: str | None, db: str | None) -> None:
    """由主题 liuyan.cases.v1 重建 PostgreSQL 里的全部办件与统计；提醒的记录不变，不会重发。

    服务可以照常运行：它们会一起重建，其间数字不完整、不标记逾期，/readyz 答 503。中途停下没有妨碍，再运行一次即可。
    """
    found, kafka = cluster(bootstrap)
    rules = ruleset(found)
    with needed(), opened_postgres(db, found) as database, progress("重建", "") as advance, told(kafka, db or found.db):
        from services.alerts.stream.apply import OtherRulesetError
        from services.distributed.rebuild import EmptyTopicError, rebuild

        require_topics(kafka, found)
        try:
            search_seldom()
            done = rebuild(database, kafka, rules, advance)
        except (OtherRulesetError, EmptyTopicError) as error:
            fail(str(error))
    click.echo(f"重建完毕：{done.cases} 件，{done.seconds:.1f} 秒，{done.cases / done.seconds:.0f} 件/秒")
