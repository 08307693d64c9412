"""Writes what cases have become: the list, the open targets, the clearing of alerts and the sums, in the caller's transaction."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from functools import lru_cache
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Select, bindparam, delete, select, update

from services.alerts.clearing import clear_alerts
from services.alerts.rungs import DUE_TODAY, ESCALATED_1, ESCALATED_2, OVERDUE, OpenTarget, open_targets
from services.alerts.sql import among, chunks, insert_many, put
from services.alerts.sums import Sums
from services.alerts.tables import cases, targets
from shared.case import Case, Outcome, Status, Verdict
from shared.figures import Standing, awaiting, standing
from shared.rules import Ruleset
from shared.times import from_micros, to_micros

LONGEST_TITLE = 200
HANDLED = (Outcome.ON_TIME, Outcome.LATE)
"""Of the completed cases whose time of handling counts."""


class Evaluated(Struct, frozen=True, gc=False):
    """A case as of now; `case` is None while all its events lie in the future. `wake_at`: when it changes by itself."""

    key: str
    case: Case | None
    wake_at: datetime | None
    events_ahead: bool


STANDING = (
    cases.c.platform, cases.c.month, cases.c.category, cases.c.outcome, cases.c.breached, cases.c.suspended,
    cases.c.first_reply, cases.c.provisional,
)  # fmt: skip


@lru_cache
def _old(dialect_name: str) -> Select[Any]:
    """The rows of these keys; no sweep may turn them before the difference is written."""
    return _OLD.where(among(dialect_name, cases.c.key, "keys")).with_for_update()


@lru_cache
def _open_targets(dialect_name: str) -> Select[Any]:
    return select(targets).where(among(dialect_name, targets.c.key, "keys")).with_for_update()


_OLD = select(
    cases.c.key,
    cases.c.status,
    cases.c.complete,
    cases.c.due_day,
    cases.c.received_at,
    cases.c.received_day,
    cases.c.closed_at,
    *STANDING,
)


def row_standing(row: Any) -> Standing | None:
    """The standing that a row of `cases` stands for; None where nothing is known of the case yet."""
    if row.status is None:
        return None
    if row.status == Status.AWAITING_RECEPTION:
        return awaiting(row.platform)
    return Standing(
        row.platform, row.month, row.category, row.outcome, bool(row.breached), bool(row.suspended),
        row.first_reply, bool(row.provisional),
    )  # fmt: skip


def project(
    connection: Connection,
    evaluated: Sequence[Evaluated],
    rules: Ruleset,
    now: datetime,
    recomputed: bool = False,
    rebuilt: bool = False,
) -> None:
    """Bring the projections of these cases (each key once) up to date. `recomputed`: because the ruleset changed.
    `rebuilt`: also a case without a row may have targets and alerts."""
    sums = Sums()
    project_cases(connection, evaluated, rules, now, sums, recomputed, rebuilt)
    sums.write(connection)


def project_cases(
    connection: Connection,
    evaluated: Sequence[Evaluated],
    rules: Ruleset,
    now: datetime,
    sums: Sums,
    recomputed: bool = False,
    rebuilt: bool = False,
) -> None:
    """As `project`, for who has more to write before the sums."""
    for chunk in chunks(evaluated):
        _project(connection, chunk, rules, now, sums, recomputed, rebuilt)


def _project(
    connection: Connection,
    evaluated: list[Evaluated],
    rules: Ruleset,
    now: datetime,
    sums: Sums,
    recomputed: bool,
    rebuilt: bool,
) -> None:
    known: set[str] = set()
    for old in connection.execute(_old(connection.dialect.name), {"keys": [item.key for item in evaluated]}):
        known.add(old.key)
        before = row_standing(old)
        if before is not None:
            _count(sums, before, old._asdict(), -1)
    rows = []
    for item in evaluated:
        after = None if item.case is None else standing(item.case)
        row = case_row(item, after)
        rows.append(row)
        if after is not None:
            _count(sums, after, row, 1)
    put(connection, cases, rows, known)
    if rebuilt:
        known = {item.key for item in evaluated}
    _project_targets(connection, evaluated, known, rules, now)
    if known:  # a case that was not there before has no alerts
        standing_cases = {item.key: item.case for item in evaluated if item.key in known}
        clear_alerts(connection, standing_cases, rules, now, recomputed)


def _count(sums: Sums, of: Standing, row: Mapping[str, Any], number: int) -> None:
    """A case, whose row this is, in or out."""
    sums.standings[of] += number
    if row["complete"] == Verdict.RUNNING:
        sums.running[row["due_day"], row["platform"], row["category"]] += number
    if row["outcome"] in HANDLED:
        closed_day = from_micros(row["closed_at"]).date().isoformat()
        sums.handled[row["received_day"], closed_day, row["platform"], row["category"]] += number
    if row["received_at"] is not None:
        sums.received[row["platform"], row["received_day"]] += number


def cut(title: str | None) -> str | None:
    """A title for lists: at most `LONGEST_TITLE` characters."""
    return title if title is None or len(title) <= LONGEST_TITLE else title[: LONGEST_TITLE - 1] + "…"


def case_row(item: Evaluated, now_standing: Standing | None) -> dict[str, Any]:
    """The row of `cases`: a case as lists and filters see it; `now_standing` is the case's standing."""
    case = item.case
    wake_at = None if item.wake_at is None else to_micros(item.wake_at)
    if case is None or now_standing is None or case.received_at is None:
        platform, _, subject = item.key.partition("/")
        known = {} if case is None else {"county": case.county, "status": case.status.value, "ruleset": case.ruleset}
        own = {"key": item.key, "platform": platform, "subject": subject, "wake_at": wake_at}
        return {**_NOTHING_KNOWN, **own, **known, "events_ahead": item.events_ahead}
    reply, complete = case.rounds[0].targets.reply, case.rounds[-1].targets.complete
    return {
        "key": item.key,
        "platform": case.platform,
        "subject": item.key[len(case.platform) + 1 :],
        "county": case.county,
        "status": case.status.value,
        "stage": None if case.stage is None else case.stage.value,
        "category": case.category,
        "title": cut(case.title),
        "outcome": now_standing.outcome,
        "breached": case.breached,
        "suspended": now_standing.suspended,
        "provisional": case.provisional,
        "month": now_standing.month,
        "received_at": to_micros(case.received_at),
        "received_day": case.received_at.date().isoformat(),
        "closed_at": None if case.closed_at is None else to_micros(case.closed_at),
        "holder": case.holder,
        "rounds": len(case.rounds),
        "first_reply": now_standing.reply,
        "first_reply_due_at": to_micros(reply.due_at) if reply.due_at and reply.verdict is Verdict.RUNNING else None,
        "complete": complete.verdict.value,
        "due_at": None if complete.due_at is None else to_micros(complete.due_at),
        "due_day": None if complete.due_day is None else complete.due_day.isoformat(),
        "ruleset": case.ruleset,
        "wake_at": wake_at,
        "events_ahead": item.events_ahead,
    }


