"""Ingest on a real Kafka: what is answered is there, in order; a broker that dies loses nothing that was acknowledged."""

import asyncio
import os
import signal
import socket
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka.protocol.metadata import MetadataRequest

from services.distributed import broker
from services.distributed.broker import Broker
from services.ingest.kafka import KafkaIngest
from services.ingest.port import BusyError, Taken, UnknownOutcomeError
from services.ingest.producer import producer
from shared.events import CaseEvent, decode_event, encode_event
from shared.kafka import client
from shared.topics import MESSAGES
from tests.builders import event
from tests.kafkakit import create_topics, ends, own_broker, records

pytestmark = pytest.mark.slow

DELIVERY = 2.0  # seconds: what production gives the brokers, shortened
WAIT = DELIVERY + 1.0


def message(number: int, subjects: int = 20, run: str = "e") -> CaseEvent:
    return event(f"{run}{number}", "replied", "03-01 09:12", subject=f"{run}-{number % subjects}")


@pytest.fixture
def ingest(kafka: Broker) -> Iterator[KafkaIngest]:
    started = KafkaIngest(lambda: producer(kafka.address))
    started.start()
    yield started
    started.stop()


def test_what_is_accepted_is_in_the_topic_each_case_in_order(ingest: KafkaIngest, kafka: Broker) -> None:
    before = ends(kafka.address, MESSAGES.name)
    events = [message(number) for number in range(2_000)]

    async def push() -> list[list[Taken]]:
        whole = ingest.submit(events[:500], "push:zhenkang")
        parts = [ingest.submit(events[start : start + 3], "push:zhenkang") for start in range(500, 2_000, 3)]
        return await asyncio.gather(whole, *parts)

    answers = asyncio.run(push())
    assert [taken for answer in answers for taken in answer] == [Taken.ACCEPTED] * 2_000
    found = records(kafka.address, MESSAGES.name, before)
    assert sorted(record.value for record in found) == sorted(map(encode_event, events))
    assert {bytes(record.key) for record in found} == {f"zhenkang/e-{number}".encode() for number in range(20)}
    assert {tuple(record.headers) for record in found} == {(("origin", b"push:zhenkang"),)}
    partitions: dict[bytes, set[int]] = defaultdict(set)
    by_case: dict[bytes, list[int]] = defaultdict(list)
    for record in found:
        partitions[record.key].add(record.partition)
        by_case[record.key].append(int(decode_event(record.value).id[1:]))
    assert all(len(used) == 1 for used in partitions.values())
    assert all(numbers == sorted(numbers) for numbers in by_case.values())


def test_the_event_loop_goes_on_while_kafka_is_waited_for(ingest: KafkaIngest) -> None:
    async def longest_pause() -> float:
        pushes = asyncio.gather(*(ingest.submit([message(n, run="l")], "push:zhenkang") for n in range(1_000)))
        await asyncio.sleep(0)  # they are handed over; from here on the loop has nothing to do but to look at the clock
        longest, last = 0.0, time.perf_counter()
        while not pushes.done():
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
        await pushes
        return longest

    assert asyncio.run(longest_pause()) < 0.5


def test_a_large_event_fits(ingest: KafkaIngest, kafka: Broker) -> None:
    before = ends(kafka.address, MESSAGES.name)
    large = event("large", "received", "03-01 09:12", content="文" * 340_000)
    assert asyncio.run(ingest.submit([large], "push:zhenkang")) == [Taken.ACCEPTED]
    (record,) = records(kafka.address, MESSAGES.name, before)
    assert record.value == encode_event(large)


def test_a_topic_that_is_not_there_is_unknown_within_the_time(kafka: Broker) -> None:
    ingest = KafkaIngest(lambda: producer(kafka.address, DELIVERY), "nobody.made.this", WAIT)
    ingest.start()
    began = time.monotonic()
    with pytest.raises(UnknownOutcomeError):
        asyncio.run(ingest.submit([message(1)], "push:zhenkang"))
    assert time.monotonic() - began < WAIT + 1
    ingest.stop()


