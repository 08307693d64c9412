"""The engine's thread: group commit, refusals, failures that stay where they belong, stopping, and two engines on one file."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from services.alerts.sweep import Raised
from services.ingest.port import BusyError, Taken, UnknownOutcomeError
from services.standalone import database as database_module
from services.standalone import engine as engine_module
from services.standalone.apply import catch_up, take, take_and_project
from services.standalone.database import Database
from services.standalone.engine import Engine, _Submission
from shared.events import Event
from shared.rules import Ruleset
from shared.times import to_micros
from tests.builders import at, event, ruleset, shipped
from tests.enginekit import Deck, deck, expected_rows, fresh_file, started, tally
from tests.fakes import FakeClock

NOW = at("03-31 10:00")
PATIENCE = 30.0  # seconds; a bound for what takes a moment
PROMPT = 8.0  # seconds; well below the engine's longest sleep


def received(number: int, time_: str = "03-31 09:00", prefix: str = "s") -> Event:
    name = f"{prefix}{number:05}"
    return event(name, "received", time_, subject=name, category="simple_inquiry")


def count(number: int, prefix: str = "t") -> Event:
    """A tally: belongs to no case, so that nothing falls due."""
    return tally(f"{prefix}{number:05}", NOW, "2022-03-31", number)


POISON = event("poison", "received", "03-31 09:00", subject="poison", category="inquiry", title="\ud800")
"""What no door lets through: it cannot be written."""


class Gate:
    """Holds the engine at a named step until it is opened; counts all steps."""

    def __init__(self, at_step: str | None = None) -> None:
        self.seen: Counter[str] = Counter()
        self.reached, self._open, self._at = threading.Event(), threading.Event(), at_step
        if at_step is None:
            self._open.set()

    def __call__(self, step: str) -> None:
        self.seen[step] += 1
        if step == self._at and not self._open.is_set():
            self.reached.set()
            assert self._open.wait(PATIENCE)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return fresh_file(tmp_path)


@contextmanager
def reading(file: Path, rules: Ruleset, now: Any = NOW) -> Iterator[Deck]:
    found = Deck(file, rules, now)
    try:
        yield found
    finally:
        found.close()


async def until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.005)


async def outcome(answer: Awaitable[list[Taken]]) -> Any:
    """What a submission gave, or the class of what it raised; never longer than PATIENCE."""
    try:
        return await asyncio.wait_for(answer, PATIENCE)
    except (BusyError, UnknownOutcomeError) as error:
        return type(error)


# Group commit


def test_many_pushes_share_few_transactions_and_are_answered_in_order(file: Path, rules: Ruleset) -> None:
    gate = Gate("gathered")

    async def main(engine: Engine) -> list[list[Taken]]:
        first = asyncio.create_task(engine.submit([received(0)], "test"))
        await until(gate.reached.is_set, "the first is being written")
        rest = [asyncio.create_task(engine.submit([received(i)] * (1 + i % 3), "test")) for i in range(1, 500)]
        await asyncio.sleep(0)
        gate.open()
        return await asyncio.wait_for(asyncio.gather(first, *rest), PATIENCE)

    with started(file, rules, FakeClock(NOW), step=gate) as engine:
        answers = asyncio.run(main(engine))
    assert answers == [[Taken.ACCEPTED] + [Taken.DUPLICATE] * (i % 3) if i else [Taken.ACCEPTED] for i in range(500)]
    assert gate.seen["committed"] == gate.seen["answered"] == 2
    with reading(file, rules) as found:
        assert found.logged() == [f"zhenkang/s{i:05}" for i in range(500)]
        assert found.differences() == []


def test_pushes_that_come_side_by_side_wait_for_each_other(
    file: Path, rules: Ruleset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one connection after the other sends while a group is gathered is in it; who pushes alone does not wait."""
    monkeypatch.setattr(engine_module, "PAUSE", 0.5)
    monkeypatch.setattr(engine_module, "LONGEST_GATHERING", PATIENCE)
    monkeypatch.setattr(engine_module, "MAX_EVENTS", 10)
    gate = Gate("gathered")

    async def main(engine: Engine) -> None:
        for i in range(3):  # alone
            await asyncio.wait_for(engine.submit([received(i)], "test"), 0.5 * PATIENCE)
        assert gate.seen["gathered"] == 3
        together = [asyncio.create_task(engine.submit([received(i)], "test")) for i in range(3, 5)]
        await asyncio.wait_for(asyncio.gather(*together), PATIENCE)
        before = gate.seen["gathered"]
        one = asyncio.create_task(engine.submit([received(5)], "test"))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(engine.submit([received(i)], "test")) for i in range(6, 15)]
        await asyncio.wait_for(asyncio.gather(one, *others), PATIENCE)
        assert gate.seen["gathered"] == before + 1, "a full group waits no longer"

    gate.open()
    with started(file, rules, FakeClock(NOW), step=gate) as engine:
        asyncio.run(main(engine))


