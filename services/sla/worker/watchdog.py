"""Ends the process when it has work and does not come on: a supervisor's restart is what helps then."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

logger = structlog.get_logger("sla")

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 1.0
EXIT = 71


class Watchdog:
    """A thread of its own: it sees also an event loop that hangs."""

    def __init__(
        self,
        patience: float = PATIENCE_SECONDS,
        seconds: Callable[[], float] = time.monotonic,
        bite: Callable[[], None] = lambda: os._exit(EXIT),
    ) -> None:
        self._patience, self._seconds, self._bite = patience, seconds, bite
        self._begun: dict[object, float] = {}

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Around one piece of work; there may be several at once."""
        piece = object()
        self._begun[piece] = self._seconds()
        try:
            yield
        finally:
            del self._begun[piece]

    def stuck(self) -> bool:
        """Whether some piece of work has been in hand for longer than the patience."""
        oldest = min(list(self._begun.values()), default=None)
        return oldest is not None and self._seconds() - oldest > self._patience

    def start(self) -> None:
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        while not self.stuck():
            time.sleep(LOOK_SECONDS)
        logger.error("超过一分钟没有进展，退出以便重新启动", action="watchdog", seconds=self._patience)
        self._bite()
