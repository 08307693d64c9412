"""From what happened to alerts to notices that can be sent, each step a transaction that can be repeated after a crash at any point.

`route`: what happened (the trigger's rows) becomes what each channel is still to be told. `gather`: what a channel may be told by
now becomes one notice for each county. Of a channel and county one notice at most is on its way: what comes meanwhile is in the
next one, so that a receiver that was away is not flooded, and hears of a raising before its clearing.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, delete, exists, func, insert, literal, or_, select, update

from services.alerts.notices.digests import OLDEST, ORDER, Digest, Entry, Part, Standing, make_digest, make_part
from services.alerts.notices.routing import MACHINES, Channel, Notices, hears, hears_clearing, told_from
from services.alerts.notices.tables import PENDING, acknowledgements, channels, notices, tellings, told, waiting
from services.alerts.sql import chunks, insert_many, insert_missing
from services.alerts.tables import TOLD, alerts, cases
from shared.registry import Registry
from shared.rules import Ruleset
from shared.times import from_micros, to_micros

BATCH = 5_000  # tellings in one transaction: on SQLite pushes wait for no longer
LOCK = 0x6C697574656C  # one process at a time routes and gathers
UNSET = "通道已不在设置中"

encode_digest = msgspec.json.Encoder().encode
decode_digest = msgspec.json.Decoder(Digest).decode


class City(Struct, frozen=True):
    """What routing goes by."""

    rules: Ruleset
    notices: Notices


def set_up(connection: Connection, names: Sequence[str]) -> None:
    """From now on there are these channels. What others were still to be told is forgotten; with none, nothing is kept any more."""
    known = set(connection.execute(select(channels.c.name)).scalars())
    insert_missing(connection, channels, [{"name": name} for name in names if name not in known])
    connection.execute(delete(channels).where(channels.c.name.not_in(names)))
    connection.execute(delete(waiting).where(waiting.c.channel.not_in(names)))
    gone = update(notices).where(PENDING, notices.c.channel.not_in(names))
    connection.execute(gone.values(state="failed", next_at=None, error=UNSET))
    if not names:
        connection.execute(delete(tellings))


def alone(connection: Connection) -> bool:
    """Whether nobody else routes or gathers until the end of the transaction."""
    if connection.dialect.name != "postgresql":
        return True  # writers take turns
    found: bool = connection.execute(select(func.pg_try_advisory_xact_lock(LOCK))).scalar_one()
    return found


_HAPPENED = (
    select(
        tellings.c.id.label("telling"), tellings.c.what, alerts.c.id, alerts.c.key, alerts.c.platform, alerts.c.rung,
        alerts.c.cleared_at, alerts.c.clear_reason, cases.c.holder,
    )
    .join(alerts, alerts.c.id == tellings.c.alert)
    .outerjoin(cases, cases.c.key == alerts.c.key)
    .order_by(tellings.c.id)
)  # fmt: skip


def route(connection: Connection, city: City, now: datetime, batch: int = BATCH) -> int:
    """Some of what happened, to the channels that hear of it: how many. While somebody else is at it, none."""
    if connection.execute(select(tellings.c.id).limit(1)).first() is None or not alone(connection):
        return 0
    happened = connection.execute(_HAPPENED.limit(batch)).all()
    ours = [row for row in happened if row.platform in city.rules.registry]  # it may have been taken out since
    new = [row for row in ours if row.what == "raised" and row.cleared_at is None]  # else its clearing says all
    rows = _Rows(city, now)
    for row in new:
        holder = row.holder or row.platform
        for channel in city.notices.channels:
            if hears(channel, city.rules.registry.county(row.platform), holder, row.rung):
                rows.add(channel, row, "raised")
    cleared = {row.id: row for row in ours if row.what == "cleared"}
    _clear(connection, city, cleared, rows)
    insert_many(connection, waiting, rows.found)
    for chunk in chunks(row.telling for row in happened):
        connection.execute(delete(tellings).where(tellings.c.id.in_(chunk)))
    return len(happened)


class _Rows:
    """Rows of `waiting` being made; the instants are shared by many."""

    def __init__(self, city: City, now: datetime) -> None:
        self._city, self._now = city, now
        self._from: dict[tuple[str, str, str], int] = {}
        self.found: list[dict[str, Any]] = []

    def add(self, channel: Channel, row: Any, what: str) -> None:
        county, rules = self._city.rules.registry.county(row.platform), self._city.rules
        at = self._from.get((channel.name, county, row.rung))
        if at is None:
            calendar = rules.calendars.of(county)
            at = to_micros(told_from(channel, self._city.notices.hours, calendar, row.rung, self._now))
            self._from[channel.name, county, row.rung] = at
        self.found.append(
            {"channel": channel.name, "county": county, "alert": row.id, "what": what, "times": 0, "from_at": at}
        )


def _clear(connection: Connection, city: City, cleared: Mapping[int, Any], rows: _Rows) -> None:
    """Nobody is told any more of what was cleared; who was told already is told that, where they hear of it."""
    for chunk in chunks(cleared):
        connection.execute(delete(waiting).where(waiting.c.alert.in_(chunk), waiting.c.what != "cleared"))
        were_told = (
            select(told.c.alert, notices.c.channel)
            .join(notices, notices.c.id == told.c.notice)
            .where(told.c.alert.in_(chunk), notices.c.state != "failed")
            .distinct()
        )
        for alert, name in connection.execute(were_told).all():
            channel = city.notices.channel(name)
            if channel is not None and hears_clearing(channel, cleared[alert].clear_reason):
                rows.add(channel, cleared[alert], "cleared")


# Gathering


_GROUPS = (
    select(waiting.c.channel, waiting.c.county, func.min(waiting.c.from_at).label("since"))
    .where(~exists().where(PENDING, notices.c.channel == waiting.c.channel, notices.c.county == waiting.c.county))
    .group_by(waiting.c.channel, waiting.c.county)
    .order_by("since")
)
_ENTRIES = (
    select(told.c.what, alerts, cases.c.holder)
    .join(alerts, alerts.c.id == told.c.alert)
    .outerjoin(cases, cases.c.key == alerts.c.key)
    .order_by(alerts.c.due_at, alerts.c.key, alerts.c.round, alerts.c.target, alerts.c.rung)
)
_COUNTS = (
    select(told.c.what, alerts.c.rung, alerts.c.clear_reason, func.count().label("number"))
    .join(alerts, alerts.c.id == told.c.alert)
    .group_by(told.c.what, alerts.c.rung, alerts.c.clear_reason)
)
_STILL = or_(
    waiting.c.what == "cleared",
    alerts.c.cleared_at.is_(None)
    & or_(waiting.c.what == "raised", ~exists().where(acknowledgements.c.alert == alerts.c.id)),
)
"""What of the waiting is still worth telling: nothing that was cleared since, and again only what nobody acknowledged."""


def due_groups(connection: Connection, city: City, now: datetime) -> list[tuple[Channel, str]]:
    """The channels and counties for which a notice is to be made now: what there is has waited long enough for others."""
    due = []
    for name, county, since in connection.execute(_GROUPS).all():
        channel = city.notices.channel(name)
        if channel is not None and from_micros(since) + timedelta(seconds=channel.digest_seconds) <= now:
            due.append((channel, county))
    return due


def gather(connection: Connection, city: City, channel: Channel, county: str, now: datetime) -> bool:
    """One notice of what waits for the channel and may be told by now; whether there was anything left to tell.

    Nobody adds to what waits for this channel and county meanwhile: routing is excluded, and repeats come with a notice's end.
    """
    on_its_way = select(notices.c.id).where(PENDING, notices.c.channel == channel.name, notices.c.county == county)
    if not alone(connection) or connection.execute(on_its_way).first() is not None:
        return False
    number = _begin(connection, channel, county, now)
    due = (waiting.c.channel == channel.name, waiting.c.county == county, waiting.c.from_at <= to_micros(now))
    chosen = (
        select(literal(number), waiting.c.alert, waiting.c.what, func.max(waiting.c.times))
        .join(alerts, alerts.c.id == waiting.c.alert)
        .where(*due, _STILL)
        .group_by(waiting.c.alert, waiting.c.what)
    )
    connection.execute(insert(told).from_select(["notice", "alert", "what", "times"], chosen))
    connection.execute(delete(waiting).where(*due))
    parts = _parts(connection, city.rules.registry, number)
    if not parts:
        connection.execute(delete(notices).where(notices.c.id == number))
        return False
    registry = city.rules.registry
    platforms = [platform.slug for platform in registry if platform.county == county]
    digest = make_digest(
        county,
        registry.county_names.get(county, county),
        now,
        parts,
        standing_now(connection, platforms) if channel.kind in MACHINES else {},
        city.notices.page,
    )
    values = {"content": encode_digest(digest).decode(), "alerts": sum(part.total for part in parts)}
    connection.execute(update(notices).where(notices.c.id == number).values(values))
    return True


def _begin(connection: Connection, channel: Channel, county: str, now: datetime) -> int:
    """A notice without its content: its number."""
    row = {
        "message": f"msg_{uuid.uuid4().hex}",
        "channel": channel.name,
        "county": county,
        "alerts": 0,
        "content": "",
        "state": "pending",
        "attempts": 0,
        "created_at": to_micros(now),
        "next_at": to_micros(now),
    }
    number: int = connection.execute(insert(notices).values(row).returning(notices.c.id)).scalar_one()
    return number


def _parts(connection: Connection, registry: Registry, number: int) -> list[Part]:
    counts: dict[str, dict[tuple[str, str | None], int]] = {}
    for row in connection.execute(_COUNTS.where(told.c.notice == number)):
        counts.setdefault(row.what, {})[row.rung, row.clear_reason] = row.number
    parts = []
    for what in ORDER:
        if what in counts:
            oldest = connection.execute(_ENTRIES.where(told.c.notice == number, told.c.what == what).limit(OLDEST))
            entries = [_entry(row, registry.holder_name(row.holder or row.platform)) for row in oldest]
            parts.append(make_part(what, counts[what], entries))
    return parts


def _entry(row: Any, holder: str) -> Entry:
    return Entry(
        key=row.key,
        what=row.what,
        rung=row.rung,
        target=row.target,
        round=row.round,
        due_at=from_micros(row.due_at),
        raised_at=from_micros(row.raised_at),
        holder=holder,
        reason=row.clear_reason if row.what == "cleared" else None,
    )


def standing_now(connection: Connection, platforms: Sequence[str]) -> dict[str, Standing]:
    """Of each rung, the alerts of these platforms that stand, and when the first of them was raised; the quiet ones left out."""
    found = connection.execute(
        select(alerts.c.rung, func.count(), func.min(alerts.c.raised_at))
        .where(TOLD, alerts.c.platform.in_(platforms))
        .group_by(alerts.c.rung)
    )
    return {rung: Standing(total, from_micros(since)) for rung, total, since in found}
