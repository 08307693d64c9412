"""Commands that take events in: standalone, replay, simulate, and the platforms' keys."""

import sys
import tempfile
import threading
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import click
import structlog
from rich.console import Console

from services.alerts.sweep import Raised
from services.ingest.door import Door
from services.ingest.keys import FRESH_SECONDS, create_key, list_keys, revoke_key
from services.standalone.clock import AcceleratedClock, Clock, SystemClock
from services.standalone.commands.common import (
    bring_up_to_date,
    db_option,
    fail,
    opened,
    progress,
    require_same_rules,
    ruleset,
    settings,
)
from services.standalone.compose import create_app, metrics_registry
from services.standalone.database import Database
from services.standalone.engine import Engine
from services.standalone.replay import replay
from services.standalone.server import PortTakenError, bind, serve
from shared.logs import configure_logs
from shared.rules import Ruleset
from shared.settings import Settings
from shared.times import SHANGHAI, from_micros, isoformat, show

logger = structlog.get_logger("standalone")
TOLD_ONE_BY_ONE = 20


@click.command("standalone")
@db_option
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
    try:
        listener = bind(host or found.host, found.port if port is None else port)
    except PortTakenError as error:
        fail(str(error))
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
            _serve(database, rules, url, listener)


def _serve(database: Database, rules: Ruleset, url: str, listener: object) -> None:
    _require_known_platforms(database, rules)
    clock = SystemClock()
    engine, app = _application(database, rules, clock, _log_raised)
    with progress("整理", "件") as advance:
        engine.prepare(advance)
    key_line = _first_key(database, rules, clock.now())

    def ready() -> None:
        for line in (*_addresses(url), key_line, f"数据在   {database.file.resolve()}", "按 Ctrl-C 停止"):
            click.echo(line)

    serve(app, engine, listener, ready)  # type: ignore[arg-type]
    click.echo("已停止；接受的事件都已存妥")


def _demo(file: Path, found: Settings, rules: Ruleset, url: str, listener: object, stack: ExitStack) -> None:
    from services.standalone.demo import live
    from services.standalone.demo.quarter import AS_OF

    console = Console()
    database = stack.enter_context(opened(str(file), found, create=True))
    live.fill(database, rules)
    live.show_quarter(database, rules, console)
    with database.writing() as connection:
        _, own = create_key(connection, "zhenkang", AS_OF)
        _, portals = create_key(connection, live.PLATFORM, AS_OF)
    clock = AcceleratedClock(AS_OF, live.SPEED)
    engine, app = _application(database, rules, clock, lambda raised: live.announce(raised, rules, clock, console))
    engine.prepare()

    def ready() -> None:
        click.echo(
            f"\n演示时钟自 {show(AS_OF)} 起，每 {86400 / live.SPEED:.0f} 秒一天；云县的模拟平台正在推送，镇康县的密钥给您："
        )
        for line in (
            *_addresses(url),
            f"推送密钥（镇康县 zhenkang）  {own}",
            f"数据在   {file}（停止时删除）",
            "按 Ctrl-C 停止",
        ):
            click.echo(line)
        stack.callback(live.push_live(url, portals, clock, console).set)

    serve(app, engine, listener, ready)  # type: ignore[arg-type]
    click.echo("已停止，演示数据已删除")


def _addresses(url: str) -> list[str]:
    return [
        f"办理情况 {url}/",
        f"推送到   {url}/v1/events",
        f"查询     {url}/v1/cases  {url}/v1/overdue  {url}/v1/rates",
        f"接口文档 {url}/schema/openapi.json",
        f"指标     {url}/metrics",
    ]


def _application(database: Database, rules: Ruleset, clock: Clock, on_raised: object) -> tuple[Engine, object]:
    observe: list[object] = []

    def raised(alerts: tuple[Raised, ...]) -> None:
        for observer in observe:
            observer(alerts, clock.now())  # type: ignore[operator]
        on_raised(alerts)  # type: ignore[operator]

    engine = Engine(database, rules, clock, on_raised=raised)
    registry, delay = metrics_registry(database, engine, rules)
    observe.append(delay.observe)
    return engine, create_app(engine, registry)


