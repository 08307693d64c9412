"""What ingest counts of itself: refusals. Accepted events are counted by the store, in their transaction."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter

from services.ingest.refusals import RefusalReason


class IngestMetrics:
    """Every platform is present from the start; what no platform can be held for counts under `unknown`."""

    def __init__(self, registry: CollectorRegistry, platforms: Iterable[str]) -> None:
        self._refused = Counter(
            "liuyan_events_refused_total",
            "Events refused at the door, by the platform of the key and the reason (since the process started).",
            ["platform", "reason"],
            registry=registry,
        )
        for platform in (*platforms, "unknown"):
            for reason in RefusalReason:
                self._refused.labels(platform, reason.value)

    def refused(self, platform: str, reason: RefusalReason) -> None:
        self._refused.labels(platform, reason.value).inc()
