"""Where topics end, as the horizon and the publisher are told: never too little, and nothing at all rather than something wrong."""

from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from services.alerts.stream import outlet
from services.alerts.stream.outlet import KafkaEnds, KafkaOutlet
from services.distributed.broker import Broker
from services.distributed.topics import create_missing
from shared.kafka import admin_client, client
from shared.topics import FOREVER, MIB, Topic

TOPIC = Topic("test-ends.v1", "any", 2, "delete", FOREVER, MIB)


@pytest.fixture
def ends(kafka: Broker) -> Iterator[KafkaEnds]:
    with admin_client(kafka.address) as admin:
        create_missing(admin, "development", [TOPIC])
    found = KafkaEnds(kafka.address, "nobody")
    yield found
    found.close()


def test_what_is_written_counts_though_no_reader_may_see_it_yet(kafka: Broker, ends: KafkaEnds) -> None:
    """A transaction counts as committed before its marks are in the partitions: until then readers end before its records."""
    producer = KafkaProducer(
        bootstrap_servers=kafka.address, acks="all", transactional_id="test-ends", kafka_client=client
    )
    try:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(TOPIC.name, b"a record", partition=1).get(timeout=30)
        assert ends.end_offsets(TOPIC.name) == {0: 0, 1: 1}
        producer.abort_transaction()
    finally:
        producer.close()


def test_a_topic_of_which_nothing_is_known_is_no_topic_without_partitions(kafka: Broker, ends: KafkaEnds) -> None:
    """Whoever waits for none of its partitions would wait for nothing."""
    with pytest.raises(KafkaError):
        ends.end_offsets("nowhere.v1")
    out = KafkaOutlet(kafka.address)
    with pytest.raises(KafkaError):
        list(out.tail("nowhere.v1", 10))


def test_who_reads_the_end_of_a_topic_gives_up_when_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        """Its broker is away since the ends were asked."""

        def partitions_for_topic(self, topic: str) -> set[int]:
            return {0}

        def beginning_offsets(self, tps: list[Any]) -> dict[Any, int]:
            return dict.fromkeys(tps, 0)

        def end_offsets(self, tps: list[Any]) -> dict[Any, int]:
            return dict.fromkeys(tps, 5)

        def position(self, tp: TopicPartition) -> int:
            return 0

        def poll(self, timeout_ms: int) -> dict[Any, list[Any]]:
            return {}

        def assign(self, tps: list[Any]) -> None: ...

        def seek(self, tp: TopicPartition, offset: int) -> None: ...

    monkeypatch.setattr(outlet, "PATIENCE", 0.05)
    with pytest.raises(KafkaError):
        list(outlet._tail(Silent(), TOPIC.name, 5))
