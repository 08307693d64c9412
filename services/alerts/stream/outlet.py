"""Kafka as the publisher and the horizon see it: a transactional producer, the ends of topics, what another group acknowledged."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from services.alerts.stream.publish import Message
from shared.kafka import admin_client, dispose, kafka_consumer, made

NAME, CLIENT = "liuyan-alerts-outbox", "liuyan-alerts"
WAIT_MS = 10_000
PATIENCE = 5.0


class KafkaOutlet:
    """The transactional producer of the outbox, one for all replicas: the one that took over last."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: Any = None

    def take_over(self) -> None:
        """End every other producer of this name."""
        from kafka import KafkaProducer

        self.close()
        self._producer = made(
            KafkaProducer,
            self._bootstrap,
            PATIENCE,
            client_id=NAME,
            transactional_id=NAME,
            acks="all",
            allow_auto_create_topics=False,
            request_timeout_ms=WAIT_MS // 2,
            delivery_timeout_ms=WAIT_MS,
            max_block_ms=WAIT_MS,
            transaction_timeout_ms=3 * WAIT_MS,
        )
        self._producer.init_transactions()

    def send(self, messages: Iterable[Message]) -> None:
        """All of them or none; committed when it returns."""
        wanted = list(messages)
        if not wanted:
            return
        self._producer.begin_transaction()
        sent = [self._producer.send(m.topic, m.value, m.key.encode()) for m in wanted]
        self._producer.flush(WAIT_MS / 1000)
        for future in sent:
            future.get(timeout=0)
        self._producer.commit_transaction()

    def tail(self, topic: str, number: int) -> Iterator[bytes]:
        """The values of the last messages of each partition."""
        with closing_consumer(self._bootstrap) as consumer:
            yield from _tail(consumer, topic, number)

    def close(self) -> None:
        if self._producer is not None:
            dispose(self._producer)  # an unfinished transaction is ended by whoever comes next
            self._producer = None


@contextlib.contextmanager
def closing_consumer(bootstrap: str) -> Iterator[Any]:
    """A consumer without a group."""
    consumer = kafka_consumer(bootstrap, client_id=CLIENT, group_id=None)
    try:
        yield consumer
    finally:
        consumer.close()


def _tail(consumer: Any, topic: str, number: int) -> Iterator[bytes]:
    tps = partitions(consumer, topic)
    consumer.assign(tps)
    starts, ends = consumer.beginning_offsets(tps), consumer.end_offsets(tps)
    for tp in tps:
        consumer.seek(tp, max(starts[tp], ends[tp] - number))
    for polled in read_to(consumer, ends, PATIENCE):
        for records in polled.values():
            yield from (record.value for record in records)


def read_to(consumer: Any, ends: Mapping[Any, int], patience: float) -> Iterator[Mapping[Any, Any]]:
    """What is polled until all partitions are read up to their ends. Raises KafkaTimeoutError when for so long nothing comes."""
    from kafka.errors import KafkaTimeoutError

    so_far, since = -1, time.monotonic()
    while any(consumer.position(tp) < end for tp, end in ends.items()):
        yield consumer.poll(timeout_ms=500)
        done = sum(consumer.position(tp) for tp in ends)
        if done > so_far:
            so_far, since = done, time.monotonic()
        elif time.monotonic() - since > patience:
            raise KafkaTimeoutError("nothing comes before the end")


def partitions(consumer: Any, topic: str) -> list[Any]:
    """Of a topic. Raises UnknownTopicOrPartitionError when the brokers tell of none: there is no such topic, or they do not know
    of it yet."""
    from kafka import TopicPartition
    from kafka.errors import UnknownTopicOrPartitionError

    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise UnknownTopicOrPartitionError(topic)
    return [TopicPartition(topic, number) for number in sorted(numbers)]


class KafkaEnds:
    """Where topics end, and how far a group has acknowledged one; clients are made at need, and anew after an error."""

    def __init__(self, bootstrap: str, group: str) -> None:
        self._bootstrap, self._group = bootstrap, group
        self._consumer: Any = None
        self._admin: Any = None

    def end_offsets(self, topic: str) -> Mapping[int, int]:
        """Of everything that is written, also what no reader may see yet: a transaction is committed, for who wrote it, before
        its marks are in the partitions."""
        with self._fresh():
            if self._consumer is None:
                self._consumer = kafka_consumer(self._bootstrap, "read_uncommitted", client_id=CLIENT, group_id=None)
            ends = self._consumer.end_offsets(partitions(self._consumer, topic))
            return {tp.partition: end for tp, end in ends.items()}

    def acknowledged(self, topic: str) -> Mapping[int, int]:
        with self._fresh():
            if self._admin is None:
                self._admin = admin_client(self._bootstrap, PATIENCE, CLIENT)
            found = self._admin.list_group_offsets(self._group)[self._group]
            return {tp.partition: held.offset for tp, held in found.items() if tp.topic == topic and held.offset >= 0}

    @contextlib.contextmanager
    def _fresh(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for used in (self._consumer, self._admin):
            if used is not None:
                with contextlib.suppress(Exception):
                    used.close()
        self._consumer = self._admin = None
