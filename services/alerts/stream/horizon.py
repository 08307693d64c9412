"""Up to which instant everything that had arrived is in the projections: the horizon.

An alert says that there was no answer in time. Whether there was one is known only when every event that had arrived by
then has gone the whole way: through the SLA processor into records, and from there into the projections. So the horizon is moved
in three steps: where the topic of events ended at an instant; until the processor has acknowledged that much, where the topic of records
ends then; until the projections are there. Alerts are raised as of the horizon, never as of the clock.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, delete, select

from services.alerts.sql import upsert
from services.alerts.stream.apply import ALERTS, database_now, share_state
from services.alerts.stream.tables import horizons
from services.alerts.tables import consumer_positions
from shared.database import Connections
from shared.times import from_micros, show, to_micros
from shared.topics import CASES, MESSAGES

LOOK_SECONDS = 0.2  # as long, at least twice, is what a flag waits for
LATE = timedelta(seconds=60)  # the horizon normally follows within some seconds

Offsets = Mapping[int, int]


class Ends(Protocol):
    """Where topics end, and how far the SLA processor has acknowledged its own, by partition. Raises KafkaError."""

    def end_offsets(self, topic: str) -> Offsets: ...

    def acknowledged(self, topic: str) -> Offsets: ...


class _Wait(NamedTuple):
    """What has to be reached before the horizon is at `at`: first of the events, then of the records."""

    at: datetime
    events: Offsets
    records: Offsets | None


class Horizon:
    """`step` is for a loop; every replica may have one, the greatest instant stands."""

    def __init__(self, database: Connections, ends: Ends, seconds: float = LOOK_SECONDS) -> None:
        self._database, self._ends, self._seconds = database, ends, seconds
        self._wait: _Wait | None = None

    def step(self) -> float:
        if self._wait is None:
            with self._database.reading() as connection:
                now = database_now(connection)
            self._wait = _Wait(now, self._ends.end_offsets(MESSAGES.name), None)
        if self._wait.records is None and reached(self._wait.events, self._ends.acknowledged(MESSAGES.name)):
            self._wait = self._wait._replace(records=self._ends.end_offsets(CASES.name))
        if self._wait.records is not None:
            with self._database.reading() as connection:
                there = reached(self._wait.records, projected(connection))
            if there:
                with self._database.writing() as connection:
                    held = share_state(connection)
                    whole = held is not None and held.rebuilding is None
                    if whole and reached(self._wait.records, projected(connection)):  # no rebuild began since
                        self._move(connection, self._wait.at)
                self._wait = None
        return self._seconds

    def _move(self, connection: Connection, at: datetime) -> None:
        found = horizon(connection)
        if found is not None and found > database_now(connection):  # the clock was ahead then
            forget_horizon(connection)
        set_horizon(connection, at)


def behind(connection: Connection, now: datetime) -> str | None:
    """Why figures and overdue cases are preliminary; None when next to everything that has arrived is in them."""
    at = horizon(connection)
    if at is None:
        return "正在读入已收到的留言：件数尚不完整，逾期为暂定，读完之前不提醒"
    if now - at <= LATE:
        return None
    return f"{show(at)} 之后收到的可能尚未计入：逾期为暂定，计入之前不提醒"


def reached(wanted: Offsets, found: Offsets) -> bool:
    """Whether every partition is there; one of which nothing is known is at its beginning."""
    return all(found.get(partition, 0) >= offset for partition, offset in wanted.items())


def projected(connection: Connection, topic: str = CASES.name) -> dict[int, int]:
    """The next offset of each partition of the topic."""
    positions = consumer_positions
    rows = connection.execute(select(positions.c.partition, positions.c.next_offset).where(positions.c.topic == topic))
    return {row.partition: row.next_offset for row in rows}


def forget_horizon(connection: Connection) -> None:
    """Nothing is known to be in the projections."""
    connection.execute(delete(horizons).where(horizons.c.name == ALERTS))


def set_horizon(connection: Connection, at: datetime) -> None:
    upsert(connection, horizons, [{"name": ALERTS, "at": to_micros(at)}], latest=("at",))


def horizon(connection: Connection) -> datetime | None:
    """None before everything was read for the first time, or again."""
    at: Any = connection.execute(select(horizons.c.at).where(horizons.c.name == ALERTS)).scalar()
    return None if at is None else from_micros(at)
