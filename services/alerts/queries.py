"""The read side: lists, figures and states, straight from the tables. Every function works in the caller's snapshot."""

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, CompoundSelect, Connection, Select, Table, and_, func, or_, select, union

from services.alerts.arrivals import tally_gaps
from services.alerts.projection import row_standing
from services.alerts.sql import chunks
from services.alerts.tables import EVENTS_AHEAD, OPEN, WAKES, cases, due_days, event_counts, figures
from services.alerts.turning import ANEW, turning
from shared.case import Case, Outcome, Verdict
from shared.figures import AWAITING, Figures, Standing, standing, tabulate
from shared.registry import Registry
from shared.times import from_micros, to_micros

Recall = Callable[[Connection, Iterable[str], datetime], Iterator[Case]]
"""(connection, keys, as_of) -> the cases as of then; given by the composition root, which knows rules and events."""

MAX_LIMIT = 500

# Keys are platform/subject, and "0" follows "/": a platform's keys are those between `slug/` and `slug0`.


class Summary(Struct, frozen=True):
    """A case in a list. `due_at`/`due_day`: the complete target of the current round."""

    key: str
    platform: str
    county: str
    subject: str
    title: str | None
    category: str | None
    status: str
    stage: str | None
    outcome: str | None
    breached: bool
    provisional: bool
    received_at: datetime | None
    closed_at: datetime | None
    due_at: datetime | None
    due_day: date | None
    holder: str | None
    rounds: int


class Filters(Struct, frozen=True):
    """What a list of cases is narrowed to; None: not narrowed."""

    platform: str | None = None
    county: str | None = None
    category: str | None = None
    status: str | None = None
    outcome: str | None = None
    holder: str | None = None
    provisional: bool | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        return [cases.c[name] == value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None]


class Page(Struct, frozen=True):
    """Up to `limit` cases; `next` is the cursor of the page after, None on the last."""

    cases: list[Summary]
    next: str | None


class CursorError(ValueError):
    """A cursor that this service did not give."""

    def __init__(self) -> None:
        super().__init__("游标无效，请使用上一页返回的 next")


def list_cases(connection: Connection, registry: Registry, filters: Filters, limit: int, cursor: str | None) -> Page:
    """Cases in the order registry, then subject (code points). The cursor stays valid while cases arrive."""
    known = [*filters.conditions(), cases.c.status.is_not(None)]
    platform, subject = _read_key_cursor(cursor, registry) if cursor else (None, "")
    found: list[Any] = []
    begun = platform is None
    for slug in registry.slugs if filters.platform is None else (filters.platform,):
        begun = begun or slug == platform
        if not begun or len(found) > limit:
            continue
        after = f"{slug}/{subject if slug == platform else ''}"
        statement = select(cases).where(*known, cases.c.key > after, cases.c.key < f"{slug}0").order_by(cases.c.key)
        statement = statement.limit(limit + 1 - len(found))
        found += connection.execute(statement).all()
    page = [summary(row) for row in found[:limit]]
    more = len(found) > limit
    return Page(page, write_cursor(page[-1].key) if more and page else None)


def list_overdue(
    connection: Connection, registry: Registry, filters: Filters, now: datetime, limit: int, cursor: str | None
) -> Page:
    """Open cases past their deadline as of now, the oldest deadline first."""
    where = [*filters.conditions(), OPEN, cases.c.due_at <= to_micros(now)]
    if cursor:
        due_at, key = _read_overdue_cursor(cursor)
        where.append(or_(cases.c.due_at > due_at, and_(cases.c.due_at == due_at, cases.c.key > key)))
    rows: list[Any] = []
    for slug in registry.slugs if filters.platform is None else (filters.platform,):  # an index for each platform
        statement = select(cases).where(cases.c.platform == slug, *where).order_by(cases.c.due_at, cases.c.key)
        rows += connection.execute(statement.limit(limit + 1)).all()
    rows.sort(key=lambda row: (row.due_at, row.key))
    page = [summary(row) for row in rows[:limit]]
    if len(rows) <= limit:
        return Page(page, None)
    return Page(page, write_cursor(f"{rows[limit - 1].due_at} {page[-1].key}"))


def summary(row: Any) -> Summary:
    return Summary(
        key=row.key,
        platform=row.platform,
        county=row.county,
        subject=row.subject,
        title=row.title,
        category=row.category,
        status=row.status,
        stage=row.stage,
        outcome=row.outcome,
        breached=row.breached,
        provisional=row.provisional,
        received_at=_instant(row.received_at),
        closed_at=_instant(row.closed_at),
        due_at=_instant(row.due_at),
        due_day=None if row.due_day is None else date.fromisoformat(row.due_day),
        holder=row.holder,
        rounds=row.rounds,
    )


def _instant(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def write_cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> str:
    try:
        found = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise CursorError from error
    if "\0" in found:
        raise CursorError
    return found


def _read_key_cursor(cursor: str, registry: Registry) -> tuple[str, str]:
    platform, _, subject = read_cursor(cursor).partition("/")
    if platform not in registry or not subject:
        raise CursorError
    return platform, subject


def _read_overdue_cursor(cursor: str) -> tuple[int, str]:
    due_at, _, key = read_cursor(cursor).partition(" ")
    return read_number(due_at), key


def read_number(text: str) -> int:
    """A number of a cursor. Raises CursorError."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise CursorError
    return int(text)


def newest_first(
    connection: Connection, table: Table, where: Iterable[ColumnElement[bool]], limit: int, cursor: str | None
) -> tuple[Sequence[Any], str | None]:
    """Up to `limit` rows of a table whose ids count up, and the cursor of those after them. Raises CursorError."""
    further = [table.c.id < read_number(read_cursor(cursor))] if cursor else []
    statement = select(table).where(*where, *further).order_by(table.c.id.desc())
    rows = connection.execute(statement.limit(limit + 1)).all()
    return rows[:limit], write_cursor(str(rows[limit - 1].id)) if len(rows) > limit else None


def all_keys(connection: Connection, registry: Registry, platform: str | None = None) -> Iterator[str]:
    """The keys of all cases, registry then subject."""
    for slug in registry.slugs if platform is None else (platform,):
        yield from connection.execute(
            select(cases.c.key).where(cases.c.key > f"{slug}/", cases.c.key < f"{slug}0").order_by(cases.c.key)
        ).scalars()


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
