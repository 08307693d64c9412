"""Several processes on one PostgreSQL: sweeping replicas share the work, and consumers write while they do."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import pytest
import sqlalchemy
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from services.alerts.intake import Step, advance, claim
from services.alerts.projection import Evaluated, project
from services.alerts.sweep import Raised, next_wake, sweep
from services.alerts.tables import alerts
from services.sla.rules import evaluate, next_change
from shared.database import Postgres, postgres_url
from shared.events import CaseEvent
from shared.rules import Ruleset
from tests.builders import at, event, ruleset
from tests.enginekit import Deck, deck, expected_alerts, expected_due_days, expected_rows, expected_standings

RECEIVED, DUE = at("03-31 10:00"), at("04-02 00:00")
BATCH = 50

pytestmark = pytest.mark.parametrize("each_database", ["postgresql"], indirect=True)


class City:
    """What is known of the cases, and a database that several threads use."""

    def __init__(self, found: Deck, rules: Ruleset) -> None:
        self.found, self.rules = found, rules
        self.histories: dict[str, list[CaseEvent]] = {}
        self.database = Postgres(postgres_url(str(found.file)), writers=8, readers=2)

    def evaluated(self, keys: Sequence[str], now: datetime) -> list[Evaluated]:
        return [self._evaluated(key, list(self.histories[key]), now) for key in keys]

    def _evaluated(self, key: str, history: list[CaseEvent], now: datetime) -> Evaluated:
        case = evaluate(history, self.rules, now)
        return Evaluated(key, case, next_change(history, case, now), any(e.time > now for e in history))

    def add(self, events: Sequence[CaseEvent]) -> list[str]:
        for happened in events:
            self.histories.setdefault(happened.key, []).append(happened)
        return sorted({happened.key for happened in events})

    def project(self, connection: Connection, keys: Sequence[str], now: datetime) -> None:
        project(connection, self.evaluated(keys, now), self.rules, now)

    def sweep_all(self, now: datetime, until: Callable[[], bool] = lambda: True) -> list[Raised]:
        """As a replica does: batches until nothing is due."""
        raised: list[Raised] = []
        while True:
            finished = until()
            raised += self.again(
                lambda c: sweep(c, self.rules, now, lambda _, keys, at_: self.evaluated(keys, at_), BATCH)
            )
            with self.database.reading() as connection:
                wake = next_wake(connection)
            if finished and (wake is None or wake > now):
                return raised

    def again(self, work: Callable[[Connection], list[Raised]]) -> list[Raised]:
        """A transaction, tried again as a whole when the database ends a deadlock."""
        while True:
            try:
                with self.database.writing() as connection:
                    return work(connection)
            except OperationalError as error:
                if "deadlock" not in str(error.orig):
                    raise
                print("a deadlock was ended")

    @property
    def events(self) -> list[CaseEvent]:
        return [happened for history in self.histories.values() for happened in history]

    def check(self, now: datetime) -> None:
        """The tables are what the pure core says of the events."""
        self.found.clock.set(now)
        assert self.found.read_cases() == expected_rows(self.events, self.rules, now)
        assert self.found.figures() == dict(expected_standings(self.events, self.rules, now))
        assert self.found.snapshot()["due_days"] == dict(expected_due_days(self.events, self.rules, now))
        standing = {alert for alert in self.found.standing_alerts() if alert.rung != "due_today"}
        assert standing == expected_alerts(self.events, self.rules, now)
        assert set(Counter(alert[:-1] for alert in self.found.alerts()).values()) <= {1}


@pytest.fixture
def city(each_database: str, rules: Ruleset) -> Iterator[City]:
    with deck(rules, RECEIVED) as found:
        made = City(found, rules)
        yield made
        made.database.close()


def received(number: int, category: str = "simple_inquiry") -> CaseEvent:
    return event(f"r{number}", "received", RECEIVED, subject=f"s{number:04}", category=category)


def run(*works: Callable[[], object]) -> None:
    """All at once, each in a thread of its own; the first failure fails the test."""
    problems: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            problems.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    if problems:
        raise problems[0]
    assert not any(thread.is_alive() for thread in threads)


def told(raised: Sequence[Raised]) -> list[tuple[str, int, str, str, int]]:
    return [(r.key, r.round, r.target, r.rung, r.due_at) for r in raised]


def test_four_replicas_sweep_at_once_and_tell_each_alert_once(city: City) -> None:
    """600 cases fall due in one instant, a third of them reopened once; an outage later all rungs are due."""
    again = [
        event(f"{name}{n}", name, at(time), subject=f"s{n:04}")
        for n in range(0, 600, 3)
        for name, time in (("completed", "03-31 11:00"), ("reopened", "03-31 12:00"))
    ]
    keys = city.add([*(received(n) for n in range(600)), *again])
    city.again(lambda c: city.project(c, keys, at("03-31 13:00")) or [])
    raised: list[list[Raised]] = []
    now = at("04-08 10:00")
    run(*[lambda: raised.append(city.sweep_all(now))] * 4)
    everything = [alert for part in raised for alert in told(part)]
    assert len(everything) == len(set(everything)) == 600 * 2 * 4
    members = ("key", "round", "target", "rung", "due_at")
    assert {tuple(row[name] for name in members) for row in city.found.read(alerts)} == set(everything)
    assert sum(bool(part) for part in raised) > 1, "they shared the work"
    city.check(now)


def test_what_another_replica_has_in_hand_is_left_to_it(city: City) -> None:
    keys = city.add([received(n) for n in range(2 * BATCH)])
    city.again(lambda c: city.project(c, keys, RECEIVED) or [])

    def batch(connection: Connection) -> set[str]:
        return {r.key for r in sweep(connection, city.rules, DUE, lambda *_: [], 2 * BATCH)}

    with city.database.writing() as one:
        first = batch(one)
        with city.database.writing() as other:
            second = batch(other)
        assert (len(first), len(second), first & second) == (BATCH, BATCH, set())
        with city.database.writing() as third:
            assert batch(third) <= second, "their next rung"
    city.sweep_all(DUE)
    city.check(DUE)


def test_what_a_replica_had_in_hand_when_it_died_is_taken_by_another(city: City) -> None:
    keys = city.add([received(n) for n in range(10)])
    city.again(lambda c: city.project(c, keys, RECEIVED) or [])
    connection = city.database._writer.connect()
    connection.begin()
    assert sweep(connection, city.rules, DUE, lambda *_: [])
    connection.invalidate()
    connection.close()
    assert len(city.sweep_all(DUE)) == 40
    city.check(DUE)


@pytest.mark.parametrize("moment", ["FROM cases", "INSERT INTO cases"])
def test_a_sweep_in_the_midst_of_a_consumers_transaction_changes_no_figure(city: City, moment: str) -> None:
    """Whatever the consumer has just read or written of the cases that are due, a replica sweeps, and commits before it."""
    keys = city.add([received(n) for n in range(20)])
    city.again(lambda c: city.project(c, keys, RECEIVED) or [])
    changed = city.add([event(f"x{n}", "completed", at("04-06 08:00"), subject=f"s{n:04}") for n in range(10)])
    now = at("04-07 10:00")
    with city.database.writing() as connection:
        swept = interrupted(city, connection, moment, now)
        city.project(connection, changed, now)
    assert {alert.key for alert in swept} == set(keys)
    city.sweep_all(now)
    city.check(now)


def interrupted(city: City, connection: Connection, moment: str, now: datetime) -> list[Raised]:
    """Once the connection has made a statement with these words, a replica sweeps a batch and commits: what it raises."""
    swept: list[Raised] = []
    moments = [moment]

    def interrupt(_: Connection, __: object, statement: str, *___: object) -> None:
        if moments and moments[0] in statement:
            moments.pop()
            swept.extend(city.again(lambda c: sweep(c, city.rules, now, lambda *_: [], 100)))

    sqlalchemy.event.listen(connection, "after_cursor_execute", interrupt)
    return swept


def test_a_rung_that_is_reached_while_a_corrected_calendar_moves_it_is_not_told_early(city: City) -> None:
    """The warning of the day is due while the rungs are moved: `overdue` still waits for the deadline."""
    keys = city.add([received(1)])
    city.again(lambda c: city.project(c, keys, RECEIVED) or [])
    now = at("04-01 10:00")
    city.rules = ruleset(
        None, '[[local]]\ncounty = "zhenkang"\ndate = "2022-04-07"\nrest = true\nname = "x"\nsource = "x"\n'
    )
    with city.database.writing() as connection:
        interrupted(city, connection, "FROM targets", now)
        city.project(connection, keys, now)
    assert {alert.rung for alert in city.sweep_all(now)} == {"due_today"}
    with city.database.reading() as connection:
        assert next_wake(connection) == DUE


@pytest.mark.parametrize("seed", range(3))
def test_consumers_write_while_replicas_sweep(city: City, seed: int) -> None:
    """Two consumers of a partition each apply what arrives, late evidence too, while two replicas flag what is overdue."""
    now, partitions = at("04-07 10:00"), (0, 1)
    everything: dict[int, list[CaseEvent]] = {}
    for partition in partitions:
        chance = random.Random(seed * 10 + partition)  # noqa: S311 - an order, not a secret
        numbers = range(partition, 300, 2)
        later = [
            event(f"x{n}", name, at(time), subject=f"s{n:04}")
            for n in numbers
            for name, time in [
                chance.choice([("completed", "04-01 20:00"), ("completed", "04-06 08:00"), ("suspended", "04-01 12:00"),
                               ("withdrawn", "04-01 12:00"), ("reopened", "04-06 10:00"), ("resumed", "05-01 10:00")])
            ]
        ]  # fmt: skip
        everything[partition] = [*(received(n, chance.choice(["simple_inquiry", "help"])) for n in numbers), *later]
        chance.shuffle(everything[partition])
    finished = threading.Semaphore(0)
    over = threading.Event()

    def consume(partition: int) -> None:
        with city.database.writing() as connection:
            epoch = claim(connection, "liuyan.cases.v1", [partition]).epoch
        arriving = everything[partition]
        for start in range(0, len(arriving), 20):
            keys = city.add(arriving[start : start + 20])

            def apply(connection: Connection, start: int = start, keys: Sequence[str] = keys) -> list[Raised]:
                assert advance(connection, [Step("liuyan.cases.v1", partition, epoch, start, start + 20)]) == [start]
                city.project(connection, keys, now)
                return []

            city.again(apply)
        finished.release()

    def wait() -> None:
        for _ in partitions:
            finished.acquire(timeout=60)
        over.set()

    receptions = city.add([e for events in everything.values() for e in events if e.name == "received"][::2])
    city.again(lambda c: city.project(c, receptions, RECEIVED) or [])
    raised: list[Raised] = []
    run(
        *(lambda p=p: consume(p) for p in partitions),  # type: ignore[misc]
        wait,
        *[lambda: raised.extend(city.sweep_all(now, over.is_set))] * 2,
    )
    assert len(set(told(raised))) > 100
    city.check(now)
