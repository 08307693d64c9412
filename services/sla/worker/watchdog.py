"""Ends the process when it has work and does not come on: a supervisor's restart is what helps then.

There is work when a piece of it is in hand, or when the topic holds what is not done yet, as the brokers tell and not the agent.
While no broker can be asked, nobody knows of a lag, and a restart would not help: then only work in hand is judged.
"""

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import structlog

from shared.exits import NOT_LIVE
from shared.topics import MESSAGES

logger = structlog.get_logger("sla")

PATIENCE_SECONDS = 60.0
ONE_BY_ONE_SECONDS = 300.0  # for a partition while others come on: they take turns
STOPPING_SECONDS = 25.0
JOINING_SECONDS = (
    180.0  # in which the brokers answer, and yet this process is not one of the group; joining takes seconds
)
UNSEEN_SECONDS = 30.0  # without a look, what was seen before says nothing any more
LOOK_SECONDS = 1.0


def topic_reset(partition: int) -> str:
    return f"{MESSAGES.name} 的分区 {partition} 比已处理到的位置短：主题被重建过，请先停下全部 sla，再把消费组的位置放回最早（分布式部署文档）"


class Position(NamedTuple):
    """A partition as the brokers tell it."""

    end: int
    committed: int

    @property
    def beyond(self) -> bool:
        """Whether more is done than there is: then it was done of another topic of this name."""
        return self.committed > self.end

    @property
    def lag(self) -> int:
        return max(0, self.end - self.committed)


class Watchdog:
    """A thread of its own: it sees also an event loop that hangs."""

    def __init__(
        self,
        patience: float = PATIENCE_SECONDS,
        seconds: Callable[[], float] = time.monotonic,
        bite: Callable[[], None] = lambda: os._exit(NOT_LIVE),
    ) -> None:
        self._patience, self._seconds, self._bite = patience, seconds, bite
        self._begun: dict[object, float] = {}
        self._alive = self._looked = float("-inf")
        self._committed: dict[int, int] = {}
        self._still: dict[int, float] = {}  # since when a partition has lagged without coming on
        self._beyond: frozenset[int] = frozenset()  # at the last look, and at the one before it too
        self._beyond_once: frozenset[int] = frozenset()
        self._outside: float | None = None  # since when, at every look, the process was not one of the group
        self._stopping: float | None = None

    @contextmanager
    def at_work(self) -> Iterator[Callable[[], None]]:
        """Around one piece of work; there may be several at once. What it gives is called when a long one comes on."""
        piece = object()

        def alive() -> None:
            self._alive = self._begun[piece] = self._seconds()

        self._begun[piece] = self._seconds()
        try:
            yield alive
        finally:
            del self._begun[piece]

    def see(self, positions: Mapping[int, Position], held: Collection[int], member: bool) -> None:
        """What the brokers tell of all partitions. Who holds none answers for all: nobody might. `member`: whether this process is
        one of the group, and no partitions are being given away at present."""
        now = self._seconds()
        if now - self._looked > UNSEEN_SECONDS:
            self._still, self._outside = {}, None
        self._outside = None if member else now if self._outside is None else self._outside
        still = {}
        for partition in held or positions:
            position = positions[partition]
            if position.lag and position.committed == self._committed.get(partition):
                still[partition] = self._still.get(partition, now)
            elif position.lag:
                still[partition] = now
        beyond = frozenset(partition for partition, position in positions.items() if position.beyond)
        # Twice in a row: a broker that has just become the leader may lag.
        self._beyond, self._beyond_once = beyond & self._beyond_once, beyond
        self._committed = {partition: position.committed for partition, position in positions.items()}
        self._still, self._looked = still, now

    def reset(self) -> bool:
        """Whether, at the last look, a topic seemed to be another one than the one that was worked on."""
        return bool(self._beyond_once)

    def stopping(self) -> None:
        """The application stops: from the first call on it has only so long."""
        if self._stopping is None:
            self._stopping = self._seconds()

    def unhealthy(self) -> str | None:
        """Why a restart is what helps (Chinese, one line); None when it is not."""
        now = self._seconds()
        if self._stopping is not None and now - self._stopping > STOPPING_SECONDS:
            return "停止时没有在限定时间内结束"
        oldest = min(list(self._begun.values()), default=now)
        if now - oldest > self._patience:
            return "手头的工作超过一分钟没有进展"
        if self._beyond:
            return topic_reset(min(self._beyond))
        if now - self._looked > UNSEEN_SECONDS:
            return None
        if self._outside is not None and now - self._outside > JOINING_SECONDS:
            return "Kafka 有应答，而超过三分钟没有加入消费组"
        since = [max(began, self._alive) for began in self._still.values()]
        if since and now - max(since) > self._patience:
            return "有积压而超过一分钟没有进展"
        if since and now - min(since) > ONE_BY_ONE_SECONDS:
            return "有分区积压而超过五分钟没有进展"
        return None

    def start(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """`stopping`: whether the application has been told to stop, or does so by itself."""
        threading.Thread(target=self._watch, args=(stopping,), name="watchdog", daemon=True).start()

    def _watch(self, stopping: Callable[[], bool]) -> None:
        while (reason := self.unhealthy()) is None:
            time.sleep(LOOK_SECONDS)
            if stopping():
                self.stopping()
        logger.error(f"{reason}，退出以便重新启动", action="watchdog")
        self._bite()
