"""How the rows of cases turn when their targets fall due, as `evaluate` would turn them: told and done by the database, however many
there are.

Only of cases with one round and no event that lies ahead; whoever turns the others evaluates them anew (`ANEW`).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, bindparam, case, func, select, update

from services.alerts.projection import STANDING
from services.alerts.tables import cases
from shared.case import Outcome, Verdict
from shared.figures import Standing

ANEW = cases.c.events_ahead | (cases.c.rounds != 1)

_REPLY_DUE = cases.c.first_reply_due_at <= bindparam("now")
_COMPLETE_DUE = (cases.c.complete == Verdict.RUNNING) & (cases.c.due_at <= bindparam("now"))
_TURNED = {
    "first_reply": case((_REPLY_DUE, Verdict.OVERDUE.value), else_=cases.c.first_reply),
    "first_reply_due_at": case((_REPLY_DUE, None), else_=cases.c.first_reply_due_at),
    "complete": case((_COMPLETE_DUE, Verdict.OVERDUE.value), else_=cases.c.complete),
    "outcome": case((_COMPLETE_DUE, Outcome.OVERDUE.value), else_=cases.c.outcome),
    "breached": case((_COMPLETE_DUE, True), else_=cases.c.breached),
    # What is still ahead: the deadline of the one target that did not fall due now, while it runs.
    "wake_at": case(
        (_REPLY_DUE & (cases.c.complete == Verdict.RUNNING) & ~_COMPLETE_DUE, cases.c.due_at),
        (_COMPLETE_DUE & ~_REPLY_DUE, cases.c.first_reply_due_at),
        else_=None,
    ),
}
_AFTER = tuple(_TURNED[name].label(f"new_{name}") for name in ("outcome", "breached", "first_reply"))
_LEAVES = case((_COMPLETE_DUE, cases.c.due_day), else_=None).label("leaves_due_day")
_GROUPS = select(*STANDING, *_AFTER, _LEAVES, func.count().label("number")).group_by(*STANDING, *_AFTER, _LEAVES)


class Turning(NamedTuple):
    """So many cases count as `before` until they turn, and then as `after`. `leaves_due_day`: their complete target ran until
    that day; None where it goes on, or was met."""

    before: Standing
    after: Standing
    leaves_due_day: str | None
    number: int


def turning_rows(*chosen: ColumnElement[bool]) -> Select[Any]:
    """A row for each `Turning`; `now` is a parameter."""
    return _GROUPS.where(*chosen)


def turning(connection: Connection, now: int, *chosen: ColumnElement[bool]) -> Iterator[Turning]:
    """What turns by `now` (microseconds) of the chosen rows, none of them `ANEW`."""
    for row in connection.execute(turning_rows(*chosen), {"now": now}):
        before = Standing(*row[: len(STANDING)])
        after = before._replace(outcome=row.new_outcome, breached=row.new_breached, reply=row.new_first_reply)
        yield Turning(before, after, row.leaves_due_day, row.number)


def turn(connection: Connection, now: int, *chosen: ColumnElement[bool]) -> None:
    """Turn the chosen rows, none of them `ANEW`."""
    connection.execute(update(cases).where(*chosen).values(_TURNED), {"now": now})