def _log_raised(raised: tuple[Raised, ...]) -> None:
    sent = [alert for alert in raised if not alert.quiet]
    if len(sent) < len(raised):
        logger.info("历史逾期只列出，不提醒", action="alerts_listed", alerts=len(raised) - len(sent))
    if len(sent) > TOLD_ONE_BY_ONE:
        logger.warning("一批提醒", action="alerts_raised", alerts=len(sent))
        return
    for alert in sent:
        logger.warning(
            "提醒",
            action="alert_raised",
            case=alert.key,
            rung=alert.rung,
            target=alert.target,
            due_at=isoformat(from_micros(alert.due_at)),
        )


def _require_known_platforms(database: Database, rules: Ruleset) -> None:
    from sqlalchemy import select

    from services.alerts.tables import event_counts

    with database.reading() as connection:
        used = set(connection.execute(select(event_counts.c.platform).distinct()).scalars())
    unknown = sorted(used - set(rules.registry.slugs))
    if unknown:
        fail(f"数据库里有平台 {'、'.join(unknown)} 的事件，平台登记表中却没有；请使用原来的登记表，或把它们加回去")


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


@click.command("replay")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="文件.jsonl")
@db_option
def replay_command(file: Path, db: str | None) -> None:
    """把文件里的 CloudEvents（每行一个）送进内嵌引擎；数据库不存在则新建。

    不能使用的行连同行号进入死信（liuyan dead-letters），不影响其余；再跑一次不会重复计数。
    """
    found = settings()
    rules = ruleset(found)
    size = file.stat().st_size
    with opened(db, found, create=True) as database:
        _require_known_platforms(database, rules)
        require_same_rules(database, rules)
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
        bring_up_to_date(database, rules)
    click.echo(
        f"读入 {result.lines} 行：新事件 {result.accepted}，重复 {result.duplicates}，冲突 {result.conflicts}，"
        f"不合要求 {result.bad}，空行 {result.blank}"
    )
    if result.bad or result.conflicts:
        click.echo("不合要求和冲突的已进入死信：liuyan dead-letters 查看", err=True)


@click.command("simulate")
@click.option("--url", required=True, metavar="地址", help="服务的地址，如 http://127.0.0.1:8000")
@click.option("--key", required=True, metavar="密钥", envvar="LIUYAN_SIMULATE_KEY", help="平台的推送密钥")
@click.option("--platform", required=True, metavar="平台", help="密钥所属的平台")
@click.option("--per-minute", type=click.FloatRange(0.1, 6000), default=6, show_default=True, help="每分钟几件留言")
@click.option("--count", type=click.IntRange(1), metavar="件数", help="一共几件（默认直到 Ctrl-C）")
def simulate_command(url: str, key: str, platform: str, per_minute: float, count: int | None) -> None:
    """模拟一个平台：向运行中的服务推送虚构的留言，大多按时答复，少数拖延或遗忘。"""
    from services.standalone.simulate import Portal, PushError, run

    try:
        portal = Portal(url, key, platform, lambda: datetime.now(SHANGHAI))
        run(portal, per_minute, count, threading.Event(), lambda subject: click.echo(f"已推送 {platform}/{subject}"))
    except PushError as error:
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(0)


@click.group("keys")
def keys_group() -> None:
    """平台的推送密钥：建立、列出、作废。"""


@keys_group.command("create")
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
    with opened(db, found, create=True) as database, database.writing() as connection:
        identifier, key = create_key(connection, platform, SystemClock().now())
    click.echo(f"密钥编号 {identifier}，平台 {platform}（{rules.registry[platform].name}），只显示这一次：", err=True)
    click.echo(key)


@keys_group.command("list")
@db_option
def keys_list(db: str | None) -> None:
    """列出密钥的编号、平台和状态（密钥本身无法再显示）。"""
    found = settings()
    with opened(db, found) as database, database.reading() as connection:
        for key in list_keys(connection):
            state = "有效" if key.revoked_at is None else f"已于 {show(key.revoked_at)} 作废"
            click.echo(f"{key.id}\t{key.platform}\t{show(key.created_at)} 建立\t{state}")


@keys_group.command("revoke")
@click.argument("identifier", metavar="密钥编号")
@db_option
def keys_revoke(identifier: str, db: str | None) -> None:
    """作废一个密钥：命令结束时，运行中的服务也已不再认它；已收下的事件不受影响。"""
    found = settings()
    with opened(db, found) as database, database.writing() as connection:
        known = revoke_key(connection, identifier, SystemClock().now())
    if not known:
        fail(f"没有编号为 {identifier[:40]} 的密钥；liuyan keys list 可列出")
    threading.Event().wait(FRESH_SECONDS + 0.1)  # running services have read their keys anew by then
    click.echo(f"密钥 {identifier} 已作废")
