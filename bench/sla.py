"""The SLA processor's full work on a real broker, one core, against a stock Faust worker that only consumes, and Quix Streams."""

import asyncio
import importlib.util
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.measure import folder, lives, median
from bench.rivals import interpreter
from services.distributed import broker
from services.distributed.topics import create_missing
from shared.events import decode_event
from shared.kafka import admin_client
from shared.topics import MESSAGES, message_key

CASE_COUNT = 40_000  # with four events each
ROUNDS = 5
PATIENCE = 300.0

WORKER = """
import socket, sys
from services.sla.worker.run import run
from shared.deployment import load_ruleset
from shared.topics import CASES
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
run(sys.argv[1], "bench", CASES.partitions, load_ruleset(), listener)
"""

STOCK = """
import os, sys, time
import faust
app = faust.App("bench-stock", broker="kafka://" + sys.argv[1], store="memory://", topic_disable_leader=True,
    topic_allow_declare=False, web_enabled=False, consumer_auto_offset_reset="earliest")
topic = app.topic(sys.argv[2], key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
seen, begun = 0, 0.0

@app.agent(topic)
async def consume(stream):
    global seen, begun
    async for value in stream:
        seen += 1
        if seen == 1:
            begun = time.perf_counter()
        if seen == int(sys.argv[3]):
            os.write(1, f"{(seen - 1) / (time.perf_counter() - begun)}\\n".encode())

worker = faust.Worker(app, quiet=True, override_logging=False, redirect_stdouts=False)
worker.spinner = None
worker.execute_from_commandline()
"""

QUIX = """
import sys, time, logging
from quixstreams import Application
app = Application(sys.argv[1], consumer_group="bench-quix", auto_offset_reset="earliest", loglevel="ERROR",
    state_dir=sys.argv[4], auto_create_topics=True)
source = app.topic(sys.argv[2], key_deserializer="bytes", value_deserializer="json")
target = app.topic("bench-quix-out", key_serializer="bytes", value_serializer="json")
seen, begun = 0, 0.0
def count(value, state):
    global seen, begun
    state.set("n", state.get("n", 0) + 1)
    seen += 1
    if seen == 1:
        begun = time.perf_counter()
    if seen == int(sys.argv[3]):
        print(f"{(seen - 1) / (time.perf_counter() - begun)}", flush=True)
    return value
frame = app.dataframe(source).apply(count, stateful=True).to_topic(target)
app.run()
"""


def main() -> None:
    if importlib.util.find_spec("faust") is None:
        print("not measured: Faust is not installed here (pip install 'liuyan[faust,kafka]')")
        return
    total = 4 * CASE_COUNT
    rates = [_round(total, rival=number == 0) for number in range(ROUNDS)]
    ours, stock = (median([rate[i] for rate in rates]) for i in (0, 1))
    ratio = median([rate[0] / rate[1] for rate in rates])
    print(
        f"{ours:,.0f} events/s (goal 20,000): {total:,} events of {CASE_COUNT:,} cases decoded, judged and written in "
        f"confirmed transactions, one core, {MESSAGES.partitions} partitions; median of {ROUNDS} rounds"
    )
    print(f"{stock:,.0f} events/s: a stock Faust worker that only consumes them; ours is {ratio:.1f} x (goal 3)")
    quix = rates[0][2]
    print(
        f"{quix:,.0f} events/s: Quix Streams that counts a key's and passes them on; ours was {rates[0][0] / quix:.1f} x in that round"
    )


def _round(total: int, rival: bool) -> tuple[float, float, float]:
    """Events a second of ours, of the stock worker, and of Quix Streams (0 without), on a broker of their own."""
    with folder() as where:
        started = broker.up(where / "kafka")
        try:
            with admin_client(started.address) as admin:
                create_missing(admin, "development")
            asyncio.run(_fill(started.address))
            ours = _ours(started.address, total)
            stock = _told(sys.executable, STOCK, started.address, MESSAGES.name, str(total))
            state = str(where / "state")
            quix = _told(interpreter(), QUIX, started.address, MESSAGES.name, str(total), state) if rival else 0.0
            return ours, stock, quix
        finally:
            broker.down(where / "kafka")


async def _fill(address: str) -> None:
    from aiokafka import AIOKafkaProducer

    producer = AIOKafkaProducer(bootstrap_servers=address, max_batch_size=256 * 1024, linger_ms=20)
    await producer.start()
    for item in lives(CASE_COUNT):
        value = msgspec.json.encode(item)
        await producer.send(MESSAGES.name, value, message_key(decode_event(value)))
    await producer.stop()


def _ours(address: str, total: int) -> float:
    """By the worker's own count of what is committed, from the first that is seen of it on."""
    with _on_one_core(sys.executable, WORKER, address) as started:
        assert started.stdout is not None
        url = f"http://127.0.0.1:{int(started.stdout.readline())}/metrics"
        end = time.monotonic() + PATIENCE
        first, begun = 0, 0.0
        while True:
            done, now = _done(url), time.perf_counter()
            if not first:
                first, begun = done, now
            if done == total:
                return (done - first) / (now - begun)
            assert time.monotonic() < end, f"{done} of {total} events"
            time.sleep(0.1)


def _done(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - of our own making
            found = re.search(rb"^liuyan_sla_messages_total ([0-9.]+)$", answer.read(), re.MULTILINE)
            return round(float(found[1])) if found else 0
    except OSError:
        return 0  # not yet


def _told(python: str, program: str, *arguments: str) -> float:
    """The rate that the program prints."""
    with _on_one_core(python, program, *arguments) as started:
        assert started.stdout is not None
        return float(started.stdout.readline())


@contextmanager
def _on_one_core(python: str, program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [python, "-c", program, *arguments]
    if hasattr(os, "sched_setaffinity"):
        pin = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})\n"
        command[2] = pin + program
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    started = subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()
