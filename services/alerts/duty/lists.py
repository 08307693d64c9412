"""The lists of the duty page, and its search: each reads no more rows than it shows, by an index, or so many at most."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from services.alerts.cursors import CursorError, read_cursor, read_number, write_cursor
from services.alerts.queries import Summary, summary
from services.alerts.tables import OPEN, cases, figures
from shared.case import Outcome
from shared.times import to_micros

TITLES_READ = 20_000
"""Of so many cases, the newest months first, the titles are searched: several years of a city."""
MOST_HOLDERS = 200


class Wanted(Struct, frozen=True):
    """Which open cases are asked for. `platforms`: only those that the viewer sees."""

    platforms: tuple[str, ...]
    category: str | None = None
    holder: str | None = None


class Listed(Struct, frozen=True):
    """Some cases, and the cursor of those that follow; None when there are none."""

    cases: list[Summary]
    next: str | None


def list_overdue(connection: Connection, wanted: Wanted, now: datetime, limit: int, cursor: str | None) -> Listed:
    """Open cases past their deadline, the oldest deadline first. Raises CursorError."""
    return _by_deadline(connection, wanted, cases.c.due_at <= to_micros(now), limit, cursor)


def list_due(connection: Connection, wanted: Wanted, now: datetime, limit: int, cursor: str | None) -> Listed:
    """Open cases whose deadline lies ahead, the next one first; what is paused has none. Raises CursorError."""
    return _by_deadline(connection, wanted, cases.c.due_at > to_micros(now), limit, cursor)


def _by_deadline(
    connection: Connection, wanted: Wanted, when: ColumnElement[bool], limit: int, cursor: str | None
) -> Listed:
    where = [OPEN, when]
    if wanted.category is not None:
        where.append(cases.c.category == wanted.category)
    if wanted.holder is not None:
        where.append(cases.c.holder == wanted.holder)
    if cursor:
        due_at, key = _read(cursor)
        where.append(cases.c.due_at >= due_at)  # for the index; the next line cuts exactly
        where.append(or_(cases.c.due_at > due_at, and_(cases.c.due_at == due_at, cases.c.key > key)))
    rows: list[Any] = []
    for slug in _holding(connection, wanted):  # an index for each
        statement = select(cases).where(cases.c.platform == slug, *where).order_by(cases.c.due_at, cases.c.key)
        rows += connection.execute(statement.limit(limit + 1)).all()
    rows.sort(key=lambda row: (row.due_at, row.key))
    page = rows[:limit]
    more = len(rows) > limit
    return Listed([summary(row) for row in page], write_cursor(f"{page[-1].due_at} {page[-1].key}") if more else None)


def _read(cursor: str) -> tuple[int, str]:
    due_at, _, key = read_cursor(cursor).partition(" ")
    if "\0" in key:
        raise CursorError
    return read_number(due_at), key


def _holding(connection: Connection, wanted: Wanted) -> Sequence[str]:
    """The platforms that have open cases of the category at all, by the kept figures: the others need not be searched."""
    if wanted.category is None:
        return wanted.platforms
    open_cases = figures.c.outcome.in_([Outcome.OVERDUE.value, Outcome.PENDING.value])
    statement = select(figures.c.platform).distinct()
    found = connection.execute(
        statement.where(
            figures.c.platform.in_(wanted.platforms),
            figures.c.category == wanted.category,
            open_cases,
            figures.c.cases > 0,
        )
    ).scalars()
    having = set(found)
    return [slug for slug in wanted.platforms if slug in having]


def holders(connection: Connection, platforms: Sequence[str]) -> list[str]:
    """Who holds open cases of these platforms, up to `MOST_HOLDERS`: from one to the next in the index."""
    found: set[str] = set()
    for slug in platforms:
        for holder in _holders(connection, slug):
            found.add(holder)
            if len(found) >= MOST_HOLDERS:
                return sorted(found)
    return sorted(found)


def _holders(connection: Connection, platform: str) -> Iterator[str]:
    first = select(func.min(cases.c.holder)).where(OPEN, cases.c.platform == platform)
    holder: str | None = connection.execute(first).scalar()
    while holder is not None:
        yield holder
        holder = connection.execute(first.where(cases.c.holder > holder)).scalar()


class Found(Struct, frozen=True):
    """What a search found. `more`: there is more than is listed. `cut`: only the newest titles were searched."""

    cases: list[Summary]
    more: bool
    cut: bool


def search(connection: Connection, platforms: Sequence[str], text: str, limit: int) -> Found:
    """Cases whose number, or key, begins with the text, and those among the newest whose title contains it."""
    rows = {row.key: row for row in _numbered(connection, platforms, text, limit + 1)}
    cut = False
    if len(rows) <= limit:
        titled, cut = _titled(connection, platforms, text, limit + 1)
        rows |= {row.key: row for row in titled}
    found = sorted(rows.values(), key=lambda row: (-(row.received_at or 0), row.key))
    return Found([summary(row) for row in found[:limit]], len(found) > limit, cut)


def _numbered(connection: Connection, platforms: Sequence[str], text: str, limit: int) -> list[Any]:
    slug, slash, subject = text.partition("/")
    where = [(slug, subject)] if slash and slug in platforms else [(each, text) for each in platforms]
    rows: list[Any] = []
    for platform, begin in where:
        for spelt in dict.fromkeys((begin, begin.lower(), begin.upper())):
            if not spelt.isascii() or "\0" in spelt:
                continue
            low = f"{platform}/{spelt}"
            known = select(cases).where(cases.c.status.is_not(None), cases.c.key >= low, cases.c.key < f"{low}\x7f")
            rows += connection.execute(known.order_by(cases.c.key).limit(limit)).all()
    return rows


def _titled(connection: Connection, platforms: Sequence[str], text: str, limit: int) -> tuple[list[Any], bool]:
    """By month, the newest first, until so many titles were read; whether there were more to read."""
    sizes = connection.execute(
        select(figures.c.month, func.sum(figures.c.cases).label("cases"))
        .where(figures.c.platform.in_(platforms), figures.c.month != "")
        .group_by(figures.c.month)
        .order_by(figures.c.month.desc())
    ).all()
    rows: list[Any] = []
    left = TITLES_READ
    for month in sizes:
        for of_them in _of(platforms):
            if left <= 0 or len(rows) >= limit:
                return rows, left <= 0
            looked = select(cases).where(cases.c.month == month.month, of_them).limit(left).subquery()
            chosen = select(looked).where(looked.c.title.icontains(text, autoescape=True)).limit(limit - len(rows))
            rows += connection.execute(chosen).all()
        left -= month.cases
    return rows, left < 0


def _of(platforms: Sequence[str]) -> list[ColumnElement[bool]]:
    """Conditions for the cases of these platforms; of a few, a range of the month's index for each."""
    if len(platforms) > 2:
        return [cases.c.platform.in_(platforms)]
    return [and_(cases.c.key > f"{slug}/", cases.c.key < f"{slug}0") for slug in platforms]
