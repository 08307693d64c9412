"""The alerts service: records from Kafka into projections in PostgreSQL, alerts and figures out, and the reading API."""

import threading
import time
from collections.abc import Sequence
from datetime import datetime

from litestar import Litestar
from sqlalchemy import Connection, func, select

from services.alerts.app import Reader, reading_routes
from services.alerts.duty.asking import problem_page
from services.alerts.duty.routes import duty_routes
from services.alerts.notices.routes import notice_routes
from services.alerts.notices.routing import Notices
from services.alerts.people.guard import People
from services.alerts.projection import Evaluated
from services.alerts.rooms import Rooms
from services.alerts.standings import standings_now
from services.alerts.stream import consumer
from services.alerts.stream.apply import Projector, adopt_ruleset, database_now
from services.alerts.stream.horizon import Horizon, behind, horizon
from services.alerts.stream.outlet import KafkaEnds, KafkaOutlet
from services.alerts.stream.publish import Publisher
from services.alerts.stream.records import histories
from services.alerts.stream.sweeper import Sweeper
from services.alerts.stream.tables import letters
from services.alerts.sweep import Raised
from services.compose.announce import log_raised
from services.compose.api import application
from services.compose.cases import calculate, cases_registry, evaluate_keys, evaluated, open_file, recaller
from services.compose.clock import SystemClock
from services.compose.notices import Messenger
from services.distributed.database import AWAY
from services.distributed.topics import TopicsCheck
from services.distributed.troubles import TRANSIENT
from shared.database import Postgres
from shared.figures import Figures, tabulate
from shared.http import health_routes
from shared.loops import STUCK_SECONDS, Loop, exit_when
from shared.metrics import LagCollector, StateCollector, TimestampCollector, sweep_collector
from shared.rules import Ruleset
from shared.settings import Environment
from shared.topics import SLA_GROUP

HORIZON = (
    "liuyan_horizon_timestamp_seconds",
    "Everything that had arrived by then is in the figures, and alerts are raised as of then.",
)
READING = (*TRANSIENT, consumer.TopicResetError)


class AlertsService:
    """What works behind the application; `app` is the application."""

    def __init__(
        self,
        database: Postgres,
        bootstrap: str,
        instance: str,
        environment: Environment,
        rules: Ruleset,
        people: People,
        notices: Notices | None = None,
    ) -> None:
        self._database, self._rules, self._now, self._people = database, rules, SystemClock().now, people
        self._ending = threading.Event()
        self._topics = TopicsCheck(bootstrap, environment)
        self._ends, self._outlet = KafkaEnds(bootstrap, SLA_GROUP), KafkaOutlet(bootstrap)
        self.reader = consumer.Reader(bootstrap, instance, database, Projector(database, rules, evaluated))
        self._registry, self._delay = cases_registry(database, rules, self._now, letter_counts)
        self._registry.register(LagCollector("alerts", lambda: dict(self.reader.lag)))
        self._sweeper = Sweeper(database, rules, self._evaluate_keys, self._raised)
        self._registry.register(sweep_collector(lambda: self._sweeper.swept_at))
        self._registry.register(TimestampCollector(*HORIZON, self._horizon))
        self._registry.register(StateCollector("alerts", self.unhealthy, self.unready))
        self._messenger = Messenger(database, rules, notices, database_now, self._registry)
        self._loops = (
            Loop("核对主题", self._topics.step, ()),
            Loop("整理办件", self.reader.step, READING),
            Loop("核对进度", Horizon(database, self._ends).step, TRANSIENT),
            Loop("到期检查", self._sweeper.step, TRANSIENT),
            Loop("发布提醒", Publisher(database, rules, self._outlet, self._figures_of).step, TRANSIENT),
        )
        self._watched = (*self._loops, *([self._messenger.loop] if self._messenger.loop is not None else []))
        self.app = self._app()

    def start(self) -> None:
        with self._database.writing() as connection:
            adopt_ruleset(connection, self._rules)
        for loop in self._loops:
            loop.start()
        self._messenger.start()
        exit_when(self.unhealthy)

    def hurry(self) -> None:
        self._ending.set()
        for loop in self._loops:
            loop.hurry()
        self._messenger.hurry()

    def stop(self) -> None:
        for loop in self._loops:
            loop.stop()
        self._messenger.stop()
        self.reader.close()
        self._outlet.close()
        self._ends.close()

    def unhealthy(self) -> str | None:
        if self._ending.is_set():
            return None
        for loop in self._watched:
            if loop.stuck():
                return f"{loop.name} 超过一分钟没有进展"
        if any(self.reader.lag.values()) and time.monotonic() - self.reader.progressed_at > STUCK_SECONDS:
            return "有未处理的记录，超过一分钟没有进展"
        return None

    def unready(self) -> str | None:
        if self._sweeper.rebuilding:
            return "投影正在重建（liuyan rebuild），还不完整"
        return self._topics.mismatch or next(filter(None, (loop.trouble() for loop in self._watched)), None)

    def _evaluate_keys(self, connection: Connection, keys: Sequence[str], at: datetime) -> list[Evaluated]:
        return evaluate_keys(histories, connection, keys, self._rules, at)

    def _figures_of(self, connection: Connection, months: Sequence[str], at: datetime) -> Figures:
        recall = recaller(histories, self._rules, self._ending.is_set)
        return tabulate(standings_now(connection, recall, months, at), self._rules.registry, months)

    def _horizon(self) -> float | None:
        with self._database.reading() as connection:
            at = horizon(connection)
        return None if at is None else at.timestamp()

    def _raised(self, raised: Sequence[Raised], now: datetime) -> None:
        self._delay.observe(raised, now)
        log_raised(raised)

    def _app(self) -> Litestar:
        reader = Reader(
            rules=self._rules,
            now=self._now,
            reading=self._database.reading,
            recall=recaller(histories, self._rules, self._ending.is_set),
            open_file=lambda connection, key, at: open_file(histories, connection, self._rules, key, at),
            calculate=lambda category, received, platform: calculate(self._rules, category, received, platform),
            metrics=self._registry,
            rooms=Rooms(),
            behind=behind,
            ending=self._ending.is_set,
        )
        routes = [
            *reading_routes(reader),
            *duty_routes(reader, self._people),
            *notice_routes(reader, self._people),
            *health_routes(self.unhealthy, self.unready),
        ]
        return application(routes, AWAY, self._people, problem_page(reader))


def letter_counts(connection: Connection) -> dict[str, int]:
    rows = connection.execute(select(letters.c.reason, func.count()).group_by(letters.c.reason))
    return {row[0]: row[1] for row in rows}
