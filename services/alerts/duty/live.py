"""Tells open pages that something changed: server-sent events, without any content. One look at the database serves all of them.

What is told is `changed`; the page then asks for itself. So nothing has to be kept for a page that was away, and a viewer is told
only of the platforms that they see.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractContextManager
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from services.alerts.notices.tables import acknowledgements, shifts
from services.alerts.tables import alerts, event_counts
from shared.http import busy

LOOK_SECONDS = 1.0
BEAT_SECONDS = 15.0  # a comment, so that a connection that is gone is noticed
STREAM_SECONDS = 600.0  # the page comes back by itself
MOST_STREAMS = 200
NEWEST = 500

Version = tuple[int, int, int]


class Seen(Struct, frozen=True):
    """What a look at the database found: the day, per platform its number of events, its newest alert and acknowledgement, and the
    newest hand-over of each county (None: of the city)."""

    day: str
    platforms: Mapping[str, Version]
    shifts: Mapping[str | None, int]

    def of(self, slugs: Collection[str], county: str | None) -> object:
        """What concerns somebody who sees these platforms, and the hand-overs of that county alone (None: all)."""
        versions = [(slug, version) for slug, version in sorted(self.platforms.items()) if slug in slugs]
        last = max(self.shifts.values(), default=0) if county is None else self.shifts.get(county, 0)
        return self.day, versions, last


class Pulse:
    """Looks at most once a second, whoever asks. `ending`: the service is told to stop."""

    def __init__(
        self,
        reading: Callable[[], AbstractContextManager[Connection]],
        now: Callable[[], datetime],
        ending: Callable[[], bool],
    ) -> None:
        self._reading, self._now, self._ending = reading, now, ending
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._alerts: dict[str, int] = {}
        self._acknowledgements: dict[str, int] = {}
        self._shifts: dict[str | None, int] = {}
        self._seen = Seen("", {}, {})
        self._streams = 0

    def read(self) -> Seen:
        with self._reading() as connection:
            counts = select(event_counts.c.platform, func.sum(event_counts.c.events).label("events"))
            rows = connection.execute(counts.group_by(event_counts.c.platform))
            events = {row.platform: int(row.events) for row in rows}
            newest = select(alerts.c.platform, alerts.c.id).order_by(alerts.c.id.desc()).limit(NEWEST)
            for row in connection.execute(newest):
                self._alerts[row.platform] = max(self._alerts.get(row.platform, 0), row.id)
            kept = select(acknowledgements.c.key, acknowledgements.c.id).order_by(acknowledgements.c.id.desc())
            for row in connection.execute(kept.limit(NEWEST)):
                slug = row.key.partition("/")[0]
                self._acknowledgements[slug] = max(self._acknowledgements.get(slug, 0), row.id)
            handed = select(shifts.c.county, shifts.c.id).order_by(shifts.c.id.desc()).limit(NEWEST)
            for row in connection.execute(handed):
                self._shifts[row.county] = max(self._shifts.get(row.county, 0), row.id)
        known = events.keys() | self._alerts.keys() | self._acknowledgements.keys()
        versions = {
            slug: (events.get(slug, 0), self._alerts.get(slug, 0), self._acknowledgements.get(slug, 0))
            for slug in known
        }
        return Seen(self._now().date().isoformat(), versions, dict(self._shifts))

    async def _look(self) -> Seen:
        async with self._looking:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                self._seen = await asyncio.to_thread(self.read)
                self._looked_at = time.monotonic()
        return self._seen

    def require_room(self) -> None:
        """Raises ProblemError (503) when too many pages listen: they work without."""
        if self._streams >= MOST_STREAMS:
            raise busy("同时打开的页面太多，本页改为定时更新")

    async def stream(
        self, slugs: Collection[str], county: str | None, lasting: Callable[[], bool]
    ) -> AsyncIterator[str]:
        """The text of the stream, until the service stops, the page goes away, or the database does; or who looks has signed out, or
        sees something else now: `lasting` is asked before whatever is told, and now and then. The others: as in `Seen.of`."""
        self._streams += 1
        begun = beat = time.monotonic()
        try:
            yield "retry: 5000\n\n"
            known = (await self._look()).of(slugs, county)
            while not self._ending() and time.monotonic() - begun < STREAM_SECONDS:
                await asyncio.sleep(LOOK_SECONDS / 2)
                found = (await self._look()).of(slugs, county)
                if found == known and time.monotonic() - beat < BEAT_SECONDS:
                    continue
                if not await asyncio.to_thread(lasting):
                    return
                beat = time.monotonic()
                yield ": \n\n" if found == known else "event: changed\ndata: 1\n\n"
                known = found
        except SQLAlchemyError:
            return  # the loops tell of it; the page tries again
        finally:
            self._streams -= 1
