"""What a scrape tells of the present. In the caller's snapshot."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Select, func, or_, select

from services.alerts.arrivals import tally_gaps
from services.alerts.tables import OPEN, cases, due_days, event_counts, figures
from shared.case import Outcome
from shared.figures import AWAITING, Standing
from shared.registry import Registry
from shared.times import to_micros


def scraped_figures(months: Sequence[str]) -> Select[Any]:
    """The kept figures that a scrape tells: of these months all, of those before what still asks for something. Years of closed
    cases are left in the database."""
    asking = or_(figures.c.outcome.in_([Outcome.OVERDUE.value, AWAITING]), figures.c.provisional)
    return select(figures).where(figures.c.cases != 0, or_(figures.c.month.in_(months), asking))


class State(Struct, frozen=True):
    """What a scrape needs, each from kept figures or an index: nothing here grows with the number of cases."""

    standings: Counter[Standing]
    open_overdue: dict[tuple[str, str], int]
    due_today: dict[tuple[str, str], int]
    provisional: int
    awaiting: dict[str, int]
    oldest_overdue: dict[str, int]
    next_deadline: int | None
    events: dict[tuple[str, str], int]
    last_event: dict[str, int]
    tally_gap: dict[str, int]


def state(connection: Connection, registry: Registry, months: Iterable[str], now: datetime) -> State:
    standings: Counter[Standing] = Counter()
    wanted = set(months)
    overdue: Counter[tuple[str, str]] = Counter()
    awaiting: Counter[str] = Counter()
    provisional = 0
    for row in connection.execute(scraped_figures(list(wanted))):
        s = Standing(*row[:-1])
        if s.month in wanted:
            standings[s] += row.cases
        if s.outcome == Outcome.OVERDUE:
            overdue[s.platform, s.category] += row.cases
        elif s.outcome == AWAITING:
            awaiting[s.platform] += row.cases
        provisional += row.cases * s.provisional
    due = connection.execute(select(due_days).where(due_days.c.due_day == now.date().isoformat()))
    counts = connection.execute(select(event_counts)).all()
    last: dict[str, int] = {}
    for row in counts:
        last[row.platform] = max(last.get(row.platform, 0), row.last_time)
    return State(
        standings=standings,
        open_overdue=dict(overdue),
        due_today={(row.platform, row.category): row.cases for row in due},
        provisional=provisional,
        awaiting=dict(awaiting),
        oldest_overdue={
            slug: first
            for slug in registry.slugs
            if (first := _first_due(connection, slug)) is not None and first <= to_micros(now)
        },
        next_deadline=min(filter(None, (_first_due(connection, slug, now) for slug in registry.slugs)), default=None),
        events={(row.platform, row.type): row.events for row in counts},
        last_event=last,
        tally_gap=tally_gaps(connection, now),
    )


def _first_due(connection: Connection, platform: str, after: datetime | None = None) -> int | None:
    """The first deadline of the platform's open cases."""
    where = [OPEN, cases.c.platform == platform]
    if after is not None:
        where.append(cases.c.due_at > to_micros(after))
    return connection.execute(select(func.min(cases.c.due_at)).where(*where)).scalar()
