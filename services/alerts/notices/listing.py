"""The notices, read: to whom, about how many alerts, and what became of each."""

from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, func, literal_column, select

from services.alerts.cursors import newest_first
from services.alerts.notices.digests import title
from services.alerts.notices.gathering import decode_digest
from services.alerts.notices.tables import PENDING, channels, notices
from services.alerts.people.viewer import Viewer
from shared.times import from_micros, to_micros

State = Literal["pending", "sent", "failed"]
STATES: tuple[State, ...] = ("pending", "sent", "failed")
RECENT = timedelta(days=3)  # longer than a weekend
LONG = timedelta(minutes=15)
MOST_COUNTED = 100


class Notice(Struct, frozen=True):
    """`id`: the same that the receiver gets. `next_at`: when it is tried again. `error`: why the last attempt did not succeed."""

    id: str
    channel: str
    county: str
    title: str
    alerts: int
    state: State
    attempts: int
    created_at: datetime
    next_at: datetime | None
    sent_at: datetime | None
    error: str | None


class NoticePage(Struct, frozen=True):
    """Up to `limit` notices, the newest first; `next` is the cursor of the page after, None on the last."""

    notices: list[Notice]
    next: str | None


class NoticeFilters(Struct, frozen=True):
    """What the list is narrowed to; None: not narrowed."""

    channel: str | None = None
    county: str | None = None
    state: State | None = None


class Trouble(Struct, frozen=True):
    """`failed`: notices of the last days that did not arrive, `MOST_COUNTED` at most. `waiting`: since when the oldest of those on
    their way is, if that is long."""

    failed: int
    waiting: datetime | None


def anybody_told(connection: Connection) -> bool:
    """Whether the running service has channels at all."""
    return connection.execute(select(channels.c.name).limit(1)).first() is not None


def trouble(connection: Connection, viewer: Viewer, now: datetime) -> Trouble | None:
    """What the one on duty has to know of the notices that they see; None: all arrive, or nobody is told."""
    if not anybody_told(connection):
        return None
    since = connection.execute(oldest_pending(viewer)).scalar()
    waiting = from_micros(since) if since is not None and since <= to_micros(now - LONG) else None
    made = connection.execute(last_failed(viewer)).scalars()
    failed = sum(at >= to_micros(now - RECENT) for at in made)
    return Trouble(failed, waiting) if failed or waiting else None


def oldest_pending(viewer: Viewer) -> Select[Any]:
    """There is one of each channel and county at most."""
    found = select(func.min(notices.c.created_at)).where(PENDING)
    return found if viewer.county is None else found.where(notices.c.county == viewer.county)


def last_failed(viewer: Viewer) -> Select[Any]:
    found = select(notices.c.created_at).where(notices.c.state == literal_column("'failed'"))
    if viewer.county is not None:
        found = found.where(notices.c.county == viewer.county)
    return found.order_by(notices.c.id.desc()).limit(MOST_COUNTED)


def list_notices(
    connection: Connection, viewer: Viewer, filters: NoticeFilters, limit: int, cursor: str | None
) -> NoticePage:
    """Those of the counties that the viewer sees."""
    where: list[ColumnElement[bool]] = [
        notices.c[name] == getattr(filters, name)
        for name in NoticeFilters.__struct_fields__
        if getattr(filters, name) is not None
    ]
    if viewer.county is not None:
        where.append(notices.c.county == viewer.county)
    rows, following = newest_first(connection, notices, where, limit, cursor)
    return NoticePage([_notice(row) for row in rows], following)


def _notice(row: Any) -> Notice:
    return Notice(
        id=row.message,
        channel=row.channel,
        county=row.county,
        title=title(decode_digest(row.content)),
        alerts=row.alerts,
        state=row.state,
        attempts=row.attempts,
        created_at=from_micros(row.created_at),
        next_at=None if row.next_at is None else from_micros(row.next_at),
        sent_at=None if row.sent_at is None else from_micros(row.sent_at),
        error=row.error,
    )
