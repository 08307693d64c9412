"""The Faust application of the SLA processor: one agent over raw bytes, a batch at a time.

Nothing ever escapes the agent's loop: Faust would acknowledge the messages of a loop that failed, and they would be lost. What
cannot be used becomes a dead letter (`services.sla.processing`); trouble with the broker is waited out, from what the topic
holds; and anything else ends the process at once, before anything is acknowledged, so that the next start goes on there.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast

import faust
import structlog
from aiokafka.errors import KafkaError, ProducerFenced

from services.sla.processing import Message, process
from services.sla.worker.batches import WAITING, Batch, BatchConsumer, BatchTransport
from services.sla.worker.ledger import Ledger, Letter, Place
from services.sla.worker.watchdog import Watchdog
from shared.records import decode_record, encode_letter, encode_record
from shared.rules import Ruleset
from shared.topics import CASES, DEAD_LETTERS, MESSAGES

logger = structlog.get_logger("sla")

GROUP = "liuyan-sla"
MAX_RECORDS = 10_000  # of all partitions in one fetch
RETRY_SECONDS = 1.0
EXIT = 70  # EX_SOFTWARE: the supervisor starts the process again

RAW: dict[str, Any] = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}


def make_app(bootstrap: str, instance: str, partitions: int, rules: Ruleset, watchdog: Watchdog) -> faust.App:
    """The application. `instance` names this process among its like, and stays the same over restarts (static membership)."""
    app = faust.App(
        GROUP,
        broker=";".join(f"kafka://{server}" for server in bootstrap.split(",")),
        store="memory://",
        consumer_group_instance_id=instance,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=10.0,
        broker_heartbeat_interval=2.0,
        broker_rebalance_timeout=15.0,  # how long a member that died in a rebalance holds up the others
        broker_max_poll_records=MAX_RECORDS,
        stream_buffer_maxsize=WAITING,
        table_standby_replicas=0,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
    )
    app.transport = BatchTransport(app.conf.broker_consumer, app)
    source = app.topic(MESSAGES.name, **RAW)
    ledger = Ledger(
        app,
        name="cases",
        key_type=bytes,
        value_type=bytes,
        changelog_topic=app.topic(CASES.name, **RAW),
        partitions=partitions,
    )
    ledger.place = Place(bootstrap, GROUP)
    app.tables.add(ledger)

    def done(batch: Batch) -> None:
        cast(BatchConsumer, app.consumer).done(batch)  # there from the application's start on

    processor = Processor(ledger, rules, watchdog, done)

    async def agent(stream: Any) -> None:
        async for event in stream.noack().events():
            await processor.take(event.message)

    app.agent(source, name="sla", concurrency=1)(agent)
    return app


class Processor:
    """Batches of messages into the ledger."""

    def __init__(self, ledger: Ledger, rules: Ruleset, watchdog: Watchdog, done: Callable[[Batch], None]) -> None:
        self._ledger, self._rules, self._watchdog, self._done = ledger, rules, watchdog, done
        self._lanes: dict[int, asyncio.Task[None]] = {}

    async def take(self, batch: Batch) -> None:
        """Take it in hand, when what came before it in its partition is done: the partitions wait for the broker together."""
        before = self._lanes.get(batch.partition)
        if before is not None:
            await asyncio.wait([before])
        self._lanes[batch.partition] = asyncio.create_task(self._work(batch))

    async def _work(self, batch: Batch) -> None:
        """Ends when what the batch means is committed; else the process does."""
        place = f"{batch.topic}/{batch.partition}/"
        messages = [Message(record.key, record.value, f"{place}{record.offset}") for record in batch.records]
        try:
            with self._watchdog.at_work():
                await self._until_committed(batch.partition, messages)
        except asyncio.CancelledError:
            die("处理中被中断，重新启动后接着处理")
        except Exception:
            logger.exception("处理失败", action="processing_failed")
            die("处理失败，重新启动后接着处理")
        self._done(batch)

    async def _until_committed(self, partition: int, messages: Sequence[Message]) -> None:
        doubtful = False
        while True:
            try:
                if doubtful:
                    await self._ledger.renew(partition)
                await self._commit(partition, messages)
            except ProducerFenced:
                die("这个分区已由另一个进程接管")
            except (KafkaError, OSError) as error:
                logger.warning("写入未能确认，稍后重试", action="write_retried", error=type(error).__name__)
                doubtful = True
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async def _commit(self, partition: int, messages: Sequence[Message]) -> None:
        keys = {message.key for message in messages if message.key is not None}
        known = await self._ledger.known(partition, keys)
        records = {key.decode(): decode_record(value) for key, value in known.items()}
        done = process(records, messages, self._rules)
        if done.records or done.letters:
            await self._ledger.put(
                partition,
                [(record.key.encode(), encode_record(record)) for record in done.records],
                [Letter(DEAD_LETTERS.name, None, encode_letter(letter)) for letter in done.letters],
            )


def die(reason: str) -> NoReturn:
    """End the process now: no `finally` of Faust may acknowledge what is not committed."""
    logger.error(reason, action="exit")
    os._exit(EXIT)
