"""The embedded engine: one thread writes, everything else reads.

Pushes are gathered: while one transaction is being made durable the next pushes queue up, and all of them share the next one
(group commit). An answer is given only after the commit: log, cases, figures and position are durable then, together.
Between pushes the thread sleeps until the next deadline (with a bound) and sweeps in batches. It keeps no state of its
own, so that a crash at any point loses nothing and another process may write to the same file.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

import structlog
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from services.alerts.sweep import Raised, next_wake
from services.compose.clock import Clock
from services.ingest.port import BusyError, Taken, UnknownOutcomeError
from services.standalone.apply import OtherRulesetError, catch_up, sweep_due, take_and_project
from services.standalone.database import Database
from services.standalone.log import positions, set_projected
from services.standalone.prepare import Progress, prepare
from shared.events import Event
from shared.rules import Ruleset

logger = structlog.get_logger("engine")

MAX_EVENTS = 2_000  # in one transaction
PAUSE = 0.0005  # seconds without a push that end a group of pushes that come side by side
LONGEST_GATHERING = 0.010
MAX_WAITING = 5_000  # submissions; more are refused as busy
SWEEP_SECONDS = 0.2  # between two looks at the deadlines while pushes keep coming
PROBE_SECONDS = 1.0  # after a failed write, and between tries whether writing works again
LONGEST_SLEEP = 30.0  # seconds: bounds the harm of a clock that is set, and is the heartbeat

Step = Callable[[str], None]


class _Submission(NamedTuple):
    events: Sequence[Event]
    origin: str
    answer: "asyncio.Future[list[Taken]]"
    loop: asyncio.AbstractEventLoop


class Engine:
    """Start it, submit events, stop it. `step` is told of each point passed (for crash tests)."""

    def __init__(
        self,
        database: Database,
        rules: Ruleset,
        clock: Clock,
        on_raised: Callable[[tuple[Raised, ...]], None] = lambda raised: None,
        step: Step = lambda name: None,
    ) -> None:
        self.database, self.rules, self.clock = database, rules, clock
        self._on_raised, self._step = on_raised, step
        self._queue: queue.SimpleQueue[_Submission | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._door = threading.Lock()
        self.ending = threading.Event()  # set when the service is told to stop: long reads end early
        self._stopping = self._closed = False
        self._side_by_side = 0  # submissions of the last group
        self._writing: list[_Submission] = []
        self._beat = time.monotonic()
        self._trouble: str | None = None
        self._failed_at = self._beat
        self._sweep_trouble: str | None = None
        self.swept_at: float | None = None
        """When (seconds since 1970) it last saw to it that what is due is flagged; None before the first time."""

    def prepare(self, progress: Progress = lambda what, done, total: None) -> None:
        """Finish what an earlier run left. Before `start`."""
        prepare(self.database, self.rules, self.clock, progress)

    def start(self) -> None:
        self._thread.start()

    def hurry(self) -> None:
        """The service is told to stop: long reads end early."""
        self.ending.set()

    def stop(self) -> None:
        """Finish what was submitted, then end. Blocks until done."""
        self._stopping = True
        self._queue.put(None)
        self._thread.join()

    async def submit(self, events: Sequence[Event], origin: str) -> list[Taken]:
        """Settled events -> what became of each, durable when this returns. Raises BusyError or UnknownOutcomeError."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Taken]] = loop.create_future()
        with self._door:
            full = self._queue.qsize() >= MAX_WAITING
            if full or self._stopping or self._closed or not self._thread.is_alive():
                raise BusyError
            self._queue.put(_Submission(events, origin, answer, loop))
        return await answer

    def unhealthy(self) -> str | None:
        """Why the engine is not live (Chinese, one line); None when it is."""
        if not self._thread.is_alive():
            return "引擎线程已停止"
        if time.monotonic() - self._beat > 2 * LONGEST_SLEEP:
            return "引擎超过一分钟没有进展"
        return self._trouble or self._sweep_trouble

    def _run(self) -> None:
        try:
            self._step("started")
            self._work()
        except Exception:
            logger.exception("引擎线程意外停止", action="engine_died")
        finally:
            self._close()

    def _work(self) -> None:
        wait, swept_at = 0.0, float("-inf")
        while True:
            batch = self._gather(wait)
            if batch is None:
                return
            if batch:
                self._writing = batch
                self._commit(batch)
                self._writing = []
            self._beat = time.monotonic()
            until_sweep = swept_at + SWEEP_SECONDS - self._beat
            if batch and wait > 0.0 and until_sweep > 0.0:
                wait = until_sweep
            else:
                wait, swept_at = self._sweep(), self._beat
            if self._trouble is not None:
                wait = min(wait, self._probe())

    def _close(self) -> None:
        """Nobody waits for an answer that will not come: what was being written is unknown, what was waiting is not stored."""
        with self._door:
            self._closed = True
        _tell(self._writing, [UnknownOutcomeError()] * len(self._writing))
        while not self._queue.empty():
            item = self._queue.get_nowait()
            if item is not None:
                _tell([item], [BusyError()])

    def _gather(self, wait: float) -> list[_Submission] | None:
        """What has been submitted, after at most `wait` seconds; None when all is done and the engine is stopping.

        Where pushes come side by side a group waits until it is as large as the last one, or no more of them follow: what a
        transaction costs is shared by more.
        """
        batch = self._take(0.0 if self._stopping else wait, MAX_EVENTS)
        if not batch:
            return None if self._stopping and self._queue.empty() else batch
        until = time.monotonic() + LONGEST_GATHERING
        while len(batch) < self._side_by_side and (room := MAX_EVENTS - _size(batch)) > 0 and time.monotonic() < until:
            time.sleep(PAUSE)
            more = self._take(0.0, room)
            if not more:
                break
            batch += more
        self._side_by_side = len(batch)
        return batch

    def _take(self, wait: float, room: int) -> list[_Submission]:
        """What is in the queue, after at most `wait` seconds, if it is empty; up to the submission that fills the room (events)."""
        batch: list[_Submission] = []
        with contextlib.suppress(queue.Empty):
            item = self._queue.get_nowait() if wait <= 0 else self._queue.get(timeout=wait)
            while item is not None:
                batch.append(item)
                room -= len(item.events)
                if room <= 0:
                    break
                item = self._queue.get_nowait()
        return batch

    def _commit(self, batch: list[_Submission]) -> None:
        try:
            answers = self._write(batch)
        except Exception as error:  # noqa: BLE001 - told to every waiting caller; one bad push must not fail the others
            # A locked file or a full disk is no event's fault: trying each alone would only keep all of them waiting.
            if len(batch) > 1 and not isinstance(error, OperationalError):
                for submission in batch:
                    self._commit([submission])
                return
            self._trouble, self._failed_at = "写入失败", time.monotonic()
            logger.error(
                "一次写入失败，已回滚", action="write_failed", error=type(error).__name__, detail=str(error)[:200]
            )
            _tell(batch, [UnknownOutcomeError()] * len(batch))
            return
        self._trouble = None
        self._step("committed")
        _tell(batch, answers)
        self._step("answered")

    def _write(self, batch: list[_Submission]) -> list[list[Taken] | Exception]:
        self._step("gathered")
        with self.database.writing() as connection:
            now = self.clock.now()
            events = [event for item in batch for event in item.events]
            origins = [item.origin for item in batch for _ in item.events]
            answers = iter(take_and_project(connection, events, origins, self.rules, now))
            self._step("projected")
        return [list(islice(answers, len(item.events))) for item in batch]

    def _probe(self) -> float:
        """Whether writing works again after a failure, found out without waiting for a push: for how many seconds to sleep."""
        if time.monotonic() - self._failed_at >= PROBE_SECONDS:
            try:
                with self.database.writing() as connection:
                    where = positions(connection)
                    set_projected(connection, where.projected, where.ruleset, self.clock.now())
                self._trouble = None
            except SQLAlchemyError:  # told when it began
                self._failed_at = time.monotonic()
        return PROBE_SECONDS

    def _sweep(self) -> float:
        """One batch of what fell due: for how many seconds there is nothing more to do."""
        try:
            with self.database.reading() as connection:
                wake, where = next_wake(connection), positions(connection)
            if where.projected != where.end:  # logged elsewhere: before anything is flagged, all evidence counts
                with self.database.writing() as connection:
                    catch_up(connection, self.rules, self.clock.now())
                return 0.0
            if wake is None or self.clock.seconds_until(wake) > 0:
                self._sweep_trouble, self.swept_at = None, time.time()
                return LONGEST_SLEEP if wake is None else min(LONGEST_SLEEP, self.clock.seconds_until(wake))
            with self.database.writing() as connection:
                raised = sweep_due(connection, self.rules, self.clock.now())
                self._step("swept")
        except (SQLAlchemyError, OtherRulesetError) as error:
            self._sweep_trouble = "到期检查失败"
            logger.error("到期检查失败，稍后重试", action="sweep_failed", detail=str(error)[:200])
            return 1.0
        self._sweep_trouble, self.swept_at = None, time.time()
        if raised:
            try:
                self._on_raised(tuple(raised))
            except Exception:  # a closed terminal, say; the flags themselves are recorded
                logger.exception("提醒未能显示", action="observer_failed")
        return 0.0


def _size(batch: Sequence[_Submission]) -> int:
    return sum(len(item.events) for item in batch)


def _tell(batch: list[_Submission], answers: Sequence[list[Taken] | Exception]) -> None:
    """Hand each caller its answer on its own event loop: one wake-up a loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[list[Taken]], list[Taken] | Exception]]] = {}
    for submission, answer in zip(batch, answers, strict=True):
        by_loop.setdefault(submission.loop, []).append((submission.answer, answer))
    for loop, answered in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: the caller has gone, and may push again
            loop.call_soon_threadsafe(_resolve, answered)


def _resolve(answered: list[tuple["asyncio.Future[list[Taken]]", list[Taken] | Exception]]) -> None:
    for future, answer in answered:
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
