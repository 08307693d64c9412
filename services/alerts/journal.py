"""The journal of alerts, read: each time that one was raised, and how it was cleared."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, select, tuple_

from services.alerts.cursors import read_cursor, read_number, write_cursor
from services.alerts.tables import STANDS, alerts
from shared.registry import Registry
from shared.times import from_micros, to_micros


class Alert(Struct, frozen=True):
    """An alert as it is told. `due_at`: the deadline that it is about, or when a suspension became long."""

    key: str
    platform: str
    round: int
    target: str
    rung: str
    due_at: datetime
    raised_at: datetime
    quiet: bool
    cleared_at: datetime | None
    clear_reason: str | None


class Recorded(Alert, frozen=True):
    """An alert of the journal with its number, by which it is acknowledged."""

    id: int


class AlertFilters(Struct, frozen=True):
    """What the journal is narrowed to; None: not narrowed. `standing`: not cleared."""

    platform: str | None = None
    county: str | None = None
    rung: str | None = None
    standing: bool | None = None

    def conditions(self, registry: Registry) -> list[ColumnElement[bool]]:
        found = []
        if self.platform is not None:
            found.append(alerts.c.platform == self.platform)
        if self.county is not None:
            found.append(alerts.c.platform.in_([p.slug for p in registry if p.county == self.county]))
        if self.rung is not None:
            found.append(alerts.c.rung == self.rung)
        if self.standing is not None:
            found.append(STANDS if self.standing else ~STANDS)
        return found


class AlertPage(Struct, frozen=True):
    """Up to `limit` alerts; `next` is the cursor of the page after, None on the last."""

    alerts: list[Recorded]
    next: str | None


def list_alerts(
    connection: Connection, registry: Registry, filters: AlertFilters, limit: int, cursor: str | None
) -> AlertPage:
    """Those of the registry's platforms, the newest first. The cursor stays valid while alerts are raised and cleared."""
    where = [*filters.conditions(registry), alerts.c.platform.in_(registry.slugs)]
    if cursor:
        where.append(tuple_(alerts.c.raised_at, alerts.c.id) < _read(cursor))
    statement = select(alerts).where(*where).order_by(alerts.c.raised_at.desc(), alerts.c.id.desc())
    rows = connection.execute(statement.limit(limit + 1)).all()
    page = [_recorded(row) for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    return AlertPage(page, None if last is None else write_cursor(f"{last.raised_at} {last.id}"))


def alerts_of(connection: Connection, key: str, as_of: datetime) -> list[Recorded]:
    """Those of a case that were raised by then, in order; one that was cleared later is told as it stood then."""
    limit = to_micros(as_of)
    rows: list[Any] = []
    for part in (STANDS, ~STANDS):  # an index for each
        rows += connection.execute(select(alerts).where(alerts.c.key == key, part, alerts.c.raised_at <= limit)).all()
    rows.sort(key=lambda row: (row.raised_at, row.id))
    return [_recorded(row, limit) for row in rows]


def alert_of(row: Any, limit: int | None = None) -> Alert:
    """A row of the journal; one that was cleared after `limit` is told as it stood then."""
    cleared = row.cleared_at is not None and (limit is None or row.cleared_at <= limit)
    return Alert(
        key=row.key,
        platform=row.platform,
        round=row.round,
        target=row.target,
        rung=row.rung,
        due_at=from_micros(row.due_at),
        raised_at=from_micros(row.raised_at),
        quiet=row.quiet,
        cleared_at=from_micros(row.cleared_at) if cleared else None,
        clear_reason=row.clear_reason if cleared else None,
    )


def _recorded(row: Any, limit: int | None = None) -> Recorded:
    return Recorded(**msgspec.structs.asdict(alert_of(row, limit)), id=row.id)


def _read(cursor: str) -> tuple[int, int]:
    raised_at, _, number = read_cursor(cursor).partition(" ")
    return read_number(raised_at), read_number(number)
