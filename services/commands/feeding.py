"""Commands that bring events: replay from a file, simulate a portal."""

import sys
import threading
from pathlib import Path

import click

from services.commands.common import (
    file_option,
    now,
    opened,
    progress,
    require_known_platforms,
    ruleset,
)
from services.commands.stores import of_file
from services.compose.clock import SystemClock
from services.ingest.door import Door
from services.standalone.replay import replay
from shared.commandline import fail, settings
from shared.helptext import ChineseCommand


@click.command("replay", cls=ChineseCommand)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="文件.jsonl")
@file_option
def replay_command(file: Path, db: str | None) -> None:
    """把文件里的 CloudEvents（每行一个）送进内嵌引擎；数据库不存在则新建。

    不能使用的行连同行号进入死信（liuyan dead-letters），不影响其余；再跑一次不会重复计数。
    """
    found = settings()
    rules = ruleset(found)
    size = file.stat().st_size
    with opened(db, found, create=True) as database:
        require_known_platforms(database, rules)
        store = of_file(database)
        store.require_same_rules(rules)
        done = 0
        with progress("读入", "字节") as advance:

            def read(number: int) -> None:
                nonlocal done
                done += number
                advance("读入", done, size)

            try:
                result = replay(file, database, Door(rules), SystemClock().now, read)
            except OSError as error:
                fail(f"{file}：读不出来（{error.strerror}）")
        store.bring_up_to_date(rules)
    click.echo(
        f"读入 {result.lines} 行：新事件 {result.accepted}，重复 {result.duplicates}，冲突 {result.conflicts}，"
        f"不合要求 {result.bad}，空行 {result.blank}"
    )
    if result.bad or result.conflicts:
        click.echo("不合要求和冲突的已进入死信：liuyan dead-letters 查看", err=True)


@click.command("simulate", cls=ChineseCommand)
@click.option("--url", required=True, metavar="地址", help="服务的地址，如 http://127.0.0.1:8000")
@click.option("--key", required=True, metavar="密钥", envvar="LIUYAN_SIMULATE_KEY", help="平台的推送密钥")
@click.option("--platform", required=True, metavar="平台", help="密钥所属的平台")
@click.option(
    "--per-minute",
    type=click.FloatRange(0.1, 6000),
    default=6,
    show_default=True,
    metavar="件数",
    help="每分钟几件留言",
)
@click.option("--count", type=click.IntRange(1), metavar="件数", help="一共几件（默认直到 Ctrl-C）")
def simulate_command(url: str, key: str, platform: str, per_minute: float, count: int | None) -> None:
    """模拟一个平台：向运行中的服务推送虚构的留言，大多按时答复，少数拖延或遗忘。"""
    from services.compose.client import PushError
    from services.compose.simulate import Portal, run

    try:
        portal = Portal(url, key, platform, now)
        run(portal, per_minute, count, threading.Event(), lambda subject: click.echo(f"已推送 {platform}/{subject}"))
    except PushError as error:
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(0)
