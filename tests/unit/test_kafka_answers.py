"""Ingest's way into Kafka, its producer in the test's hand: what is answered when, what is refused, what a failure means."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from services.ingest import kafka
from services.ingest.kafka import KafkaIngest
from services.ingest.port import BusyError, Taken, UnknownOutcomeError
from shared.events import Tally, TallyData, encode_event
from shared.times import parse_instant
from shared.topics import ALERTS, CASES, DEAD_LETTERS, MESSAGES, RATES, TOPICS, message_key
from tests.builders import event
from tests.service import until

EVENTS = [event(f"e{number}", "received", "03-01 09:12", subject=f"zk-{number}") for number in range(3)]
TALLY = Tally(
    specversion="1.0",
    id="t1",
    source="/platforms/zhenkang",
    time=parse_instant("2022-03-01T09:12:00+08:00"),
    data=TallyData(date=parse_instant("2022-03-01T09:12:00+08:00").date(), received=3),
)


class Sent:
    """What the producer gives for a record: callbacks, called when the test says so."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.topic, self.value, self.key, self.headers = arguments
        self.callbacks: list[Callable[[Any], None]] = []
        self.ended = False

    def add_callback(self, call: Callable[[Any], None]) -> None:
        self.callbacks.insert(0, call)

    def add_errback(self, call: Callable[[Any], None]) -> None:
        self.callbacks.insert(1, call)

    def stored(self) -> None:
        self.ended = True
        self.callbacks[0](None)

    def lost(self) -> None:
        self.ended = True
        self.callbacks[1](RuntimeError())


