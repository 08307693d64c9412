"""Sends what is due: claims a notice in one transaction, sends it outside of any, records in another what became of it.

Any number of processes may do so at once. A process that dies between claiming and recording leaves the notice to be taken again
when its claim is over, under the same id: nothing is lost, and what was sent already is sent at most again.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import msgspec
import structlog
from sqlalchemy import Connection, insert, literal, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from services.alerts.notices.channels import deliver
from services.alerts.notices.channels.outcome import Outcome, refused
from services.alerts.notices.gathering import City, decode_digest, due_groups, gather, route, set_up
from services.alerts.notices.metrics import NoticeCounts
from services.alerts.notices.pruning import Pruning
from services.alerts.notices.routing import Channel, repeated_from
from services.alerts.notices.tables import PENDING, notices, tellings, told, waiting
from services.alerts.sweep import next_wake
from services.alerts.tables import STANDS, alerts
from shared.database import Connections
from shared.times import from_micros, to_micros

logger = structlog.get_logger("notices")

LOOK_SECONDS = 0.2
CLAIM = timedelta(minutes=2)  # longer than an attempt may take
RETRIES = (5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds after the first, second, … attempt that did not succeed; then always the last."""
FURTHEST = timedelta(hours=2)
"""Nothing is put off for so long: what is to be tried later than that was put off by a clock that was ahead."""
GIVE_UP = timedelta(hours=24)  # after its making
THREADS = 16
RECORD_TRIES, RECORD_SECONDS = 5, 2.0
HOLD_SECONDS = 15.0
"""So long notices wait at most for a sweep that is not done: what falls due in one instant is one message, and on SQLite the sweep
does not wait for us."""

Now = Callable[[Connection], datetime]


