"""A real Kafka for tests, and a plain consumer that knows nothing of the product."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from services.distributed import broker
from services.distributed.provision import MissingError
from services.distributed.topics import create_missing
from shared.kafka import admin_client, client

T = TypeVar("T")


def demanded(start: Callable[[], T]) -> T:
    """What `start` gives. Where the machine lacks Maven or Java the test is skipped, in CI it fails."""
    try:
        return start()
    except MissingError as missing:
        if os.environ.get("CI"):
            pytest.fail(f"CI needs a broker: {missing}")
        pytest.skip(str(missing))


@contextmanager
def own_broker(data: Path) -> Iterator[broker.Broker]:
    """A broker of the test's own."""
    started = demanded(lambda: broker.up(data))
    try:
        yield started
    finally:
        broker.down(data)


def create_topics(address: str) -> None:
    with admin_client(address) as admin:
        create_missing(admin, "development")


def records(
    address: str, topic: str, since: dict[int, int] | None = None, isolation: str = "read_committed"
) -> list[Any]:
    """All records of the topic, partition by partition, from the offsets of `since` on: those committed, unless told otherwise."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(
        bootstrap_servers=address,
        enable_auto_commit=False,
        group_id=None,
        isolation_level=isolation,
        kafka_client=client,
    )
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, (since or {}).get(partition.partition, 0))
        found: list[Any] = []
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for fetched in consumer.poll(timeout_ms=500).values():
                found += fetched
        return sorted(found, key=lambda record: (record.partition, record.offset))
    finally:
        consumer.close()


def ends(address: str, topic: str) -> dict[int, int]:
    """The next offset of each partition."""
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=address, enable_auto_commit=False, group_id=None, kafka_client=client)
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        return {partition.partition: end for partition, end in consumer.end_offsets(partitions).items()}
    finally:
        consumer.close()
