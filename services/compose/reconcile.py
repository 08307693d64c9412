"""Recounts everything from the log, on a path of its own, and reports every difference to what the tables say: there must be none."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, select

from services.alerts.arrivals import tally_row
from services.alerts.projection import HANDLED, Evaluated, case_row
from services.alerts.sql import chunks
from services.alerts.tables import alerts, cases, days, due_days, event_counts, figures, handled, tallies, targets
from services.compose.reconcile_rungs import compare_rungs
from services.sla.rules import evaluate, next_change
from shared.case import Case, Verdict
from shared.events import CaseEvent, Event, Tally
from shared.figures import Standing, standing
from shared.rules import Ruleset
from shared.times import from_micros, to_micros

MICROSECOND = timedelta(microseconds=1)
Progress = Callable[[int, int], None]


class Log(Struct, frozen=True):
    """Where a form keeps the accepted events: the keys of the cases, all events of some of them, and all events with the tallies."""

    keys: Sequence[str]
    histories: Callable[[Iterable[str]], Iterator[tuple[str, list[CaseEvent]]]]
    events: Iterable[Event]


def differences(
    log: Log,
    connection: Connection,
    rules: Ruleset,
    now: datetime,
    progress: Progress = lambda done, total: None,
) -> list[str]:
    """A line each (Chinese) for what the log and the tables, in the connection's snapshot, say differently.

    A row of `cases` holds until its `wake_at`; so each case is recounted as of now, or as of just before that instant when
    the sweep has not come to it yet.
    """
    found: list[str] = []
    recount = _Recount()
    done = 0
    for chunk in chunks(log.keys):
        rows = {row.key: row for row in connection.execute(select(cases).where(cases.c.key.in_(chunk)))}
        known = {key: _as_of(history, rows.get(key), rules, now) for key, history in log.histories(chunk)}
        for key, (item, _) in known.items():
            found += _compare_case(key, item, rows.get(key))
            if item.case is not None:
                recount.add(item.case)
        found += compare_rungs(connection, known, rules)
        done += len(chunk)
        progress(done, len(log.keys))
    logged = set(log.keys)
    for table, what in ((cases, "办件行"), (targets, "待办时限"), (alerts, "提醒")):
        found += [
            f"{key}：有{what}，日志中却没有它的事件"
            for key in connection.execute(select(table.c.key).distinct().order_by(table.c.key)).scalars()
            if key not in logged
        ]
    found += recount.compare(connection)
    found += _compare_events(log.events, connection, now)
    return found


def _as_of(history: list[CaseEvent], row: Any, rules: Ruleset, now: datetime) -> tuple[Evaluated, datetime]:
    wake = None if row is None or row.wake_at is None else from_micros(row.wake_at)
    as_of = now if wake is None else min(now, wake - MICROSECOND)
    case = evaluate(history, rules, as_of)
    ahead = any(event.time > as_of for event in history)
    return Evaluated(history[0].key, case, next_change(history, case, as_of), ahead), as_of


def _compare_case(key: str, item: Evaluated, row: Any) -> Iterator[str]:
    if row is None:
        yield f"{key}：日志中有它的事件，却没有办件行"
        return
    for name, value in case_row(item, None if item.case is None else standing(item.case)).items():
        if getattr(row, name) != value:
            remedy = "（启动服务会按新规则重算）" if name == "ruleset" else ""
            yield f"{key}：{name} 表中为 {getattr(row, name)!r}，重新计算为 {value!r}{remedy}"


class _Recount:
    """The kept figures, counted again."""

    def __init__(self) -> None:
        self.standings: Counter[Standing] = Counter()
        self.running: Counter[tuple[str, str, str]] = Counter()
        self.handled: Counter[tuple[str, str, str, str]] = Counter()
        self.received: Counter[tuple[str, str]] = Counter()

    def add(self, case: Case) -> None:
        self.standings[standing(case)] += 1
        if case.received_at is None:
            return
        self.received[case.platform, case.received_at.date().isoformat()] += 1
        if case.outcome in HANDLED and case.closed_at is not None:
            first, last = case.received_at.date().isoformat(), case.closed_at.date().isoformat()
            self.handled[first, last, case.platform, case.category or ""] += 1
        complete = case.rounds[-1].targets.complete
        if complete.verdict is Verdict.RUNNING and complete.due_day is not None:
            self.running[complete.due_day.isoformat(), case.platform, case.category or ""] += 1

    def compare(self, connection: Connection) -> Iterator[str]:
        kept = {Standing(*row[:-1]): row.cases for row in connection.execute(select(figures)) if row.cases}
        yield from _differences("统计", kept, self.standings)
        kept_due = {tuple(row[:-1]): row.cases for row in connection.execute(select(due_days))}
        yield from _differences("到期日", kept_due, self.running)
        kept_handled = {tuple(row[:-1]): row.cases for row in connection.execute(select(handled))}
        yield from _differences("办理时间", kept_handled, self.handled)
        rows = connection.execute(select(days.c.platform, days.c.day, days.c.received))
        yield from _differences(
            "每日接到", {(r.platform, r.day): r.received for r in rows if r.received}, self.received
        )


def _differences(what: str, kept: dict[Any, int], counted: Counter[Any]) -> Iterator[str]:
    for name in sorted(set(kept) | set(counted), key=str):
        if kept.get(name, 0) != counted[name]:
            yield f"{what} {'/'.join(map(str, name))}：表中为 {kept.get(name, 0)}，重新计数为 {counted[name]}"


def _compare_events(events: Iterable[Event], connection: Connection, now: datetime) -> Iterator[str]:
    counted: Counter[tuple[str, str]] = Counter()
    told: list[dict[str, Any]] = []
    for event in events:
        counted[event.platform, event.name] += 1
        if isinstance(event, Tally):
            told.append(tally_row(event))
    rows = connection.execute(select(event_counts.c.platform, event_counts.c.type, event_counts.c.events))
    yield from _differences("事件数", {(row.platform, row.type): row.events for row in rows}, counted)
    kept = [dict(row._mapping) for row in connection.execute(select(tallies))]  # noqa: SLF001
    found, expected = _standing_tallies(kept, now), _standing_tallies(told, now)
    for where in sorted(found.keys() | expected.keys()):
        if found.get(where) != expected.get(where):
            yield f"平台自报数 {'/'.join(where)}：表中为 {found.get(where)}，日志中为 {expected.get(where)}"


def _standing_tallies(told: list[dict[str, Any]], now: datetime) -> dict[tuple[str, ...], list[tuple[Any, ...]]]:
    """Per platform and day (time, sequence, id, number) of the tally that stands, and of those whose time is still to come."""
    limit = to_micros(now)
    found: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for row in sorted(told, key=lambda row: (row["time"], row["sequence"], row["id"]), reverse=True):
        entries = found.setdefault((row["platform"], row["day"]), [])
        if not entries or entries[-1][0] > limit:
            entries.append((row["time"], row["sequence"], row["id"], row["received"]))
    return found
