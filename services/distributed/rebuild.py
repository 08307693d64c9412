"""`liuyan rebuild`: begins a rebuild and takes part in it, as another reader of the topic and another sweeper, until it is done.

The services may run or not; who does the work does not matter. Killed, it is carried on by the services, or begun again.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from services.alerts.projection import Evaluated
from services.alerts.stream import rebuild as stream
from services.alerts.stream.apply import READING, Projector
from services.alerts.stream.consumer import Reader
from services.alerts.stream.outlet import KafkaEnds
from services.alerts.stream.records import histories
from services.alerts.tables import cases
from services.compose.cases import evaluate_keys, evaluated
from services.distributed.troubles import TRANSIENT
from shared.database import Connections
from shared.rules import Ruleset
from shared.topics import CASES, SLA_GROUP

PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 1.0
TELL_SECONDS = 1.0  # between two looks at how much is done
LOOK_SHARE = 0.05  # of the time, at most: all cases are counted for it
WORKERS = 3  # while one computes, others wait for the database

Progress = Callable[[str, int, int], None]
"""Told (what, done, total)."""


class EmptyTopicError(Exception):
    """There is nothing to rebuild from."""

    def __init__(self) -> None:
        super().__init__(
            f"主题 {CASES.name} 是空的，库里却有办件：请核对 --bootstrap；主题若已重建，请先让 liuyan sla 写出办件"
        )


class Rebuilt(NamedTuple):
    """How many cases, and in which time."""

    cases: int
    seconds: float


def rebuild(database: Connections, bootstrap: str, rules: Ruleset, progress: Progress) -> Rebuilt:
    """Returns when the projections are whole again.

    Raises OtherRulesetError, EmptyTopicError; the errors of `TRANSIENT` at the beginning, or when they last.
    """
    started = time.monotonic()
    _begin(database, bootstrap, rules)
    work = _Work(database, bootstrap, rules)
    succeeded = time.monotonic()
    try:
        while True:
            try:
                pause = work.step(progress)
                succeeded = time.monotonic()
            except TRANSIENT:
                if time.monotonic() - succeeded > PATIENCE_SECONDS:
                    raise
                pause = RETRY_SECONDS
            if pause is None:
                break
            threading.Event().wait(pause)
    finally:
        work.close()
    seconds = time.monotonic() - started
    with database.reading() as connection:
        return Rebuilt(connection.execute(select(func.count()).select_from(cases)).scalar_one(), seconds)


def _begin(database: Connections, bootstrap: str, rules: Ruleset) -> None:
    ends = KafkaEnds(bootstrap, SLA_GROUP)
    try:
        with database.writing() as connection:
            some = connection.execute(select(cases.c.key).limit(1)).first() is not None
            if some and not any(ends.end_offsets(CASES.name).values()):
                raise EmptyTopicError
            stream.begin(connection, rules, ends.end_offsets)
    finally:
        ends.close()


class _Work:
    """`step` does some of what there is to do; None: there is nothing any more."""

    def __init__(self, database: Connections, bootstrap: str, rules: Ruleset) -> None:
        self._database, self._bootstrap, self._rules = database, bootstrap, rules
        self._rebuilds = [stream.Rebuild(database, rules, self._evaluate_keys) for _ in range(WORKERS)]
        self._threads = ThreadPoolExecutor(WORKERS, "rebuilding")
        self._reader: Reader | None = None
        self._tell_at = 0.0

    def step(self, progress: Progress) -> float | None:
        with self._database.reading() as connection:
            phase = stream.rebuilding(connection)
            if phase is None:
                return None
            if time.monotonic() > self._tell_at:
                self._tell(connection, phase, progress)
        if phase == READING:
            self._read()
            self._rebuilds[0].step()
            return 0.0
        self._leave()
        steps = [self._threads.submit(each.step) for each in self._rebuilds]
        wait(steps)  # of one that fails the others are not under way any more when it is tried again
        return min(step.result() for step in steps)

    def close(self) -> None:
        self._threads.shutdown()
        self._leave()

    def _leave(self) -> None:
        """The group."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _tell(self, connection: Connection, phase: str, progress: Progress) -> None:
        begun = time.monotonic()
        if phase == READING:
            progress("读取记录", *stream.read_so_far(connection))
        else:
            progress("整理办件", *stream.projected_so_far(connection))
        now = time.monotonic()
        self._tell_at = now + max(TELL_SECONDS, (now - begun) / LOOK_SHARE)

    def _read(self) -> None:
        if self._reader is None:
            projector = Projector(self._database, self._rules, evaluated)
            self._reader = Reader(self._bootstrap, None, self._database, projector)
        self._reader.step()

    def _evaluate_keys(self, connection: Connection, keys: Sequence[str], at: datetime) -> list[Evaluated]:
        return evaluate_keys(histories, connection, keys, self._rules, at)
