"""What time alone does: cases fall due, rungs are reached. Found by index, in batches; each rung is recorded once,
and again only after it was cleared.

One call works one batch in the caller's transaction, so that pushes get their turn even when 100,000 deadlines fall in the
same instant; `next_wake` says whether there is more.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, func, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from services.alerts.projection import Evaluated, project_cases
from services.alerts.rungs import ESCALATED_1, ESCALATED_2, NEXT_RUNG, OVERDUE
from services.alerts.sums import Sums
from services.alerts.tables import AHEAD, STANDS, WAKES, alerts, cases, targets
from services.alerts.turning import ANEW, turn, turning
from shared.rules import Ruleset
from shared.times import from_micros, to_micros

BATCH = 5_000

Reevaluate = Callable[[Connection, Sequence[str], datetime], list[Evaluated]]


class Raised(Struct, frozen=True):
    """An alert that was raised now; `due_at` in microseconds. `quiet`: listed, not sent, because it was long overdue when first seen."""

    key: str
    platform: str
    round: int
    target: str
    rung: str
    due_at: int
    quiet: bool


_FIRST = select(
    select(func.min(cases.c.wake_at)).where(WAKES).scalar_subquery(),
    select(func.min(targets.c.next_at)).where(AHEAD).scalar_subquery(),
)


def next_wake(connection: Connection) -> datetime | None:
    """The next instant at which `sweep` has something to do."""
    first = connection.execute(_FIRST).one()
    instants = [micros for micros in first if micros is not None]
    return from_micros(min(instants)) if instants else None


def sweep(
    connection: Connection, rules: Ruleset, now: datetime, reevaluate: Reevaluate, batch: int = BATCH
) -> list[Raised]:
    """Bring up to `batch` cases and `batch` targets to `now`: what was raised."""
    limit = to_micros(now)
    sums = Sums()
    _fall_due(connection, rules, now, reevaluate, batch, sums)
    due = connection.execute(
        select(targets.c.id, targets.c.next_rung)
        .where(targets.c.next_at <= limit)
        .order_by(targets.c.next_at)
        .limit(batch)
        .with_for_update(skip_locked=True)
    ).all()
    raised: list[Raised] = []
    for rung in sorted({row.next_rung for row in due}):
        raised += _raise(connection, rung, [row.id for row in due if row.next_rung == rung], limit)
    sums.write(connection)
    return raised


def _raise(connection: Connection, rung: str, ids: list[int], now: int) -> list[Raised]:
    """Record the rung for these targets and set their next one: what was not standing already, which is not told again."""
    chosen = select(
        targets.c.key, targets.c.platform, targets.c.round, targets.c.target, literal(rung), targets.c.due_at,
        targets.c.quiet, literal(now),
    ).where(targets.c.id.in_(ids))  # fmt: skip
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    columns = ["key", "platform", "round", "target", "rung", "due_at", "quiet", "raised_at"]
    recorded = connection.execute(
        dialect.insert(alerts)
        .from_select(columns, chosen)
        .on_conflict_do_nothing(index_elements=["key", "round", "target", "rung", "due_at"], index_where=STANDS)
        .returning(*(alerts.c[name] for name in columns[:-1]))
    ).all()
    following = NEXT_RUNG[rung]
    at = {OVERDUE: targets.c.due_at, ESCALATED_1: targets.c.escalate_1_at, ESCALATED_2: targets.c.escalate_2_at}
    connection.execute(
        update(targets)
        .where(targets.c.id.in_(ids))
        .values(next_rung=following, next_at=None if following is None else at[following])
    )
    return [Raised(*row) for row in recorded]


def _fall_due(
    connection: Connection, rules: Ruleset, now: datetime, reevaluate: Reevaluate, batch: int, sums: Sums
) -> None:
    """Cases whose targets fell due: the verdicts turn in place.

    Cases of which an event lies ahead, or which have a later round, are evaluated anew instead.
    """
    limit = to_micros(now)
    due = connection.execute(
        select(cases.c.key, ANEW.label("anew"))
        .where(cases.c.wake_at <= limit)
        .order_by(cases.c.wake_at)
        .limit(batch)
        .with_for_update(skip_locked=True)
    ).all()
    anew = [row.key for row in due if row.anew]
    if anew:
        project_cases(connection, reevaluate(connection, anew, now), rules, now, sums)
    turning = [row.key for row in due if not row.anew]
    if turning:
        _turn(connection, turning, limit, sums)


def _turn(connection: Connection, keys: list[str], limit: int, sums: Sums) -> None:
    chosen = cases.c.key.in_(keys)
    for before, after, leaves_due_day, number in turning(connection, limit, chosen):
        sums.standings[before] -= number
        sums.standings[after] += number
        if leaves_due_day is not None:
            sums.running[leaves_due_day, before.platform, before.category] -= number
    turn(connection, limit, chosen)
