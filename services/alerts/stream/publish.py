"""What goes out: alerts as they are raised and cleared, once each, and the figures of each platform when they changed.

The outbox (filled by a trigger) and the figures that were published last stand in the database; here one process at a time
brings them to Kafka, in transactions of one producer. Whoever takes over ends the earlier producer's transactions and looks
at the ends of the topic: what the predecessor did publish, without coming to say so in the database, is not published again.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, delete, func, select

from services.alerts.exports import row_json
from services.alerts.journal import Alert, alert_of
from services.alerts.sql import chunks, upsert
from services.alerts.stream.apply import database_now
from services.alerts.stream.horizon import horizon
from services.alerts.stream.tables import outbox, publishers, rates
from services.alerts.tables import alerts
from shared.database import Connections
from shared.figures import Figures, Period
from shared.rules import Ruleset
from shared.times import isoformat
from shared.topics import ALERTS, RATES

MAX_ALERTS = 500  # in one transaction
TAIL = (
    2 * MAX_ALERTS
)  # of each partition is looked at: more than one transaction can have written, with its mark and others'
SECONDS = 1.0
OUTBOX = "outbox"
LOCK = 0x6C69757462  # one publisher at a time

FiguresOf = Callable[[Connection, Sequence[str], datetime], Figures]


class Notice(Struct, frozen=True):
    """A message of `liuyan.alerts.v1`. `id` names what happened: no two messages have the same. `what`: raised or cleared."""

    id: str
    what: str
    alert: Alert


class Message(Struct, frozen=True):
    topic: str
    key: str
    value: bytes


class Outlet(Protocol):
    """A transactional producer. Both raise KafkaError; after one, `take_over` comes first."""

    def take_over(self) -> None:
        """End every other producer of this kind."""

    def send(self, messages: Iterable[Message]) -> None:
        """All of them or none; committed when it returns."""

    def tail(self, topic: str, number: int) -> Iterable[bytes]:
        """The values of the last messages of each partition."""


class Publisher:
    """`step` is for a loop; every replica may have one."""

    def __init__(self, database: Connections, rules: Ruleset, outlet: Outlet, figures_of: FiguresOf) -> None:
        self._database, self._rules, self._outlet, self._figures_of = database, rules, outlet, figures_of
        self._name = uuid.uuid4().hex
        self._sure = False

    def step(self) -> float:
        """Publish what there is: for how many seconds there is nothing more."""
        sure, self._sure = self._sure, False
        with self._database.writing() as connection:
            if not _alone(connection):
                return SECONDS  # another replica is at it
            if _owner(connection) != self._name or not sure:
                self._outlet.take_over()
                self._drop_published(connection)
                upsert(connection, publishers, [{"name": OUTBOX, "owner": self._name}])
        with self._database.writing() as connection:  # what was dropped is dropped: one transaction at most is in doubt
            if not _alone(connection) or _owner(connection) != self._name:
                return SECONDS
            waiting = connection.execute(_WAITING.limit(MAX_ALERTS)).all()
            changed = self._changed(connection)
            self._outlet.send([*map(_notice, waiting), *(_rate(row, database_now(connection)) for row in changed)])
            connection.execute(delete(outbox).where(outbox.c.id.in_([row.entry for row in waiting])))
            upsert(connection, rates, changed)
        self._sure = True
        return 0.0 if len(waiting) == MAX_ALERTS else SECONDS

    def _drop_published(self, connection: Connection) -> None:
        """Take out of the outbox what stands in the topic: a predecessor published it and could not say so.

        It need not be the first of what waits: numbers are given before the commit, and lower ones may have come since.
        """
        if connection.execute(select(outbox.c.id).limit(1)).first() is None:
            return
        told = {msgspec.json.decode(value, type=_Id).id for value in self._outlet.tail(ALERTS.name, TAIL)}
        done = [row.entry for row in connection.execute(_WAITING) if notice_id(row, row.what) in told]
        for chunk in chunks(done):
            connection.execute(delete(outbox).where(outbox.c.id.in_(chunk)))

    def _changed(self, connection: Connection) -> list[dict[str, Any]]:
        """The figures of this quarter and the last, of each platform where they are not those published last."""
        at = horizon(connection)
        if at is None:
            return []  # not everything was read yet: figures would be told that never were
        periods = (Period.quarter_of(at.date()), Period.quarter_before(at.date()))
        by_platform: dict[str, list[dict[str, Any]]] = {slug: [] for slug in self._rules.registry.slugs}
        for period in periods:
            for row in self._figures_of(connection, period.months, at).rows:
                by_platform[row.platform].append({"period": period.text, **row_json(row)})
        known = {row.platform: row.value for row in connection.execute(select(rates))}
        values = {
            slug: msgspec.json.encode({"ruleset": self._rules.hash, "figures": figures}).decode()
            for slug, figures in by_platform.items()
        }
        return [{"platform": slug, "value": value} for slug, value in values.items() if known.get(slug) != value]


def _alone(connection: Connection) -> bool:
    """Whether nobody else publishes until the end of the transaction."""
    found: bool = connection.execute(select(func.pg_try_advisory_xact_lock(LOCK))).scalar_one()
    return found


def _owner(connection: Connection) -> str | None:
    """Who took over last."""
    found: str | None = connection.execute(select(publishers.c.owner).where(publishers.c.name == OUTBOX)).scalar()
    return found


class _Id(Struct):
    id: str


_WAITING = (
    select(outbox.c.id.label("entry"), outbox.c.what, alerts)
    .join(alerts, alerts.c.id == outbox.c.alert)
    .order_by(outbox.c.id)
)


def notice_id(row: Any, what: str) -> str:
    """Of what happened to an alert of the journal: a database made anew beside an old topic gives none a second time."""
    return f"{row.key}/{row.round}/{row.target}/{row.rung}/{row.due_at}/{row.raised_at}/{what}"


def _notice(row: Any) -> Message:
    """An alert as it was raised says nothing of how it was cleared, even if it has been since."""
    alert = alert_of(row, row.raised_at - 1 if row.what == "raised" else None)
    notice = Notice(notice_id(row, row.what), row.what, alert)
    return Message(ALERTS.name, row.key, msgspec.json.encode(notice))


def _rate(row: dict[str, Any], now: datetime) -> Message:
    value = {"platform": row["platform"], "as_of": isoformat(now), **msgspec.json.decode(row["value"])}
    return Message(RATES.name, row["platform"], msgspec.json.encode(value))
