"""Ingest on Kafka: settled events become durable in `liuyan.messages.v1`, and only then is a push answered.

The event loop never waits for Kafka: one thread hands the events to kafka-python's producer in the order of the pushes, and
the producer's own thread reports what the brokers acknowledged. Every event is `accepted`: duplicates and conflicts are judged
behind the topic. After an unknown outcome an event may stand there, once or twice; the same one again changes nothing.

A producer that failed to deliver is replaced (`services/ingest/producer.py` tells why). While there is none, pushes are refused
as busy: nothing of them was stored.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from services.ingest.port import BusyError, Taken, UnknownOutcomeError
from services.ingest.producer import DELIVERY_SECONDS
from shared.events import Event, encode_event
from shared.kafka import dispose
from shared.topics import MESSAGES, message_key

MAX_EVENTS = 20_000  # on their way, those included whose pusher was told that the outcome is unknown
GRACE_SECONDS = 2.0  # after which a push is answered though the producer has said nothing
CLOSE_SECONDS = 15.0
RETRY_SECONDS = 0.2  # between two attempts to get a producer


class _Push:
    """The events of one push on their way."""

    __slots__ = ("answer", "events", "left", "lost", "origin")

    def __init__(self, events: Sequence[Event], origin: str, answer: "asyncio.Future[bool]") -> None:
        self.events, self.origin, self.answer = events, origin, answer
        self.left, self.lost = len(events), False


_RENEW = object()


class KafkaIngest:
    """`submit` is ingest's port. `connect` makes a producer; start it before the first push, stop it after the last."""

    def __init__(
        self,
        connect: Callable[[], Any],
        topic: str = MESSAGES.name,
        wait: float = DELIVERY_SECONDS + GRACE_SECONDS,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect, self._topic, self._wait, self._seconds = connect, topic, wait, seconds
        self._producer: Any = None
        self._queue: queue.SimpleQueue[_Push | object | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="kafka-ingest", daemon=True)
        self._lock = threading.Lock()
        self._in_flight = 0
        self._open = self._renewing = False
        self._told: dict[asyncio.AbstractEventLoop, list[_Push]] = {}
        self._failing_since: float | None = None
        self._unused = True  # the producer was given nothing yet
        self._stopping = threading.Event()

    def start(self) -> None:
        """Where nobody answers yet, pushes are refused as busy until somebody does."""
        self._open = True
        try:
            self._producer = self._connect()
        except Exception:  # noqa: BLE001 - nobody answers, or not well
            self._note(failed=True)
        self._thread.start()

    def stop(self, seconds: float = CLOSE_SECONDS) -> None:
        """Finish what was submitted, within the time; what is left then is answered as unknown. Blocks."""
        with self._lock:
            self._open = False
            self._queue.put(None)
        self._stopping.set()
        self._thread.join(seconds)
        if self._producer is not None:
            with contextlib.suppress(Exception):  # what is not acknowledged by then fails with the disposal
                self._producer.flush(seconds)
            dispose(self._producer)

    def connected(self) -> bool:
        """Whether there is a producer to hand events to."""
        return self._ready()

    def failing_for(self) -> float:
        """Seconds since events began to fail with no acknowledgement in between; 0 when all is well.

        That no broker answers is no failure of this process: every attempt that ends begins the time anew. Nor does a producer
        fail that was given nothing: it may be long until the next push.
        """
        since = self._failing_since
        return 0.0 if since is None or (self._ready() and self._unused) else self._seconds() - since

    async def submit(self, events: Sequence[Event], origin: str) -> list[Taken]:
        """Settled events, each acknowledged by the brokers when this returns. Raises BusyError or UnknownOutcomeError."""
        if not events:
            return []
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        with self._lock:
            if not self._ready() or self._in_flight + len(events) > MAX_EVENTS:
                raise BusyError
            self._in_flight += len(events)
            self._queue.put(_Push(events, origin, answer))
        try:
            async with asyncio.timeout(self._wait):
                all_stored = await answer
        except TimeoutError:
            self._note(failed=True)
            raise UnknownOutcomeError from None
        if not all_stored:
            raise UnknownOutcomeError
        return [Taken.ACCEPTED] * len(events)

    def _ready(self) -> bool:
        return self._open and not self._renewing and self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, _Push):
                self._send(item)
            else:
                self._renew()

    def _send(self, push: _Push) -> None:
        headers = [("origin", push.origin.encode())]
        stored, lost = self._reporters(push)
        self._unused = False
        for event in push.events:
            try:
                sent = self._producer.send(self._topic, encode_event(event), message_key(event), headers)
            except Exception as error:  # noqa: BLE001 - of one event: too large, no such topic, the producer closed
                lost(error)
            else:
                sent.add_callback(stored)
                sent.add_errback(lost)

    def _renew(self) -> None:
        """Another producer, as soon as the brokers answer. Nothing is queued meanwhile."""
        first = self._producer is None
        if not first:
            dispose(self._producer)
        self._producer = None
        while not self._stopping.is_set():
            try:
                self._producer = self._connect()
            except Exception:  # noqa: BLE001 - nobody answers, or not well: the next attempt tells
                self._failing_since = self._seconds()
                self._stopping.wait(RETRY_SECONDS)
            else:
                with self._lock:
                    self._renewing, self._unused = False, True
                    if first:
                        self._failing_since = None
                return

    def _reporters(self, push: _Push) -> tuple[Callable[[Any], None], Callable[[Any], None]]:
        def stored(_: Any) -> None:
            self._report(push, lost=False)

        def lost(_: Any) -> None:
            self._report(push, lost=True)

        return stored, lost

    def _report(self, push: _Push, lost: bool) -> None:
        """One event has its outcome; with the last one of a push its loop is told, once for all that ended meanwhile."""
        with self._lock:
            self._in_flight -= 1
            push.left -= 1
            push.lost |= lost
            if push.left:
                return
            loop = push.answer.get_loop()
            waiting = self._told.setdefault(loop, [])
            waiting.append(push)
            wake = len(waiting) == 1
        self._note(failed=push.lost)
        if wake:
            try:
                loop.call_soon_threadsafe(self._tell, loop)
            except RuntimeError:  # the loop is closed: its pushers have gone
                with self._lock:
                    self._told.pop(loop, None)

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            ended = self._told.pop(loop, [])
        for push in ended:
            if not push.answer.done():
                push.answer.set_result(not push.lost)

    def _note(self, failed: bool) -> None:
        with self._lock:
            if not failed:
                self._failing_since = None
                return
            if self._failing_since is None:
                self._failing_since = self._seconds()
            if self._open and not self._renewing:  # what is queued already goes to the old one, and fails with it
                self._renewing = True
                self._queue.put(_RENEW)
