"""The commands topics apply, check."""

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from services.commands.broker import missing_client
from shared.commandline import fail, settings
from shared.helptext import ChineseCommand, ChineseGroup
from shared.kafka import servers
from shared.settings import Settings
from shared.topics import REPLICATION, TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.group("topics", cls=ChineseGroup)
def topics_group() -> None:
    """Kafka 的主题：建立缺少的，核对已有的。"""


def _bootstrap_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--bootstrap", metavar="地址", help="Kafka 的地址，如 127.0.0.1:9092，多个用逗号分开（默认取设置 kafka）"
    )(function)


@topics_group.command("apply", cls=ChineseCommand)
@_bootstrap_option
def topics_apply(bootstrap: str | None) -> None:
    """建立缺少的主题，然后核对全部；已有的主题不会改动，有不符之处则列出，退出码 1。

    设置 environment 为 production 时，Kafka 不足三台则不建立。
    """
    found = settings()
    with _cluster(bootstrap, found) as admin:
        from services.distributed.topics import create_missing

        brokers = len(admin.describe_cluster()["brokers"])
        if found.environment == "production" and brokers < REPLICATION:
            fail(f"正式部署需要至少 {REPLICATION} 台 Kafka，现有 {brokers} 台；没有建立任何主题")
        for name in create_missing(admin, found.environment):
            click.echo(f"建立   {name}")
        _report(admin, found)


@topics_group.command("check", cls=ChineseCommand)
@_bootstrap_option
def topics_check(bootstrap: str | None) -> None:
    """核对主题的分区、保留、压缩、副本；有不符之处则列出，退出码 1。"""
    found = settings()
    with _cluster(bootstrap, found) as admin:
        _report(admin, found)


def _report(admin: Any, found: Settings) -> None:
    from services.distributed.topics import differences, observe

    findings = differences(observe(admin), found.environment)
    for severity, text in dict.fromkeys((finding.severity, finding.text) for finding in findings):
        names = "、".join(finding.topic for finding in findings if (finding.severity, finding.text) == (severity, text))
        click.echo(f"{'不符' if severity == 'error' else '提醒'}   {names}：{text}")
    errors = sum(finding.severity == "error" for finding in findings)
    if errors:
        fail(f"主题有 {errors} 处不符")
    click.echo(f"{len(TOPICS)} 个主题核对完毕，没有不符之处")


@contextmanager
def _cluster(bootstrap: str | None, found: Settings) -> "Iterator[Any]":
    """The admin client; what goes wrong with the cluster becomes one line."""
    try:
        from kafka.errors import KafkaError, KafkaTimeoutError

        from shared.kafka import admin_client
    except ImportError as error:
        fail(missing_client(error))
    address = bootstrap or found.kafka
    try:
        servers(address)
    except ValueError as error:
        fail(str(error))
    try:
        with admin_client(address) as admin:
            yield admin
    except KafkaTimeoutError:
        fail(f"Kafka {address} 没有回答，请核对地址，或先 liuyan broker up")
    except KafkaError as error:
        fail(f"Kafka {address} 出错：{type(error).__name__}")
