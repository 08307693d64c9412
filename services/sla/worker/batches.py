"""What a partition's fetch brought reaches the agent as one event: the adapter to Faust's and aiokafka's internals (ADR 0011).

Faust costs some hundred microseconds per message, our own work takes thirty. So the consumer hands on `Batch`es, and keeps for
itself what Faust derives from single messages: which offset comes next, and up to which one everything is done. Both are stricter
than Faust's own bookkeeping, which acknowledges what failed and commits past what is missing:

* A batch is done when the agent says so (`done`), and nothing else that Faust does can acknowledge it.
* Done counts only in the order of the log: where a batch was dropped on its way, nothing after it is committed, and the next
  start reads it again.
* A batch begins where the one before it ended. If it does not, the position is thrown back to what is committed; only a hole
  that is there again is one of the log (its beginning was deleted, say) and is passed over.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, cast

import structlog
from aiokafka.errors import KafkaError
from faust.transport.conductor import Conductor
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from faust.types.tuples import ack_lock
from mode.utils.futures import notify

from services.sla.worker.watchdog import topic_reset
from shared.topics import MESSAGES

logger = structlog.get_logger("sla")

MAX_MESSAGES = 4_000  # in one batch; its bytes are bounded by what one fetch of a partition brings
WAITING = 4  # batches between the fetch and the agent
FETCH_WAIT_MS = 250
A_MOMENT = 0.005
RETRY_SECONDS = 1.0


class TopicResetError(Exception):
    """The topic is another one than the one of which everything up to here is done."""

    def __init__(self, partition: int) -> None:
        super().__init__(topic_reset(partition))


class Batch(ConsumerMessage):
    """Consecutive records of one partition, from offset `begin` to before `end`."""

    __slots__ = ("begin", "end", "records")

    def __init__(self, tp: TP, records: Sequence[Any], begin: int, generation: int) -> None:
        last = records[-1].offset
        super().__init__(tp.topic, tp.partition, last, 0.0, 0, None, None, None, None, tp=tp, generation_id=generation)
        self.records, self.begin, self.end = records, begin, last + 1


class QuickThread(driver.AIOKafkaConsumerThread):
    """A fetch that waits for messages holds up the partitions that are not in it: not for 1.5 s, as Faust has it."""

    def _create_consumer(self, loop: asyncio.AbstractEventLoop) -> Any:
        consumer = super()._create_consumer(loop)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer


class BatchConsumer(driver.Consumer):
    """Faust's consumer, but for how the messages of `MESSAGES` are handed on and acknowledged. Nothing else is consumed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._sent: dict[TP, int] = {}  # the next offset to hand on
        self._reached: dict[TP, int] = {}  # everything before it is done
        self._holes: dict[TP, int] = {}
        self._dropped = False
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return QuickThread(self, loop=self.loop, beacon=self.beacon)

    def reached(self) -> dict[int, int]:
        """Of each partition held: the offset before which everything is done."""
        return {tp.partition: offset for tp, offset in self._reached.items()}

    def done(self, batch: Batch) -> None:
        """Everything that the batch means is committed."""
        with ack_lock:
            batch.acked = True
            self._unacked_messages.discard(batch)
            if (
                batch.begin <= self._reached.get(batch.tp, -1) < batch.end
            ):  # more than its beginning, when it was read again
                self._reached[batch.tp] = batch.end
                self._n_acked += len(batch.records)
        notify(self._waiting_for_ack)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Batch]]:
        """Batches instead of messages, under the same conditions as Faust's own."""
        if self._dropped:
            await self._reread()
            return
        fetched, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        self._dropped = bool(fetched)  # whatever ends this before all of it is handed on
        for tp, records in (fetched or {}).items():
            if tp not in self._sent or (active is not None and tp not in active):
                return
            if records[-1].offset < min(
                self._sent[tp], self._reached.get(tp, 0)
            ):  # read again is also what is handed on again
                raise TopicResetError(tp.partition)
            if not self._follows(tp, records[0].offset):
                return
            for chunk in _chunks([record for record in records if record.offset >= self._sent[tp]]):
                if not await self._room(tp) or self.app.consumer_generation_id != generation:
                    return
                batch = Batch(tp, chunk, self._sent[tp], generation)
                self._sent[tp] = batch.end
                yield tp, batch
        self._dropped = False

    async def _reread(self) -> None:
        """What was fetched and not handed on is fetched again."""
        if not self.flow_active or not self.assignment():
            self._dropped = False  # with the flow, or an assignment, comes a seek
            return
        try:
            await self.perform_seek()
        except (KafkaError, OSError, TimeoutError):  # tried again
            await asyncio.sleep(RETRY_SECONDS)
        else:
            self._dropped = False

    def _follows(self, tp: TP, offset: int) -> bool:
        """Whether nothing lies between what was handed on and this offset, or nothing that is there."""
        if offset <= self._sent[tp] or self._holes.get(tp) == offset:
            return True
        logger.warning(
            "消息的位置不连续，从已确认的位置重读", action="reread", partition=tp.partition, offset=self._sent[tp]
        )
        self._holes[tp] = offset
        return False

    async def _room(self, tp: TP) -> bool:
        """Waits until the channel takes another batch. False: the flow has stopped meanwhile.

        The channel is never full when a batch is put: a put that waits would outlive a rebalance and come after it.
        """
        while self.flow_active and not self.should_stop:
            if not any(channel.queue.full() for channel in cast(Conductor, self.app.topics)._tp_index[tp]):
                return True
            await asyncio.sleep(A_MOMENT)
        return False

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: `_room` waits, while Faust would stop fetching for a second."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Nothing, as above."""

    async def perform_seek(self) -> None:
        """To what is committed; and, unlike Faust, to the beginning where nothing is."""
        await super().perform_seek()
        held = {tp for tp in self.assignment() if tp.topic == MESSAGES.name}
        fresh = [tp for tp in held if not self._committed_offset[tp]]
        starts = dict(await self.earliest_offsets(*fresh)) if fresh else {}
        if starts:
            await self.seek_wait(starts)
        self._sent = {tp: starts[tp] if tp in starts else self._committed_offset[tp] or 0 for tp in held}
        self._reached = dict(self._sent)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super().on_partitions_revoked(revoked)  # commits
        for tp in revoked:
            self._sent.pop(tp, None)
            self._reached.pop(tp, None)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self._reached) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        return self._reached.get(tp)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nothing: what lies between two batches' last offsets is a batch."""


class BatchTransport(driver.Transport):
    """Faust's transport over aiokafka with the consumer above."""

    Consumer = BatchConsumer


def _chunks(records: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(records), MAX_MESSAGES):
        yield records[start : start + MAX_MESSAGES]