def test_a_group_that_waits_for_others_is_bounded_too(
    file: Path, rules: Ruleset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "MAX_EVENTS", 10)

    async def main(engine: Engine) -> None:
        def submit(first: int, number: int) -> None:
            for i in range(first, first + number):
                engine._queue.put(_Submission([received(i)], "test", loop.create_future(), loop))

        loop = asyncio.get_running_loop()
        clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: submit(6, 20))
        monkeypatch.setattr(engine_module, "time", clock)
        submit(0, 6)
        engine._side_by_side = 7
        assert len(engine._gather(0.0) or ()) == 10
        assert engine._queue.qsize() == 16
        assert len(engine._gather(0.0) or ()) == 10
        engine._side_by_side = 6
        assert len(engine._gather(0.0) or ()) == 6, "as many as the last group had: nobody else is waited for"

    with reading(file, rules) as found:
        asyncio.run(main(Engine(found.database, rules, FakeClock(NOW))))


def test_a_transaction_is_bounded(file: Path, rules: Ruleset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "MAX_EVENTS", 10)
    gate = Gate("gathered")

    async def main(engine: Engine) -> None:
        tasks = [asyncio.create_task(engine.submit([count(0)], "test"))]
        await until(gate.reached.is_set, "the first is being written")
        tasks += [asyncio.create_task(engine.submit([count(i)], "test")) for i in range(1, 101)]
        await asyncio.sleep(0)
        gate.open()
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

    with started(file, rules, FakeClock(NOW), step=gate) as engine:
        asyncio.run(main(engine))
    assert gate.seen["committed"] == 11


def test_the_same_event_in_two_pushes_of_one_transaction(file: Path, rules: Ruleset) -> None:
    """The first stands, an equal one is a duplicate, another one a conflict: within a transaction as between two."""
    gate = Gate("gathered")
    other = event("s00001", "received", "03-31 09:30", subject="s00001", category="simple_inquiry")

    async def main(engine: Engine) -> list[list[Taken]]:
        tasks = [asyncio.create_task(engine.submit([received(0)], "test"))]
        await until(gate.reached.is_set, "the first is being written")
        for events in ([received(1)], [received(1), received(0)], [other], [received(2), other, received(2)]):
            tasks.append(asyncio.create_task(engine.submit(events, f"push:{len(tasks)}")))
            await asyncio.sleep(0)
        gate.open()
        return await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)

    yes, again, no = Taken.ACCEPTED, Taken.DUPLICATE, Taken.CONFLICT
    with started(file, rules, FakeClock(NOW), step=gate) as engine:
        assert asyncio.run(main(engine)) == [[yes], [yes], [again, again], [no], [yes, no, again]]
    assert gate.seen["committed"] == 2
    with reading(file, rules) as found:
        assert found.dead_letters() == [("push:3", "conflict"), ("push:4", "conflict")]


