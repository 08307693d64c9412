"""From the 202 of a push to the case in the answer of the reading API, and from a deadline to its flag: all three services, 500 events a second."""

import asyncio
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import psycopg

from bench.measure import PLATFORMS, TEXT, event
from bench.stage import stage
from shared.times import SHANGHAI
from tests.clusterkit import Cluster

RATE = 500  # events a second
SECONDS = 60
WARM_SECONDS = 10
LOOK_SECONDS = 0.1  # between two looks at a case that is not there yet
WATCHED = 50  # one of so many is watched until it is there
PATIENCE = 30.0
FLAGS = 2_000  # targets that fall due during the run
CONNECTIONS = 32


class Watched(NamedTuple):
    """`delay`: from its 202 until an answer that began had it, in seconds; None: it did not come within the patience."""

    pushed_at: float
    delay: float | None


class _Connection:
    """HTTP/1.1, one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, port: int) -> "_Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def status(self, request: bytes) -> int:
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await self._reader.readexactly(length)
        return int(head[9:12])

    def close(self) -> None:
        self._writer.close()


class Watch:
    """Pushes at the rate, and looks for a share of the cases until they are there."""

    def __init__(self, found: Cluster, pushes: int, reads: int) -> None:
        self._keys, self._pushes, self._reads = found.keys, pushes, reads
        self._due: asyncio.Queue[int] = asyncio.Queue()
        self._seen: list[Watched] = []
        self._looking: set[asyncio.Task[None]] = set()
        self.behind = 0.0

    async def run(self, seconds: int, when_warm: Callable[[], None]) -> list[Watched]:
        begun = time.perf_counter()
        warm = asyncio.create_task(self._warm(when_warm))
        pushers = [asyncio.create_task(self._push()) for _ in range(CONNECTIONS)]
        for number in range(seconds * RATE):
            wait = begun + number / RATE - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            self.behind = max(self.behind, -wait)
            self._due.put_nowait(number)
        await self._due.join()
        for pusher in pushers:
            pusher.cancel()
        if self._looking:
            await asyncio.wait(self._looking)
        await warm
        return self._seen

    async def _warm(self, then: Callable[[], None]) -> None:
        await asyncio.sleep(WARM_SECONDS)
        await asyncio.to_thread(then)

    async def _push(self) -> None:
        connection = await _Connection.to(self._pushes)
        while True:
            number = await self._due.get()
            platform, subject = PLATFORMS[number % len(PLATFORMS)], f"v-{number}"
            data = {"category": "help", "title": "关于公路", "content": TEXT}
            body = msgspec.json.encode(event(subject, 1, "received", platform, datetime.now(SHANGHAI), **data))
            head = (
                f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self._keys[platform]}\r\n"
                f"Content-Type: application/cloudevents+json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            status = await connection.status(head.encode() + body)
            assert status == 202, status
            if number % WATCHED == 0:
                look = asyncio.create_task(self._look(platform, subject, time.perf_counter()))
                self._looking.add(look)
                look.add_done_callback(self._looking.discard)
            self._due.task_done()

    async def _look(self, platform: str, subject: str, pushed_at: float) -> None:
        connection = await _Connection.to(self._reads)
        request = f"GET /v1/cases/{platform}/{subject} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        delay = None
        while (now := time.perf_counter()) < pushed_at + PATIENCE:
            if await connection.status(request) == 200:
                delay = time.perf_counter() - pushed_at
                break
            await asyncio.sleep(max(0.0, now + LOOK_SECONDS - time.perf_counter()))
        self._seen.append(Watched(pushed_at, delay))
        connection.close()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _due_soon(found: Cluster, cases: int, seconds: int) -> None:
    """So many open targets fall due within the next seconds, spread evenly.

    Their deadlines are moved in the projections: no working day ends just now.
    """
    url = found.url.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url) as connection:
        connection.execute(
            "WITH chosen AS (SELECT id, (extract(epoch FROM clock_timestamp()) * 1e6)::bigint"
            " + (row_number() OVER () * %(spread)s)::bigint AS at FROM targets WHERE target = 'complete' LIMIT %(cases)s)"
            " UPDATE targets SET due_at = chosen.at, next_rung = 'overdue', next_at = chosen.at"
            " FROM chosen WHERE targets.id = chosen.id",
            {"cases": cases, "spread": seconds * 1_000_000 / cases},
        )


def _flag_delays(url: str) -> dict[float, int]:
    """The histogram of the delays of overdue flags: how many were within so many seconds."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:  # noqa: S310 - of our own making
        lines = answer.read().decode().splitlines()
    found: dict[float, int] = {}
    for line in lines:
        if line.startswith("liuyan_overdue_flag_delay_seconds_bucket"):
            bound = line.split('le="')[1].split('"')[0]
            found[float(bound)] = found.get(float(bound), 0) + int(float(line.rsplit(" ", 1)[1]))
    return found


def main() -> None:
    with stage() as found:
        for kind in ("ingest", "sla", "alerts"):
            found.start(kind, kind)
        found.ready("ingest", "sla", "alerts")
        pushes, reads = (urlsplit(found.processes[name].url()).port for name in ("ingest", "alerts"))
        assert pushes is not None
        assert reads is not None
        watch = Watch(found, pushes, reads)
        begun = time.perf_counter()
        seen = asyncio.run(watch.run(WARM_SECONDS + SECONDS, lambda: _due_soon(found, FLAGS, SECONDS - 10)))
        counted = [watched.delay for watched in seen if watched.pushed_at > begun + WARM_SECONDS]
        delays = [PATIENCE if delay is None else delay for delay in counted]
        late = sum(delay is None for delay in counted)
        print(
            f"visible after p50 {percentile(delays, 0.5):.2f} s, p99 {percentile(delays, 0.99):.2f} s (goal p99 <= 1 s),"
            f" at most {max(delays):.2f} s: {len(delays):,} of {RATE * SECONDS:,} events at {RATE}/s watched,"
            f" {late} not within {PATIENCE:g} s; pushes were at most {watch.behind:.2f} s behind their time",
            flush=True,
        )
        flags = _flag_delays(found.processes["alerts"].url())
        total = max(flags.values())
        shares = ", ".join(
            f"{n / total:.1%} within {bound:g} s" for bound, n in sorted(flags.items()) if 0.5 <= bound <= 10
        )
        print(f"{total:,} of {FLAGS:,} overdue flags: {shares}")


if __name__ == "__main__":
    main()
