"""A process that is killed between a flag and its webhook: what a service does there, step by step, on a clock that stands still.

Run with a job (JSON): the database, the receiver, the instant; a `point` at whose n-th passing it is killed, or a file in which the
points passed are counted. What a process that died had claimed is due at once, as if its claim were over.
"""

import base64
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from sqlalchemy import func, select, update

from services.alerts.notices.delivery import Delivery
from services.alerts.notices.gathering import City
from services.alerts.notices.metrics import NoticeCounts
from services.alerts.notices.routing import RUNGS, Channel, Notices, Secret, Web
from services.alerts.notices.tables import PENDING, notices, tellings, waiting
from services.alerts.sweep import next_wake
from services.standalone.apply import sweep_due
from shared.deployment import load_ruleset
from shared.policy import OfficeHours
from shared.times import to_micros
from tests.crashchild import Points
from tests.enginekit import _open

SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()
HOURS = OfficeHours(((510, 1080),))


def main(job: dict[str, Any]) -> None:
    rules, now = load_ruleset(), datetime.fromisoformat(job["now"])
    where = job["where"]
    database = _open(where if where.startswith("postgresql") else Path(where))
    seen = Path(job["seen"]) if "seen" in job else None
    points = Points(job.get("point"), job.get("number", 1), seen)
    channel = Channel("hook", "webhook", Web(Secret(job["url"]), Secret(SECRET)), urgent=RUNGS, clearings="all")
    city = City(rules, Notices((channel,), HOURS))
    counts = NoticeCounts(CollectorRegistry(), database, ["hook"])
    delivery = Delivery(database, city, lambda _: now, counts, points)
    delivery.begin()
    with database.writing() as connection:
        connection.execute(update(notices).where(PENDING).values(next_at=to_micros(now)))
    points.watch_sql()
    while True:
        with database.reading() as connection:
            wake = next_wake(connection)
        if wake is None or wake > now:
            break
        with database.writing() as connection:
            sweep_due(connection, rules, now, 5)
            points("swept")
    while rest(database, now):
        delivery.step()
    delivery.close()
    database.close()


def rest(database: Any, now: datetime) -> bool:
    """Whether anything is still to be told."""
    with database.reading() as connection:
        left = [
            select(func.count()).select_from(tellings),
            select(func.count()).where(waiting.c.from_at <= to_micros(now)),
        ]
        left.append(select(func.count()).where(PENDING))
        return any(connection.execute(statement).scalar_one() for statement in left)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
