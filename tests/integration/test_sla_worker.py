"""The SLA processor as processes on a real Kafka: killed, stopped and continued, two at once; the records are what the rules say."""

import asyncio
import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM
from typing import Any

import msgspec
import pytest

from services.distributed import broker
from services.distributed.broker import Broker
from services.distributed.topics import create_missing
from services.sla.partitions import partition_of
from services.sla.processing import Message, process
from shared.deployment import load_ruleset
from shared.events import Event, encode_event
from shared.exits import NOT_LIVE, UNFORESEEN
from shared.kafka import admin_client, client
from shared.records import CaseRecord, decode_record
from shared.rules import Ruleset
from shared.topics import CASES, DEAD_LETTERS, MESSAGES, SLA_GROUP, message_key
from tests.builders import event, shipped, shuffled
from tests.kafkakit import create_topics, ends, own_broker, records
from tests.service import SCRIPT

pytestmark = pytest.mark.slow

PATIENCE = 90.0
PROGRAM = """
import socket, sys
from pathlib import Path
from services.sla.worker.run import run
from shared.deployment import load_ruleset
from shared.topics import CASES
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
rules = load_ruleset(policy=Path(sys.argv[3]) if sys.argv[3:] else None)
run(sys.argv[1], sys.argv[2], CASES.partitions, rules, listener)
"""


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Broker]:
    with own_broker(tmp_path / "kafka") as started:
        create_topics(started.address)
        yield started


