"""The commands ingest, sla, alerts: each service of the distributed form."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import structlog
from sqlalchemy.exc import DatabaseError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.commands.broker import missing_client
from services.commands.common import notices, ruleset, who_may_look
from shared.commandline import fail, settings
from shared.database import DatabaseUnusableError, Postgres, postgres_url, reason
from shared.helptext import ChineseCommand
from shared.kafka import servers
from shared.logs import configure_logs
from shared.rules import Ruleset
from shared.settings import Settings
from shared.topics import MESSAGES
from shared.version import VERSION

logger = structlog.get_logger("services")


def service_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--bootstrap", metavar="地址", help="Kafka 的地址，多个用逗号分开（默认取设置 kafka）"),
        click.option(
            "--port", type=click.IntRange(0, 65535), metavar="端口", help="监听的端口（默认取设置 port；0 自动选择）"
        ),
        click.option("--host", metavar="地址", help="监听的地址（默认取设置 host）"),
    ):
        function = option(function)
    return function


def db_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--db", metavar="URL", help="PostgreSQL：postgresql://用户:密码@主机:端口/库名（默认取设置 db）"
    )(function)


def instance_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--instance", metavar="名字", help="本进程在同类中的名字，重启后不变（默认取设置 instance，不设即主机名）"
    )(function)


@click.command("ingest", cls=ChineseCommand)
@service_options
@db_option
def ingest_command(host: str | None, port: int | None, bootstrap: str | None, db: str | None) -> None:
    """接收推送，写入 Kafka：确认之后才答 202。密钥在 PostgreSQL（liuyan keys）。"""
    found, rules, address = _begin(bootstrap)
    with needed(), _listening(host, port, found) as listener, opened_postgres(db, found) as database:
        from services.distributed.ingest import IngestService

        service = IngestService(database, address, found.environment, rules)
        _serve("ingest", service, listener, rules, address)


@click.command("sla", cls=ChineseCommand)
@service_options
@instance_option
def sla_command(host: str | None, port: int | None, bootstrap: str | None, instance: str | None) -> None:
    """计算时限（Faust）：读留言事件，写办件。"""
    found, rules, address = _begin(bootstrap)
    with needed(), _listening(host, port, found) as listener:
        from services.distributed.topics import wrong
        from services.sla.worker.run import run

        _announce("sla", listener, rules, address)
        run(
            address,
            _instance(instance, found),
            MESSAGES.partitions,
            rules,
            listener,
            lambda: wrong(address, found.environment),
        )
        logger.info("服务已停止", action="stopped", service="sla")


@click.command("alerts", cls=ChineseCommand)
@service_options
@db_option
@instance_option
def alerts_command(
    host: str | None, port: int | None, bootstrap: str | None, db: str | None, instance: str | None
) -> None:
    """整理办件到 PostgreSQL，标记逾期，发布提醒；查询、导出、指标与值班页。"""
    found, rules, address = _begin(bootstrap)
    with needed(), _listening(host, port, found) as listener, opened_postgres(db, found) as database:
        from services.compose.people import nobody_yet, warn_if_open
        from services.distributed.alerts import AlertsService

        people, told = who_may_look(found, database, rules), notices(found, rules)
        service = AlertsService(database, address, _instance(instance, found), found.environment, rules, people, told)
        for line in nobody_yet(people):
            click.echo(line)
        warn_if_open(people, listener.getsockname()[0])
        _serve("alerts", service, listener, rules, address, found.proxies)


def _begin(bootstrap: str | None) -> tuple[Settings, Ruleset, str]:
    found, address = cluster(bootstrap)
    return found, ruleset(found), address


def cluster(bootstrap: str | None) -> tuple[Settings, str]:
    """The settings and the address of Kafka; logs go where they say."""
    found = settings()
    configure_logs(found.log)
    address = bootstrap or found.kafka
    try:
        servers(address)
    except ValueError as error:
        fail(str(error))
    return found, address


def require_topics(address: str, found: Settings) -> None:
    """What reads all of a topic must not take another cluster's for it."""
    from services.distributed.topics import mismatch

    trouble = mismatch(address, found.environment)
    if trouble is not None:
        fail(trouble)


@contextmanager
def told(kafka: str, db: str) -> Iterator[None]:
    """What goes wrong with Kafka or PostgreSQL ends the command with one line."""
    from kafka.errors import KafkaError

    try:
        yield
    except KafkaError as error:
        fail(f"Kafka {kafka} 出错（{type(error).__name__}）：请核对它在运行，再运行一次")
    except (DatabaseError, PoolTimeoutError) as error:
        fail(f"数据库出错（{reason(error, postgres_url(db))}）：请再运行一次")


def _instance(instance: str | None, found: Settings) -> str:
    return instance or found.instance or socket.gethostname()


@contextmanager
def needed() -> Iterator[None]:
    """The packages that only this form needs."""
    try:
        yield
    except ImportError as error:
        fail(missing_client(error))


@contextmanager
def _listening(host: str | None, port: int | None, found: Settings) -> Iterator[socket.socket]:
    from services.compose.server import PortTakenError, bind

    try:
        listener = bind(host or found.host, found.port if port is None else port)
    except PortTakenError as error:
        fail(str(error))
    with listener:
        yield listener


@contextmanager
def opened_postgres(db: str | None, found: Settings) -> Iterator[Postgres]:
    from services.distributed.database import open_database

    try:
        database = open_database(db or found.db)
    except DatabaseUnusableError as error:
        fail(str(error))
    try:
        yield database
    finally:
        database.close()


def _announce(name: str, listener: socket.socket, rules: Ruleset, address: str) -> str:
    host, port = listener.getsockname()[:2]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    logger.info(
        "服务已启动", action="started", service=name, version=VERSION, ruleset=rules.hash, url=url, kafka=address
    )
    return url


def _serve(
    name: str, service: Any, listener: socket.socket, rules: Ruleset, address: str, proxies: str = "127.0.0.1"
) -> None:
    from services.compose.server import PortTakenError, serve

    def ready() -> None:
        click.echo(
            f"{name} 在 {_announce(name, listener, rules, address)}（/readyz 就绪与否，/metrics 指标）；按 Ctrl-C 停止"
        )

    try:
        serve(service.app, service, listener, ready, proxies)
    except PortTakenError as error:
        fail(str(error))
    logger.info("服务已停止", action="stopped", service=name)
