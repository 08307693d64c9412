"""How many reads run at a time. One more is refused at once: queued, slow reads would hold every thread, and keep the writer
from the interpreter. Each kind has a room of its own, so that a flood of one starves no other."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct, field

from shared.http import busy

PAST, PRESENT, PAGE, METRICS = 2, 10, 6, 2


class Room:
    """So many places."""

    def __init__(self, places: int) -> None:
        self._free = threading.BoundedSemaphore(places)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """A place until the end of the block. Raises ProblemError (503) when there is none."""
        if not self._free.acquire(blocking=False):
            raise busy("同时进行的查询太多，请稍后再试")
        try:
            yield
        finally:
            self._free.release()


class Rooms(Struct, frozen=True):
    """`past`: figures as of an instant, which evaluate every case of the period. `present`: everything else of `/v1`."""

    past: Room = field(default_factory=lambda: Room(PAST))
    present: Room = field(default_factory=lambda: Room(PRESENT))
    page: Room = field(default_factory=lambda: Room(PAGE))
    metrics: Room = field(default_factory=lambda: Room(METRICS))


READING_THREADS = PAST + PRESENT + PAGE + METRICS + 4  # some are always free to refuse
