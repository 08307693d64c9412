"""A registry of Prometheus metrics, as every service begins with one, and the lag of a consumer."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import prometheus_client
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


def new_registry() -> CollectorRegistry:
    """Without `_created` series: one more for each counter, of no use to anybody here."""
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    return CollectorRegistry()


class LagCollector(Collector):
    """How many records of each partition that this process reads it has not dealt with yet."""

    def __init__(self, service: str, lags: Callable[[], Mapping[tuple[str, int], int]]) -> None:
        self._service, self._lags = service, lags

    def describe(self) -> Iterable[Metric]:
        return []  # nothing is read when the collector is registered

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "liuyan_consumer_lag_records",
            "Records of a partition that were not dealt with yet, by the process that reads it.",
            labels=["service", "topic", "partition"],
        )
        for (topic, partition), lag in sorted(self._lags().items()):
            family.add_metric([self._service, topic, str(partition)], lag)
        yield family
