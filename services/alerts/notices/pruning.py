"""Forgets notices that arrived long ago. What was not delivered stays, and so does what tells of an alert that still stands: who was
told of it is told when it is cleared. What people did, and its record, is elsewhere and stays.

Alerts never come back once they are cleared (what is raised again is another), so a notice that may go may go for ever.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, delete, select

from services.alerts.notices.gathering import BATCH, alone
from services.alerts.notices.tables import notices, tellings, told
from services.alerts.tables import STANDS, alerts
from shared.database import Connections
from shared.times import to_micros

PASS_SECONDS = 3600.0  # from the end of a pass to the next
AT_ONCE = 50  # notices looked at in one step


class Pruning:
    """Passes over the notices, the oldest first, a little in each step: pushes wait for no longer than for a batch of notices."""

    def __init__(self, database: Connections, days: int) -> None:
        self._database, self._kept = database, timedelta(days=days)
        self._after = 0  # the pass has come so far
        self._next = time.monotonic()

    def step(self, now: Callable[[Connection], datetime]) -> None:
        """Raises the database's errors; the next step goes on where this one was."""
        if time.monotonic() < self._next:
            return
        with self._database.reading() as connection:
            seen, gone = old_notices(connection, self._after, now(connection) - self._kept)
        if gone:
            with self._database.writing() as connection:
                if not forget(connection, gone):
                    return
        if seen:
            self._after = seen[-1]
        else:
            self._after, self._next = 0, time.monotonic() + PASS_SECONDS


def old_notices(connection: Connection, after: int, before: datetime) -> tuple[list[int], list[int]]:
    """The next delivered notices made before that instant, and those of them that nothing needs any more."""
    seen = []
    for number, created_at in connection.execute(delivered(after)).all():
        if created_at >= to_micros(before):
            break  # those with greater numbers are younger
        seen.append(number)
    standing = select(told.c.notice).join(alerts, alerts.c.id == told.c.alert).where(told.c.notice.in_(seen), STANDS)
    needed = set(connection.execute(standing.distinct()).scalars())
    return seen, [number for number in seen if number not in needed]


def delivered(after: int) -> Select[Any]:
    found = select(notices.c.id, notices.c.created_at).where(notices.c.state == "sent", notices.c.id > after)
    return found.order_by(notices.c.id).limit(AT_ONCE)


def forget(connection: Connection, numbers: Sequence[int], batch: int = BATCH) -> bool:
    """These notices, of so many alerts at most; whether all are gone. None while a clearing is still to be routed, or somebody else is
    at it: who was told before is read from what would go."""
    if connection.execute(select(tellings.c.id).limit(1)).first() is not None or not alone(connection):
        return False
    for number in numbers:
        some = select(told.c.alert).where(told.c.notice == number).limit(batch)
        batch -= connection.execute(delete(told).where(told.c.notice == number, told.c.alert.in_(some))).rowcount
        if batch <= 0:
            return False
        connection.execute(delete(notices).where(notices.c.id == number))
    return True
