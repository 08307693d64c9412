"""Telling people of alerts, as a part of a service of either form: a loop beside its others."""

from collections.abc import Callable
from datetime import datetime

from prometheus_client import CollectorRegistry
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from services.alerts.notices.delivery import Delivery
from services.alerts.notices.gathering import City, set_up
from services.alerts.notices.metrics import NoticeCounts
from services.alerts.notices.routing import Notices
from services.compose.server import Worker
from shared.database import Connections
from shared.loops import Loop
from shared.rules import Ruleset

NAME = "发送通知"
AWAY = (SQLAlchemyError, OSError)


class Messenger:
    """Tells people, while the service runs. Without notices nobody is told, and nothing is kept to be told later."""

    def __init__(
        self,
        database: Connections,
        rules: Ruleset,
        notices: Notices | None,
        now: Callable[[Connection], datetime],
        registry: CollectorRegistry,
        passed: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._database = database
        self._delivery: Delivery | None = None
        self.loop: Loop | None = None
        if notices is not None:
            counts = NoticeCounts(registry, database, [channel.name for channel in notices.channels])
            self._delivery = Delivery(database, City(rules, notices), now, counts, passed)
            self.loop = Loop(NAME, self._delivery.step, AWAY)
            self._delivery.wake = self.loop.wake

    def start(self) -> None:
        if self._delivery is None or self.loop is None:
            with self._database.writing() as connection:
                set_up(connection, [])
            return
        self._delivery.begin()
        self.loop.start()

    def hurry(self) -> None:
        if self.loop is not None:
            self.loop.hurry()

    def stop(self) -> None:
        """Blocks until what is being sent is recorded."""
        if self._delivery is not None and self.loop is not None:
            self.loop.stop()
            self._delivery.close()


class Together:
    """Workers as one: started in this order, stopped in the other."""

    def __init__(self, *workers: Worker) -> None:
        self._workers = workers

    def start(self) -> None:
        for worker in self._workers:
            worker.start()

    def hurry(self) -> None:
        for worker in self._workers:
            worker.hurry()

    def stop(self) -> None:
        for worker in reversed(self._workers):
            worker.stop()
