"""A registry of Prometheus metrics, as every service begins with one, and what services tell of themselves in the same words."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import prometheus_client
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


def new_registry() -> CollectorRegistry:
    """With the figures of the process; without `_created` series: one more for each counter, of no use to anybody here."""
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


class StateCollector(Collector):
    """What `/livez` and `/readyz` answer, as figures: a probe restarts a process, a figure tells somebody."""

    def __init__(self, service: str, unhealthy: Callable[[], str | None], unready: Callable[[], str | None]) -> None:
        self._service, self._unhealthy, self._unready = service, unhealthy, unready

    def describe(self) -> Iterable[Metric]:
        return []  # nothing is read when the collector is registered

    def collect(self) -> Iterator[Metric]:
        live, ready = self._unhealthy() is None, self._unready() is None
        for name, text, value in (
            ("liuyan_live", "1 while /livez answers 200: the process has come on within a minute.", live),
            ("liuyan_ready", "1 while /readyz answers 200: it does its work at present.", live and ready),
        ):
            family = GaugeMetricFamily(name, text, labels=["service"])
            family.add_metric([self._service], value)
            yield family


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


class TimestampCollector(Collector):
    """An instant, in seconds since 1970, that is read at the scrape; nothing while there is none."""

    def __init__(self, name: str, documentation: str, read: Callable[[], float | None]) -> None:
        self._name, self._documentation, self._read = name, documentation, read

    def describe(self) -> Iterable[Metric]:
        return []  # nothing is read when the collector is registered

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._documentation)
        at = self._read()
        if at is not None:
            family.add_metric([], at)
        yield family


def sweep_collector(swept_at: Callable[[], float | None]) -> Collector:
    """The heartbeat of the sweep, by the clock of the machine: without it the figures may be right, but nothing is flagged."""
    text = "When it was last seen to that what is due is flagged."
    return TimestampCollector("liuyan_sweep_timestamp_seconds", text, swept_at)
