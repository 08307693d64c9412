"""Who reads for alerts on a real Kafka: two processes that were given the same name by mistake, and transactions that fail."""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs

from services.alerts.stream.apply import Batch, Projector, adopt_ruleset
from services.alerts.stream.consumer import Reader
from services.alerts.stream.horizon import projected, reached
from services.alerts.tables import event_counts
from services.compose.cases import evaluated
from services.distributed.broker import Broker
from services.distributed.database import open_database
from shared.database import Postgres
from shared.rules import Ruleset
from shared.times import SHANGHAI
from shared.topics import CASES, DEAD_LETTERS
from tests.kafkakit import create_topics, ends, own_broker
from tests.postgres import Server
from tests.service import until
from tests.streamkit import Processor, story

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


class Unsteady(Projector):
    """Every third transaction fails: some of them before, some after it was committed."""

    def __init__(self, database: Postgres, rules: Ruleset) -> None:
        super().__init__(database, rules, evaluated)
        self.numbers, self.failed = count(1), 0

    def apply(self, batches: Sequence[Batch]) -> int:
        number = next(self.numbers)
        done = 0 if number % 6 == 3 else super().apply(batches)
        if number % 3:
            return done
        self.failed += 1
        raise OSError("the connection is lost")


def test_trouble_of_one_transaction_loses_nothing_and_doubles_nothing(
    own_kafka: Broker, database: Postgres, rules: Ruleset
) -> None:
    processor = Processor(own_kafka.address, rules)
    told = story(datetime.now(SHANGHAI))
    projector = Unsteady(database, rules)
    reader = Reader(own_kafka.address, None, database, projector)

    def step() -> None:
        with contextlib.suppress(OSError):
            reader.step()

    def all_read() -> bool:
        step()
        with database.reading() as connection:
            return reached(ends(own_kafka.address, CASES.name), projected(connection, CASES.name))

    def nothing_left() -> bool:
        step()
        return len(reader.lag) == ALL and not any(reader.lag.values())

    try:
        for start in range(0, len(told), 20):
            processor.feed(told[start : start + 20])
            processor.work(5)
            until(all_read, "what is there is applied")
        until(nothing_left, "the reader knows")
        assert projector.failed > 1
        with database.reading() as connection:
            counted = connection.execute(select(func.sum(event_counts.c.events))).scalar_one()
        assert counted == len({(each.source, each.id) for each in told})
    finally:
        reader.close()
        processor.close()