def test_nothing_is_answered_before_it_is_durable(file: Path, rules: Ruleset) -> None:
    """At `committed` another connection sees the event, and the caller has no answer yet."""
    gate = Gate("committed")

    async def main(engine: Engine) -> None:
        task = asyncio.create_task(engine.submit([received(0)], "test"))
        await until(gate.reached.is_set, "the commit")
        with reading(file, rules) as found:
            assert found.logged() == ["zhenkang/s00000"]
            assert found.differences() == []
        await asyncio.sleep(0.05)
        assert not task.done()
        gate.open()
        assert await asyncio.wait_for(task, PATIENCE) == [Taken.ACCEPTED]

    with started(file, rules, FakeClock(NOW), step=gate) as engine:
        asyncio.run(main(engine))


def test_an_empty_submission_is_answered(file: Path, rules: Ruleset) -> None:
    with started(file, rules, FakeClock(NOW)) as engine:
        assert asyncio.run(outcome(engine.submit([], "test"))) == []


# Refusals


def test_busy_when_full(file: Path, rules: Ruleset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "MAX_WAITING", 5)
    gate = Gate("gathered")

    async def main(engine: Engine) -> list[Any]:
        tasks = [asyncio.create_task(outcome(engine.submit([count(0)], "test")))]
        await until(gate.reached.is_set, "the first is being written")
        tasks += [asyncio.create_task(outcome(engine.submit([count(i)], "test"))) for i in range(1, 9)]
        await asyncio.sleep(0.05)
        assert [task.done() for task in tasks] == [False] * 6 + [True] * 3
        gate.open()
        return await asyncio.gather(*tasks)

    with started(file, rules, FakeClock(NOW), step=gate) as engine:
        assert asyncio.run(main(engine)) == [[Taken.ACCEPTED]] * 6 + [BusyError] * 3
    with reading(file, rules) as found:
        assert found.logged() == [f"zhenkang/t{i:05}" for i in range(6)]


def test_busy_before_the_start_and_after_the_stop(file: Path, rules: Ruleset) -> None:
    database = Database(file)
    engine = Engine(database, rules, FakeClock(NOW))
    assert asyncio.run(outcome(engine.submit([count(0)], "test"))) is BusyError
    assert engine.unhealthy() == "引擎线程已停止"
    engine.start()
    assert engine.unhealthy() is None
    engine.stop()
    assert asyncio.run(outcome(engine.submit([count(0)], "test"))) is BusyError
    assert engine.unhealthy() == "引擎线程已停止"
    database.close()
    with reading(file, rules) as found:
        assert found.logged() == []


# Failures


def test_a_poisonous_submission_does_not_fail_its_neighbours(file: Path, rules: Ruleset) -> None:
    gate = Gate("gathered")

    async def main(engine: Engine) -> list[Any]:
        tasks = [asyncio.create_task(outcome(engine.submit([received(0)], "test")))]
        await until(gate.reached.is_set, "the first is being written")
        rest = ([received(1)], [received(2), POISON], [received(3)], [POISON], [received(4)])
        tasks += [asyncio.create_task(outcome(engine.submit(events, "test"))) for events in rest]
        await asyncio.sleep(0)
        gate.open()
        found = await asyncio.gather(*tasks)
        assert engine.unhealthy() is None
        return found

    with started(file, rules, FakeClock(NOW), step=gate) as engine:
        found = asyncio.run(main(engine))
    assert found == [[Taken.ACCEPTED]] * 2 + [UnknownOutcomeError] + [
        [Taken.ACCEPTED],
        UnknownOutcomeError,
        [Taken.ACCEPTED],
    ]
    with reading(file, rules) as deck_:
        assert deck_.logged() == [f"zhenkang/s{i:05}" for i in (0, 1, 3, 4)]
        assert deck_.differences() == []


def test_a_poisonous_submission_alone_leaves_the_engine_live(file: Path, rules: Ruleset) -> None:
    """One push that cannot be written is the push's trouble: a supervisor must not restart the service for it."""
    with started(file, rules, FakeClock(NOW)) as engine:
        assert asyncio.run(outcome(engine.submit([POISON], "test"))) is UnknownOutcomeError
        assert asyncio.run(outcome(engine.submit([count(0)], "test"))) == [Taken.ACCEPTED]
        assert engine.unhealthy() is None


