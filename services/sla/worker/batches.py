"""What a partition's fetch brought reaches the agent as one event: the adapter to Faust's and aiokafka's internals (ADR 0011).

Faust costs some hundred microseconds per message, our own work takes thirty. So the consumer hands on `Batch`es, and keeps for
itself what Faust derives from single messages: which offset comes next, and up to which one everything is done. Both are stricter
than Faust's own bookkeeping, which acknowledges what failed and commits past what is missing:

* A batch is done when the agent says so (`done`), and nothing else that Faust does can acknowledge it.
* Done counts only in the order of the log: where a batch was dropped on its way, nothing after it is committed, and the next
  start reads it again.
* A fetch tells from where on it was read. If that is not where the one before it ended, what came between was lost on its way
  (Faust may cancel a fetch that has brought something, or let its answer go), and all is read again from what is committed. What
  lies between that and its first record is a hole of the log (a transaction's mark, say), and is passed over.
* A fetch from before what was committed ends the process: the topic was made anew, and nothing of it would be used.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
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


class Fetched(dict[TP, list[Any]]):
    """Records by partition; from which offset on each partition that is held was read, and where it is read on. A partition without
    a place is not known yet. `whole`: the partitions were the same all the time."""

    def __init__(
        self, records: Mapping[TP, list[Any]], begins: Mapping[TP, int], ends: Mapping[TP, int], whole: bool = True
    ) -> None:
        super().__init__(records)
        self.begins, self.ends, self.whole = begins, ends, whole


class QuickThread(driver.AIOKafkaConsumerThread):
    """A fetch that waits for messages holds up the partitions that are not in it: not for 1.5 s, as Faust has it."""

    async def _fetch_records(
        self, consumer: Any, active_partitions: set[TP], timeout: float | None = None, max_records: int | None = None
    ) -> Any:
        held, begins = _places(consumer)
        records = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        now_held, ends = _places(consumer)
        return Fetched(records, begins, ends, held is now_held)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: the watchdog and the lookout tell what stands still, and Faust's own look takes a quiet partition for it."""

    def _create_consumer(self, loop: asyncio.AbstractEventLoop) -> Any:
        consumer = super()._create_consumer(loop)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer


def _places(consumer: Any) -> tuple[Any, dict[TP, int]]:
    """What is assigned, and from which offset on each of these partitions is read next; for the thread of the consumer."""
    subscription = consumer._subscription.subscription
    held = None if subscription is None else subscription.assignment
    if held is None:
        return None, {}
    states = {TP(tp.topic, tp.partition): held.state_value(tp) for tp in held.tps}
    return held, {tp: state.position for tp, state in states.items() if state.has_valid_position}


class BatchConsumer(driver.Consumer):
    """Faust's consumer, but for how the messages of `MESSAGES` are handed on and acknowledged. Nothing else is consumed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._sent: dict[TP, int] = {}  # the next offset to hand on
        self._reached: dict[TP, int] = {}  # everything before it is done
        self._holes: dict[TP, dict[int, int]] = {}  # from where to where there is nothing, and no batch tells it
        self._sought: dict[TP, int] = {}  # where reading began last
        self._seeks = 0
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
            # What is read again may be done further than to its beginning.
            if batch.begin <= self._reached.get(batch.tp, -1) < batch.end:
                self._reach(batch.tp, batch.end)
                self._n_acked += len(batch.records)
        notify(self._waiting_for_ack)

    def _reach(self, tp: TP, offset: int) -> None:
        holes = self._holes.get(tp, {})
        while offset in holes:
            offset = holes.pop(offset)
        self._reached[tp] = offset

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Batch]]:
        """Batches instead of messages, under the same conditions as Faust's own."""
        if self._dropped:
            await self._reread()
            return
        seeks, generation = self._seeks, self.app.consumer_generation_id
        fetched, active = await self._wait_next_records(timeout)
        self._dropped = bool(fetched)  # whatever ends this before all of it is handed on
        if not isinstance(fetched, Fetched) or self._seeks != seeks or not fetched.whole:
            return
        for tp, records in fetched.items():
            if tp not in self._sent or (active is not None and tp not in active):
                return
            begin = fetched.begins.get(tp, -1)
            if 0 <= min(begin, records[0].offset) < self._sought[tp]:
                raise TopicResetError(tp.partition)
            if begin != self._sent[tp]:
                logger.warning(
                    "消息的位置不连续，从已确认的位置重读",
                    action="reread",
                    partition=tp.partition,
                    offset=self._sent[tp],
                )
                return
            for chunk in _chunks(records):
                if not await self._room(tp) or self._seeks != seeks or self.app.consumer_generation_id != generation:
                    return
                batch = Batch(tp, chunk, self._sent[tp], generation)
                self._sent[tp] = batch.end
                yield tp, batch
        self._pass_over(fetched)
        self._dropped = False

    def _pass_over(self, fetched: Fetched) -> None:
        """What was read without any record being there."""
        with ack_lock:
            for tp, end in fetched.ends.items():
                begin = fetched.begins.get(tp)
                if tp not in fetched and begin is not None and begin < end and begin == self._sent.get(tp):
                    self._holes.setdefault(tp, {})[begin] = end
                    self._sent[tp] = end
                    self._reach(tp, self._reached[tp])

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
        """To what is committed; and, unlike Faust, to the beginning where nothing is, or where it was deleted."""
        self._seeks += 1
        await super().perform_seek()
        held = {tp for tp in self.assignment() if tp.topic == MESSAGES.name}
        starts = dict(await self.earliest_offsets(*held)) if held else {}
        committed = {tp: self._committed_offset[tp] or 0 for tp in held}
        later = {tp: starts[tp] for tp in held if not self._committed_offset[tp] or committed[tp] < starts[tp]}
        if later:
            await self.seek_wait(later)
        self._sent = committed | later
        self._reached, self._sought, self._holes = dict(self._sent), dict(self._sent), {}
        self._seeks += 1

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super().on_partitions_revoked(revoked)  # commits
        for tp in revoked:
            self._sent.pop(tp, None)
            self._reached.pop(tp, None)
            self._holes.pop(tp, None)

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
