"""The command demo-kafka: the demonstration of the distributed form on this machine."""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from services.commands.broker import EXTRAS, missing_client
from services.commands.common import ruleset
from services.compose.server import PortTakenError, bind
from shared.commandline import fail, settings
from shared.helptext import ChineseCommand
from shared.settings import Settings

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command("demo-kafka", cls=ChineseCommand)
@click.option(
    "--port",
    type=click.IntRange(0, 65533),
    metavar="端口",
    help="值班页与查询的端口（默认取设置 port：8000），推送、sla 用其后的两个；0 自动选择",
)
def demo_command(port: int | None) -> None:
    """演示分布式部署：在本机启动 Kafka、PostgreSQL 和三个服务，推送 2022 年第一季度，模拟平台继续推送。

    数据都在临时文件夹里，停止时删除。退出的进程会被重新启动；一分钟内退出三次则停止全部，退出码 1。
    设置 db 是 postgresql://… 时用那个库，它须是空的。
    """
    for package in EXTRAS:
        if package not in sys.modules and find_spec(package) is None:
            fail(missing_client(ImportError(name=package)))
    found = settings()
    rules = ruleset(found)
    own = found.db if found.db.startswith("postgres") else None
    _require_programs(own is None)
    with ExitStack() as stack:
        ports = _ports(found.host, found.port if port is None else port)
        stop = stack.enter_context(_told_to_stop())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="liuyan-demo-", ignore_cleanup_errors=True))
        _run(Path(folder), found, ports, own, rules, stop)
    click.echo("已停止，演示数据已删除")


def _run(
    folder: Path, found: Settings, ports: dict[str, int], db: str | None, rules: Any, stop: threading.Event
) -> None:
    from kafka.errors import KafkaError

    from services.compose.client import PushError
    from services.distributed.demo import Demo, DemoError, Setup, StoppedError
    from services.distributed.postgres import PostgresError
    from services.distributed.provision import BrokerError
    from services.distributed.supervisor import GaveUpError
    from shared.database import DatabaseUnusableError

    (folder / "kafka").mkdir(mode=0o700)
    folder.chmod(0o711)  # PostgreSQL, started by root, runs as nobody and has to reach its own
    try:
        Demo(Setup(folder, found.host, ports, db), rules, stop, Console()).run()
    except StoppedError:
        return
    except (DemoError, BrokerError, PostgresError, DatabaseUnusableError, PushError, GaveUpError, OSError) as error:
        if not stop.is_set():  # what Ctrl-C interrupted is no failure
            fail(str(error))
    except KafkaError as error:
        if not stop.is_set():
            fail(f"Kafka 出错：{type(error).__name__}")


def _require_programs(postgres: bool) -> None:
    """Before anything is started: what the machine lacks is told in one line. Fetches Kafka at the first use."""
    from services.distributed.postgres import PostgresError, programs
    from services.distributed.provision import MissingError, jars, java

    try:
        java()
        if postgres:
            programs()
        click.echo("准备 Kafka（第一次运行时由 Maven 取得）…")
        jars()
    except (MissingError, PostgresError) as error:
        fail(str(error))


def _ports(host: str, first: int) -> dict[str, int]:
    """Of each service, free at present."""
    try:
        with ExitStack() as held:
            bound = [held.enter_context(bind(host, first and first + number)) for number in range(3)]
            return dict(zip(("alerts", "ingest", "sla"), (each.getsockname()[1] for each in bound), strict=True))
    except PortTakenError as error:
        fail(str(error))


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """Set by Ctrl-C, SIGTERM, or the end of the terminal; further ones change nothing, and disturb no stop that is under way."""
    stop = threading.Event()

    def set_it(*_: Any) -> None:
        if not stop.is_set():
            stop.set()
            os.write(2, "\n正在停止 …\n".encode())

    before = {signum: signal.signal(signum, set_it) for signum in SIGNALS}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
