"""Batches of messages, and changed rules, into the ledger.

Nothing ever escapes: what cannot be used becomes a dead letter (`services.sla.processing`); trouble with the broker is waited
out, from what the topic holds; and anything else ends the process at once, before anything counts as done, so that the next
start goes on there.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import structlog
from aiokafka.errors import KafkaError, ProducerFenced

from services.sla.partitions import partition_of
from services.sla.processing import Message, Processed, process, reevaluated
from services.sla.worker.batches import Batch
from services.sla.worker.health import Health
from services.sla.worker.ledger import Ledger, Letter
from services.sla.worker.watchdog import Watchdog
from shared.exits import UNFORESEEN
from shared.records import encode_letter, encode_record, read_head, read_record
from shared.rules import Ruleset
from shared.topics import DEAD_LETTERS

logger = structlog.get_logger("sla")

RETRY_SECONDS = 1.0
READERS = 4  # partitions read back at once
RECORDS_AT_ONCE = 500  # evaluated anew before messages have their turn

Work = Callable[[Mapping[bytes, bytes]], Processed]


class Processor:
    """On the agent's loop. `done` is told of each batch that is committed."""

    def __init__(
        self,
        ledger: Ledger,
        partitions: int,
        rules: Ruleset,
        watchdog: Watchdog,
        health: Health,
        done: Callable[[Batch], None],
    ) -> None:
        self._ledger, self._partitions, self._rules = ledger, partitions, rules
        self._watchdog, self._health, self._done = watchdog, health, done
        self._tasks: set[asyncio.Task[None]] = set()
        self._readers = asyncio.Semaphore(READERS)

    async def take(self, batch: Batch) -> None:
        """Take it in hand, when its partition's turn has come: so the partitions wait for the broker's answers together."""
        await self._ledger.lane(batch.partition).acquire()
        self._go(self._batch(batch))

    def take_over(self, partition: int) -> None:
        """Read the partition back and, between the batches of messages, bring its records under the present rules."""
        self._go(self._taken_over(partition))

    def _go(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(_or_die(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _batch(self, batch: Batch) -> None:
        """With the lane, which it gives back."""
        place = f"{batch.topic}/{batch.partition}/"
        messages = [Message(record.key, record.value, f"{place}{record.offset}") for record in batch.records]
        await self._until_committed(batch.partition, lambda values: self._process(batch.partition, messages, values))
        self._health.messages.inc(len(messages))
        self._done(batch)
        self._ledger.lane(batch.partition).release()

    def _process(self, partition: int, messages: Sequence[Message], values: Mapping[bytes, bytes]) -> Processed:
        keys = {message.key for message in messages if message.key in values}
        known = {record.key: record for record in (read_record(key, values[key]) for key in keys if key is not None)}
        return process(
            known, messages, self._rules, lambda key: partition_of(key.encode(), self._partitions) == partition
        )

    async def _taken_over(self, partition: int) -> None:
        keys: list[bytes] = []

        def begin(values: Mapping[bytes, bytes]) -> Processed:
            keys[:] = values
            return Processed([], [])

        lane = self._ledger.lane(partition)
        async with lane, self._readers:
            if self._ledger.holds(partition):
                await self._until_committed(partition, begin)
        number = 0
        for start in range(0, len(keys), RECORDS_AT_ONCE):
            async with lane:
                if not self._ledger.holds(partition):
                    return
                done = await self._until_committed(
                    partition, partial(self._anew, keys[start : start + RECORDS_AT_ONCE])
                )
            number += len(done.records)
            self._health.reevaluated.inc(len(done.records))
            await asyncio.sleep(0)  # a lane that nobody waits for is taken at once: without other tasks' turn
        if number:
            logger.info("已按新规则重算", action="reevaluated", partition=partition, records=number)

    def _anew(self, keys: Sequence[bytes], values: Mapping[bytes, bytes]) -> Processed:
        """Of these, those that are of other rules."""
        outdated = (key for key in keys if read_head(key, values[key]).ruleset != self._rules.hash)
        records = (read_record(key, values[key]) for key in outdated)
        found = (reevaluated(record, self._rules) for record in records if record.events)
        return Processed([record for record in found if record is not None], [])

    async def _until_committed(self, partition: int, work: Work) -> Processed:
        """What the work makes of the partition's values, when it is committed. For who has the lane."""
        doubtful = False
        while True:
            try:
                with self._watchdog.at_work() as alive:
                    if doubtful:
                        await self._ledger.renew(partition)
                    done = work(await self._ledger.held(partition, alive))
                    await self._write(partition, done)
                    return done
            except ProducerFenced:
                die("这个分区已由另一个进程接管")
            except (KafkaError, OSError) as error:
                logger.warning("写入未能确认，稍后重试", action="write_retried", error=type(error).__name__)
                doubtful = True
                await asyncio.sleep(RETRY_SECONDS)

    async def _write(self, partition: int, done: Processed) -> None:
        if not (done.records or done.letters):
            return
        await self._ledger.put(
            partition,
            [(record.key.encode(), encode_record(record)) for record in done.records],
            [Letter(DEAD_LETTERS.name, None, encode_letter(letter)) for letter in done.letters],
        )
        self._health.records.inc(len(done.records))
        for letter in done.letters:
            self._health.letters.labels(letter.reason).inc()


async def _or_die(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except asyncio.CancelledError:
        die("处理中被中断，重新启动后接着处理")
    except Exception:
        logger.exception("处理失败", action="processing_failed")
        die("处理失败，重新启动后接着处理")


def die(reason: str) -> NoReturn:
    """End the process now: no `finally` of Faust may acknowledge what is not committed."""
    logger.error(reason, action="exit")
    os._exit(UNFORESEEN)
