"""Single events over HTTP, 64 connections, each durable before its 202, against a bare Litestar handler that only decodes the body."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from datetime import datetime

import msgspec

from bench.measure import TEXT, event, folder, median
from shared.times import SHANGHAI

CONNECTIONS = 64
SECONDS = 6.0
ROUNDS = 3


class _Client(asyncio.Protocol):
    """One connection that sends the next request as soon as the answer to the last has come."""

    def __init__(self, requests: "_Requests") -> None:
        self.requests = requests
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self.requests.next())  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(rest) < length:
            return
        self.requests.answered(head[9:12])
        self.buffer = rest[length:]
        self.transport.write(self.requests.next())  # type: ignore[attr-defined]


class _Requests:
    def __init__(self, key: str, port: int, run: int) -> None:
        self.head = (
            f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/cloudevents+json\r\nContent-Length: "
        ).encode()
        self.run, self.sent, self.taken, self.other = run, 0, 0, 0
        self.now = datetime.now(SHANGHAI)

    def next(self) -> bytes:
        self.sent += 1
        body = msgspec.json.encode(
            event(
                f"b{self.run}-{self.sent}",
                1,
                "received",
                "zhenkang",
                self.now,
                category="help",
                title="关于公路",
                content=TEXT,
            )
        )
        return self.head + str(len(body)).encode() + b"\r\n\r\n" + body

    def answered(self, status: bytes) -> None:
        if status == b"202":
            self.taken += 1
        else:
            self.other += 1


async def _flood(key: str, port: int, run: int) -> float:
    loop = asyncio.get_running_loop()
    requests = _Requests(key, port, run)
    transports = [
        (await loop.create_connection(lambda: _Client(requests), "127.0.0.1", port))[0] for _ in range(CONNECTIONS)
    ]
    await asyncio.sleep(1)
    begun, before = time.perf_counter(), requests.taken
    await asyncio.sleep(SECONDS)
    rate = (requests.taken - before) / (time.perf_counter() - begun)
    for transport in transports:
        transport.abort()
    assert requests.other == 0, f"{requests.other} answers other than 202"
    return rate


def _pin(processor: int) -> None:
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {processor})


def _start(command: list[str]) -> tuple[subprocess.Popen[str], int, str]:
    """A server on processor 0; the flood comes from processor 1."""
    process = subprocess.Popen(  # noqa: S603 - our own commands
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: _pin(0),  # noqa: PLW1509
    )
    port, key = 0, ""
    assert process.stdout is not None
    for line in process.stdout:
        if "/v1/events" in line:
            port = int(line.rsplit(":", 1)[1].split("/")[0])
        if "lyk_" in line:
            key = line.split("lyk_", 1)[1].split()[0]
            key = f"lyk_{key}"
        if port and key:
            break
    return process, port, key


def _rate(command: list[str], run: int) -> float:
    process, port, key = _start(command)
    try:
        return asyncio.run(_flood(key, port, run))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def main() -> None:
    _pin(1)
    ratios, rates = [], []
    with folder() as where:
        for run in range(ROUNDS):
            database = where / f"{run}.db"
            ours = _rate([sys.executable, "-m", "bench.pushserver", "liuyan", str(database)], run)
            bare = _rate([sys.executable, "-m", "bench.pushserver", "bare"], run)
            ratios.append(ours / bare)
            rates.append((ours, bare))
    ours, bare = (median([rate[i] for rate in rates]) for i in (0, 1))
    print(
        f"ratio {median(ratios):.2f} (goal >= 0.35): {ours:,.0f} durable events/s against {bare:,.0f} requests/s bare"
    )
