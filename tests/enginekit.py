"""The embedded engine in a test's hand: the transactions of its thread, made when the test says so, under a clock that it sets.

`Deck` is one SQLite file with what the engine does to it (push, sweep, restart) and what can be read from it. `expected_…` are
the same answers from the pure core alone. `run_embedded` is an engine for tests/test_scenarios.py.
"""

import atexit
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Table, select

from services.alerts.arrivals import tally_gaps
from services.alerts.queries import all_keys
from services.alerts.rungs import DUE_TODAY, open_targets
from services.alerts.standings import Recall, standings_as_of, standings_now
from services.alerts.sweep import Raised, next_wake
from services.alerts.tables import alerts, cases, days, due_days, event_counts, figures, handled, tallies, targets
from services.compose.cases import recaller as cases_as_of
from services.ingest.port import Taken
from services.sla.rules import evaluate, next_change
from services.standalone import log
from services.standalone.apply import sweep_due, take_and_project
from services.standalone.database import Database, open_database
from services.standalone.engine import Engine
from services.standalone.reconcile import reconcile
from shared.case import Verdict, encode_case
from shared.database import Postgres, postgres_url
from shared.events import EVENT_TYPES, SOURCE_PREFIX, CaseEvent, Event, Tally, accept
from shared.figures import Standing, standing
from shared.rules import Ruleset
from shared.times import to_micros
from tests.fakes import FakeClock
from tests.postgres import fresh_database

MEMORY = Path("/dev/shm")  # noqa: S108 - in memory where there is such a folder: these tests are not about the disk
SWEEPS = 1_000  # more in a row without coming to rest is an endless loop

Row = dict[str, Any]


class Alert(NamedTuple):
    """An alert as it is told apart, and how it was cleared."""

    key: str
    round: int
    target: str
    rung: str
    due_at: int
    cleared: str | None = None


def recaller(rules: Ruleset) -> Recall:
    """As the composition root gives it to the reading side."""
    return cases_as_of(log.histories, rules)


