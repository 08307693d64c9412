"""Load over HTTP: connections that each send the next event as soon as the answer to the last has come."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

import msgspec

from bench.measure import TEXT, event, pin
from shared.times import SHANGHAI

CONNECTIONS = 64
SECONDS = 6.0
WARM_SECONDS = 1.0


class _Client(asyncio.Protocol):
    """One connection that sends the next request as soon as the answer to the last has come."""

    def __init__(self, requests: "_Requests", platform: str) -> None:
        self.requests, self.platform = requests, platform
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self.requests.next(self.platform))  # type: ignore[attr-defined]

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
        self.transport.write(self.requests.next(self.platform))  # type: ignore[attr-defined]


class _Requests:
    """Receptions of cases that nobody has seen before."""

    def __init__(self, keys: Mapping[str, str], port: int, run: int) -> None:
        self.heads = {
            platform: (
                f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
                "Content-Type: application/cloudevents+json\r\nContent-Length: "
            ).encode()
            for platform, key in keys.items()
        }
        self.run, self.sent, self.taken, self.other = run, 0, 0, 0
        self.now = datetime.now(SHANGHAI)

    def next(self, platform: str) -> bytes:
        self.sent += 1
        data = {"category": "help", "title": "关于公路", "content": TEXT}
        body = msgspec.json.encode(event(f"b{self.run}-{self.sent}", 1, "received", platform, self.now, **data))
        return self.heads[platform] + str(len(body)).encode() + b"\r\n\r\n" + body

    def answered(self, status: bytes) -> None:
        if status == b"202":
            self.taken += 1
        else:
            self.other += 1


async def _flood(keys: Mapping[str, str], port: int, run: int, connections: int) -> float:
    loop = asyncio.get_running_loop()
    requests = _Requests(keys, port, run)
    platforms = list(keys)
    transports = []
    for number in range(connections):
        platform = platforms[number % len(platforms)]
        made = await loop.create_connection(lambda p=platform: _Client(requests, p), "127.0.0.1", port)  # type: ignore[misc]
        transports.append(made[0])
    await asyncio.sleep(WARM_SECONDS)
    begun, before = time.perf_counter(), requests.taken
    await asyncio.sleep(SECONDS)
    rate = (requests.taken - before) / (time.perf_counter() - begun)
    for transport in transports:
        transport.abort()
    assert requests.other == 0, f"{requests.other} answers other than 202"
    return rate


def flood(keys: Mapping[str, str], port: int, run: int, connections: int = CONNECTIONS) -> float:
    """Single events that were answered with 202, a second; the connections are shared out over the platforms' keys.

    `run` makes the events other ones than those of another run.
    """
    return asyncio.run(_flood(keys, port, run, connections))


@contextmanager
def server(*command: str) -> Iterator[tuple[int, str, int]]:
    """What serves, on processor 0: its port, the key that it prints, its process. The flood had better come from another."""
    process = subprocess.Popen(  # noqa: S603 - our own commands
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: pin(0),  # noqa: PLW1509
    )
    port, key = 0, ""
    assert process.stdout is not None
    for line in process.stdout:
        if "/v1/events" in line:
            port = int(line.rsplit(":", 1)[1].split("/")[0])
        if "lyk_" in line:
            key = "lyk_" + line.split("lyk_", 1)[1].split()[0]
        if port and key:
            break
    else:
        raise RuntimeError(f"{' '.join(command)} ended before it served")
    try:
        yield port, key, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
