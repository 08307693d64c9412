"""Handing over the duty (交接班): who has it from now on, what is open at that moment, and what the next one should know."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Select, exists, func, select

from services.alerts.cursors import newest_first
from services.alerts.notices.acknowledging import NotAllowedError, checked_note, mark_of
from services.alerts.notices.tables import acknowledgements, shifts
from services.alerts.people.viewer import Viewer
from services.alerts.sql import insert_missing
from services.alerts.standings import fallen, kept_open, kept_running
from services.alerts.tables import TOLD, alerts, cases
from shared.case import Outcome
from shared.registry import Registry
from shared.times import from_micros, to_micros

MAX_NAME = 64


class SuccessorError(ValueError):
    """Nobody can be handed over to under this name; the message (Chinese, one line) says why."""


class Shift(Struct, frozen=True):
    """`county`: None is the whole city. `person` handed over to `successor` at that moment, with so many alerts standing, of which
    so many were not acknowledged, and so many cases overdue."""

    county: str | None
    person: str
    successor: str
    at: datetime
    standing: int
    unacknowledged: int
    overdue: int
    note: str


class RecordedError(Exception):
    """The same was sent before; `shift` is what was recorded then."""

    def __init__(self, shift: Shift) -> None:
        super().__init__("交接班已经记下")
        self.shift = shift


class OpenNow(Struct, frozen=True):
    """What is open at this moment: alerts that stand, of them those that nobody acknowledged, cases overdue, cases due today."""

    standing: int
    unacknowledged: int
    overdue: int
    due_today: int


class ShiftPage(Struct, frozen=True):
    """Up to `limit` hand-overs, the latest first; `next` is the cursor of the page after, None on the last."""

    shifts: list[Shift]
    next: str | None


def hand_over(
    connection: Connection,
    registry: Registry,
    viewer: Viewer,
    successor: str,
    note: str,
    now: datetime,
    once: str = "",
) -> Shift:
    """The viewer's duty, of their county or of the city. `once`: names the form, or the request; the same hand-over with the same name
    is recorded once, whoever of several processes it reaches. Raises NotAllowedError, SuccessorError, NoteError or RecordedError."""
    if not may_hand_over(registry, viewer):
        raise NotAllowedError("您的账号只能查看，不能交接班；请用值班账号")
    name = successor.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise SuccessorError(f"接班人须为 1–{MAX_NAME} 个可见的字符")
    now_open = open_now(connection, registry, viewer, now)
    found = Shift(
        county=viewer.county,
        person=viewer.person,
        successor=name,
        at=now,
        standing=now_open.standing,
        unacknowledged=now_open.unacknowledged,
        overdue=now_open.overdue,
        note=checked_note(note),
    )
    row = {name: getattr(found, name) for name in Shift.__struct_fields__}
    mark = mark_of(once, viewer.account, found.successor, found.note)
    own = {"account": viewer.account, "at": to_micros(now), "once": mark}
    if not insert_missing(connection, shifts, [{**row, **own}]):
        raise RecordedError(_shift(connection.execute(select(shifts).where(shifts.c.once == mark)).one()))
    return found


def may_hand_over(registry: Registry, viewer: Viewer) -> bool:
    """Whether they have a duty that can be handed over."""
    counties = viewer.registry(registry).county_names
    return bool(counties) and all(viewer.may_change(county) for county in counties)


def open_now(connection: Connection, registry: Registry, viewer: Viewer, now: datetime) -> OpenNow:
    """Of what they see; what is paused is neither overdue nor due. From kept figures and indexes."""
    platforms, today = viewer.registry(registry).slugs, now.date()

    def number(statement: Select[Any]) -> int:
        found: int = connection.execute(statement).scalar_one()
        return found

    standing = standing_alerts(platforms)
    seen = exists().where(acknowledgements.c.alert == alerts.c.id)
    late = sum(kept_open(connection, platforms, Outcome.OVERDUE).values())
    coming = sum(kept_running(connection, platforms, today, today).values())
    fell = select(func.count()).select_from(cases).where(*fallen(platforms, now))
    return OpenNow(
        standing=number(standing),
        unacknowledged=number(standing.where(~seen)),
        overdue=late + number(fell),
        due_today=coming - number(fell.where(cases.c.due_day == today.isoformat())),
    )


def standing_alerts(platforms: Sequence[str]) -> Select[Any]:
    """How many; without those that were only listed."""
    return select(func.count()).select_from(alerts).where(TOLD, alerts.c.platform.in_(platforms))


def list_shifts(connection: Connection, viewer: Viewer, limit: int, cursor: str | None) -> ShiftPage:
    """Those of the viewer's county alone: the city's tell of all counties. Of the whole city, all."""
    where = [] if viewer.county is None else [shifts.c.county == viewer.county]
    rows, following = newest_first(connection, shifts, where, limit, cursor)
    return ShiftPage([_shift(row) for row in rows], following)


def on_duty(connection: Connection, county: str | None) -> Shift | None:
    """The latest hand-over of the county (None: of the city): its successor has duty."""
    row = connection.execute(last_shift(county)).first()
    return None if row is None else _shift(row)


def last_shift(county: str | None) -> Select[Any]:
    own = shifts.c.county.is_(None) if county is None else shifts.c.county == county
    return select(shifts).where(own).order_by(shifts.c.id.desc()).limit(1)


def _shift(row: object) -> Shift:
    values = {name: getattr(row, name) for name in Shift.__struct_fields__}
    return Shift(**{**values, "at": from_micros(values["at"])})
