"""What arrives, counted: events per platform and type, and the platforms' own tallies of their days."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, func, select

from services.alerts.sql import upsert
from services.alerts.tables import days, event_counts, tallies
from shared.events import BaseEvent, Tally
from shared.times import to_micros


class Arrivals(NamedTuple):
    """Rows: accepted events per platform and type, and the tallies among them."""

    counts: list[dict[str, Any]]
    tallies: list[dict[str, Any]]


def count_events(events: Iterable[BaseEvent], now: datetime) -> Arrivals:
    """Of accepted events; the last time of a type is at most now."""
    found: defaultdict[tuple[str, type[BaseEvent]], list[BaseEvent]] = defaultdict(list)
    for event in events:
        found[event.source, type(event)].append(event)
    rows = []
    told: list[dict[str, Any]] = []
    for own in found.values():
        last = min(max(event.time for event in own), now)
        rows.append(
            {"platform": own[0].platform, "type": own[0].name, "events": len(own), "last_time": to_micros(last)}
        )
        told.extend(tally_row(event) for event in own if isinstance(event, Tally))
    rows.sort(key=lambda row: (row["platform"], row["type"]))
    return Arrivals(rows, told)


def record_arrivals(connection: Connection, arrived: Arrivals) -> None:
    """Every transaction changes the same few counts: where others write beside it, nothing is to come after this but the commit."""
    upsert(connection, tallies, arrived.tallies)
    upsert(connection, event_counts, arrived.counts, add=("events",), latest=("last_time",))


def tally_row(event: Tally) -> dict[str, Any]:
    return {
        "platform": event.platform, "day": event.data.date.isoformat(), "time": to_micros(event.time),
        "sequence": int(event.sequence), "id": event.id, "received": event.data.received,
    }  # fmt: skip


def tally_gaps(connection: Connection, now: datetime) -> dict[str, int]:
    """Per platform: its counts minus ours, over the days that it has counted. The latest tally of a day by now stands."""
    rows = connection.execute(summed_gaps(now))
    return {row.platform: int(row.gap) for row in rows if row.gap is not None}


def summed_gaps(now: datetime) -> Select[Any]:
    """A row a platform, `gap` null where no tally stands yet. The days of many years are summed where they are, not fetched each time."""
    told = select(tallies.c.platform, tallies.c.day).distinct().subquery("told")
    theirs = (
        select(tallies.c.received)
        .where(tallies.c.platform == told.c.platform, tallies.c.day == told.c.day, tallies.c.time <= to_micros(now))
        .order_by(tallies.c.time.desc(), tallies.c.sequence.desc(), tallies.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    ours = select(days.c.received).where(days.c.platform == told.c.platform, days.c.day == told.c.day).scalar_subquery()
    a_day = select(told.c.platform, (theirs - func.coalesce(ours, 0)).label("gap")).subquery("a_day")
    return select(a_day.c.platform, func.sum(a_day.c.gap).label("gap")).group_by(a_day.c.platform)