class FakeProducer:
    """Keeps what it is given. `refuse` makes it raise instead. Closed by force, what it was given fails."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.refuse: Exception | None = None
        self.closed = False
        self._sender = self

    def force_close(self) -> None:
        for sent in self.sent:
            if not sent.ended:
                sent.lost()

    def join(self, seconds: float) -> None:
        pass

    def send(self, *arguments: Any) -> Sent:
        if self.refuse:
            raise self.refuse
        self.sent.append(Sent(arguments))
        return self.sent[-1]

    def flush(self, timeout: float) -> None:
        raise TimeoutError

    def close(self, timeout: float) -> None:
        self.closed = True

    def given(self, count: int) -> list[Sent]:
        until(
            lambda: len(self.sent) >= count and all(len(sent.callbacks) == 2 for sent in self.sent),
            "all are handed over",
        )
        return self.sent


@pytest.fixture
def producer() -> FakeProducer:
    return FakeProducer()


@pytest.fixture
def ingest(producer: FakeProducer) -> Iterator[KafkaIngest]:
    started = KafkaIngest(lambda: producer, wait=30)
    started.start()
    yield started
    started.stop(1)
    assert producer.closed


def run(work: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await work

    return asyncio.run(main())


async def meanwhile(work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work)


def test_nothing_is_answered_before_every_event_is_acknowledged(ingest: KafkaIngest, producer: FakeProducer) -> None:
    async def push() -> list[Taken]:
        answer = asyncio.create_task(ingest.submit(EVENTS, "push:zhenkang"))
        first, second, third = await meanwhile(lambda: producer.given(3))
        await meanwhile(third.stored)
        await meanwhile(first.stored)
        done, _ = await asyncio.wait([answer], timeout=0.1)
        assert not done
        await meanwhile(second.stored)
        return await answer

    assert run(push()) == [Taken.ACCEPTED] * 3
    assert ingest.failing_for() == 0


def test_key_value_topic_and_origin_are_those_of_the_contract(ingest: KafkaIngest, producer: FakeProducer) -> None:
    async def push() -> None:
        answer = asyncio.create_task(ingest.submit([EVENTS[0], TALLY], "push:zhenkang"))
        for sent in await meanwhile(lambda: producer.given(2)):
            await meanwhile(sent.stored)
        await answer

    run(push())
    message, tally = producer.sent
    assert (message.topic, message.key, message.value) == (MESSAGES.name, b"zhenkang/zk-0", encode_event(EVENTS[0]))
    assert message.headers == [("origin", b"push:zhenkang")]
    assert tally.key == message_key(TALLY) == b"zhenkang"


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_one_event_without_acknowledgement_makes_the_push_unknown(
    ingest: KafkaIngest, producer: FakeProducer, lost: int
) -> None:
    async def push() -> None:
        answer = asyncio.create_task(ingest.submit(EVENTS, "push:zhenkang"))
        for number, sent in enumerate(await meanwhile(lambda: producer.given(3))):
            await meanwhile(sent.lost if number == lost else sent.stored)
        await answer

    with pytest.raises(UnknownOutcomeError):
        run(push())


def test_what_the_producer_refuses_is_unknown(ingest: KafkaIngest, producer: FakeProducer) -> None:
    producer.refuse = ValueError("too large")
    with pytest.raises(UnknownOutcomeError):
        run(ingest.submit(EVENTS, "push:zhenkang"))


def test_a_producer_that_says_nothing_makes_it_unknown_within_the_time(producer: FakeProducer) -> None:
    ingest = KafkaIngest(lambda: producer, wait=0.05)
    ingest.start()
    with pytest.raises(UnknownOutcomeError):
        run(ingest.submit(EVENTS, "push:zhenkang"))
    until(lambda: producer.closed, "it is replaced")
    ingest.stop(1)


def test_a_producer_that_failed_is_replaced_and_meanwhile_pushes_are_refused(producer: FakeProducer) -> None:
    """All that the failed one was given fails with it; the next one is asked for until it is there."""
    following, attempts, allowed = FakeProducer(), 0, threading.Event()

    def connect() -> FakeProducer:
        nonlocal attempts
        attempts += 1
        if attempts > 1 and not allowed.is_set():
            raise OSError
        return producer if attempts == 1 else following

    async def push() -> list[Taken]:
        first, second = (asyncio.create_task(ingest.submit([each], "push:zhenkang")) for each in EVENTS[:2])
        sent = await meanwhile(lambda: producer.given(2))
        await meanwhile(sent[0].lost)
        for failed in (first, second):
            with pytest.raises(UnknownOutcomeError):
                await failed
        with pytest.raises(BusyError):
            await ingest.submit(EVENTS, "push:zhenkang")
        await meanwhile(lambda: until(lambda: producer.closed, "the failed one is closed"))
        allowed.set()
        answer = asyncio.create_task(again())
        (renewed,) = await meanwhile(lambda: following.given(1))
        await meanwhile(renewed.stored)
        return await answer

    async def again() -> list[Taken]:
        while True:
            try:
                return await ingest.submit(EVENTS[:1], "push:zhenkang")
            except BusyError:
                await asyncio.sleep(0.01)

    ingest = KafkaIngest(connect, wait=30)
    ingest.start()
    assert run(push()) == [Taken.ACCEPTED]
    assert ingest.failing_for() == 0
    ingest.stop(1)
    assert following.closed


class Failing:
    """An ingest whose producers lose events; the test has the clock, and says whether brokers answer."""

    def __init__(self) -> None:
        self.now, self.away, self.attempts = 0.0, False, 0
        self.producers: list[FakeProducer] = []
        self.answering = threading.Event()
        self.answering.set()
        self.ingest = KafkaIngest(self.connect, wait=30, seconds=lambda: self.now)
        self.ingest.start()

    def connect(self) -> FakeProducer:
        self.attempts += 1
        self.answering.wait(30)
        if self.away:
            raise OSError
        self.producers.append(FakeProducer())
        return self.producers[-1]

    def renewed(self) -> bool:
        return len(self.producers) == 2 and self.ingest.connected()

    def lose(self) -> None:
        """A push whose event is lost."""

        async def main() -> None:
            answer = asyncio.create_task(self.ingest.submit(EVENTS[:1], "push:zhenkang"))
            (sent,) = await meanwhile(lambda: self.producers[-1].given(1))
            await meanwhile(sent.lost)
            with pytest.raises(UnknownOutcomeError):
                await answer

        run(main())


@pytest.fixture
def failing() -> Iterator[Failing]:
    found = Failing()
    yield found
    found.answering.set()
    found.ingest.stop(1)


def test_while_no_broker_answers_the_process_is_not_what_fails(failing: Failing) -> None:
    failing.away = True
    failing.lose()
    failing.now = 100.0
    until(lambda: failing.ingest.failing_for() == 0, "another attempt has ended")
    assert not failing.ingest.connected()


def test_an_attempt_that_does_not_end_is_told(failing: Failing) -> None:
    failing.answering.clear()
    failing.lose()
    until(lambda: failing.attempts == 2, "it waits")
    failing.now = 100.0
    assert failing.ingest.failing_for() == 100.0


def test_a_new_producer_that_was_given_nothing_does_not_fail(failing: Failing) -> None:
    """After an outage at night, until somebody pushes again."""
    failing.lose()
    until(failing.renewed, "there is another one")
    failing.now = 100.0
    assert failing.ingest.failing_for() == 0


def test_producers_that_fail_one_after_the_other_are_told(failing: Failing) -> None:
    failing.lose()
    until(failing.renewed, "there is another one")
    failing.now = 100.0

    async def push() -> list[Taken]:
        answer = asyncio.create_task(failing.ingest.submit(EVENTS[:1], "push:zhenkang"))
        (sent,) = await meanwhile(lambda: failing.producers[-1].given(1))
        assert failing.ingest.failing_for() == 100.0
        await meanwhile(sent.stored)
        return await answer

    assert run(push()) == [Taken.ACCEPTED]
    assert failing.ingest.failing_for() == 0


def test_it_can_be_stopped_while_there_is_no_producer(producer: FakeProducer) -> None:
    found = iter([producer])
    ingest = KafkaIngest(lambda: next(found), wait=30)
    ingest.start()
    producer.refuse = ValueError()
    with pytest.raises(UnknownOutcomeError):
        run(ingest.submit(EVENTS, "push:zhenkang"))
    ingest.stop(5)
    assert producer.closed


def test_too_many_on_their_way_are_refused(
    ingest: KafkaIngest, producer: FakeProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "MAX_EVENTS", 4)

    async def push() -> list[Taken]:
        answer = asyncio.create_task(ingest.submit(EVENTS, "push:zhenkang"))
        sent = await meanwhile(lambda: producer.given(3))
        with pytest.raises(BusyError):
            await ingest.submit(EVENTS[:2], "push:zhenkang")
        for each in sent:
            await meanwhile(each.stored)
        await answer
        answer = asyncio.create_task(ingest.submit(EVENTS[:2], "push:zhenkang"))
        for each in (await meanwhile(lambda: producer.given(5)))[3:]:
            await meanwhile(each.stored)
        return await answer

    assert run(push()) == [Taken.ACCEPTED] * 2


def test_without_a_start_and_after_the_stop_it_is_busy(producer: FakeProducer) -> None:
    ingest = KafkaIngest(lambda: producer)
    with pytest.raises(BusyError):
        run(ingest.submit(EVENTS, "push:zhenkang"))
    ingest.start()
    assert run(ingest.submit([], "push:zhenkang")) == []
    ingest.stop(1)
    with pytest.raises(BusyError):
        run(ingest.submit(EVENTS, "push:zhenkang"))
    assert producer.sent == []


def test_a_pusher_that_has_gone_disturbs_nobody(ingest: KafkaIngest, producer: FakeProducer) -> None:
    async def gone() -> None:
        answer = asyncio.create_task(ingest.submit(EVENTS[:1], "push:zhenkang"))
        await meanwhile(lambda: producer.given(1))
        answer.cancel()
        await asyncio.wait([answer])
        await meanwhile(producer.sent[0].stored)

    async def abandoned() -> None:
        asyncio.create_task(ingest.submit(EVENTS[:1], "push:zhenkang"))  # noqa: RUF006 - its loop ends before the answer
        await meanwhile(lambda: producer.given(2))

    async def push() -> list[Taken]:
        answer = asyncio.create_task(ingest.submit(EVENTS, "push:zhenkang"))
        for sent in (await meanwhile(lambda: producer.given(5)))[2:]:
            await meanwhile(sent.stored)
        return await answer

    run(gone())
    run(abandoned())
    producer.sent[1].stored()
    assert run(push()) == [Taken.ACCEPTED] * 3


def test_many_pushes_each_get_their_own_answer(ingest: KafkaIngest, producer: FakeProducer) -> None:
    async def push() -> list[Any]:
        answers = [asyncio.create_task(ingest.submit([each], "push:zhenkang")) for each in EVENTS]
        one, two, three = await meanwhile(lambda: producer.given(3))
        for act in (three.stored, one.stored, two.lost):
            thread = threading.Thread(target=act)
            thread.start()
            await meanwhile(thread.join)
        return await asyncio.gather(*answers, return_exceptions=True)

    first, second, third = run(push())
    assert (first, third) == ([Taken.ACCEPTED], [Taken.ACCEPTED])
    assert isinstance(second, UnknownOutcomeError)


def test_the_topics_are_those_of_the_contract() -> None:
    assert [topic.name.split(".")[1] for topic in TOPICS] == ["messages", "cases", "alerts", "rates", "dead-letters"]
    assert {topic.name: topic.cleanup for topic in TOPICS if topic.cleanup == "compact"}.keys() == {
        CASES.name,
        RATES.name,
    }
    assert MESSAGES.partitions == CASES.partitions == ALERTS.partitions
    assert MESSAGES.retention_ms == DEAD_LETTERS.retention_ms == -1