_NOTHING_KNOWN: dict[str, Any] = {
    **dict.fromkeys(column.name for column in cases.columns),
    "county": "", "breached": False, "suspended": False, "provisional": False, "month": "", "rounds": 0,
    "first_reply": "", "complete": "", "ruleset": "",
}  # fmt: skip


_SHIFT = (
    update(targets)
    .where(targets.c.id == bindparam("row"))
    .values(
        next_at=bindparam("new_next_at"), escalate_1_at=bindparam("new_first"), escalate_2_at=bindparam("new_second")
    )
)


def rungs_to_come(target: OpenTarget, rung: str | None, at: int | None) -> tuple[int | None, int | None, int | None]:
    """When the next rung of a target that stands is reached now, and the escalations; what was raised stays raised."""
    first, second = target.escalate_1_at, target.escalate_2_at
    to_come = {target.first_rung: target.first_at, OVERDUE: target.due_at, ESCALATED_1: first, ESCALATED_2: second}
    if target.morning_at is not None:
        to_come[DUE_TODAY] = target.morning_at
    return to_come.get(rung, at) if rung is not None else None, first, second


def _project_targets(
    connection: Connection, evaluated: list[Evaluated], known: AbstractSet[str], rules: Ruleset, now: datetime
) -> None:
    """Open targets in, others out. A target that stands as it was keeps its rungs and whether it is quiet.

    Quiet is for history: what replaces a target that was not is not either, nor what is new in a case that is watched already.
    """
    wanted: dict[tuple[str, str], OpenTarget] = {
        (item.key, target.target): target
        for item in evaluated
        if item.case is not None
        for target in open_targets(item.case, rules, now)
    }
    gone: list[int] = []
    shifted = []
    quiet: dict[tuple[str, str], bool] = {}
    watched: set[str] = set()
    for row in connection.execute(_open_targets(connection.dialect.name), {"keys": sorted(known)}) if known else ():
        quiet[row.key, row.target] = row.quiet
        if not row.quiet:
            watched.add(row.key)
        target = wanted.get((row.key, row.target))
        if target is None or (target.round, target.due_at) != (row.round, row.due_at):
            gone.append(row.id)
            continue
        del wanted[row.key, row.target]
        moved = rungs_to_come(target, row.next_rung, row.next_at)
        if moved != (row.next_at, row.escalate_1_at, row.escalate_2_at):  # a corrected calendar, or other mornings
            shifted.append(dict(zip(("row", "new_next_at", "new_first", "new_second"), (row.id, *moved), strict=True)))
    if shifted:
        connection.execute(_SHIFT, shifted)
    if gone:
        connection.execute(delete(targets).where(targets.c.id.in_(gone)))
    insert_many(
        connection,
        targets,
        [
            {
                "key": key, "platform": key.partition("/")[0], "round": t.round, "target": t.target,
                "due_at": t.due_at, "quiet": t.quiet and quiet.get((key, name), key not in watched),
                "next_rung": t.first_rung, "next_at": t.first_at,
                "escalate_1_at": t.escalate_1_at, "escalate_2_at": t.escalate_2_at,
            }
            for (key, name), t in wanted.items()
        ],
    )  # fmt: skip
