"""What ingest tells of itself: refusals, counted and, the first of a kind each minute, logged. The store counts what is accepted."""

import time
from collections.abc import Callable, Iterable

import structlog
from prometheus_client import CollectorRegistry, Counter

from services.ingest.refusals import RefusalReason

logger = structlog.get_logger("ingest")

QUIET_SECONDS = 60.0  # a portal that repeats its mistake all day must not fill the log


class Refusals:
    """Every platform is present from the start; what no platform can be held for counts under `unknown`."""

    def __init__(
        self, registry: CollectorRegistry, platforms: Iterable[str], seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._counter = Counter(
            "liuyan_events_refused_total",
            "Events refused at the door, by the platform of the key and the reason (since the process started).",
            ["platform", "reason"],
            registry=registry,
        )
        self._seconds = seconds
        self._logged: dict[tuple[str, RefusalReason], float] = {}
        for platform in (*platforms, "unknown"):
            for reason in RefusalReason:
                self._counter.labels(platform, reason.value)

    def count(self, platform: str, reason: RefusalReason, pointer: str | None) -> None:
        """`pointer` names the field; nothing that was sent is ever logged."""
        self._counter.labels(platform, reason.value).inc()
        now, kind = self._seconds(), (platform, reason)
        if now - self._logged.get(kind, float("-inf")) >= QUIET_SECONDS:
            self._logged[kind] = now
            logger.warning("拒收事件", action="event_refused", platform=platform, reason=reason.value, pointer=pointer)
