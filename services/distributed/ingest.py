"""The ingest service: pushes over HTTP into Kafka; keys in PostgreSQL."""

import threading
from collections.abc import Sequence

from litestar import Litestar, Response, get
from prometheus_client import generate_latest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.alerts.app import METRICS_TYPE
from services.compose.api import application
from services.distributed.topics import TopicsCheck
from services.ingest.app import event_routes
from services.ingest.door import Door
from services.ingest.kafka import KafkaIngest
from services.ingest.keys import WatchedKeys, valid_keys
from services.ingest.metrics import Refusals
from services.ingest.port import BusyError, Taken
from services.ingest.producer import producer
from shared.database import Connections
from shared.events import Event
from shared.http import health_routes
from shared.loops import Loop, exit_when
from shared.metrics import StateCollector, new_registry
from shared.rules import Ruleset
from shared.settings import Environment
from shared.topics import MESSAGES

NOT_LIVE_SECONDS = 60.0


class IngestService:
    """What works behind the application; `app` is the application."""

    def __init__(self, database: Connections, bootstrap: str, environment: Environment, rules: Ruleset) -> None:
        self._database, self._rules = database, rules
        self._kafka = KafkaIngest(lambda: producer(bootstrap))
        self._topics = TopicsCheck(bootstrap, environment)
        self._keys = WatchedKeys(self._read_keys)
        self._loops = (
            Loop("核对主题", self._topics.step, ()),
            Loop("读取密钥", self._keys.step, (DBAPIError, PoolTimeoutError)),
        )
        self._ending = threading.Event()
        self.app = self._app()

    def start(self) -> None:
        self._kafka.start()
        self._keys.step()  # the first push finds them
        for loop in self._loops:
            loop.start()
        exit_when(self.unhealthy)

    def hurry(self) -> None:
        self._ending.set()

    def stop(self) -> None:
        self._ending.set()
        for loop in self._loops:
            loop.stop()
        self._kafka.stop()

    def unhealthy(self) -> str | None:
        if self._ending.is_set():
            return None
        if self._kafka.failing_for() > NOT_LIVE_SECONDS:
            return "Kafka 超过一分钟没有确认任何事件"
        return next((f"{loop.name} 超过一分钟没有进展" for loop in self._loops if loop.stuck()), None)

    def unready(self) -> str | None:
        if not self._kafka.connected():
            return "Kafka 没有应答"
        if not self._keys.trusted():
            return "读不到密钥已经太久"
        return self._topics.mismatch

    async def _submit(self, events: Sequence[Event], origin: str) -> list[Taken]:
        """Nothing goes into a topic that is not as it should be: what stands in a wrong partition, or may be deleted, is lost."""
        if not self._topics.fit(MESSAGES):
            raise BusyError
        return await self._kafka.submit(events, origin)

    def _read_keys(self) -> dict[str, str]:
        with self._database.reading() as connection:
            return valid_keys(connection)

    def _app(self) -> Litestar:
        registry = new_registry()
        registry.register(StateCollector("ingest", self.unhealthy, self.unready))
        refusals = Refusals(registry, self._rules.registry.slugs)

        @get("/metrics", include_in_schema=False, sync_to_thread=False)
        def metrics() -> Response[bytes]:
            return Response(generate_latest(registry), media_type=METRICS_TYPE)

        return application(
            [
                *event_routes(Door(self._rules), self._submit, self._keys.platform_of, refusals),
                *health_routes(self.unhealthy, self.unready),
                metrics,
            ]
        )