class Delivery:
    """`step` is for a loop; `wait` for what is being sent ends with `close`. `passed` is told of each point (for crash tests)."""

    def __init__(
        self,
        database: Connections,
        city: City,
        now: Now,
        counts: NoticeCounts,
        passed: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._database, self._city, self._now, self._counts, self._passed = database, city, now, counts, passed
        self._pool = ThreadPoolExecutor(min(THREADS, len(city.notices.channels)), "notices")
        self._pruning = Pruning(database, city.notices.keep_days)
        self._sending: set[str] = set()
        self._lock = threading.Lock()
        self._failure: SQLAlchemyError | None = None
        self._held_since: float | None = None
        self.wake: Callable[[], None] = lambda: None

    def begin(self) -> None:
        """Once, before the first step."""
        with self._database.writing() as connection:
            set_up(connection, [channel.name for channel in self._city.notices.channels])

    def step(self) -> float:
        """Route, gather, begin to send what is due, and forget some of what is old: for how many seconds there is nothing more.
        Raises the database's errors."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        with self._database.reading() as connection:
            now = self._now(connection)
            routed = connection.execute(select(tellings.c.id).limit(1)).first() is not None
            groups = [] if routed else due_groups(connection, self._city, now)
            ready = connection.execute(self._due(now).limit(1)).first() is not None
            held = (routed or groups) and self._hold(connection, now)
        if routed and not held:
            with self._database.writing() as connection:
                some = route(connection, self._city, self._now(connection))
                self._passed("routed")
            return 0.0 if some else LOOK_SECONDS
        for channel, county in () if held else groups:
            with self._database.writing() as connection:
                ready |= gather(connection, self._city, channel, county, self._now(connection))
                self._passed("gathered")
        while ready and (claimed := self._claim()) is not None:
            self._passed("claimed")
            self._pool.submit(self._send, *claimed).add_done_callback(self._done)
        self._pruning.step(self._now)
        return LOOK_SECONDS

    def _hold(self, connection: Connection, now: datetime) -> bool:
        """Whether to wait for more: the sweep is at work, and was not for too long."""
        wake = next_wake(connection)
        if wake is None or wake > now:
            self._held_since = None
            return False
        self._held_since = self._held_since or time.monotonic()
        return time.monotonic() - self._held_since < HOLD_SECONDS

    def close(self) -> None:
        """Blocks until what is being sent is sent and recorded."""
        self._pool.shutdown(wait=True)

    def _due(self, now: datetime) -> Any:
        """Those that are to be tried now, the channels at work left out: each sends one after the other."""
        with self._lock:
            free = [c.name for c in self._city.notices.channels if c.name not in self._sending]
        reached = or_(notices.c.next_at <= to_micros(now), notices.c.next_at > to_micros(now + FURTHEST))
        return (
            select(notices)
            .where(PENDING, reached, notices.c.channel.in_(free))
            .order_by(notices.c.next_at, notices.c.id)
        )

    def _claim(self) -> tuple[Channel, Any, datetime] | None:
        """A notice that nobody else tries until the claim is over, and when it was claimed."""
        with self._database.writing() as connection:
            now = self._now(connection)
            row = connection.execute(self._due(now).limit(1).with_for_update(skip_locked=True)).first()
            if row is None:
                return None
            mine = update(notices).where(notices.c.id == row.id)
            connection.execute(mine.values(attempts=row.attempts + 1, next_at=to_micros(now + CLAIM)))
        channel = self._city.notices.channel(row.channel)
        assert channel is not None
        with self._lock:
            self._sending.add(channel.name)
        return channel, row, now

    def _send(self, channel: Channel, row: Any, now: datetime) -> None:
        try:
            try:
                digest = decode_digest(row.content)
            except msgspec.DecodeError:  # of another version of the program
                found = refused("内容不是本版本的格式")
            else:
                found = deliver(channel, row.message, digest, now)
            self._passed("sent")
            self._keep(channel, row, found)
            self._passed("recorded")
        finally:
            with self._lock:
                self._sending.discard(channel.name)

    def _keep(self, channel: Channel, row: Any, found: Outcome) -> None:
        """What became of it, also where the database is busy or away for a moment: else it would be sent a second time."""
        for left in reversed(range(RECORD_TRIES)):
            try:
                with self._database.writing() as connection:
                    now = self._now(connection)
                    self._record(connection, channel, row, found, now)
                break
            except SQLAlchemyError:
                if not left:
                    raise
                threading.Event().wait(RECORD_SECONDS)
        self._tell(channel, row, found, now)

    def _done(self, future: "Future[None]") -> None:
        error = future.exception()
        if isinstance(error, SQLAlchemyError):  # not recorded: tried again when the claim is over
            self._failure = error
        elif error is not None:
            logger.error("一条通知的发送意外中断", action="notice_broken", exc_info=error)
        self.wake()  # the channel is free for its next notice

    def _record(self, connection: Connection, channel: Channel, row: Any, found: Outcome, now: datetime) -> None:
        mine = notices.c.id == row.id
        attempts = row.attempts + 1
        if found.state == "sent":
            done = update(notices).where(mine, notices.c.state != "sent")
            sent = connection.execute(
                done.values(state="sent", sent_at=to_micros(now), next_at=None, error=found.detail or None)
            )
            if sent.rowcount and channel.repeat_minutes is not None:
                self._repeat(connection, channel, row, now)
            return
        wait = max(RETRIES[min(attempts, len(RETRIES)) - 1], found.after or 0.0)
        over = _over(row, found, now)
        # Whoever claimed it since knows better.
        still = update(notices).where(mine, PENDING, notices.c.attempts == attempts)
        if over:
            connection.execute(still.values(state="failed", next_at=None, error=found.detail))
        else:
            at = to_micros(now + timedelta(seconds=wait))
            connection.execute(still.values(next_at=at, error=found.detail))

    def _tell(self, channel: Channel, row: Any, found: Outcome, now: datetime) -> None:
        result = "sent" if found.state == "sent" else "failed" if _over(row, found, now) else "retried"
        self._counts.count(channel.name, result)
        facts = {"channel": channel.name, "county": row.county, "alerts": row.alerts, "message": row.message}
        if result == "sent":
            logger.info("已通知", action="notice_sent", **facts)
        elif result == "failed":
            logger.error("通知没有送达，不再重试", action="notice_failed", detail=found.detail, **facts)
        else:
            logger.warning("通知没有送达，稍后重试", action="notice_retried", detail=found.detail, **facts)

    def _repeat(self, connection: Connection, channel: Channel, row: Any, now: datetime) -> None:
        """What of it still stands will be told again, unless somebody acknowledges it by then."""
        calendar, hours = self._city.rules.calendars.of(row.county), self._city.notices.hours
        instants: dict[int, list[str]] = {}
        for rung in channel.rungs:
            at = to_micros(repeated_from(channel, hours, calendar, rung, now))
            instants.setdefault(at, []).append(rung)
        for at, rungs in instants.items():
            again = (
                select(
                    literal(row.channel),
                    literal(row.county),
                    told.c.alert,
                    literal("repeated"),
                    told.c.times + 1,
                    literal(at),
                )
                .join(alerts, alerts.c.id == told.c.alert)
                .where(told.c.notice == row.id, STANDS, alerts.c.rung.in_(rungs))
                .where(told.c.what != "cleared")
                .where(told.c.times < channel.repeat_times)
            )
            columns = ["channel", "county", "alert", "what", "times", "from_at"]
            connection.execute(insert(waiting).from_select(columns, again))


def _over(row: Any, found: Outcome, now: datetime) -> bool:
    """Whether a notice that did not arrive is given up."""
    return found.state == "refused" or from_micros(row.created_at) + GIVE_UP <= now
