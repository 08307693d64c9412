"""The command standalone: the whole service in one process, or the demonstration."""

import socket
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import click
import structlog
from litestar import Litestar
from prometheus_client import CollectorRegistry
from rich.console import Console

from services.alerts.metrics import FlagDelay
from services.alerts.notices.routing import Notices
from services.alerts.people.guard import People
from services.alerts.sweep import Raised
from services.commands.common import (
    file_option,
    notices,
    opened,
    progress,
    require_known_platforms,
    ruleset,
    who_may_look,
)
from services.compose.announce import log_raised
from services.compose.clock import AcceleratedClock, Clock, SystemClock
from services.compose.notices import Messenger, Together
from services.compose.people import nobody_yet, warn_if_open
from services.compose.server import PortTakenError, bind, serve
from services.ingest.keys import create_key, list_keys
from services.standalone.app import create_app, metrics_registry
from services.standalone.database import Database
from services.standalone.engine import Engine
from shared.commandline import fail, settings
from shared.helptext import ChineseCommand
from shared.logs import configure_logs
from shared.rules import Ruleset
from shared.settings import Settings
from shared.times import show
from shared.version import VERSION

logger = structlog.get_logger("standalone")
OnRaised = Callable[[tuple[Raised, ...]], None]


@click.command("standalone", cls=ChineseCommand)
@file_option
@click.option("--host", metavar="地址", help="监听的地址（默认取设置 host：127.0.0.1，只许本机访问）")
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="端口", help="监听的端口（默认取设置 port：8000；0 自动选择）"
)
@click.option("--demo", is_flag=True, help="演示：临时数据库里有 2022 年第一季度，模拟平台在加速的时钟上推送")
def standalone_command(db: str | None, host: str | None, port: int | None, demo: bool) -> None:
    """一个进程、一个 SQLite 文件：接收推送，计算时限，标记逾期，查询与导出。

    Ctrl-C 或 SIGTERM 停止：已接受的先存妥再退出。
    """
    if demo and db:
        raise click.UsageError("--demo 总是用新的临时数据库，不能与 --db 同用")
    found = settings()
    configure_logs(found.log)
    rules = ruleset(found)
    told = None if demo else notices(found, rules)
    try:
        _start(bind(host or found.host, found.port if port is None else port), db, demo, found, rules, told)
    except PortTakenError as error:
        fail(str(error))


def _start(
    listener: socket.socket, db: str | None, demo: bool, found: Settings, rules: Ruleset, told: Notices | None
) -> None:
    address, bound = listener.getsockname()[:2]
    shown = "127.0.0.1" if address in ("0.0.0.0", "::") else address  # noqa: S104 - compared, not bound
    url = f"http://[{shown}]:{bound}" if ":" in shown else f"http://{shown}:{bound}"
    with ExitStack() as stack:
        stack.callback(listener.close)
        if demo:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="liuyan-demo-"))
            _demo(Path(folder) / "demo.db", found, rules, url, listener, stack)
        else:
            database = stack.enter_context(opened(db, found, create=True))
            _serve(database, found, rules, url, listener, told)


def _serve(
    database: Database, found: Settings, rules: Ruleset, url: str, listener: socket.socket, told: Notices | None
) -> None:
    require_known_platforms(database, rules)
    clock = SystemClock()
    people = who_may_look(found, database, rules)
    engine, registry, app = _application(database, rules, clock, log_raised, people)
    messenger = Messenger(database, rules, told, lambda _: clock.now(), registry)
    with progress("整理", "件") as advance:
        engine.prepare(advance)
    key_line = _first_key(database, rules, clock.now())

    def ready() -> None:
        kept = f"数据在   {database.file.resolve()}"
        for line in (*_addresses(url), *nobody_yet(people), key_line, kept, "按 Ctrl-C 停止"):
            click.echo(line)
        warn_if_open(people, listener.getsockname()[0])
        logger.info("服务已启动", action="started", version=VERSION, ruleset=rules.hash, url=url, db=str(database.file))

    serve(app, Together(engine, messenger), listener, ready, found.proxies)
    logger.info("服务已停止", action="stopped")
    click.echo("已停止；接受的事件都已存妥")


def _demo(file: Path, found: Settings, rules: Ruleset, url: str, listener: socket.socket, stack: ExitStack) -> None:
    from services.compose.demo import story
    from services.compose.demo.quarter import AS_OF
    from services.standalone import live, log

    console = Console()
    database = stack.enter_context(opened(str(file), found, create=True))
    live.fill(database, rules)
    story.show_quarter(database, log.histories, rules, console)
    with database.writing() as connection:
        _, own = create_key(connection, "zhenkang", AS_OF)
        _, portals = create_key(connection, story.PLATFORM, AS_OF)
    clock = AcceleratedClock(AS_OF, live.SPEED)
    people = who_may_look(found, database, rules)
    signing_in = story.make_accounts(people, rules)
    engine, _, app = _application(
        database, rules, clock, lambda raised: live.announce(raised, rules, clock, console), people
    )
    engine.prepare()

    def ready() -> None:
        click.echo(
            f"\n演示时钟自 {show(AS_OF)} 起，每 {86400 / live.SPEED:.0f} 秒一天；云县的模拟平台正在推送，镇康县的密钥给您："
        )
        for line in (
            *_addresses(url),
            *signing_in,
            f"推送密钥（镇康县 zhenkang）  {own}",
            f"数据在   {file}（停止时删除）",
            "按 Ctrl-C 停止",
        ):
            click.echo(line)
        stack.callback(story.push_live(url, portals, clock.now, console).set)

    serve(app, engine, listener, ready, found.proxies)
    click.echo("已停止，演示数据已删除")


def _addresses(url: str) -> list[str]:
    return [
        f"值班页   {url}/",
        f"推送到   {url}/v1/events",
        f"查询     {url}/v1/cases  {url}/v1/overdue  {url}/v1/rates",
        f"接口文档 {url}/schema/openapi.json",
        f"指标     {url}/metrics",
    ]


def _application(
    database: Database, rules: Ruleset, clock: Clock, on_raised: OnRaised, people: People
) -> tuple[Engine, CollectorRegistry, Litestar]:
    flagged: list[FlagDelay] = []  # the metric is made from the engine, which tells it of what it raises

    def raised(alerts: tuple[Raised, ...]) -> None:
        for delay in flagged:
            delay.observe(alerts, clock.now())
        on_raised(alerts)

    engine = Engine(database, rules, clock, on_raised=raised)
    registry, delay = metrics_registry(database, engine, rules)
    flagged.append(delay)
    return engine, registry, create_app(engine, registry, people)


def _first_key(database: Database, rules: Ruleset, now: datetime) -> str:
    """At the very first start there is a key to begin with; keys are stored hashed and cannot be shown again."""
    with database.writing() as connection:
        known = list_keys(connection)
        if known:
            valid = sum(key.revoked_at is None for key in known)
            return f"推送密钥 有效的 {valid} 个（liuyan keys list；新建：liuyan keys create 平台）"
        first = next(iter(rules.registry))
        _, key = create_key(connection, first.slug, now)
    return f"推送密钥（{first.name} {first.slug}，只显示这一次）  {key}\n         其他平台的：liuyan keys create 平台"
