"""While the database is away, pushes go on, reading is refused for now, and all is well again by itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from services.distributed.broker import Broker
from services.distributed.database import open_database
from services.ingest.keys import create_key
from tests.builders import at
from tests.clusterkit import Process
from tests.postgres import Server
from tests.service import SINGLE, until

pytestmark = pytest.mark.slow

EVENT = {
    "specversion": "1.0", "id": "away-1", "source": "/platforms/zhenkang", "subject": "away",
    "type": "liuyan.message.received.v1", "time": "2022-03-01T09:00:00+08:00", "data": {"title": "求助"},
}  # fmt: skip


@contextmanager
def service(kind: str, kafka: Broker, url: str, folder: Any) -> Iterator[Process]:
    found = Process(kind, kind, {"LIUYAN_KAFKA": kafka.address, "LIUYAN_DB": url}, folder)
    found.start()
    try:
        yield found
    finally:
        assert found.stop() == 0, found.tail()


@pytest.mark.usefixtures("postgres_server")  # there is one
def test_without_the_database_pushes_go_on_and_reading_is_refused_until_it_is_back(
    kafka: Broker, tmp_path: Any
) -> None:
    server = Server()
    try:
        server.start()
        url = server.create("away")
        database = open_database(url)
        with database.writing() as connection:
            _, key = create_key(connection, "zhenkang", at("03-01 08:00"))
        database.close()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": SINGLE}
        with (
            service("ingest", kafka, url, tmp_path) as ingest,
            service("alerts", kafka, url, tmp_path) as alerts,
            httpx.Client(timeout=30, trust_env=False) as client,
        ):
            asked = [ingest.url(), alerts.url()]

            def statuses(path: str) -> list[int]:
                return [client.get(f"{each}{path}").status_code for each in asked]

            def logged(action: str) -> bool:
                return all(action in process.log.read_text() for process in (ingest, alerts))

            def push() -> int:
                return client.post(f"{ingest.url()}/v1/events", headers=headers, json=EVENT).status_code

            until(lambda: statuses("/readyz") == [200, 200], "both are ready")
            assert push() == 202
            server.stop()
            until(lambda: statuses("/readyz") == [200, 503], "alerts says that it is not")
            until(lambda: logged("loop_failing"), "both have noticed")
            assert push() == 202
            token = {"Authorization": "Bearer lyr_0000_who"}  # who asks is not known now, which is no "no"
            answer = client.get(f"{alerts.url()}/v1/cases", headers=token)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert "数据库没有应答" in answer.json()["detail"]
            assert statuses("/livez") == [200, 200]
            server.start()
            until(lambda: statuses("/readyz") == [200, 200], "both are ready again")
            assert push() == 202
            until(lambda: logged("loop_recovered"), "both go on")
            assert (ingest.starts, alerts.starts) == (1, 1)
    finally:
        server.remove()
