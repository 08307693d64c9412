"""The clocks of a process: the system's, or an accelerated one for the demonstration."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from shared.times import SHANGHAI


class Clock(Protocol):
    """`now` is an instant at +08:00; `seconds_until` is how long to really wait for one (negative: it has passed)."""

    def now(self) -> datetime: ...

    def seconds_until(self, instant: datetime) -> float: ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(SHANGHAI)

    def seconds_until(self, instant: datetime) -> float:
        return (instant - self.now()).total_seconds()


class AcceleratedClock:
    """Begins at `start` and runs `speed` times as fast as real time."""

    def __init__(self, start: datetime, speed: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._start, self._speed, self._monotonic = start.astimezone(UTC), speed, monotonic
        self._begun = monotonic()

    def now(self) -> datetime:
        passed = timedelta(seconds=(self._monotonic() - self._begun) * self._speed)
        return (self._start + passed).astimezone(SHANGHAI)

    def seconds_until(self, instant: datetime) -> float:
        return (instant - self.now()).total_seconds() / self._speed
