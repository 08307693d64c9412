"""Compares the embedded engine's log with its tables (services/compose/reconcile.py), and its entries with what they hold."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection, select

from services.compose.reconcile import Log, Progress, differences
from services.standalone import log
from shared.events import Event
from shared.rules import Ruleset


def reconcile(
    connection: Connection, rules: Ruleset, now: datetime, progress: Progress = lambda done, total: None
) -> list[str]:
    """The differences, a line each (Chinese), in one snapshot."""
    found: list[str] = []
    end, projected, *_ = log.positions(connection)
    if projected != end:
        found.append("日志中有尚未整理的事件：启动服务后会自动整理")
    registered = select(log.events.c.key).where(log.events.c.key != "").distinct().order_by(log.events.c.key)
    wrong: list[str] = []
    kept = Log(
        keys=list(connection.execute(registered).scalars()),
        histories=lambda keys: log.histories(connection, keys),
        events=_entries(connection, wrong),
    )
    return found + differences(kept, connection, rules, now, progress) + wrong


def _entries(connection: Connection, wrong: list[str]) -> Iterator[Event]:
    """All events; into `wrong` go those that are registered under what they are not."""
    for logged, event in log.entries(connection):
        if (logged.ident, logged.key) != (log.ident(event), log.case_key(event)):
            wrong.append(
                f"日志 {logged.position}：登记为 {logged.ident}（{logged.key}），内容却是 {log.ident(event)}（{log.case_key(event)}）"
            )
        yield event