@contextmanager
def worker(kafka: Broker, name: str, *policy: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", PROGRAM, kafka.address, name, *policy]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as started:
        try:
            yield started
        finally:
            started.kill()


@contextmanager
def service(bootstrap: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command itself, and where it answers."""
    command = [SCRIPT, "sla", "--bootstrap", bootstrap, "--port", "0", "--instance", "one"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "LIUYAN_LOG": "json"}) as started:
        try:
            assert started.stderr is not None
            told = msgspec.json.decode(started.stderr.readline())
            yield started, int(told["url"].rpartition(":")[2])
        finally:
            started.kill()


def story(run: str) -> list[Event]:
    """Some hundred cases, shuffled, with duplicates and conflicts."""
    names = ("received", "accepted", "replied", "completed", "reopened")
    events = [
        event(f"{run}-{number}-{name}", name, f"03-0{day} 09:00", subject=f"{run}-{number}")
        for number in range(300)
        for day, name in enumerate(names, 1)
    ]
    conflicts = [
        event(f"{run}-{number}-replied", "withdrawn", "03-02 08:00", subject=f"{run}-{number}") for number in range(20)
    ]
    return shuffled([*events, *events[:200], *conflicts], seed=7)


def feed(kafka: Broker, events: Sequence[Event]) -> None:
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=kafka.address, kafka_client=client)
    for found in events:
        producer.send(MESSAGES.name, encode_event(found), message_key(found))
    producer.send(MESSAGES.name, b"{", b"poison")
    producer.flush()
    producer.close()


def latest(kafka: Broker) -> dict[str, CaseRecord]:
    found: dict[str, CaseRecord] = {}
    for record in records(kafka.address, CASES.name):
        value = decode_record(record.value)
        assert value.revision == (found[value.key].revision if value.key in found else 0) + 1
        found[value.key] = value
    return found


def expected(kafka: Broker, rules: Ruleset) -> tuple[dict[str, Any], set[str]]:
    """What the rules make of the topic as it is."""
    messages = [
        Message(r.key, r.value, f"{r.topic}/{r.partition}/{r.offset}") for r in records(kafka.address, MESSAGES.name)
    ]
    done = process({}, messages, rules)
    return {r.key: (r.events, r.case) for r in done.records}, {letter.origin for letter in done.letters}


def until_done(kafka: Broker, rules: Ruleset) -> None:
    """Waits, with a bound, until the records and the dead letters are what the rules say."""
    wanted, letters = expected(kafka, rules)
    end = time.monotonic() + PATIENCE
    while True:
        found = {key: (record.events, record.case) for key, record in latest(kafka).items()}
        buried = {letter_origin(record.value) for record in records(kafka.address, DEAD_LETTERS.name)}
        if found == wanted and buried == letters:
            return
        assert time.monotonic() < end, (len(found), len(wanted), len(buried), len(letters))
        time.sleep(0.5)


def committed(kafka: Broker) -> dict[int, int]:
    """Up to where the group says that it is done."""
    with admin_client(kafka.address) as admin:
        offsets = admin.list_group_offsets(SLA_GROUP)[SLA_GROUP]
    return {tp.partition: found.offset for tp, found in offsets.items() if tp.topic == MESSAGES.name}


def until(what: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end
        time.sleep(0.2)


def letter_origin(value: bytes) -> str:
    return str(msgspec.json.decode(value)["origin"])


def test_killed_again_and_again_it_goes_on_where_it_was(own_kafka: Broker, rules: Ruleset) -> None:
    seed = random.randrange(10**6)  # noqa: S311
    chance = random.Random(seed)  # noqa: S311
    print(f"seed {seed}")
    feed(own_kafka, story("a"))
    for _ in range(3):
        with worker(own_kafka, "one") as killed:
            time.sleep(chance.uniform(2.0, 6.0))
            killed.send_signal(SIGKILL)
    with worker(own_kafka, "one") as last:
        until_done(own_kafka, rules)
        feed(own_kafka, story("a"))
        feed(own_kafka, story("b"))
        until_done(own_kafka, rules)
        last.send_signal(SIGTERM)
        assert last.wait(PATIENCE) == 0
        assert committed(own_kafka) == ends(own_kafka.address, MESSAGES.name)


def test_a_stopped_process_that_comes_back_writes_nothing_any_more(own_kafka: Broker, rules: Ruleset) -> None:
    with worker(own_kafka, "one") as one, worker(own_kafka, "two"):
        feed(own_kafka, story("a"))
        until_done(own_kafka, rules)
        feed(own_kafka, story("b"))
        one.send_signal(SIGSTOP)
        until_done(own_kafka, rules)
        feed(own_kafka, story("c"))
        until_done(own_kafka, rules)
        one.send_signal(SIGCONT)
        feed(own_kafka, story("d"))
        until_done(own_kafka, rules)
        assert one.poll() in (None, UNFORESEEN)


def test_changed_rules_reach_every_record_without_any_message(
    own_kafka: Broker, rules: Ruleset, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(shipped("policy.toml").replace("complete = 5", "complete = 6"), encoding="utf-8")
    changed = load_ruleset(policy=policy)
    assert changed.hash != rules.hash
    events = [event(f"r-{n}", "received", "03-01 09:00", subject=f"r-{n}", category="inquiry") for n in range(12_000)]
    feed(own_kafka, events)
    with worker(own_kafka, "one") as first:
        until_done(own_kafka, rules)
        first.send_signal(SIGTERM)
        assert first.wait(PATIENCE) == 0
    before = latest(own_kafka)
    with worker(own_kafka, "one", str(policy)) as killed:
        until(lambda: sum(ends(own_kafka.address, CASES.name).values()) > 12_100)
        killed.send_signal(SIGKILL)
    assert any(record.ruleset == rules.hash for record in latest(own_kafka).values()), (
        "killed too late to tell anything"
    )
    with worker(own_kafka, "one", str(policy)):
        until(lambda: {record.ruleset for record in latest(own_kafka).values()} == {changed.hash})
    after = latest(own_kafka)
    assert {key: record.revision + 1 for key, record in before.items()} == {
        key: record.revision for key, record in after.items()
    }
    wanted, _ = expected(own_kafka, changed)
    assert {key: (record.events, record.case) for key, record in after.items()} == wanted


def test_a_message_in_a_wrong_partition_becomes_a_dead_letter(own_kafka: Broker, rules: Ruleset) -> None:
    from kafka import KafkaProducer

    misplaced = event("m-1", "received", "03-01 09:00", subject="m-1")
    right = partition_of(message_key(misplaced), MESSAGES.partitions)
    producer = KafkaProducer(bootstrap_servers=own_kafka.address)
    producer.send(MESSAGES.name, encode_event(misplaced), message_key(misplaced), partition=(right + 1) % 12)
    producer.flush()
    producer.close()
    with worker(own_kafka, "one"):
        until(lambda: records(own_kafka.address, DEAD_LETTERS.name))
        (letter,) = records(own_kafka.address, DEAD_LETTERS.name)
        assert msgspec.json.decode(letter.value)["reason"] == "wrong_partition"
        asyncio.run(send_by_aiokafka(own_kafka.address, misplaced))
        until(lambda: set(latest(own_kafka)) == {misplaced.key})


async def send_by_aiokafka(address: str, found: Event) -> None:
    from aiokafka import AIOKafkaProducer

    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        await producer.send_and_wait(MESSAGES.name, encode_event(found), message_key(found))


def test_it_waits_for_brokers_that_are_away(tmp_path: Path, rules: Ruleset) -> None:
    data = tmp_path / "kafka"
    with own_broker(data) as kafka:
        create_topics(kafka.address)
        feed(kafka, story("a"))
        with worker(kafka, "one") as one:
            assert one.stdout is not None
            port = int(one.stdout.readline())
            until_done(kafka, rules)
            until(lambda: ask(port, "/readyz") == "ok")
            until(lambda: lags(port) == [0] * MESSAGES.partitions)
            broker.down(data)
            until(lambda: ask(port, "/readyz") == "Kafka 没有应答")
            assert ask(port, "/livez") == "ok"
            broker.up(data, kafka.port)
            feed(kafka, story("b"))
            until_done(kafka, rules)
            until(lambda: ask(port, "/readyz") == "ok")
            assert one.poll() is None


def test_started_without_brokers_or_topics_it_waits_and_says_for_what(tmp_path: Path, rules: Ruleset) -> None:
    data = tmp_path / "kafka"
    with own_broker(data) as kafka:
        port = kafka.port  # nobody listens there after this
    with service(f"127.0.0.1:{port}") as (one, probe):
        until(lambda: ask(probe, "/readyz") == "Kafka 没有应答")
        assert ask(probe, "/livez") == "ok"
        broker.up(data, port)
        try:
            missing = "主题 liuyan.messages.v1：还没有建立（liuyan topics check 可列出全部）"
            until(lambda: ask(probe, "/readyz") == missing)
            create_topics(kafka.address)
            feed(kafka, story("a"))
            until_done(kafka, rules)
            until(lambda: ask(probe, "/readyz") == "ok")
            assert one.poll() is None, "it has waited, and was not started again"
        finally:
            broker.down(data)


@pytest.mark.parametrize("running", [False, True])
def test_told_to_stop_it_ends_with_zero_and_says_so(tmp_path: Path, running: bool) -> None:
    """Also one that waits for a broker."""
    with ExitStack() as stack:
        address = "127.0.0.1:1"
        if running:
            kafka = stack.enter_context(own_broker(tmp_path / "kafka"))
            create_topics(kafka.address)
            address = kafka.address
        one, probe = stack.enter_context(service(address))
        until(lambda: ask(probe, "/readyz") == ("ok" if running else "Kafka 没有应答"))
        one.send_signal(SIGTERM)
        assert one.wait(PATIENCE) == 0
        assert one.stderr is not None
        assert '"action": "stopped"' in one.stderr.read().decode().splitlines()[-1]


def test_a_log_whose_beginning_was_deleted_is_gone_on_with(own_kafka: Broker, rules: Ruleset) -> None:
    """The offsets that are committed stand before what is left."""
    from kafka import TopicPartition

    feed(own_kafka, story("a"))
    with worker(own_kafka, "one"):
        until_done(own_kafka, rules)
        until(lambda: committed(own_kafka) == ends(own_kafka.address, MESSAGES.name))
    wanted = set(latest(own_kafka))
    feed(own_kafka, story("b"))
    kept = ends(own_kafka.address, MESSAGES.name)
    with admin_client(own_kafka.address) as admin:
        admin.delete_records({TopicPartition(MESSAGES.name, partition): end for partition, end in kept.items()})
    feed(own_kafka, story("c"))
    wanted |= {found.key for found in story("c")}
    with worker(own_kafka, "one"):
        until(lambda: set(latest(own_kafka)) == wanted)
        until(lambda: committed(own_kafka) == ends(own_kafka.address, MESSAGES.name))


def test_a_topic_that_was_made_anew_is_not_worked_on_until_somebody_says_from_where(
    own_kafka: Broker, rules: Ruleset
) -> None:
    """Its messages would be taken for those that are done long ago."""
    feed(own_kafka, [*story("a"), *story("b")])
    with worker(own_kafka, "one") as running:
        until_done(own_kafka, rules)
        until(lambda: committed(own_kafka) == ends(own_kafka.address, MESSAGES.name))
        with admin_client(own_kafka.address) as admin:
            admin.delete_topics([MESSAGES.name])
            until(lambda: MESSAGES.name not in admin.list_topics())
            until(lambda: create_missing(admin, "development"))
        feed(own_kafka, story("c"))
        assert running.wait(60) != 0
    before = latest(own_kafka)
    with worker(own_kafka, "one") as again:
        assert again.wait(60) == NOT_LIVE
    assert latest(own_kafka) == before


def lags(port: int) -> list[int]:
    lines = ask(port, "/metrics").splitlines()
    return [round(float(line.split()[-1])) for line in lines if line.startswith("liuyan_consumer_lag_records{")]


def ask(port: int, path: str) -> str:
    """What the worker answers, whatever the status; nothing while it does not listen."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as refused:
        with refused:
            return str(refused.read().decode())
    except OSError:
        return ""
