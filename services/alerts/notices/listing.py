"""The notices, read: to whom, about how many alerts, and what became of each."""

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, select

from services.alerts.notices.digests import title
from services.alerts.notices.gathering import decode_digest
from services.alerts.notices.tables import notices
from services.alerts.people.viewer import Viewer
from services.alerts.queries import read_cursor, read_number, write_cursor
from shared.times import from_micros

State = Literal["pending", "sent", "failed"]
STATES: tuple[State, ...] = ("pending", "sent", "failed")


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
    if cursor:
        where.append(notices.c.id < read_number(read_cursor(cursor)))
    rows = connection.execute(select(notices).where(*where).order_by(notices.c.id.desc()).limit(limit + 1)).all()
    page = [_notice(row) for row in rows[:limit]]
    return NoticePage(page, write_cursor(str(rows[limit - 1].id)) if len(rows) > limit else None)


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
