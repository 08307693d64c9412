"""Acknowledging an alert: somebody has seen it, and says what is being done. What is acknowledged is not told again."""

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Select, case, exists, func, select

from services.alerts.notices.tables import acknowledgements
from services.alerts.people.viewer import Viewer
from services.alerts.sql import insert_missing
from services.alerts.tables import STANDS, alerts
from shared.registry import Registry
from shared.times import from_micros, to_micros

MAX_NOTE = 500  # characters
LARGEST_NUMBER = 2**63 - 1


class NotAllowedError(Exception):
    """The viewer may not change anything in this county; the message is one line."""


class UnknownAlertError(Exception):
    """There is no such alert, or the viewer does not see it: which of the two is not said."""


class NoteError(ValueError):
    """The note cannot be kept; the message (Chinese, one line) says why."""


class RepeatedError(Exception):
    """The same was sent before, and is kept."""


class Acknowledgement(Struct, frozen=True):
    """`person`: the name of who acknowledged."""

    alert: int
    key: str
    person: str
    note: str
    at: datetime


def acknowledge(
    connection: Connection, registry: Registry, viewer: Viewer, alert: int, note: str, now: datetime
) -> Acknowledgement:
    """One alert. May be repeated, with another note: all of them are kept.

    Raises UnknownAlertError, NotAllowedError or NoteError.
    """
    text = checked_note(note)
    row = None
    if 0 < alert <= LARGEST_NUMBER:  # the databases take no larger ones
        row = connection.execute(select(alerts).where(alerts.c.id == alert)).first()
    if row is None or row.platform not in registry or not viewer.sees(registry.county(row.platform)):
        raise UnknownAlertError(alert)
    _require(viewer, registry.county(row.platform))
    return _keep(connection, viewer, [(row.id, row.key)], text, now)[0]


def acknowledge_case(
    connection: Connection, registry: Registry, viewer: Viewer, key: str, note: str, now: datetime, once: str = ""
) -> list[Acknowledgement]:
    """All alerts of a case that stand: those, in their order. `once`: names the form; sent again, it acknowledges what was raised since.
    Raises as `acknowledge`, or RepeatedError; an unknown case has none."""
    text = checked_note(note)
    platform = key.partition("/")[0]
    if platform not in registry or not viewer.sees(registry.county(platform)):
        raise UnknownAlertError(key)
    _require(viewer, registry.county(platform))
    standing = select(alerts.c.id, alerts.c.key).where(alerts.c.key == key, STANDS).order_by(alerts.c.id)
    return _keep(connection, viewer, [(row.id, row.key) for row in connection.execute(standing)], text, now, once)


def acknowledgements_of(connection: Connection, key: str, as_of: datetime | None = None) -> list[Acknowledgement]:
    """Those of a case's alerts (by then), in their order."""
    where = [acknowledgements.c.key == key]
    if as_of is not None:
        where.append(acknowledgements.c.at <= to_micros(as_of))
    rows = connection.execute(
        select(acknowledgements).where(*where).order_by(acknowledgements.c.at, acknowledgements.c.id)
    )
    return [Acknowledgement(row.alert, row.key, row.person, row.note, from_micros(row.at)) for row in rows]


def acknowledged_cases(connection: Connection, keys: Collection[str]) -> frozenset[str]:
    """Those of these cases that have standing alerts, all of them acknowledged."""
    if not keys:
        return frozenset()
    return frozenset(row.key for row in connection.execute(standing_of(keys)) if row.acknowledged)


def standing_of(keys: Collection[str]) -> Select[Any]:
    """(key, acknowledged: 1 or 0) of those cases whose alerts stand; of the alerts of these cases alone, by indexes."""
    seen = exists().where(acknowledgements.c.alert == alerts.c.id)
    every = func.min(case((seen, 1), else_=0)).label("acknowledged")
    return select(alerts.c.key, every).where(STANDS, alerts.c.key.in_(sorted(keys))).group_by(alerts.c.key)


def checked_note(note: str) -> str:
    """Without blanks around it; may be empty. Raises NoteError."""
    text = note.strip()
    if len(text) > MAX_NOTE:
        raise NoteError(f"说明最多 {MAX_NOTE} 个字，现在是 {len(text)} 个，请缩短")
    if any(not character.isprintable() and character not in "\n\t" for character in text):
        raise NoteError("说明中有不可见的字符，请重新输入")
    return text


def _require(viewer: Viewer, county: str) -> None:
    if not viewer.may_change(county):
        raise NotAllowedError("您的账号只能查看，不能确认提醒；请用值班账号")


def mark_of(once: str, *sent: str) -> str | None:
    """What is kept of `once`, with what was sent: a form that somebody goes back to and alters is another. None: it had no name."""
    return hashlib.sha256(msgspec.json.encode((once, *sent))).hexdigest() if once else None


def _keep(
    connection: Connection, viewer: Viewer, found: Sequence[tuple[int, str]], note: str, now: datetime, once: str = ""
) -> list[Acknowledgement]:
    mark = mark_of(once, viewer.account, note)
    kept = select(acknowledgements.c.alert).where(acknowledgements.c.once == mark)
    before = frozenset(connection.execute(kept).scalars() if mark else ())
    who = {"account": viewer.account, "person": viewer.person, "note": note, "at": to_micros(now), "once": mark}
    rows: list[dict[str, Any]] = [{"alert": alert, "key": key, **who} for alert, key in found if alert not in before]
    if insert_missing(connection, acknowledgements, rows) < len(rows) or (found and not rows):
        raise RepeatedError
    return [Acknowledgement(row["alert"], row["key"], viewer.person, note, now) for row in rows]
