"""The table of the SLA processor: it holds exactly what the topic of records holds.

A Faust table whose changelog is the output topic, with three differences, each because of a way in which a usual table loses or
invents a record:

* Writes are transactions of a producer that belongs to the partition (its transactional id names it). Whoever takes the
  partition over ends all earlier producers of it: a process that was thought dead (stopped, cut off) can write no more.
* A write returns when the broker has committed it, all of it or nothing; only then is it in the table.
* The table itself reads a partition back, committed records only, before the first message is processed. Faust's recovery
  waits for the last offset, and the last one of a transaction is a mark that no consumer ever sees.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import faust
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from faust.types import TP

from shared.records import ForeignError, read_head
from shared.topics import CASES, MESSAGES

logger = structlog.get_logger("sla")

REQUEST_SECONDS = 20  # how long one request to the broker may take
RECORD_BYTES = CASES.max_bytes  # the largest record: all the events of a case


def own(records: Sequence[Any]) -> list[tuple[bytes, bytes]]:
    """Of what was read of the topic, what this system writes there. What others wrote under a key does not take the place of its
    record, and does not stop whoever reads."""
    found = []
    for record in records:
        with suppress(ForeignError):
            read_head(record.key, record.value)
            found.append((record.key, record.value))
    return found


class Place(NamedTuple):
    """Where the ledger's brokers are, and the name under which partitions are taken over."""

    bootstrap: str
    group: str


class Letter(NamedTuple):
    """A message to another topic that stands or falls with the records."""

    topic: str
    key: bytes | None
    value: bytes


class Ledger(faust.Table):  # type: ignore[type-arg]
    """Key -> value, both bytes, by partition. `place` is set before the application starts; used on the agent's loop only.

    A partition is read and written by who holds its lane, one after the other; it is not given up meanwhile.
    """

    place: Place
    on_taken: Callable[[int], None]
    """Called for each partition that was taken over."""

    def __post_init__(self) -> None:
        self._producers: dict[int, AIOKafkaProducer] = {}
        self._values: dict[int, dict[bytes, bytes]] = {}
        self._ends: dict[TP, int] = {}
        self._lanes: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    def lane(self, partition: int) -> asyncio.Lock:
        """Whose turn it is in the partition; in the order in which they asked."""
        return self._lanes[partition]

    def holds(self, partition: int) -> bool:
        """Whether this process may write to the partition; for who has its lane."""
        return partition in self._producers

    def unread(self) -> list[int]:
        """The partitions that are taken over and not yet read back."""
        return sorted(set(self._producers) - set(self._values))

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Take over what is assigned, give up what is not; nobody else writes to these partitions from here on.

        Who reads messages of a partition writes its records, whatever Faust assigns of the topic of records itself: what it assigned
        while a broker did not know all of it yet comes again at every restart under the same name.
        """
        held = {tp.partition for tp in assigned if tp.topic == MESSAGES.name}
        for partition in set(self._producers) - held:
            async with self.lane(partition):
                await self._give_up(partition)
        taken = held - set(self._producers)
        await asyncio.gather(*(self._take_over(partition) for partition in taken))
        tps = [TP(self.changelog_topic_name, partition) for partition in held]
        ends = await self.app.consumer.highwaters(*tps) if tps else {}
        self._ends = {tp: end for tp, end in ends.items() if end}
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        for partition in sorted(taken):
            self.on_taken(partition)

    def persisted_offset(self, tp: TP) -> int | None:
        """Up to the end: there is nothing for Faust to recover."""
        end = self._ends.get(tp)
        return None if end is None else end - 1

    async def on_stop(self) -> None:
        for partition in list(self._producers):
            async with self.lane(partition):
                await self._give_up(partition)
        await super().on_stop()

    async def _take_over(self, partition: int) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.place.bootstrap,
            transactional_id=f"{self.place.group}-{partition}",
            request_timeout_ms=REQUEST_SECONDS * 1000,
            max_request_size=RECORD_BYTES,
            max_batch_size=1024 * 1024,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producers[partition] = producer

    async def _give_up(self, partition: int) -> None:
        self._values.pop(partition, None)
        await self._producers.pop(partition).stop()

    async def renew(self, partition: int) -> None:
        """After a write of which nobody knows how it ended: begin again from what the topic holds."""
        if partition in self._producers:
            await self._give_up(partition)
        await self._take_over(partition)

    async def held(self, partition: int, alive: Callable[[], None]) -> Mapping[bytes, bytes]:
        """All of a partition that is held. The first time it is read back, which may take long: `alive` is called meanwhile."""
        if partition not in self._values:
            self._values[partition] = await self._read_back(partition, alive)
        return self._values[partition]

    async def _read_back(self, partition: int, alive: Callable[[], None]) -> dict[bytes, bytes]:
        values: dict[bytes, bytes] = {}
        foreign = 0
        tp = TopicPartition(self.changelog_topic_name, partition)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.place.bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
            request_timeout_ms=REQUEST_SECONDS * 1000,
            max_partition_fetch_bytes=RECORD_BYTES,
            fetch_max_wait_ms=50,  # stopping waits for it
        )
        await consumer.start()
        try:
            consumer.assign([tp])
            await consumer.seek_to_beginning(tp)
            end = (await consumer.end_offsets([tp]))[tp]
            while await consumer.position(tp) < end:
                for records in (await consumer.getmany(tp, timeout_ms=200)).values():
                    taken = own(records)
                    values.update(taken)
                    foreign += len(records) - len(taken)
                    alive()
        finally:
            await consumer.stop()
        if foreign:
            logger.error(
                "主题里有别人写下的记录，没有采用；请核对是谁写入了这个主题，并运行 liuyan reconcile",
                action="records_foreign",
                partition=partition,
                records=foreign,
            )
        return values

    async def put(self, partition: int, records: Sequence[tuple[bytes, bytes]], letters: Sequence[Letter] = ()) -> None:
        """Write them all or none; committed when this returns. After an error it is not known which: `renew`."""
        producer = self._producers[partition]
        async with producer.transaction():
            sent = await self._send(producer, partition, records)
            sent += [await producer.send(letter.topic, letter.value, letter.key) for letter in letters]
            await asyncio.gather(*sent)
        # Copied: an encoder's bytes lie in more memory than they need, a quarter of it for all the time that they are held.
        self._values[partition].update((key, bytes(memoryview(value))) for key, value in records)

    async def _send(
        self, producer: AIOKafkaProducer, partition: int, records: Sequence[tuple[bytes, bytes]]
    ) -> list[Any]:
        """In batches of the producer's size: a future each."""
        sent = []
        batch = producer.create_batch()
        for key, value in records:
            if batch.append(key=key, value=value, timestamp=None) is None:  # full
                sent.append(await producer.send_batch(batch, self.changelog_topic_name, partition=partition))
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        if batch.record_count():
            sent.append(await producer.send_batch(batch, self.changelog_topic_name, partition=partition))
        return sent
