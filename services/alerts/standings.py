"""How the cases of a period stand: kept figures for now, the cases themselves for any other instant. In the caller's snapshot."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Connection, Select, func, or_, select, union

from services.alerts.projection import row_standing
from services.alerts.sql import chunks
from services.alerts.tables import EVENTS_AHEAD, WAKES, cases, due_days, figures
from services.alerts.turning import ANEW, turning
from shared.case import Case, Outcome, Verdict
from shared.figures import Figures, Standing, standing, tabulate
from shared.registry import Registry
from shared.times import to_micros

Recall = Callable[[Connection, Iterable[str], datetime], Iterator[Case]]
"""(connection, keys, as_of) -> the cases as of then; given by the composition root, which knows rules and events."""


def kept_standings(connection: Connection, *chosen: ColumnElement[bool]) -> Counter[Standing]:
    """The kept figures that are chosen, as they were at the last sweep."""
    counted: Counter[Standing] = Counter()
    for row in connection.execute(select(figures).where(figures.c.cases != 0, *chosen)):
        counted[Standing(*row[:-1])] += row.cases
    return counted


def standings_now(connection: Connection, recall: Recall, months: Iterable[str], now: datetime) -> Counter[Standing]:
    """The standings of the months as of now: the kept figures, corrected for what fell due since the last sweep."""
    wanted = list(months)
    counted = kept_standings(connection, figures.c.month.in_(wanted))
    for turned in turning(connection, to_micros(now), *turning_cases(now)):
        if turned.before.month in wanted:
            counted[turned.before] -= turned.number
            counted[turned.after] += turned.number
    stale = connection.execute(stale_cases(wanted, now)).all()
    for row in stale:
        before = row_standing(row)
        if before is not None and before.month in wanted:
            counted[before] -= 1
    for chunk in chunks(row.key for row in stale):
        for found in recall(connection, chunk, now):
            after = standing(found)
            if after.month in wanted:
                counted[after] += 1
    return counted


def turning_cases(now: datetime) -> list[ColumnElement[bool]]:
    """Which rows have turned since the last sweep. Of all months: narrowed to some, the database would look through all of theirs."""
    return [WAKES, cases.c.wake_at <= to_micros(now), ~ANEW]


def stale_cases(months: Sequence[str], now: datetime) -> Select[Any]:
    """The rows that may not be as of now, count, or may count, in one of the months, and do not turn by themselves."""
    concerned = or_(cases.c.month.in_(months), EVENTS_AHEAD)
    return select(cases).where(WAKES, cases.c.wake_at <= to_micros(now), ANEW, concerned)


def kept_open(connection: Connection, platforms: Sequence[str], outcome: Outcome) -> dict[str, int]:
    """Per platform: cases of this outcome, of all periods, by the kept figures."""
    rows = connection.execute(
        select(figures.c.platform, func.sum(figures.c.cases).label("cases"))
        .where(figures.c.outcome == outcome.value, figures.c.platform.in_(platforms))
        .group_by(figures.c.platform)
    )
    return {row.platform: int(row.cases) for row in rows}


def kept_running(connection: Connection, platforms: Sequence[str], first_day: date, last_day: date) -> dict[str, int]:
    """Per platform: running cases that fall due from one day to another, by the kept figures."""
    day = due_days.c.due_day
    rows = connection.execute(
        select(due_days.c.platform, func.sum(due_days.c.cases).label("cases"))
        .where(day >= first_day.isoformat(), day <= last_day.isoformat(), due_days.c.platform.in_(platforms))
        .group_by(due_days.c.platform)
    )
    return {row.platform: int(row.cases) for row in rows}


def fallen(platforms: Sequence[str], now: datetime) -> list[ColumnElement[bool]]:
    """Which rows of these platforms fell due since the last sweep: the kept figures do not count them as overdue yet."""
    return [
        WAKES, cases.c.wake_at <= to_micros(now), ~EVENTS_AHEAD, cases.c.complete == Verdict.RUNNING.value,
        cases.c.due_at <= to_micros(now), cases.c.platform.in_(platforms),
    ]  # fmt: skip


def keys_of_months(months: Sequence[str]) -> CompoundSelect[Any]:
    """The keys of all cases that count in one of the months, or may as of some instant; each part by an index."""
    received = select(cases.c.key).where(cases.c.month.in_(months))
    return union(received, select(cases.c.key).where(EVENTS_AHEAD)).order_by(cases.c.key)


def standings_as_of(
    connection: Connection, recall: Recall, months: Iterable[str], as_of: datetime
) -> Counter[Standing]:
    """The standings of the months as of any instant, from the cases themselves."""
    wanted = list(months)
    counted: Counter[Standing] = Counter()
    for chunk in chunks(connection.execute(keys_of_months(wanted)).scalars()):
        counted.update(s for s in map(standing, recall(connection, chunk, as_of)) if s.month in wanted)
    return counted


def figures_of(
    connection: Connection,
    recall: Recall,
    registry: Registry,
    months: Iterable[str],
    now: datetime,
    as_of: datetime | None,
) -> Figures:
    """The figures of the months as of `as_of`, or now."""
    months = tuple(months)
    if as_of is None:
        return tabulate(standings_now(connection, recall, months, now), registry, months)
    return tabulate(standings_as_of(connection, recall, months, as_of), registry, months)
