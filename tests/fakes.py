"""What stands in for the world outside in tests: a clock that stands still until it is set."""

from datetime import datetime, timedelta

LOOK_AGAIN = 0.02


class FakeClock:
    """Stands at `start` until it is set. Whoever waits by it looks again soon, so that setting it is noticed at once."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def seconds_until(self, instant: datetime) -> float:
        """How long to really wait: never longer than the moment after which the clock may have been set."""
        return min((instant - self._now).total_seconds(), LOOK_AGAIN)

    def set(self, instant: datetime) -> None:
        self._now = instant

    def advance(self, by: timedelta) -> None:
        self._now += by
