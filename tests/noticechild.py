"""A process that is killed between a flag and its webhook: what a service does there, step by step, on a clock that stands still.

Run as `python -m tests.noticechild` by tests/crashkit.py; a job names the database, the receiver and the instant. What a process
that died had claimed is due at once, as if its claim were over.
"""

import base64
from datetime import datetime
from functools import partial
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
from shared.rules import Ruleset
from shared.times import to_micros
from tests.crashkit import Job, Points, Tell, do_in_forks
from tests.enginekit import _open

SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()
HOURS = OfficeHours(((510, 1080),))


def do(rules: Ruleset, job: Job, tell: Tell) -> None:
    """In the fork: everything up to the last webhook."""
    now, where = datetime.fromisoformat(job["now"]), job["where"]
    database = _open(where if where.startswith("postgresql") else Path(where))
    points = Points(job)
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
    do_in_forks(partial(do, load_ruleset()))
