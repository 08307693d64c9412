"""What arrives, counted: events per platform and type, and the platforms' own tallies of their days."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from services.alerts.sql import upsert
from services.alerts.tables import days, event_counts
from shared.events import BaseEvent, Tally
from shared.times import to_micros


def record_events(connection: Connection, events: Iterable[BaseEvent], now: datetime) -> None:
    """Count accepted events per platform and type, and keep the tallies: the latest of a day stands."""
    counted: Counter[tuple[str, str]] = Counter()
    last: dict[tuple[str, str], int] = {}
    tallies: dict[tuple[str, str], tuple[int, int, str, int]] = {}
    limit = to_micros(now)
    for event in events:
        kind = (event.platform, event.name)
        counted[kind] += 1
        last[kind] = max(last.get(kind, 0), min(to_micros(event.time), limit))
        if isinstance(event, Tally):
            day = (event.platform, event.data.date.isoformat())
            entry = (to_micros(event.time), int(event.sequence), event.id, event.data.received)
            tallies[day] = max(tallies.get(day, entry), entry)
    _count_events(connection, counted, last)
    for (platform, tallied), (at, sequence, event_id, number) in tallies.items():
        _record_tally(connection, platform, tallied, (at, sequence, event_id), number)


def _count_events(connection: Connection, counted: Counter[tuple[str, str]], last: dict[tuple[str, str], int]) -> None:
    rows = [{"platform": p, "type": t, "events": n, "last_time": last[p, t]} for (p, t), n in sorted(counted.items())]
    upsert(connection, event_counts, rows, add=("events",), latest=("last_time",))


def _record_tally(connection: Connection, platform: str, day: str, order: tuple[int, int, str], received: int) -> None:
    at = (days.c.platform == platform) & (days.c.day == day)
    old = connection.execute(select(days.c.tally_time, days.c.tally_sequence, days.c.tally_id).where(at)).first()
    if old is None:
        connection.execute(insert(days).values(platform=platform, day=day, received=0))
    elif old.tally_time is not None and tuple(old) >= order:
        return
    connection.execute(
        update(days).where(at).values(tally=received, tally_time=order[0], tally_sequence=order[1], tally_id=order[2])
    )
