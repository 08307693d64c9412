"""From a deadline to whoever has to hear of it: a real service, a real Prometheus, a real Alertmanager, a receiver of webhooks."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from deploy.alertmanager.generate import configuration
from services.ingest.keys import create_key
from services.standalone.database import open_database
from shared.rules import Ruleset
from shared.times import SHANGHAI, isoformat
from tests.monitoring.servers import Prometheus, Receiver, alertmanager, free_port, prometheus
from tests.service import Json, Running, running, until

pytestmark = pytest.mark.slow

POLICY = """
[[policy]]
source = "test"
default_category = "inquiry"
office_hours = ["00:00-24:00"]
categories.inquiry = {name = "一般咨询", reply_hours = 1, complete_hours = 1, source = "test"}
"""
DAY = '[[local]]\ncounty = "zhenkang"\ndate = "{day}"\nwork = true\nname = "上班"\nsource = "test"\n'
HOUR, SECONDS = timedelta(hours=1), timedelta(seconds=5)


def now() -> datetime:
    return datetime.now(SHANGHAI)


def event(name: str, time: datetime, subject: str) -> Json:
    return {
        "specversion": "1.0", "id": f"{subject}-{name}", "source": "/platforms/zhenkang", "subject": subject,
        "type": f"liuyan.message.{name}.v1", "time": isoformat(time), "data": {"title": "路灯不亮"} if name == "received" else {},
    }  # fmt: skip


class Watched(NamedTuple):
    """A city that is watched; `start` runs its service, always at the same port."""

    folder: Path
    port: int
    key: str
    receiver: Receiver
    prometheus: Prometheus

    @contextmanager
    def service(self) -> Iterator[Running]:
        files = {f"LIUYAN_{name.upper()}": str(self.folder / f"{name}.toml") for name in ("policy", "calendar")}
        database = self.folder / "liuyan.db"
        with running(database, "--port", str(self.port), environment=files) as service:
            service.keys["zhenkang"] = self.key
            yield service


@pytest.fixture
def watched(tmp_path: Path, rules: Ruleset) -> Iterator[Watched]:
    """Every hour of these days is worked in 镇康县, whatever day the test is run on: an hour is over after an hour."""
    days = (now().date() + timedelta(days=days) for days in (-1, 0, 1))
    (tmp_path / "calendar.toml").write_text("".join(DAY.format(day=day) for day in days), encoding="utf-8")
    (tmp_path / "policy.toml").write_text(POLICY, encoding="utf-8")
    database = open_database(tmp_path / "liuyan.db", create=True)
    with database.writing() as connection:
        _, key = create_key(connection, "zhenkang", now())
    database.close()
    port, receiver = free_port(), Receiver()
    routes = configuration(rules.registry, receiver.url, f"{receiver.url}/heartbeat")
    try:
        with (
            alertmanager(tmp_path / "alertmanager", routes) as address,
            prometheus(tmp_path / "prometheus", [f"127.0.0.1:{port}"], address) as server,
        ):
            yield Watched(tmp_path, port, key, receiver, server)
    finally:
        receiver.close()


def test_a_case_that_falls_due_is_heard_of_by_its_county_and_the_end_of_it_too(watched: Watched) -> None:
    heard = watched.receiver
    with watched.service() as service:
        service.push(event("received", now() - HOUR + SECONDS, "zk-1"))
        heard.hear("heartbeat", "Watchdog")
        told = heard.hear("county-zhenkang", "LiuyanOverdue")
        assert told.annotations["summary"] == "镇康县有 1 件留言逾期未办结"
        assert told.labels["severity"] == "warning"
        assert {each.receiver for each in heard.told if each.labels["alertname"] == "LiuyanOverdue"} == {
            "county-zhenkang"
        }
        assert heard.of("county-zhenkang", "LiuyanOverdue", "resolved") == []
        service.push(event("replied", now(), "zk-1"))
        heard.hear("county-zhenkang", "LiuyanOverdue", "resolved")


def test_a_program_that_died_is_heard_of_and_nobody_hears_that_all_is_well(watched: Watched) -> None:
    heard = watched.receiver

    def standing() -> bool:
        return bool(watched.prometheus.query('ALERTS{alertname="LiuyanOverdue"}'))

    with watched.service() as service:
        service.push(event("received", now() - 2 * HOUR, "zk-1"))
        heard.hear("county-zhenkang", "LiuyanOverdue")
        until(lambda: heard.of("operators", "LiuyanMetricsAbsent", "firing") == [] or
              heard.of("operators", "LiuyanMetricsAbsent", "resolved"), "what the start itself raised is over")  # fmt: skip
        before = len(heard.of("operators", "LiuyanMetricsAbsent", "firing"))
        service.kill()
        heard.hear("operators", "LiuyanMetricsAbsent", more_than=before)
        assert heard.hear("operators", "LiuyanServiceDown").labels["service"] == "standalone"
        until(lambda: not standing(), "Prometheus knows of no overdue case any more")
        beats = len(heard.of("heartbeat", "Watchdog", "firing"))
        heard.hear(
            "heartbeat", "Watchdog", more_than=beats + 3
        )  # each a second after the other: it would have been told by now
        assert heard.of("county-zhenkang", "LiuyanOverdue", "resolved") == []
    with watched.service():
        heard.hear("operators", "LiuyanServiceDown", "resolved")
        assert until(standing, "the case is overdue as before")
