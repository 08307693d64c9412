"""The commands broker up, down, status: a Kafka for development on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shared.commandline import fail
from shared.helptext import ChineseCommand, ChineseGroup

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = click.Path(file_okay=False, path_type=Path)


@click.group("broker", cls=ChineseGroup)
def broker_group() -> None:
    """开发与测试用的 Kafka：一个节点，只许本机访问，每条消息只有一份，不可用于正式部署。"""


def _data_option(function: "Callable[..., Any]") -> "Callable[..., Any]":
    return click.option(
        "--data", type=DATA, required=True, metavar="文件夹", help="数据、日志和配置所在的文件夹，没有则新建"
    )(function)


@broker_group.command("up", cls=ChineseCommand)
@_data_option
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9092, metavar="端口", help="监听的端口（默认 9092；0 自动选择）"
)
def broker_up(data: Path, port: int) -> None:
    """启动 Kafka，能用了才返回；已在运行则不变。第一次要用 Maven 取得 Kafka，需要 Java 17 或更新的版本。"""
    broker = require_broker()
    try:
        running = broker.up(data, port)
    except (broker.BrokerError, OSError) as error:
        fail(str(error))
    click.echo(f"Kafka 在运行   {running.address}")
    click.echo(f"进程 {running.pid}，数据在 {data.resolve()}", err=True)


@broker_group.command("down", cls=ChineseCommand)
@_data_option
def broker_down(data: Path) -> None:
    """停止 Kafka；数据都留下。没有在运行也算完成。"""
    broker = require_broker()
    try:
        stopped = broker.down(data)
    except (broker.BrokerError, OSError) as error:
        fail(str(error))
    click.echo("Kafka 已停止" if stopped else "Kafka 没有在运行")


@broker_group.command("status", cls=ChineseCommand)
@_data_option
def broker_status(data: Path) -> None:
    """Kafka 是否在运行、地址是什么；没有在运行则退出码为 1。"""
    broker = require_broker()
    running = broker.status(data)
    if running is None:
        fail(f"Kafka 没有在运行（{data}）")
    click.echo(f"Kafka 在运行   {running.address}")


def require_broker() -> Any:
    """The module that does it, which needs kafka-python."""
    try:
        from services.distributed import broker
    except ImportError as error:
        fail(missing_client(error))
    return broker


EXTRAS = {"kafka": "kafka-python", "psycopg": "psycopg", "faust": "faust-streaming", "aiokafka": "aiokafka"}


def missing_client(error: ImportError) -> str:
    """The line that says which package is missing."""
    name = (error.name or "").partition(".")[0]
    if name not in EXTRAS:
        raise error
    return f"缺少 {EXTRAS[name]}：请安装 liuyan[kafka,postgres,faust]（make test 所建的环境里已有）"
