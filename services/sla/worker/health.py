"""What a worker tells of itself: written by its threads, read by the one that serves `/livez`, `/readyz` and `/metrics`."""

from collections.abc import Callable, Mapping

from prometheus_client import Counter, Gauge

from services.sla.worker.watchdog import Position, Watchdog
from shared.metrics import StateCollector, new_registry
from shared.topics import MESSAGES

NOT_LOOKED = "还没有问到 Kafka"


class Health:
    """Its reasons are Chinese, one line; None says that there is none."""

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self.working: Callable[[], str | None] = lambda: "还没有启动"
        """Why nothing is processed at present, as the application has it."""
        self.member: Callable[[], bool] = lambda: False
        """Whether the process is one of the group, as the application has it."""
        self.brokers: str | None = NOT_LOOKED
        """Why nothing is known from the brokers."""
        self.topics: str | None = NOT_LOOKED
        """What is wrong with the topics."""
        self.registry = new_registry()
        self.registry.register(StateCollector("sla", self.unhealthy, self.unready))
        self._lag = Gauge(
            "liuyan_consumer_lag_records",
            "Messages that are in the topic and not yet done, of all partitions; the process need not hold them.",
            ["service", "topic", "partition"],
            registry=self.registry,
        )
        self.messages = self._counter("liuyan_sla_messages_total", "Messages done since the process started.")
        self.records = self._counter("liuyan_sla_records_total", "Records written since the process started.")
        self.letters = Counter(
            "liuyan_sla_dead_letters_total",
            "Dead letters written since the process started; one may be written again after a restart.",
            ["reason"],
            registry=self.registry,
        )
        self.reevaluated = self._counter(
            "liuyan_sla_reevaluated_total", "Records written anew because the rules have changed."
        )

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, registry=self.registry)

    def unhealthy(self) -> str | None:
        """Why the process has to be started again."""
        return self._watchdog.unhealthy()

    def unready(self) -> str | None:
        """Why it does not do its work at present."""
        return self.unhealthy() or self.brokers or self.topics or self.working()

    def see(self, positions: Mapping[int, Position]) -> None:
        for partition, position in positions.items():
            self._lag.labels("sla", MESSAGES.name, str(partition)).set(position.lag)
