"""Prometheus: what became of notices, and since when the oldest waits."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, func, select

from services.alerts.notices.tables import PENDING, notices
from shared.database import Connections

RESULTS = ("sent", "retried", "failed")


class NoticeCounts(Collector):
    """Attempts by channel and result since the process started, and from the database what is on its way now."""

    def __init__(self, registry: CollectorRegistry, database: Connections, channels: Iterable[str]) -> None:
        self._database, self._channels = database, tuple(channels)
        self._attempts = Counter(
            "liuyan_notices",
            "Attempts to tell somebody of alerts, by what became of them (since the process started).",
            ["channel", "result"],
            registry=registry,
        )
        for channel in self._channels:
            for result in RESULTS:
                self._attempts.labels(channel, result)
        registry.register(self)

    def count(self, channel: str, result: str) -> None:
        self._attempts.labels(channel, result).inc()

    def describe(self) -> Iterable[Metric]:
        return []  # nothing is read when the collector is registered

    def collect(self) -> Iterator[Metric]:
        with self._database.reading() as connection:
            found = _pending(connection)
        number = GaugeMetricFamily("liuyan_notices_pending", "Notices that are not delivered yet.", labels=["channel"])
        oldest = GaugeMetricFamily(
            "liuyan_notices_oldest_pending_timestamp_seconds",
            "When the oldest notice that is not delivered yet was made; NaN: none.",
            labels=["channel"],
        )
        for channel in self._channels:
            total, since = found.get(channel, (0, None))
            number.add_metric([channel], total)
            oldest.add_metric([channel], float("nan") if since is None else since / 1_000_000)
        yield number
        yield oldest


def _pending(connection: Connection) -> dict[str, tuple[int, int]]:
    rows = connection.execute(
        select(notices.c.channel, func.count(), func.min(notices.c.created_at))
        .where(PENDING)
        .group_by(notices.c.channel)
    )
    return {channel: (total, since) for channel, total, since in rows}