@cache
def _template() -> Path:
    """An empty database with all its tables, to be copied: faster than making them each time."""
    folder = tempfile.mkdtemp(prefix="liuyan-template-", dir=MEMORY if MEMORY.is_dir() else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    open_database(Path(folder) / "empty.db", create=True).close()
    return Path(folder) / "empty.db"


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that is gone afterwards, in memory where possible."""
    with tempfile.TemporaryDirectory(prefix="liuyan-deck-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)


def fresh_file(where: Path, name: str = "liuyan.db") -> Path:
    """A new database file with its tables."""
    return Path(shutil.copy(_template(), where / name))


class Deck:
    """One database, a file or an address of PostgreSQL, and what the engine's thread would do to it."""

    def __init__(self, file: Path | str, rules: Ruleset, now: datetime) -> None:
        self.file, self.rules, self.clock = file, rules, FakeClock(now)
        self.database = _open(file)
        self.raised: list[Raised] = []

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def close(self) -> None:
        self.database.close()

    def restart(self, rules: Ruleset | None = None) -> None:
        """As a new process would: everything from the file."""
        self.database.close()
        self.database, self.rules = _open(self.file), rules or self.rules
        Engine(self.database, self.rules, self.clock).prepare()

    def push(self, *events: Event, origin: str = "test") -> list[Taken]:
        """One transaction of the engine."""
        with self.database.writing() as connection:
            return take_and_project(connection, events, [origin] * len(events), self.rules, self.now)

    def sweep_once(self, batch: int = 5_000) -> tuple[Raised, ...]:
        """One batch of what is due, with a transaction of its own."""
        with self.database.writing() as connection:
            found = sweep_due(connection, self.rules, self.now, batch)
        self.raised += found
        return tuple(found)

    def sweep(self, to: datetime | None = None, batch: int = 5_000) -> list[Raised]:
        """Set the clock if told so, and sweep until nothing is due: what was raised on the way."""
        if to is not None:
            self.clock.set(to)
        raised: list[Raised] = []
        for _ in range(SWEEPS):
            wake = self.next_wake()
            if wake is None or wake > self.now:
                return raised
            raised += self.sweep_once(batch)
        raise AssertionError(f"the sweep does not come to rest: {wake} at {self.now}")

    def next_wake(self) -> datetime | None:
        with self.database.reading() as connection:
            return next_wake(connection)

    def differences(self) -> list[str]:
        with self.database.reading() as connection:
            return reconcile(connection, self.rules, self.now)

    def encoded(self, as_of: datetime | None = None) -> list[bytes]:
        """All cases known as of then, in the order in which they are listed."""
        with self.database.reading() as connection:
            keys = all_keys(connection, self.rules.registry)
            return [encode_case(case) for case in recaller(self.rules)(connection, keys, as_of or self.now)]

    def read(self, table: Table) -> list[Row]:
        with self.database.reading() as connection:
            return [dict(row._mapping) for row in connection.execute(select(table))]

    def read_cases(self) -> list[Row]:
        return sorted(self.read(cases), key=lambda row: str(row["key"]))

    def row(self, key: str) -> Row:
        (row,) = (row for row in self.read(cases) if row["key"] == key)
        return row

    def alerts(self) -> list[Alert]:
        """All that were ever recorded, in the order of their recording."""
        return [
            Alert(*(row[name] for name in Alert._fields[:-1]), cleared=row["clear_reason"])
            for row in sorted(self.read(alerts), key=lambda row: row["id"])
        ]

    def standing_alerts(self) -> set[Alert]:
        """Those that were not cleared."""
        return {alert for alert in self.alerts() if alert.cleared is None}

    def rungs(self, key: str, target: str = "complete") -> list[tuple[str, str | None]]:
        """(rung, how it was cleared) of the alerts of a target, in order."""
        return [(a.rung, a.cleared) for a in self.alerts() if (a.key, a.target) == (key, target)]

    def figures(self) -> dict[Standing, int]:
        """The kept figures; what counts nothing is left out."""
        return {
            Standing(**{name: row[name] for name in Standing._fields}): row["cases"]
            for row in self.read(figures)
            if row["cases"]
        }

    def standings_now(self, months: Iterable[str]) -> Counter[Standing]:
        with self.database.reading() as connection:
            return +standings_now(connection, recaller(self.rules), months, self.now)

    def standings_as_of(self, months: Iterable[str], as_of: datetime) -> Counter[Standing]:
        with self.database.reading() as connection:
            return +standings_as_of(connection, recaller(self.rules), months, as_of)

    def days(self) -> dict[tuple[str, str], Any]:
        """(platform, day) -> (received, the tally that stands now, its id)."""
        stands: dict[tuple[str, str], Row] = {}
        for row in sorted(self.read(tallies), key=lambda row: (row["time"], row["sequence"], row["id"])):
            if row["time"] <= to_micros(self.now):
                stands[row["platform"], row["day"]] = row
        received = {(r["platform"], r["day"]): r["received"] for r in self.read(days) if r["received"]}
        nothing: Row = {"received": None, "id": None}
        return {
            day: (received.get(day, 0), *(stands.get(day, nothing)[name] for name in ("received", "id")))
            for day in received.keys() | stands.keys()
        }

    def tally_gaps(self) -> dict[str, int]:
        with self.database.reading() as connection:
            return tally_gaps(connection, self.now)

    def logged(self) -> list[str]:
        """The idents in the log, in the order of acceptance."""
        with self.database.reading() as connection:
            return list(connection.execute(select(log.events.c.ident).order_by(log.events.c.position)).scalars())

    def dead_letters(self) -> list[tuple[str, str]]:
        with self.database.reading() as connection:
            return [(letter.origin, letter.reason) for _, letter in log.buried(connection)]

    def snapshot(self) -> dict[str, Any]:
        """Everything that must depend on nothing but the accepted events, the rules and the last sweep's instant."""
        kept = ("key", "round", "target", "due_at", "next_rung", "next_at", "escalate_1_at", "escalate_2_at")
        return {
            "cases": self.read_cases(),
            "encoded": self.encoded(),
            "figures": self.figures(),
            "due_days": {(r["due_day"], r["platform"], r["category"]): r["cases"] for r in self.read(due_days)},
            "handled": {tuple(row.values())[:-1]: row["cases"] for row in self.read(handled)},
            "days": self.days(),
            "events": {(r["platform"], r["type"]): r["events"] for r in self.read(event_counts)},
            "targets": {tuple(row[name] for name in kept) for row in self.read(targets)},
            "alerts": {alert for alert in self.standing_alerts() if alert.rung != DUE_TODAY},
        }


def _open(where: Path | str) -> Any:
    """PostgreSQL offers what the embedded engine's `Database` does: the same code runs on it."""
    return Database(where) if isinstance(where, Path) else Postgres(postgres_url(where), writers=2, readers=2)


ON_POSTGRES: ContextVar[bool] = ContextVar("ON_POSTGRES", default=False)
"""Where `deck` makes its databases (the fixture `each_database` in tests/conftest.py)."""


@contextmanager
def deck(rules: Ruleset, now: datetime) -> Iterator[Deck]:
    """A deck on a new database that is gone afterwards."""
    with ExitStack() as stack:
        where: Path | str = (
            stack.enter_context(fresh_database()) if ON_POSTGRES.get() else fresh_file(stack.enter_context(folder()))
        )
        found = Deck(where, rules, now)
        stack.callback(found.close)
        yield found


# From the pure core alone


def accepted(events: Iterable[Event]) -> list[Event]:
    """Those that stand when they arrive in this order: what is first of a (source, id)."""
    return list(accept({}, events).new)


def grouped(events: Iterable[Event], rules: Ruleset) -> dict[str, list[CaseEvent]]:
    """The accepted events by case, in the order in which cases are listed."""
    found: dict[tuple[int, str], list[CaseEvent]] = {}
    for event in accepted(events):
        if isinstance(event, CaseEvent):
            found.setdefault((rules.registry.slugs.index(event.platform), event.subject), []).append(event)
    return {histories[0].key: histories for _, histories in sorted(found.items())}


def expected_cases(events: Iterable[Event], rules: Ruleset, as_of: datetime) -> list[bytes]:
    found = (evaluate(history, rules, as_of) for history in grouped(events, rules).values())
    return [encode_case(case) for case in found if case is not None]


def expected_standings(events: Iterable[Event], rules: Ruleset, as_of: datetime) -> Counter[Standing]:
    found = (evaluate(history, rules, as_of) for history in grouped(events, rules).values())
    return Counter(standing(case) for case in found if case is not None)


def expected_rows(events: Iterable[Event], rules: Ruleset, now: datetime) -> list[Row]:
    """The rows of `cases` as they are when each case was looked at now, in the order of their keys."""
    rows = (_expected_row(history, rules, now) for history in grouped(events, rules).values())
    return sorted(rows, key=lambda row: str(row["key"]))


def _expected_row(history: list[CaseEvent], rules: Ruleset, now: datetime) -> Row:
    case, first = evaluate(history, rules, now), history[0]
    row: Row = {
        **dict.fromkeys(column.name for column in cases.columns),
        **dict.fromkeys(("county", "month", "first_reply", "complete", "ruleset"), ""),
        **dict.fromkeys(("breached", "suspended", "provisional"), False),
        "key": first.key, "platform": first.platform, "subject": first.subject, "rounds": 0,
        "wake_at": _micros(next_change(history, case, now)), "events_ahead": any(e.time > now for e in history),
    }  # fmt: skip
    if case is None:
        return row
    row |= {"county": case.county, "status": case.status.value, "ruleset": case.ruleset}
    if case.received_at is None:
        return row
    reply, complete = case.rounds[0].targets.reply, case.rounds[-1].targets.complete
    stopped = case.outcome == "pending" and case.status == "suspended"
    return row | {
        **{name: getattr(case, name) for name in ("category", "breached", "provisional", "holder")},
        "title": case.title if len(case.title or "") <= 200 else f"{case.title:.199}…",
        "stage": case.stage and case.stage.value, "outcome": case.outcome and case.outcome.value,
        "suspended": stopped, "month": f"{case.received_at:%Y-%m}", "received_day": f"{case.received_at:%Y-%m-%d}",
        "received_at": _micros(case.received_at), "closed_at": _micros(case.closed_at), "rounds": len(case.rounds),
        "first_reply": reply.verdict.value, "complete": complete.verdict.value, "due_at": _micros(complete.due_at),
        "first_reply_due_at": _micros(reply.due_at) if reply.verdict is Verdict.RUNNING else None,
        "due_day": None if complete.due_day is None else complete.due_day.isoformat(),
    }  # fmt: skip


def _micros(instant: datetime | None) -> int | None:
    return None if instant is None else to_micros(instant)


def expected_alerts(events: Iterable[Event], rules: Ruleset, now: datetime) -> set[Alert]:
    """The alerts that stand now, those of the morning left out: every rung reached by an open target or suspension."""
    found: set[Alert] = set()
    for key, history in grouped(events, rules).items():
        case = evaluate(history, rules, now)
        for target in open_targets(case, rules, now) if case else []:
            due = target.due_at
            last = "suspended-long" if target.target == "suspension" else "overdue"
            reached = [(last, due), ("escalated-1", target.escalate_1_at), ("escalated-2", target.escalate_2_at)]
            found |= {
                Alert(key, target.round, target.target, rung, due)
                for rung, at in reached
                if at is not None and at <= to_micros(now)
            }
    return found


def expected_due_days(events: Iterable[Event], rules: Ruleset, now: datetime) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for history in grouped(events, rules).values():
        case = evaluate(history, rules, now)
        if case is not None and case.rounds:
            complete = case.rounds[-1].targets.complete
            if complete.verdict is Verdict.RUNNING:
                found[str(complete.due_day), case.platform, str(case.category)] += 1
    return found


def expected_handled(events: Iterable[Event], rules: Ruleset, now: datetime) -> Counter[tuple[str, str, str, str]]:
    """(day of reception, day of closing, platform, category) -> how many completed cases."""
    found: Counter[tuple[str, str, str, str]] = Counter()
    for history in grouped(events, rules).values():
        case = evaluate(history, rules, now)
        if case is not None and case.outcome in ("on_time", "late"):
            found[str(case.received_at)[:10], str(case.closed_at)[:10], case.platform, str(case.category)] += 1
    return found


def expected_days(events: Iterable[Event], rules: Ruleset, now: datetime) -> dict[tuple[str, str], Any]:
    """(platform, day) -> (received, the tally that stands, its id)."""
    events = list(events)
    received: Counter[tuple[str, str]] = Counter()
    for history in grouped(events, rules).values():
        case = evaluate(history, rules, now)
        if case is not None and case.received_at is not None:
            received[case.platform, case.received_at.date().isoformat()] += 1
    tallies: dict[tuple[str, str], tuple[datetime, int, str, int]] = {}
    for event in accepted(events):
        if isinstance(event, Tally) and event.time <= now:
            day = (event.platform, event.data.date.isoformat())
            entry = (event.time, int(event.sequence), event.id, event.data.received)
            tallies[day] = max(tallies.get(day, entry), entry)
    return {
        day: (received[day], tallies[day][3] if day in tallies else None, tallies[day][2] if day in tallies else None)
        for day in received.keys() | tallies.keys()
    }


def expected_snapshot(events: Iterable[Event], rules: Ruleset, now: datetime) -> dict[str, Any]:
    """`Deck.snapshot` after a sweep at `now`, but for the targets, from the pure core alone."""
    events = list(events)
    return {
        "cases": expected_rows(events, rules, now),
        "encoded": expected_cases(events, rules, now),
        "figures": dict(expected_standings(events, rules, now)),
        "due_days": dict(expected_due_days(events, rules, now)),
        "handled": dict(expected_handled(events, rules, now)),
        "days": expected_days(events, rules, now),
        "events": dict(Counter((event.platform, event.name) for event in accepted(events))),
        "alerts": expected_alerts(events, rules, now),
    }


def tally(
    identifier: str, time: datetime, day: str, received: int, platform: str = "zhenkang", sequence: int = 0
) -> Tally:
    """A settled tally."""
    members = {
        "specversion": "1.0",
        "id": identifier,
        "source": f"{SOURCE_PREFIX}{platform}",
        "time": time,
        "sequence": str(sequence),
        "data": {"date": day, "received": received},
    }
    found: Tally = msgspec.convert(members, EVENT_TYPES["liuyan.platform.tally.v1"])
    return found


def run_embedded(events: Sequence[CaseEvent], rules: Ruleset, as_of: datetime) -> list[Any]:
    """The events, in the order in which they arrive, through the log and the projections: the JSON of every case as of then.

    Each event arrives when it happens or, where it comes late, with the one before it; between them deadlines fall due. In
    the middle the process is started again. The list and the figures must agree with the cases.
    """
    start = min((event.time for event in events), default=as_of)
    with deck(rules, start) as found:
        for number, event in enumerate(events):
            found.sweep(max(found.now, event.time))
            found.push(event)
            if number == len(events) // 2:
                found.restart()
        found.sweep(max(found.now, as_of))
        assert found.differences() == []
        listed = found.encoded(as_of)
        months = {row["month"] for row in found.read(cases)} - {""}
        counted = found.standings_as_of(months, as_of)
        assert counted == Counter(s for s in expected_standings(events, rules, as_of).elements() if s.month)
        return [msgspec.json.decode(case) for case in listed]


# The real engine, with its thread


@contextmanager
def started(
    file: Path,
    rules: Ruleset,
    clock: FakeClock,
    on_raised: Callable[[tuple[Raised, ...]], None] = lambda raised: None,
    step: Callable[[str], None] = lambda name: None,
) -> Iterator[Engine]:
    """An engine on the file, its thread running; stopped and closed afterwards."""
    database = Database(file)
    engine = Engine(database, rules, clock, on_raised, step)
    engine.prepare()
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()
        database.close()
