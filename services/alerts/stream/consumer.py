"""Reads records and dead letters from Kafka, a batch at a time, and has them applied.

The group only says who reads what; from where on, and whether this process may still write, the database says (`intake`). So
nothing needs to be committed in Kafka for correctness, and every trouble has the same remedy: claim again what is assigned,
and read on from there.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog

from services.alerts.intake import Claim, FencedError, GapError, claim, epochs
from services.alerts.stream.apply import Batch, Fetched, Projector
from services.alerts.stream.lanes import Lane
from shared.database import Connections
from shared.kafka import kafka_consumer, know_partitions
from shared.topics import CASES, DEAD_LETTERS, MIB

logger = structlog.get_logger("alerts")

GROUP = "liuyan-alerts"
MAX_RECORDS = 8_000  # the more share a transaction, the less the sums cost that all of them change
LANES = 2  # transactions at once: one computes while the database works for the other
PARTITION_BYTES = 2 * MIB  # of one partition in a fetch, so that a poll finds several; a larger record comes alone
POLL_SECONDS = 0.5
FETCH_SECONDS = 0.05  # how long a fetch waits for records: as long it holds up the partitions that are not in it
CHECK_SECONDS = (
    2.0  # between two looks whether somebody else has claimed what is read here: who has nothing to apply is not told
)
HINT_SECONDS = 5.0  # between two commits in Kafka, which are for people and for lag exporters
Partition = tuple[str, int]


class TopicResetError(Exception):
    """The topic is shorter than what was read of it."""

    def __init__(self, topic: str, partition: int) -> None:
        super().__init__(f"{topic} 的分区 {partition} 比已读到的位置短：主题被重建过，请运行 liuyan rebuild")


class Reader:
    """`step` is for a loop: one thread. `instance`: the name under which a process that comes back gets its partitions again;
    who is here only for a while has none."""

    def __init__(self, bootstrap: str, instance: str | None, database: Connections, projector: Projector) -> None:
        self._bootstrap, self._instance, self._database = bootstrap, instance, database
        self._consumer: Any = None
        self._lanes = [Lane(projector.apply) for _ in range(LANES)]
        self._epochs: dict[Partition, int] = {}
        self._read_to: dict[Partition, int] = {}
        self._applied_to: dict[Partition, int] = {}
        self._hinted_at = self._checked_at = 0.0
        self.lag: dict[Partition, int] = {}
        self.progressed_at = time.monotonic()

    def step(self) -> float:
        """Read what there is, and have it applied: 0, for there may be more. Raises KafkaError and the database's errors, also
        those of applying what earlier steps read."""
        from kafka.errors import FencedInstanceIdError

        try:
            return self._step()
        except FencedInstanceIdError:
            # The broker refuses this member for good. To come back under the name would take it from the other one, in turns.
            logger.warning(
                "另一个进程用了同样的名字，本进程改为不用名字；请给每个进程不同的 instance",
                action="name_taken",
                instance=self._instance,
            )
            self._instance = None
            self._forget()
            self._leave()
            return 0.0

    def _step(self) -> float:
        if self._consumer is None:
            self._consumer = self._subscribed()
        try:
            polled = self._consumer.poll(timeout_ms=round(POLL_SECONDS * 1000), max_records=MAX_RECORDS)
            assigned = {(tp.topic, tp.partition): tp for tp in self._consumer.assignment()}
            if assigned.keys() == self._epochs.keys():
                self._check()
                self._apply(self._read(assigned, polled))
            else:
                self._forget()
                self._claim(assigned)  # what was read is read again, from where the database says
        except (FencedError, GapError) as error:
            logger.warning("分区的位置有变，重新认领", action="reclaimed", detail=str(error))
            self._forget()
            return 0.0
        except BaseException:
            self._forget()  # it may have been applied or not; and what a poll that failed had read is lost
            raise
        self._look(assigned)
        return 0.0

    def _apply(self, batches: Sequence[Batch]) -> None:
        """In as many transactions at once as there are lanes: a partition is always in the same one."""
        number = {place: number for number, place in enumerate(sorted(self._epochs))}
        shared_out: list[list[Batch]] = [[] for _ in self._lanes]
        for batch in batches:
            place = batch.topic, batch.partition
            self._read_to[place] = batch.next_offset
            shared_out[number[place] % LANES].append(batch)
        for lane, own in zip(self._lanes, shared_out, strict=True):
            for batch in lane.give(own) if own else lane.applied():
                self._applied_to[batch.topic, batch.partition] = batch.next_offset
                self.progressed_at = time.monotonic()

    def close(self) -> None:
        """Leave the group; what was read is applied or will be read again."""
        for lane in self._lanes:
            lane.close()
        self._leave()

    def _leave(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _subscribed(self) -> Any:
        consumer = kafka_consumer(
            self._bootstrap,
            client_id="liuyan-alerts",
            group_id=GROUP,
            group_instance_id=self._instance,
            fetch_max_wait_ms=round(FETCH_SECONDS * 1000),
            session_timeout_ms=10_000,
            heartbeat_interval_ms=2_000,
            max_poll_records=MAX_RECORDS,
            max_partition_fetch_bytes=PARTITION_BYTES,
            fetch_max_bytes=4 * CASES.max_bytes,
            receive_buffer_bytes=MIB,
        )
        consumer.subscribe([CASES.name, DEAD_LETTERS.name])
        try:
            know_partitions(consumer)
        except BaseException:
            consumer.close()
            raise
        return consumer

    def _claim(self, places: Iterable[Partition]) -> None:
        by_topic: dict[str, list[int]] = {}
        for topic, partition in places:
            by_topic.setdefault(topic, []).append(partition)
        for topic, partitions in sorted(by_topic.items()):
            with self._database.writing() as connection:
                claimed = claim(connection, topic, partitions)
            self._seek(topic, claimed)

    def _seek(self, topic: str, claimed: Claim) -> None:
        tps = [_tp(topic, partition) for partition in claimed.next_offsets]
        starts, ends = self._consumer.beginning_offsets(tps), self._consumer.end_offsets(tps)
        for tp in tps:
            offset = claimed.next_offsets[tp.partition]
            if offset > ends[tp]:
                raise TopicResetError(tp.topic, tp.partition)
            self._consumer.seek(tp, max(offset, starts[tp]))
            self._read_to[topic, tp.partition] = self._applied_to[topic, tp.partition] = offset
            self._epochs[topic, tp.partition] = claimed.epoch

    def _check(self) -> None:
        now = time.monotonic()
        if now - self._checked_at < CHECK_SECONDS:
            return
        self._checked_at = now
        with self._database.reading() as connection:
            held = epochs(connection)
        for place, epoch in self._epochs.items():
            if held.get(place) != epoch:
                raise FencedError(*place)

    def _forget(self) -> None:
        """Waits for what is under way: it may be applied or not."""
        for lane in self._lanes:
            lane.forget()
        for known in (self._epochs, self._read_to, self._applied_to, self.lag):
            known.clear()

    def _read(self, assigned: Mapping[Partition, Any], polled: Mapping[Any, list[Any]]) -> list[Batch]:
        read = {(tp.topic, tp.partition): records for tp, records in polled.items()}
        found = (self._batch(place, tp, read.get(place, [])) for place, tp in sorted(assigned.items()))
        return [batch for batch in found if batch is not None]

    def _batch(self, place: Partition, tp: Any, records: list[Any]) -> Batch | None:
        """What was read of a partition; it may be only the mark that ends a transaction, which has an offset too."""
        first, following = self._read_to[place], self._consumer.position(tp)
        if following == first:
            return None
        if following < first or (records and records[0].offset < first):
            raise GapError(first, following)  # assigned anew within the same poll
        fetched = [Fetched(record.offset, record.value) for record in records]
        return Batch(*place, self._epochs[place], first, following, fetched)

    def _look(self, assigned: Mapping[Partition, Any]) -> None:
        """How far behind each partition is, as far as its last fetch told."""
        for place, tp in assigned.items():
            high = self._consumer.highwater(tp)
            if high is not None:
                self.lag[place] = max(0, high - self._applied_to[place])
        now = time.monotonic()
        if not any(self.lag.values()):
            self.progressed_at = now
        if now - self._hinted_at > HINT_SECONDS and self._applied_to:
            self._hinted_at = now
            self._hint()

    def _hint(self) -> None:
        from kafka.structs import OffsetAndMetadata

        offsets = {_tp(*place): OffsetAndMetadata(offset, "", -1) for place, offset in self._applied_to.items()}
        self._consumer.commit_async(offsets)


def _tp(topic: str, partition: int) -> Any:
    from kafka import TopicPartition

    return TopicPartition(topic, partition)
