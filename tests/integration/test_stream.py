"""The alerts service's transactions on PostgreSQL: records in, once and whole; what cannot be used is buried alone; alerts go out once."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import count
from threading import Barrier
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError

from services.alerts.intake import FencedError, GapError, claim
from services.alerts.standings import standings_now
from services.alerts.stream import apply as apply_module
from services.alerts.stream import rebuild as rebuild_module
from services.alerts.stream.apply import (
    Batch,
    Fetched,
    OtherRulesetError,
    Projector,
    adopt_ruleset,
    database_now,
    hold_state,
    share_state,
)
from services.alerts.stream.horizon import set_horizon
from services.alerts.stream.publish import Message as Told
from services.alerts.stream.publish import Publisher
from services.alerts.stream.rebuild import Rebuild, begin, projected_so_far, read_so_far, rebuilding
from services.alerts.stream.records import buried, histories
from services.alerts.stream.sweeper import Sweeper
from services.alerts.stream.tables import metadata as of_stream
from services.alerts.stream.tables import state
from services.alerts.tables import cases, event_counts, tallies
from services.alerts.tables import metadata as of_alerts
from services.compose.cases import evaluate_keys, evaluated, recaller
from services.distributed.database import open_database
from services.sla.processing import Message, process
from services.sla.rules import evaluate
from shared.database import Postgres
from shared.events import Event, encode_event
from shared.figures import Figures, tabulate
from shared.records import CaseRecord, DeadLetter, encode_letter, encode_record, record_key
from shared.rules import Ruleset
from shared.topics import ALERTS, CASES, DEAD_LETTERS, RATES
from tests.builders import at, event, ruleset, shipped
from tests.enginekit import tally
from tests.postgres import Server
from tests.service import until

NUMBERS = count(1)


@pytest.fixture
def database(postgres_server: Server) -> Iterator[Postgres]:
    found = open_database(postgres_server.create(f"stream{next(NUMBERS)}"))
    yield found
    found.close()


class Stream:
    """A partition of records that the processor would write, and the one who applies them."""

    def __init__(self, database: Postgres, rules: Ruleset) -> None:
        self.database, self.rules = database, rules
        self.known: dict[str, CaseRecord] = {}
        self.values: dict[str, list[bytes | None]] = {CASES.name: [], DEAD_LETTERS.name: []}
        self.applied = {CASES.name: 0, DEAD_LETTERS.name: 0}
        with database.writing() as connection:
            adopt_ruleset(connection, rules)
        self.projector = Projector(database, rules, evaluated)

    def write(self, *events: Event) -> None:
        messages = [Message(record_key(e).encode(), encode_event(e), f"m/0/{n}") for n, e in enumerate(events)]
        for record in process(self.known, messages, self.rules).records:
            self.known[record.key] = record
            self.values[CASES.name].append(encode_record(record))

    def batch(self, topic: str = CASES.name, first: int | None = None) -> Batch:
        with self.database.writing() as connection:
            held = claim(connection, topic, [0])
        begin = self.applied[topic] if first is None else first
        values = list(enumerate(self.values[topic]))[begin:]
        return Batch(topic, 0, held.epoch, begin, len(self.values[topic]), [Fetched(*found) for found in values])

    def apply(self, topic: str = CASES.name, first: int | None = None) -> int:
        done = self.projector.apply([self.batch(topic, first)])
        self.applied[topic] = len(self.values[topic])
        return done

    def keys(self) -> set[str]:
        with self.database.reading() as connection:
            return set(connection.execute(select(cases.c.key)).scalars())

    def letters(self) -> list[tuple[str, str]]:
        with self.database.reading() as connection:
            return sorted((letter.origin, letter.reason) for _, letter in buried(connection))

    def events(self) -> dict[tuple[str, str], int]:
        with self.database.reading() as connection:
            return {(r.platform, r.type): r.events for r in connection.execute(select(event_counts))}

    def history(self, key: str) -> list[str]:
        with self.database.reading() as connection:
            ((_, found),) = histories(connection, [key])
            return sorted(each.id for each in found)


@pytest.fixture
def stream(database: Postgres, rules: Ruleset) -> Stream:
    return Stream(database, rules)


def received(number: int, identifier: str | None = None) -> Event:
    return event(identifier or f"r{number}", "received", "03-01 09:00", subject=f"s{number}", category="help")


# Records in


def test_records_are_projected_and_their_events_counted_once(stream: Stream) -> None:
    stream.write(
        received(1), received(2), tally("t1", datetime(2022, 3, 2, tzinfo=received(1).time.tzinfo), "2022-03-01", 2)
    )
    assert stream.apply() == 3
    stream.write(event("a1", "accepted", "03-01 10:00", subject="s1"))
    assert stream.apply(first=0) == 1, "what was applied is recognised by its position"
    assert stream.keys() == {"zhenkang/s1", "zhenkang/s2"}
    assert stream.history("zhenkang/s1") == ["a1", "r1"]
    assert stream.history("zhenkang/none") == []
    assert (
        stream.events() == {("zhenkang", "received"): 2, ("zhenkang", "accepted"): 1, ("zhenkang", "received_count"): 1}
        or sum(stream.events().values()) == 4
    )
    with stream.database.reading() as connection:
        assert len(connection.execute(select(tallies)).all()) == 1


def test_an_older_revision_changes_nothing(stream: Stream) -> None:
    stream.write(received(1))
    stream.write(event("a1", "accepted", "03-01 10:00", subject="s1"))
    stream.values[CASES.name].reverse()
    stream.apply()
    stream.values[CASES.name] += stream.values[CASES.name]
    assert stream.apply() == 2
    assert stream.history("zhenkang/s1") == ["a1", "r1"]
    assert sum(stream.events().values()) == 2


def test_whoever_lost_the_partition_applies_nothing(stream: Stream) -> None:
    stream.write(received(1))
    old = stream.batch()
    stream.batch()
    with pytest.raises(FencedError):
        stream.projector.apply([old])
    with pytest.raises(GapError):
        stream.projector.apply([stream.batch()._replace(first_offset=5, next_offset=6)])
    assert stream.keys() == set()


def test_other_rules_end_what_this_process_does(stream: Stream) -> None:
    other = ruleset(
        '[[policy]]\nsource = "x"\ndefault_category = "a"\ncategories.a = {name = "a", reply = 1, complete = 1, source = "x"}'
    )
    stream.write(received(1))
    with stream.database.writing() as connection:
        assert adopt_ruleset(connection, other), "all has to be computed anew"
    with pytest.raises(OtherRulesetError):
        stream.apply()
    assert stream.keys() == set()


# What cannot be used


def test_what_nobody_of_us_wrote_is_buried_and_the_rest_is_not_held_up(stream: Stream) -> None:
    stream.write(received(1))
    deep = b"[" * 50_000
    without = b'{"key":"zhenkang/s3","revision":1,"events":' + b'[{"type":"liuyan.message.received.v1","x":' + deep
    stream.values[CASES.name] += [b"{", None, b"\xff", b'{"x":' + deep, without]
    stream.write(received(2))
    assert stream.apply() == 7
    assert stream.keys() == {"zhenkang/s1", "zhenkang/s2"}
    assert stream.letters() == [(f"{CASES.name}/0/{n}", "undecodable") for n in (1, 2, 3, 4, 5)]


def test_a_record_that_cannot_be_projected_is_buried_alone(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is that goes wrong with it: the others of its batch are there, and it is told."""
    stream.write(received(1), received(2), received(3))
    real = apply_module.project_cases

    def picky(connection: Connection, found: Sequence[Any], *rest: Any, **more: Any) -> None:
        if any(item.key == "zhenkang/s2" for item in found):
            connection.execute(text("SELECT 'no number'::int"))  # as a text that the database does not take
        real(connection, found, *rest, **more)

    monkeypatch.setattr(apply_module, "project_cases", picky)
    assert stream.apply() == 3
    assert stream.keys() == {"zhenkang/s1", "zhenkang/s3"}
    ((origin, reason),) = stream.letters()
    assert (origin.rpartition("/")[0], reason) == (f"{CASES.name}/0", "unusable")
    assert stream.apply(first=0) == 0, "all of it is behind us"


