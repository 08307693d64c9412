"""The sums that many cases share, kept by difference: the old standing of a case out, the new one in.

So no reader of the current state counts cases. In a transaction they are written last, each table in the order of its keys, and
what is shared most after everything else: from then on whoever else changes the same sums waits until the commit. That is to be
short, and never in a circle.
"""

from collections import Counter
from typing import Any

from sqlalchemy import Connection, delete

from services.alerts.sql import upsert
from services.alerts.tables import days, due_days, figures, handled
from shared.figures import Standing

_NO_CASES = delete(due_days).where(due_days.c.cases == 0)
_NONE_HANDLED = delete(handled).where(handled.c.cases == 0)


class Sums:
    """What a transaction changes of them: cases by standing; running ones by due day, platform and category; completed ones by
    day of reception, day of closing, platform and category; receptions by platform and day."""

    def __init__(self) -> None:
        self.standings: Counter[Standing] = Counter()
        self.running: Counter[tuple[str, str, str]] = Counter()
        self.handled: Counter[tuple[str, str, str, str]] = Counter()
        self.received: Counter[tuple[str, str]] = Counter()

    def write(self, connection: Connection) -> None:
        handled_rows = [
            {"received_day": r, "closed_day": d, "platform": p, "category": c, "cases": n}
            for (r, d, p, c), n in _changed(self.handled)
        ]
        running = [{"due_day": d, "platform": p, "category": c, "cases": n} for (d, p, c), n in _changed(self.running)]
        received = [{"platform": p, "day": d, "received": n} for (p, d), n in _changed(self.received)]
        standings = [{**key._asdict(), "cases": n} for key, n in _changed(self.standings)]
        upsert(connection, handled, handled_rows, add=("cases",))
        if any(row["cases"] < 0 for row in handled_rows):
            connection.execute(_NONE_HANDLED)
        upsert(connection, due_days, running, add=("cases",))
        if any(row["cases"] < 0 for row in running):
            connection.execute(_NO_CASES)
        upsert(connection, days, received, add=("received",))
        upsert(connection, figures, standings, add=("cases",))


def _changed(sums: Counter[Any]) -> list[tuple[Any, int]]:
    return [(key, n) for key, n in sorted(sums.items()) if n]
