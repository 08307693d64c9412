"""Asks the brokers, in a thread and over connections of its own, what is not done yet and whether the topics are as they should be.

So it knows of a lag without the agent, the consumer and their loop, which may be what hangs.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Collection, Mapping

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.sla.worker.health import Health
from services.sla.worker.watchdog import Position, Watchdog
from shared.topics import MESSAGES

logger = structlog.get_logger("sla")

LOOK_SECONDS = 5.0
ANSWER_SECONDS = 10.0
CHECK_SECONDS = 60.0
CheckTopics = Callable[[], str | None]


class Lookout:
    """Tells the watchdog and the health what it sees. `held` are the partitions that this process holds at present."""

    def __init__(
        self,
        bootstrap: str,
        group: str,
        watchdog: Watchdog,
        health: Health,
        held: Callable[[], Collection[int]],
        check_topics: CheckTopics,
    ) -> None:
        self._bootstrap, self._group = bootstrap, group
        self._watchdog, self._health, self._held = watchdog, health, held
        self._check_topics = check_topics
        self._checked = float("-inf")
        self._reached: bool | None = None
        self.seen = threading.Event()
        """Set when the brokers have told where the partitions stand: there is something to work on."""

    def start(self) -> None:
        threading.Thread(target=lambda: asyncio.run(self._watch()), name="lookout", daemon=True).start()

    async def _watch(self) -> None:
        while True:
            try:
                await self._look_again_and_again()
            except Exception as error:  # noqa: BLE001 - without this thread nobody would notice a lag
                if self._reached is not False:
                    logger.warning("Kafka 没有应答，稍后再试", action="brokers_unreachable", error=type(error).__name__)
                self._reached, self._health.brokers = False, "Kafka 没有应答"
            await asyncio.sleep(LOOK_SECONDS)

    async def _look_again_and_again(self) -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await consumer.start()
                await admin.start()
            while True:
                try:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        positions = await self._positions(consumer, admin)
                except (KafkaError, TimeoutError):
                    if await self.check() is None:
                        raise
                    self._answered()  # what is asked for is not there
                    return
                self._tell(positions)
                if time.monotonic() - self._checked >= CHECK_SECONDS:
                    await self.check()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for close in (consumer.stop, admin.close):
                with contextlib.suppress(KafkaError, TimeoutError):
                    async with asyncio.timeout(ANSWER_SECONDS):  # else nobody would look any more
                        await close()

    async def _positions(self, consumer: AIOKafkaConsumer, admin: AIOKafkaAdminClient) -> Mapping[int, Position]:
        partitions = [TopicPartition(MESSAGES.name, number) for number in range(MESSAGES.partitions)]
        committed = await admin.list_consumer_group_offsets(self._group, partitions=partitions)
        # Asked last: they are never before what is committed, but in another topic.
        ends = await consumer.end_offsets(partitions)
        return {
            tp.partition: Position(ends[tp], max(0, committed[tp].offset) if tp in committed else 0)
            for tp in partitions
        }

    def _tell(self, positions: Mapping[int, Position]) -> None:
        self._answered()
        self._health.see(positions)
        self._watchdog.see(positions, self._held(), self._health.member())
        if not self._watchdog.reset():
            self.seen.set()

    def _answered(self) -> None:
        if self._reached is False:
            logger.info("Kafka 又应答了", action="brokers_reached")
        self._reached, self._health.brokers = True, None

    async def check(self) -> str | None:
        """Check the topics: what is wrong with them, None when nothing is, or nobody says. How is somebody else's and may block:
        not in this loop."""
        self._checked = time.monotonic()
        try:
            found = await asyncio.to_thread(self._check_topics)
        except Exception as error:  # noqa: BLE001 - whatever it is, the topics are not known to be right
            self._health.topics = f"主题未能核对：{type(error).__name__}"
            return None
        if found is not None and found != self._health.topics:
            logger.warning("主题与规定不符，请运行 liuyan topics check", action="topics_differ", detail=found)
        self._health.topics = found
        return found