def test_texts_that_no_index_takes_and_rows_told_twice_hold_nothing_up(stream: Stream) -> None:
    """The database calls these neither errors of data nor of integrity; tried again and again they would stop the partition."""
    letter = DeadLetter(random.Random(0).randbytes(10_000).hex(), "conflict", "…")  # noqa: S311 - nothing secret
    stream.values[DEAD_LETTERS.name] += [encode_letter(letter), encode_letter(DeadLetter("m/0/7", "conflict", "…"))]
    assert stream.apply(DEAD_LETTERS.name) == 2
    counted = encode_event(tally("t", at("03-02 00:00"), "2022-03-01", 3)).decode()
    stream.values[CASES.name].append(f'{{"key":"zhenkang","revision":1,"events":[{counted},{counted}]}}'.encode())
    stream.write(received(1))
    assert stream.apply() == 2
    assert stream.keys() == {"zhenkang/s1"}
    assert stream.letters() == [
        (f"{CASES.name}/0/0", "unusable"), (f"{DEAD_LETTERS.name}/0/0", "unusable"), ("m/0/7", "conflict"),
    ]  # fmt: skip


def test_what_the_stream_says_of_a_case_is_taken_while_it_stands_and_else_evaluated(
    stream: Stream, rules: Ruleset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only of these rules, of all its events, and while no deadline has come since: the rest is evaluated here."""
    asked: list[list[str]] = []

    def counted(events: Any, *given: Any) -> Any:
        asked.append(sorted(each.id for each in events))
        return evaluate(events, *given)

    monkeypatch.setattr("services.compose.cases.evaluate", counted)
    stream.write(received(1), event("c1", "completed", "03-02 09:00", subject="s1"))
    stream.apply()
    assert asked == []
    stream.write(received(2))  # long overdue by now
    stream.rules = ruleset(shipped("policy.toml").replace("reply = 1\ncomplete = 1", "reply = 3\ncomplete = 3"))
    assert stream.rules.hash != rules.hash
    stream.write(received(3), event("c3", "completed", "03-02 09:00", subject="s3"))
    stream.apply()
    assert sorted(asked) == [["c3", "r3"], ["r2"]]
    with stream.database.reading() as connection:
        found = connection.execute(select(cases.c.key, cases.c.outcome, cases.c.ruleset).order_by(cases.c.key)).all()
    assert [tuple(row) for row in found] == [
        ("zhenkang/s1", "on_time", rules.hash), ("zhenkang/s2", "overdue", rules.hash), ("zhenkang/s3", "on_time", rules.hash),
    ]  # fmt: skip


def test_trouble_of_the_database_is_no_record_s_fault(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    stream.write(received(1), received(2))

    def broken(connection: Connection, *_: Any, **__: Any) -> None:
        connection.execute(text("SELECT * FROM nowhere"))

    with monkeypatch.context() as patched:
        patched.setattr(apply_module, "project_cases", broken)
        with pytest.raises(DBAPIError):
            stream.apply()
    assert stream.letters() == []
    assert stream.apply() == 2


def test_dead_letters_are_kept_once_however_often_they_come(stream: Stream) -> None:
    letter = DeadLetter("m/0/7", "conflict", "已有内容不同的事件", received(1))
    stream.values[DEAD_LETTERS.name] += [encode_letter(letter), encode_letter(letter), b"rubbish", b'{"x":' * 50_000]
    assert stream.apply(DEAD_LETTERS.name) == 4
    undecodable = [(f"{DEAD_LETTERS.name}/0/{n}", "undecodable") for n in (2, 3)]
    assert stream.letters() == [*undecodable, ("m/0/7", "conflict")]
    with stream.database.reading() as connection:
        assert [found.event for _, found in buried(connection) if found.origin == "m/0/7"] == [received(1)]


def test_an_event_stands_under_one_message_only(stream: Stream) -> None:
    """One id for two messages: a careless portal; in one process the second is refused at the door."""
    stream.write(received(1))
    stream.apply()
    stream.write(received(2, "r1"), event("a2", "accepted", "03-01 10:00", subject="s2"))
    stream.apply()
    assert stream.history("zhenkang/s1") == ["r1"]
    assert stream.history("zhenkang/s2") == ["a2"]
    assert stream.letters() == [(f"{CASES.name}/zhenkang/s2#r1", "conflict")]
    stream.write(event("c2", "completed", "03-01 11:00", subject="s2"))
    stream.apply()
    assert stream.history("zhenkang/s2") == ["a2", "c2"], "what was refused stays refused"
    assert sum(stream.events().values()) == 3
    assert len(stream.letters()) == 1


def test_of_two_messages_with_one_id_in_one_batch_the_first_has_it(stream: Stream) -> None:
    stream.write(received(1), received(2, "r1"), event("a2", "accepted", "03-01 10:00", subject="s2"))
    assert stream.apply() == 2
    assert (stream.history("zhenkang/s1"), stream.history("zhenkang/s2")) == (["r1"], ["a2"])
    assert stream.letters() == [(f"{CASES.name}/zhenkang/s2#r1", "conflict")]
    assert sum(stream.events().values()) == 2


# What goes out


class Outlet:
    """A topic that keeps what was committed; a send may fail before or after that."""

    def __init__(self) -> None:
        self.sent: list[Told] = []
        self.taken_over = 0
        self.failing: str | None = None

    def take_over(self) -> None:
        self.taken_over += 1

    def send(self, messages: Iterable[Told]) -> None:
        wanted, failing, self.failing = list(messages), self.failing, None
        if failing != "before":
            self.sent += wanted
        if failing is not None:
            raise OSError(failing)

    def tail(self, topic: str, number: int) -> Iterable[bytes]:
        return [told.value for told in self.sent if told.topic == topic][-number:]

    def told(self) -> Counter[str]:
        return Counter(msgspec.json.decode(found.value)["id"] for found in self.sent if found.topic == ALERTS.name)


def publisher(stream: Stream, outlet: Outlet) -> Publisher:
    def figures(connection: Connection, months: Sequence[str], at: datetime) -> Figures:
        standings = standings_now(connection, recaller(histories, stream.rules), months, at)
        return tabulate(standings, stream.rules.registry, months)

    return Publisher(stream.database, stream.rules, outlet, figures)


def fall_due(stream: Stream, *numbers: int) -> None:
    """Cases whose first rung is reached: an hour of grace after their deadline, so that they are not quiet."""
    with stream.database.reading() as connection:
        now = database_now(connection)
    begun = now - timedelta(days=200)
    for number in numbers:
        stream.write(event(f"r{number}", "received", begun, subject=f"s{number}", category="help"))
    stream.apply()
    with stream.database.writing() as connection:
        connection.execute(text("UPDATE targets SET quiet = false"))
        set_horizon(connection, now)
    found: list[Any] = []
    sweeper = Sweeper(
        stream.database, stream.rules,
        lambda c, keys, at: evaluate_keys(histories, c, keys, stream.rules, at),
        lambda raised, at: found.extend(raised),
    )  # fmt: skip
    while sweeper.step() == 0.0:
        pass
    assert found


def test_alerts_go_out_once_as_raised_and_as_cleared(stream: Stream) -> None:
    outlet = Outlet()
    fall_due(stream, 1, 2)
    told = publisher(stream, outlet)
    told.step()
    first = outlet.told()
    assert set(first.values()) == {1}
    assert all(name.endswith("/raised") for name in first)
    stream.write(event("c1", "completed", "03-01 09:30", subject="s1"))
    stream.apply()
    told.step()
    told.step()
    cleared = outlet.told() - first
    assert cleared
    assert all(name.endswith("/cleared") for name in cleared)
    assert set(outlet.told().values()) == {1}
    assert outlet.taken_over == 1
    notices = [msgspec.json.decode(found.value) for found in outlet.sent if found.topic == ALERTS.name]
    assert {n["alert"]["cleared_at"] is None for n in notices if n["what"] == "raised"} == {True}
    assert {n["alert"]["clear_reason"] for n in notices if n["what"] == "cleared"} == {"late_evidence"}


@pytest.mark.parametrize("failing", ["before", "after"])
def test_after_a_send_of_which_nobody_knows_the_outcome_each_alert_is_there_once(stream: Stream, failing: str) -> None:
    outlet = Outlet()
    fall_due(stream, 1, 2, 3)
    told = publisher(stream, outlet)
    outlet.failing = failing
    with pytest.raises(OSError, match=failing):
        told.step()
    told.step()
    told.step()
    assert outlet.taken_over == 2
    assert outlet.told()
    assert set(outlet.told().values()) == {1}


def test_when_the_database_forgets_what_went_out_more_than_once_nothing_is_told_twice(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The messages are in the topic, and the transaction that says so is lost; while more waits than one transaction takes."""
    monkeypatch.setattr("services.alerts.stream.publish.MAX_ALERTS", 2)
    outlet = Outlet()
    fall_due(stream, *range(1, 6))
    told = publisher(stream, outlet)
    for _ in range(2):
        outlet.failing = "after"
        with pytest.raises(OSError, match="after"):
            told.step()
    while told.step() == 0.0:
        pass
    told.step()
    assert outlet.told()
    assert set(outlet.told().values()) == {1}


def test_what_went_out_is_found_behind_what_was_raised_earlier_and_committed_later(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of the outbox are given before the commit: lower ones may come later."""
    monkeypatch.setattr("services.alerts.stream.publish.MAX_ALERTS", 3)
    outlet = Outlet()
    told = publisher(stream, outlet)
    fall_due(stream, 1)
    with stream.database.writing() as connection:
        connection.execute(text("UPDATE outbox SET id = id + 1000"))
    outlet.failing = "after"
    with pytest.raises(OSError, match="after"):
        told.step()
    fall_due(stream, 2, 3)
    while told.step() == 0.0:
        pass
    assert set(outlet.told().values()) == {1}


def test_another_replica_takes_over_and_tells_nothing_twice(stream: Stream) -> None:
    outlet = Outlet()
    one, other = publisher(stream, outlet), publisher(stream, outlet)
    fall_due(stream, 1)
    outlet.failing = "after"
    with pytest.raises(OSError, match="after"):
        one.step()
    other.step()
    fall_due(stream, 2)
    one.step()
    other.step()
    assert set(outlet.told().values()) == {1}
    assert outlet.taken_over == 4, "whoever was not the last to publish looks first"


def test_one_publishes_at_a_time(stream: Stream) -> None:
    outlet = Outlet()
    fall_due(stream, 1)
    with stream.database.writing() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": 0x6C69757462})
        assert publisher(stream, outlet).step() > 0
    assert outlet.sent == []


def test_figures_go_out_when_they_changed_and_not_before_everything_was_read(stream: Stream) -> None:
    outlet = Outlet()
    told = publisher(stream, outlet)
    told.step()
    assert outlet.sent == [], "nothing was read yet"
    with stream.database.writing() as connection:
        now = database_now(connection)
        set_horizon(connection, now)
    told.step()
    told.step()
    rates = [found for found in outlet.sent if found.topic == RATES.name]
    assert [found.key for found in rates] == list(stream.rules.registry.slugs)
    stream.write(event("r1", "received", now - timedelta(minutes=1), subject="s1", category="help"))
    stream.apply()
    told.step()
    (changed,) = [found for found in outlet.sent if found.topic == RATES.name][len(rates) :]
    assert changed.key == "zhenkang"
    value = msgspec.json.decode(changed.value)
    assert value["figures"][0]["received"] == 1
    assert value["ruleset"] == stream.rules.hash


# Other rules


def test_after_a_change_of_rules_every_case_is_computed_anew_before_anything_falls_due(stream: Stream) -> None:
    stream.write(*(received(number) for number in range(5)))
    stream.apply()
    other = ruleset(
        '[[policy]]\nsource = "x"\ndefault_category = "help"\ncategories.help = {name = "求助", reply = 9, complete = 9, source = "x"}'
    )
    with stream.database.writing() as connection:
        assert adopt_ruleset(connection, other)
        set_horizon(connection, database_now(connection))
    raised: list[Any] = []
    sweeper = Sweeper(
        stream.database,
        other,
        lambda c, keys, at: evaluate_keys(histories, c, keys, other, at),
        lambda found, at: raised.extend(found),
    )
    sweeper.step()
    with stream.database.reading() as connection:
        assert set(connection.execute(select(cases.c.ruleset)).scalars()) == {other.hash}
        assert raised == []
    with stream.database.writing() as connection:
        assert adopt_ruleset(connection, other), "that all of them are is not known yet"
    while sweeper.step() == 0.0:
        pass
    with stream.database.writing() as connection:
        assert not adopt_ruleset(connection, other)
    assert raised


# Made anew


def rebuild_of(stream: Stream) -> Rebuild:
    return Rebuild(
        stream.database, stream.rules, lambda c, keys, at: evaluate_keys(histories, c, keys, stream.rules, at)
    )


def begin_rebuild(stream: Stream) -> None:
    with stream.database.writing() as connection:
        begin(connection, stream.rules, lambda topic: {0: len(stream.values[topic])})


def carry_on(found: Rebuild, stream: Stream) -> None:
    """Until nothing of it is left."""
    for _ in range(50):
        found.step()
        with stream.database.reading() as connection:
            if rebuilding(connection) is None:
                return
    raise AssertionError("it does not come to its end")


def contents(stream: Stream) -> dict[str, list[Any]]:
    """Everything but the numbers of rows and positions."""
    with stream.database.reading() as connection:
        return {
            table.name: sorted(
                tuple(str(v) for name, v in row._mapping.items() if name != "id")
                for row in connection.execute(select(table))
            )
            for table in (*of_alerts.sorted_tables, *of_stream.sorted_tables)
            if table.name not in ("consumer_positions", "stream_state", "horizons", "publishers")
        }


def test_a_rebuild_gives_the_same_tables_and_raises_and_clears_nothing(stream: Stream) -> None:
    fall_due(stream, 1, 2, 3)
    stream.write(event("c1", "completed", "03-01 09:30", subject="s1"), received(9, "r2"))
    stream.values[CASES.name].append(b"{")
    stream.apply()
    before = contents(stream)
    begin_rebuild(stream)
    begin_rebuild(stream)
    with stream.database.reading() as connection:
        assert rebuilding(connection) == "reading"
    assert stream.keys() == set()
    found = rebuild_of(stream)
    assert found.step() > 0, "what is not read yet is waited for"
    assert stream.apply(first=0) == len(stream.values[CASES.name])
    assert stream.keys() == set(), "nothing is projected before everything is read"
    stream.apply(DEAD_LETTERS.name, first=0)
    carry_on(found, stream)
    assert contents(stream) == before
    with stream.database.reading() as connection:
        assert read_so_far(connection) == (0, 0)
        assert projected_so_far(connection)[0] == len(stream.keys())


def test_nothing_falls_due_while_it_is_rebuilt(stream: Stream) -> None:
    stream.write(received(1))
    stream.apply()
    begin_rebuild(stream)
    with stream.database.writing() as connection:
        set_horizon(connection, database_now(connection))
    raised: list[Any] = []
    sweeper = Sweeper(
        stream.database, stream.rules,
        lambda c, keys, at: evaluate_keys(histories, c, keys, stream.rules, at),
        lambda found, at: raised.extend(found),
    )  # fmt: skip
    assert sweeper.step() > 0
    assert sweeper.rebuilding
    assert raised == []
    stream.apply(first=0)
    while sweeper.step() == 0.0:
        pass
    assert not sweeper.rebuilding
    assert raised


def test_a_record_that_cannot_be_projected_is_buried_in_a_rebuild_too(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.write(received(1), received(2))
    stream.apply()
    begin_rebuild(stream)
    stream.apply(first=0)
    real = rebuild_module.project

    def picky(connection: Connection, found: Sequence[Any], *rest: Any, **more: Any) -> None:
        if any(item.key == "zhenkang/s2" for item in found):
            raise ValueError("no such thing")
        real(connection, found, *rest, **more)

    monkeypatch.setattr(rebuild_module, "project", picky)
    carry_on(rebuild_of(stream), stream)
    assert stream.keys() == {"zhenkang/s1"}
    assert stream.letters() == [(f"{CASES.name}/zhenkang/s2", "unusable")]


def test_a_rebuild_under_other_rules_is_refused(stream: Stream) -> None:
    other = ruleset(
        '[[policy]]\nsource = "x"\ndefault_category = "a"\ncategories.a = {name = "a", reply = 1, complete = 1, source = "x"}'
    )
    with pytest.raises(OtherRulesetError), stream.database.writing() as connection:
        begin(connection, other, lambda topic: {})


def test_two_replicas_that_find_all_cases_computed_at_once_end_it(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Barrier(2, timeout=30)
    real = Sweeper._recompute_some

    def together(self: Sweeper, connection: Connection) -> bool:
        found = real(self, connection)
        both.wait()
        return found

    with stream.database.writing() as connection:
        connection.execute(update(state).values(recomputed=False))
    monkeypatch.setattr(Sweeper, "_recompute_some", together)
    sweepers = [Sweeper(stream.database, stream.rules, lambda *_: [], lambda *_: None) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(Sweeper.step, sweepers)) == [0.0, 0.0]
    with stream.database.reading() as connection:
        assert connection.execute(select(state.c.recomputed)).scalar_one()


def test_whoever_changes_the_state_is_next_however_many_share_it(stream: Stream) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")

    def change() -> None:
        with stream.database.writing() as connection:
            hold_state(connection)

    def someone_waits() -> bool:
        with stream.database.reading() as connection:
            return bool(connection.execute(waiting).scalar_one())

    with ThreadPoolExecutor(1) as pool:
        with stream.database.writing() as sharing:
            share_state(sharing)
            changed = pool.submit(change)
            until(someone_waits, "the change waits for who shares")
            with stream.database.writing() as late:
                late.execute(text("SET LOCAL lock_timeout = '50ms'"))
                with pytest.raises(OperationalError, match="lock timeout"):
                    share_state(late)
                late.rollback()
        changed.result(30)