BIG = [
    event(f"b{i}", "received", "03-31 09:00", subject=f"b{i}", category="inquiry", content="长" * 20_000)
    for i in range(20)
]


def test_a_full_disk_is_an_unknown_outcome_and_passes(file: Path, rules: Ruleset) -> None:
    """While the disk is full every push is told to come again, and the engine says so; afterwards all is well."""

    def pages(engine: Engine, number: int) -> None:
        with engine.database.writing() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {number}")

    with started(file, rules, FakeClock(NOW)) as engine:
        assert asyncio.run(outcome(engine.submit([count(0)], "test"))) == [Taken.ACCEPTED]
        pages(engine, 1)
        for _ in range(2):
            assert asyncio.run(outcome(engine.submit(BIG, "test"))) is UnknownOutcomeError
            assert engine.unhealthy() == "写入失败"
        pages(engine, 1_000_000)
        assert asyncio.run(outcome(engine.submit(BIG, "test"))) == [Taken.ACCEPTED] * 20
        assert engine.unhealthy() is None
    with reading(file, rules) as found:
        assert len(found.logged()) == 21
        assert found.differences() == []


def test_a_file_locked_for_too_long_is_an_unknown_outcome_and_passes(
    file: Path, rules: Ruleset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process holds the write lock for longer than the engine waits."""
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.1)
    with started(file, rules, FakeClock(NOW)) as engine, contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert asyncio.run(outcome(engine.submit(BIG, "test"))) is UnknownOutcomeError
        assert engine.unhealthy() == "写入失败"
        other.rollback()
        assert asyncio.run(outcome(engine.submit(BIG, "test"))) == [Taken.ACCEPTED] * 20
        assert engine.unhealthy() is None


def test_a_failed_write_is_over_when_writing_works_again_though_nobody_pushes(
    file: Path, rules: Ruleset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While writing fails the engine says so; it tries by itself, by a transaction that is really committed."""
    monkeypatch.setattr(engine_module, "PROBE_SECONDS", 0.02)
    clock = FakeClock(NOW)
    with started(file, rules, clock) as engine:
        assert asyncio.run(outcome(engine.submit([count(0)], "test"))) == [Taken.ACCEPTED]
        real, tried = engine.database.writing, Counter[str]()

        def broken() -> Any:
            tried["in vain"] += 1
            raise OperationalError("BEGIN", {}, Exception("disk I/O error"))

        monkeypatch.setattr(engine.database, "writing", broken)
        assert asyncio.run(outcome(engine.submit([count(1)], "test"))) is UnknownOutcomeError
        asyncio.run(until(lambda: tried["in vain"] > 3, "it tries again and again"))
        assert engine.unhealthy() == "写入失败"
        clock.set(NOW + timedelta(minutes=1))
        monkeypatch.setattr(engine.database, "writing", real)
        asyncio.run(until(lambda: engine.unhealthy() is None, "the trouble is over"))
    with contextlib.closing(sqlite3.connect(file)) as other:
        assert other.execute("SELECT as_of FROM progress").fetchone() == (to_micros(clock.now()),)
    with reading(file, rules) as found:
        assert found.logged() == ["zhenkang/t00000"]
        assert found.differences() == []


def test_a_caller_that_has_gone_does_not_stop_the_engine(file: Path, rules: Ruleset) -> None:
    """Its event loop is closed when the answer comes, as at the end of a shutdown's grace."""
    gate = Gate("gathered")
    with started(file, rules, FakeClock(NOW), step=gate) as engine:
        loop = asyncio.new_event_loop()
        task = loop.create_task(engine.submit([count(0)], "test"))
        loop.run_until_complete(asyncio.sleep(0.01))
        assert gate.reached.wait(PATIENCE)
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
        gate.open()
        answer = asyncio.run(outcome(engine.submit([count(1)], "test")))
        assert (answer, engine.unhealthy()) == ([Taken.ACCEPTED], None)
    with reading(file, rules) as found:
        assert found.logged() == ["zhenkang/t00000", "zhenkang/t00001"]


def test_a_cancelled_caller_is_left_alone(file: Path, rules: Ruleset) -> None:
    gate = Gate("gathered")

    async def main(engine: Engine) -> None:
        first = asyncio.create_task(engine.submit([count(0)], "test"))
        await until(gate.reached.is_set, "the first is being written")
        second = asyncio.create_task(engine.submit([count(1)], "test"))
        await asyncio.sleep(0)
        first.cancel()
        gate.open()
        assert await asyncio.wait_for(second, PATIENCE) == [Taken.ACCEPTED]
        assert first.cancelled()

    with started(file, rules, FakeClock(NOW), step=gate) as engine:
        asyncio.run(main(engine))
        assert engine.unhealthy() is None
    with reading(file, rules) as found:
        assert len(found.logged()) == 2


def test_an_observer_that_fails_does_not_stop_the_engine(file: Path, rules: Ruleset) -> None:
    """What is told of raised alerts prints or counts; its trouble (a closed terminal) is not the engine's."""
    clock = FakeClock(NOW)
    called = threading.Event()

    def told(raised: tuple[Raised, ...]) -> None:
        called.set()
        raise BrokenPipeError

    with started(file, rules, clock, on_raised=told) as engine:
        asyncio.run(outcome(engine.submit([received(0)], "test")))
        clock.set(at("04-02 10:00"))
        assert called.wait(PATIENCE)
        assert asyncio.run(outcome(engine.submit([count(1)], "test"))) == [Taken.ACCEPTED]
        assert engine.unhealthy() is None


def test_a_failing_sweep_is_tried_again_and_told_while_it_fails(
    file: Path, rules: Ruleset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trouble is over when a sweep succeeds, not only when somebody pushes."""
    clock, raised = FakeClock(NOW), threading.Event()
    failing = threading.Event()
    failing.set()
    real = engine_module.sweep_due

    def sweep(*arguments: Any) -> Any:
        if failing.is_set():
            from sqlalchemy.exc import OperationalError

            raise OperationalError("UPDATE", {}, Exception("database is locked"))
        return real(*arguments)

    monkeypatch.setattr(engine_module, "sweep_due", sweep)

    async def main(engine: Engine) -> None:
        await engine.submit([received(0)], "test")
        clock.set(at("04-02 10:00"))
        await until(lambda: engine.unhealthy() == "到期检查失败", "the failure is told")
        failing.clear()
        await until(raised.is_set, "the sweep is tried again")
        await until(lambda: engine.unhealthy() is None, "the trouble is over")

    with started(file, rules, clock, on_raised=lambda _: raised.set()) as engine:
        asyncio.run(main(engine))


def test_no_progress_is_told(file: Path, rules: Ruleset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "LONGEST_SLEEP", 0.02)
    gate = Gate("gathered")

    async def main(engine: Engine) -> None:
        await asyncio.sleep(0.1)
        assert engine.unhealthy() is None  # idle, and well: it looks after itself within the longest sleep
        task = asyncio.create_task(engine.submit([count(0)], "test"))
        await until(lambda: engine.unhealthy() == "引擎超过一分钟没有进展", "no progress is told")
        gate.open()
        await asyncio.wait_for(task, PATIENCE)
        await until(lambda: engine.unhealthy() is None, "it goes on")

    with started(file, rules, FakeClock(NOW), step=gate) as engine:
        asyncio.run(main(engine))


# Stopping


def test_stop_finishes_what_was_submitted_and_is_prompt(file: Path, rules: Ruleset) -> None:
    """Also when the wish to stop is read together with the last pushes."""
    gate = Gate("gathered")

    async def main(engine: Engine) -> tuple[list[Any], float]:
        tasks = [asyncio.create_task(outcome(engine.submit([count(0)], "test")))]
        await until(gate.reached.is_set, "the first is being written")
        tasks += [asyncio.create_task(outcome(engine.submit([count(i)], "test"))) for i in range(1, 50)]
        await asyncio.sleep(0)
        stopping = asyncio.create_task(asyncio.to_thread(engine.stop))
        await until(lambda: engine._stopping, "it is told to stop")
        await asyncio.sleep(0.05)
        refused = await outcome(engine.submit([count(99)], "test"))
        assert refused is BusyError
        begun = time.monotonic()
        gate.open()
        await stopping
        return await asyncio.gather(*tasks), time.monotonic() - begun

    database = Database(file)
    engine = Engine(database, rules, FakeClock(NOW), step=gate)
    engine.start()
    answers, seconds = asyncio.run(main(engine))
    database.close()
    assert answers == [[Taken.ACCEPTED]] * 50
    with reading(file, rules) as found:
        assert len(found.logged()) == 50
    assert seconds < PROMPT


@pytest.mark.slow
def test_stopping_under_load_leaves_no_caller_without_an_answer(file: Path, rules: Ruleset) -> None:
    """Every submission is answered: taken, and then it is in the log, or refused, and then it is not."""
    database = Database(file)
    engine = Engine(database, rules, FakeClock(NOW))
    engine.start()
    answers: dict[int, Any] = {}

    def push(begin: int) -> None:
        async def main() -> None:
            for i in range(begin, begin + 10_000):
                answers[i] = await outcome(engine.submit([count(i)], "test"))
                if answers[i] is BusyError:
                    return

        asyncio.run(main())

    threads = [threading.Thread(target=push, args=(i * 10_000,)) for i in range(4)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE
    while len(answers) < 100 and time.monotonic() < end:
        threading.Event().wait(0.01)
    engine.stop()
    for thread in threads:
        thread.join(2 * PATIENCE)
        assert not thread.is_alive()
    database.close()
    taken = {f"zhenkang/t{i:05}" for i, answer in answers.items() if answer == [Taken.ACCEPTED]}
    with reading(file, rules) as found:
        assert set(found.logged()) == taken
    assert len(taken) >= 90


def test_stopping_an_engine_whose_thread_has_died_returns(
    file: Path, rules: Ruleset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that ended by an error no one foresaw must not hang the callers that wait, nor the stop."""
    monkeypatch.setattr(engine_module, "MAX_WAITING", 2)
    gate = Gate("gathered")

    def step(name: str) -> None:
        gate(name)
        if name == "committed":
            raise KeyboardInterrupt  # nothing that the engine would catch

    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    async def main(engine: Engine) -> list[Any]:
        tasks = [asyncio.create_task(outcome(engine.submit([count(0)], "test")))]
        await until(gate.reached.is_set, "the first is being written")
        tasks += [asyncio.create_task(outcome(engine.submit([count(i)], "test"))) for i in (1, 2)]
        await asyncio.sleep(0)
        gate.open()
        await until(lambda: not engine._thread.is_alive(), "the thread has died")
        assert engine.unhealthy() == "引擎线程已停止"
        assert await outcome(engine.submit([count(3)], "test")) is BusyError
        _done, waiting = await asyncio.wait(tasks, timeout=2)
        for task in waiting:
            task.cancel()
        assert not waiting, f"{len(waiting)} callers were never answered"
        return [task.result() for task in tasks]

    database = Database(file)
    engine = Engine(database, rules, FakeClock(NOW), step=step)
    engine.start()
    try:
        found = asyncio.run(main(engine))
        assert set(found) <= {UnknownOutcomeError, BusyError}
    finally:
        stopper = threading.Thread(target=engine.stop, daemon=True)
        stopper.start()
        stopper.join(PROMPT)
        database.close()
    assert not stopper.is_alive(), "stop() hangs on the full queue of a dead engine"


# Two on one file


@pytest.mark.slow
def test_two_engines_on_one_file_lose_nothing_and_tell_each_rung_once(file: Path, rules: Ruleset) -> None:
    """Both are pushed to, some of it twice, while deadlines fall due under both."""
    clock = FakeClock(NOW)
    raised: list[Raised] = []

    async def main(one: Engine, other: Engine) -> Counter[Taken]:
        taken: Counter[Taken] = Counter()

        async def push(engine: Engine, first: int) -> None:
            for i in range(first, first + 120):
                taken.update(await asyncio.wait_for(engine.submit([received(i), count(i)], "test"), PATIENCE))
                if i % 40 == 0:
                    clock.advance(timedelta(hours=12))

        await asyncio.gather(push(one, 0), push(other, 60))
        return taken

    with started(file, rules, clock, raised.extend) as one, started(file, rules, clock, raised.extend) as other:
        taken = asyncio.run(main(one, other))
        clock.set(at("04-07 12:00"))
        with reading(file, rules, clock.now()) as found:
            end = time.monotonic() + PATIENCE
            while (wake := found.next_wake()) is not None and wake <= found.now:
                assert time.monotonic() < end
                threading.Event().wait(0.02)
    assert taken == {Taken.ACCEPTED: 360, Taken.DUPLICATE: 120}
    with reading(file, rules, clock.now()) as found:
        assert found.differences() == []
        assert found.read_cases() == expected_rows([received(i) for i in range(180)], rules, found.now)
        told = Counter((r.key, r.round, r.target, r.rung, r.due_at) for r in raised)
        assert set(told.values()) == {1}
        assert told.keys() == {alert[:-1] for alert in found.alerts()}


def test_an_engine_projects_what_another_process_has_logged(file: Path, rules: Ruleset, tmp_path: Path) -> None:
    """`liuyan replay` writes the log while the service runs: a push projects its own case, the engine the others."""
    from services.ingest.door import Door
    from services.standalone.replay import replay
    from shared.events import encode_event

    lines = tmp_path / "x.jsonl"
    lines.write_bytes(b"\n".join(encode_event(received(i)) for i in range(50)))
    with started(file, rules, FakeClock(NOW)) as engine:
        with reading(file, rules) as found:
            replay(lines, found.database, Door(rules), lambda: NOW, lambda read: None)
        assert asyncio.run(outcome(engine.submit([received(49), received(50)], "test"))) == [
            Taken.DUPLICATE, Taken.ACCEPTED,
        ]  # fmt: skip
        end = time.monotonic() + PATIENCE
        with reading(file, rules) as found:
            while found.differences():
                assert time.monotonic() < end
                threading.Event().wait(0.02)
            assert len(found.read_cases()) == 51


def test_a_push_beside_an_unfinished_replay_projects_its_own_case_only(file: Path, rules: Ruleset) -> None:
    """However much is behind, a push waits for its own; catching up goes on in steps and ends at the log's end."""
    with reading(file, rules) as found:
        database = found.database
        with database.writing() as connection:
            take(connection, [received(i) for i in range(30)], ["x:1"] * 30, NOW)
        with database.writing() as connection:
            take_and_project(connection, [received(7), received(30)], ["push"] * 2, rules, NOW)
        assert len(found.read_cases()) == 1
        with database.writing() as connection:
            assert catch_up(connection, rules, NOW)
        with database.writing() as connection:
            assert not catch_up(connection, rules, NOW)
        assert len(found.read_cases()) == 31
        assert found.differences() == []


def test_an_engine_whose_ruleset_was_replaced_changes_nothing_any_more(file: Path, rules: Ruleset) -> None:
    """Another process has recomputed everything with other files, and this one has not been stopped yet."""
    other = ruleset(shipped("policy.toml").replace("reply = 1\ncomplete = 1", "reply = 1\ncomplete = 3"))
    clock = FakeClock(NOW)
    again = [
        event(f"again-{name}", name, f"03-31 09:0{i}", subject="again", category="simple_inquiry")
        for i, name in enumerate(("received", "completed", "reopened"))
    ]

    async def main(engine: Engine) -> None:
        await asyncio.wait_for(engine.submit([received(0), *again], "test"), PATIENCE)
        with reading(file, rules, NOW) as found:
            found.restart(other)
        assert await outcome(engine.submit([received(1)], "test")) is UnknownOutcomeError
        assert engine.unhealthy() is not None
        clock.set(at("04-03 10:00"))
        await asyncio.sleep(0.5)

    with started(file, rules, clock) as engine:
        asyncio.run(main(engine))
    with reading(file, other, clock.now()) as found:
        assert found.differences() == []
        found.sweep()
        assert found.differences() == []
        assert found.read_cases() == expected_rows([received(0), *again], other, found.now)


# Replay


def test_a_line_without_end_is_a_dead_letter_and_the_next_one_is_read(
    file: Path, rules: Ruleset, tmp_path: Path
) -> None:
    from services.ingest.door import Door
    from services.ingest.strictjson import MAX_BODY
    from services.standalone.replay import replay
    from shared.events import encode_event

    lines = tmp_path / "x.jsonl"
    good = [encode_event(received(i)) for i in range(3)]
    fits = good[1] + b" " * (MAX_BODY - len(good[1]))
    lines.write_bytes(b"\n".join([good[0], b"[" * (3 * MAX_BODY + 5), fits, b"{" + b" " * MAX_BODY, good[2]]))
    with reading(file, rules) as found:
        sizes: list[int] = []
        told = replay(lines, found.database, Door(rules), lambda: NOW, sizes.append)
        assert (told.lines, told.accepted, told.bad) == (5, 3, 2)
        assert sum(sizes) == lines.stat().st_size
        assert found.dead_letters() == [("x.jsonl:2", "too_large"), ("x.jsonl:4", "too_large")]


def test_replaying_twice_changes_nothing(file: Path, rules: Ruleset, tmp_path: Path) -> None:
    """Also not the dead letters: they are counted, and an interrupted replay is run again."""
    from services.ingest.door import Door
    from services.standalone.replay import replay
    from shared.events import encode_event

    lines = tmp_path / "x.jsonl"
    other = event("s00001", "received", "03-31 09:30", subject="s00001", category="simple_inquiry")
    lines.write_bytes(b"\n".join([*(encode_event(received(i)) for i in range(3)), b"{", b"", encode_event(other)]))
    with reading(file, rules) as found:
        first = replay(lines, found.database, Door(rules), lambda: NOW, lambda read: None)
        assert (first.lines, first.accepted, first.conflicts, first.bad, first.blank) == (6, 3, 1, 1, 1)
        found.restart()
        assert found.differences() == []
        before = found.snapshot(), found.dead_letters()
        replay(lines, found.database, Door(rules), lambda: NOW, lambda read: None)
        found.restart()
        assert found.differences() == []
        assert (found.snapshot(), found.dead_letters()) == before


# Size


@pytest.mark.slow
def test_a_case_with_very_many_events(rules: Ruleset) -> None:
    """5,000 events of one case: transfers, receptions and recategorizations without end, some rounds, one more push."""
    names: list[tuple[str, dict[str, Any]]] = [
        ("transferred", {"to": "gongan"}), ("transferred", {"to": "zhenkang"}), ("received", {"category": "help"}),
        ("recategorized", {"category": "help"}), ("rated", {"score": 1}), ("completed", {}), ("reopened", {}),
    ]  # fmt: skip
    events: list[Event] = [received(0)]
    for i in range(4_999):
        name, data = names[i % 5] if i % 100 else names[5 + i // 100 % 2]
        events.append(event(f"e{i}", name, NOW + timedelta(seconds=i), subject="s00000", **data))
    with deck(rules, NOW + timedelta(days=1)) as found:
        for begin in range(0, 5_000, 1_000):
            found.push(*events[begin : begin + 1_000])
        begun = time.monotonic()
        events.append(event("last", "transferred", NOW + timedelta(hours=6), subject="s00000", to="gongan"))
        found.push(events[-1])
        assert time.monotonic() - begun < 2
        assert found.differences() == []
        assert found.read_cases() == expected_rows(events, rules, found.now)
        (row,) = found.read_cases()
        assert row["rounds"] > 20