def test_a_killed_broker_loses_nothing_acknowledged_and_pushing_goes_on_by_itself(tmp_path: Path) -> None:
    """Portals that push again what was unknown, while the broker is killed under load, and comes back."""
    with own_broker(tmp_path) as first:
        create_topics(first.address)
        ingest = KafkaIngest(lambda: producer(first.address, DELIVERY), wait=WAIT)
        ingest.start()
        acknowledged, unknown, slowest = asyncio.run(_outage(ingest, first, tmp_path))
        assert ingest.failing_for() == 0
        ingest.stop()
        found = [decode_event(record.value).id for record in records(first.address, MESSAGES.name)]
    assert unknown > 0, "the kill was noticed"
    assert slowest < WAIT + 1.0
    assert len(acknowledged) > 1_000
    assert acknowledged - set(found) == set()
    assert len(found) - len(set(found)) <= unknown, "an event stands there twice only where it was pushed again"


async def _outage(ingest: KafkaIngest, first: Broker, data: Path) -> tuple[set[str], int, float]:
    """(acknowledged ids, how many answers were unknown, the longest wait for one)."""
    acknowledged: set[str] = set()
    unknown, slowest, over = 0, 0.0, False

    async def portal(name: int) -> None:
        nonlocal unknown, slowest
        number = 0
        while not over:
            sent = message(number, run=f"p{name}x")
            began = time.monotonic()
            try:
                await ingest.submit([sent], "push:zhenkang")
            except UnknownOutcomeError:
                unknown += 1
            except BusyError:  # as long as there is no producer: nothing was stored
                await asyncio.sleep(0.05)
            else:
                acknowledged.add(sent.id)
                number += 1
            slowest = max(slowest, time.monotonic() - began)

    async def reached(count: int) -> None:
        while len(acknowledged) < count:
            await asyncio.sleep(0.01)

    async with asyncio.timeout(120), asyncio.TaskGroup() as portals:
        for name in range(20):
            portals.create_task(portal(name))
        await reached(1_000)
        os.kill(first.pid, signal.SIGKILL)
        while not unknown:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(broker.up, data, first.port)
        await reached(len(acknowledged) + 1_000)
        over = True
    return acknowledged, unknown, slowest


def test_stopping_answers_what_was_submitted(kafka: Broker) -> None:
    ingest = KafkaIngest(lambda: producer(kafka.address))
    ingest.start()

    async def push_and_stop() -> list[list[Taken]]:
        answers = [asyncio.create_task(ingest.submit([message(n, run="s")], "push:zhenkang")) for n in range(500)]
        await asyncio.sleep(0)
        await asyncio.to_thread(ingest.stop)
        return await asyncio.gather(*answers)

    assert asyncio.run(push_and_stop()) == [[Taken.ACCEPTED]] * 500


def test_stopping_without_a_broker_ends_and_leaves_nobody_waiting(tmp_path: Path) -> None:
    with own_broker(tmp_path) as own:
        create_topics(own.address)
        ingest = KafkaIngest(lambda: producer(own.address, DELIVERY), wait=WAIT)
        ingest.start()
        asyncio.run(ingest.submit([message(0)], "push:zhenkang"))
        os.kill(own.pid, signal.SIGKILL)

        async def push_and_stop() -> None:
            answer = asyncio.create_task(ingest.submit([message(1)], "push:zhenkang"))
            await asyncio.sleep(0)
            await asyncio.to_thread(ingest.stop)
            await answer

        began = time.monotonic()
        with pytest.raises(UnknownOutcomeError):
            asyncio.run(push_and_stop())
        assert time.monotonic() - began < 15


def waited_for(network: Any) -> list[socket.socket]:
    """The sockets that its loop waits for."""
    return [key.fileobj for key in network._net._selector.get_map().values()]


@pytest.mark.parametrize("moment", ["while connecting", "connected", "before a request is written"])
def test_a_client_that_is_closed_leaves_no_socket_open(kafka: Broker, moment: str) -> None:
    network = client(bootstrap_servers=kafka.address)
    network._manager.bootstrap(10_000)
    (node,) = network.cluster.brokers()
    if moment == "while connecting":
        network.maybe_connect(node.node_id)
        network.poll(0)  # as far as the wait for the other side
    else:
        network.await_ready(node.node_id)
    sockets = waited_for(network)
    assert len(sockets) == 2, "one to Kafka, and one by which the loop is woken"
    if moment == "before a request is written":
        network.send(node.node_id, MetadataRequest())
    network.close()
    assert [left for left in sockets if left.fileno() != -1] == []
