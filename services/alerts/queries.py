"""The lists of cases, straight from the tables. Every function works in the caller's snapshot."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, or_, select

from services.alerts.cursors import CursorError, read_cursor, read_number, write_cursor
from services.alerts.tables import OPEN, cases
from shared.registry import Registry
from shared.times import from_micros, to_micros

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


def _read_key_cursor(cursor: str, registry: Registry) -> tuple[str, str]:
    platform, _, subject = read_cursor(cursor).partition("/")
    if platform not in registry or not subject:
        raise CursorError
    return platform, subject


def _read_overdue_cursor(cursor: str) -> tuple[int, str]:
    due_at, _, key = read_cursor(cursor).partition(" ")
    return read_number(due_at), key


def all_keys(connection: Connection, registry: Registry, platform: str | None = None) -> Iterator[str]:
    """The keys of all cases, registry then subject."""
    for slug in registry.slugs if platform is None else (platform,):
        yield from connection.execute(
            select(cases.c.key).where(cases.c.key > f"{slug}/", cases.c.key < f"{slug}0").order_by(cases.c.key)
        ).scalars()
