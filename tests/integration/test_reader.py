"""Who reads for alerts on a real Kafka: two processes that were given the same name by mistake."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.alerts.stream.apply import Projector, adopt_ruleset
from services.alerts.stream.consumer import Reader
from services.compose.cases import evaluated
from services.distributed.broker import Broker
from services.distributed.database import open_database
from shared.database import Postgres
from shared.rules import Ruleset
from shared.topics import CASES, DEAD_LETTERS
from tests.kafkakit import create_topics, own_broker
from tests.postgres import Server
from tests.service import until

pytestmark = pytest.mark.slow

NUMBERS = count(1)
ALL = CASES.partitions + DEAD_LETTERS.partitions


@pytest.fixture
def database(postgres_server: Server, rules: Ruleset) -> Iterator[Postgres]:
    found = open_database(postgres_server.create(f"reader{next(NUMBERS)}"))
    with found.writing() as connection:
        adopt_ruleset(connection, rules)
    yield found
    found.close()


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Broker]:
    with own_broker(tmp_path / "kafka") as started:
        create_topics(started.address)
        yield started


def test_whose_name_was_taken_by_another_goes_on_without_one(
    own_kafka: Broker, database: Postgres, rules: Ruleset
) -> None:
    first, second = (
        Reader(own_kafka.address, "same", database, Projector(database, rules, evaluated)) for _ in range(2)
    )

    def shared_out() -> bool:
        first.step()
        second.step()
        return bool(first.lag) and bool(second.lag) and len(first.lag) + len(second.lag) == ALL

    def alone() -> bool:
        first.step()
        return len(first.lag) == ALL

    try:
        with capture_logs() as logs:
            until(alone, "the first one reads everything")
            until(shared_out, "both read, each its own")
            second.close()
            until(alone, "what the second one leaves is read by the first")
        assert [log["instance"] for log in logs if log["action"] == "name_taken"] == ["same"]
    finally:
        first.close()
        second.close()
