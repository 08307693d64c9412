"""`liuyan reconcile` of the distributed form: the topic of events, read by nobody's group, against everything in PostgreSQL.

The services may run meanwhile. What had arrived when the reading began is waited for; then one snapshot is taken, and the rest of
the topic is read. Of the events that came in between, the snapshot says which are in it: these have to be in the topic, and
nothing of the topic may be missing before them. So no difference is an event that is only on its way.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy import Connection, select

from services.alerts.stream.apply import database_now
from services.alerts.stream.horizon import Offsets, projected, reached
from services.alerts.stream.outlet import KafkaEnds, partitions, read_to
from services.alerts.stream.rebuild import rebuilding
from services.alerts.stream.tables import letters, state
from services.compose.reconcile import Log, differences
from services.distributed.rawlog import Place, RawLog
from services.distributed.reconcile_stream import Judged, compare_stream
from shared.database import Connections
from shared.kafka import kafka_consumer
from shared.rules import Ruleset
from shared.topics import CASES, DEAD_LETTERS, MESSAGES, MIB, SLA_GROUP

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.5
Progress = Callable[[str, int, int], None]


class NotComparableError(Exception):
    """There is no snapshot that could be compared; the message is one line with the remedy."""


def reconcile(
    database: Connections,
    bootstrap: str,
    rules: Ruleset,
    progress: Progress = lambda what, done, total: None,
    patience: float = PATIENCE_SECONDS,
) -> list[str]:
    """The differences, a line each (Chinese). Raises NotComparableError, KafkaError and the database's errors."""
    ends = KafkaEnds(bootstrap, SLA_GROUP)
    try:
        with tempfile.TemporaryDirectory(prefix="liuyan-") as folder:
            log = RawLog(Path(folder), rules)
            try:
                return _reconcile(database, log, _Topic(bootstrap, log, progress), ends, rules, progress, patience)
            finally:
                log.close()
    finally:
        ends.close()


def _reconcile(
    database: Connections,
    log: RawLog,
    topic: "_Topic",
    ends: KafkaEnds,
    rules: Ruleset,
    progress: Progress,
    patience: float,
) -> list[str]:
    try:
        before = topic.read()
        _wait(database, ends, before, progress, patience)
        with database.reading() as connection:
            known = _letters(connection)
        log.judge(_refused(known), dict.fromkeys(before, 0))
        with database.reading() as connection:
            _require_whole(connection, rules)
            now = database_now(connection)
            topic.read()
            known = _letters(connection)
            log.judge(_refused(known), before)
            found = topic.missing()
            found += compare_stream(connection, Judged(log, before), known)
            kept = Log(
                keys=[key for key in log.all_keys() if "/" in key],
                histories=log.histories,
                events=log.events(connection),
            )
            return found + differences(
                kept, connection, rules, now, lambda done, total: progress("核对办件", done, total)
            )
    finally:
        topic.close()


class _Topic:
    """Reads the topic of events on, into the log."""

    def __init__(self, bootstrap: str, log: RawLog, progress: Progress) -> None:
        self._log, self._progress = log, progress
        self._consumer = kafka_consumer(
            bootstrap,
            "read_uncommitted",  # as the processor reads: what a stranger wrote and took back has been counted
            client_id="liuyan-reconcile",
            group_id=None,
            max_poll_records=5_000,
            max_partition_fetch_bytes=4 * MIB,
            fetch_max_bytes=32 * MIB,
            receive_buffer_bytes=MIB,
        )
        self._tps = partitions(self._consumer, MESSAGES.name)
        self._consumer.assign(self._tps)
        self._starts = self._consumer.beginning_offsets(self._tps)
        for tp in self._tps:
            self._consumer.seek(tp, self._starts[tp])

    def read(self) -> dict[int, int]:
        """Up to where each partition ends now: there."""
        ends = self._consumer.end_offsets(self._tps)
        for polled in read_to(self._consumer, ends, PATIENCE_SECONDS):
            for tp, records in polled.items():
                self._log.add(tp.partition, records)
            done = sum(min(self._consumer.position(tp), ends[tp]) for tp in self._tps)
            self._progress("读取主题", done, sum(ends.values()))
        return {tp.partition: self._consumer.position(tp) for tp in self._tps}

    def missing(self) -> list[str]:
        """What the topic does not have any more, though it is kept for ever."""
        return [
            f"{MESSAGES.name} 的分区 {tp.partition} 从 {start} 开始：前面的事件已不在主题中"
            for tp, start in sorted(self._starts.items())
            if start > 0
        ]

    def close(self) -> None:
        self._consumer.close()


def _wait(database: Connections, ends: KafkaEnds, events: Offsets, progress: Progress, patience: float) -> None:
    """Until what was read has gone the whole way: acknowledged by the processor, then in the projections."""
    wanted: Mapping[str, Offsets] | None = None
    so_far, since = -1, time.monotonic()
    while True:
        if wanted is None:
            acknowledged = ends.acknowledged(MESSAGES.name)
            done, total = _together(acknowledged, events)
            if reached(events, acknowledged):
                wanted = {name: ends.end_offsets(name) for name in (CASES.name, DEAD_LETTERS.name)}
                so_far = -1
        if wanted is not None:
            with database.reading() as connection:
                there = {name: projected(connection, name) for name in wanted}
            pairs = [_together(there[name], wanted[name]) for name in wanted]
            done, total = sum(done for done, _ in pairs), sum(total for _, total in pairs)
            if all(reached(wanted[name], there[name]) for name in wanted):
                return
        if done > so_far:
            so_far, since = done, time.monotonic()
        if time.monotonic() - since > patience:
            who = "liuyan sla" if wanted is None else "liuyan alerts"
            raise NotComparableError(f"还有 {total - done} 条没有处理完，也没有进展：请先启动 {who}，再核对")
        progress("等待处理", done, total)
        time.sleep(LOOK_SECONDS)


def _together(found: Offsets, wanted: Offsets) -> tuple[int, int]:
    return sum(min(found.get(p, 0), end) for p, end in wanted.items()), sum(wanted.values())


def _require_whole(connection: Connection, rules: Ruleset) -> None:
    if rebuilding(connection) is not None:
        raise NotComparableError("投影正在重建：请等它完成（再运行 liuyan rebuild 也可），再核对")
    if connection.execute(select(state.c.ruleset)).scalar() not in (None, rules.hash):
        raise NotComparableError("投影是按另一套规则算出的：请使用与服务相同的规则文件（platforms、policy、calendar）")


def _letters(connection: Connection) -> dict[str, str]:
    """Origin and reason of each dead letter that is kept."""
    return {row.origin: row.reason for row in connection.execute(select(letters.c.origin, letters.c.reason))}


def _refused(known: Mapping[str, str]) -> dict[Place, str]:
    """The messages that could not be used when they came, and why: their platform was not registered, or their record was full."""
    found: dict[Place, str] = {}
    for name, reason in known.items():
        topic, _, place = name.partition("/")
        if reason in ("unknown_platform", "too_large") and topic == MESSAGES.name:
            partition, _, offset = place.partition("/")
            found[int(partition), int(offset)] = reason
    return found
