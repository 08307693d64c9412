"""Runs an HTTP application in this process, and stops in order: no new requests, the accepted ones finished, then what works behind it."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

import uvicorn
from litestar import Litestar

from services.alerts.rooms import READING_THREADS
from services.compose.connections import Connection
from services.compose.front import Front
from shared.cycles import search_seldom

GRACE_SECONDS = 20
WAITING_CONNECTIONS = 1_024


class Worker(Protocol):
    """What works behind the application, in threads of its own."""

    def start(self) -> None: ...

    def hurry(self) -> None:
        """The service is told to stop: whatever would take long should end early."""

    def stop(self) -> None:
        """Finish what was accepted, then end. Blocks until done."""


class PortTakenError(Exception):
    """The address cannot be listened on; the message is one line."""


def bind(host: str, port: int) -> socket.socket:
    """A socket at the address, not listening yet: who asks before `serve` is refused. Port 0 takes a free one. Raises PortTakenError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with _taken(host, port, bound):
        bound.bind((host, port))
    return bound


@contextmanager
def _taken(host: str, port: int, bound: socket.socket) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        bound.close()
        raise PortTakenError(
            f"{host}:{port} 不能监听（{error.strerror}），请用 --port 换一个端口，0 表示自动选择"
        ) from error


def serve(
    app: Litestar, worker: Worker, bound: socket.socket, on_ready: Callable[[], None], proxies: str = "127.0.0.1"
) -> None:
    """Listen, and serve until SIGINT or SIGTERM; returns when everything that was accepted is durable. `proxies`: whose word is
    taken for where a request comes from. Raises PortTakenError: somebody else began to listen at the address since `bind`."""
    host, port = bound.getsockname()[:2]
    with _taken(host, port, bound):
        bound.listen(WAITING_CONNECTIONS)
    config = uvicorn.Config(
        Front(app),
        loop="auto",
        http=Connection,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=proxies,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=WAITING_CONNECTIONS,
    )
    logging.getLogger("uvicorn.error").setLevel(
        logging.ERROR
    )  # of requests that are none, it told in plain English lines
    server = uvicorn.Server(config)

    def stop() -> None:
        server.should_exit = True
        worker.hurry()

    worker.start()
    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_run(server, bound, on_ready, stop))
    finally:
        worker.stop()


async def _run(
    server: uvicorn.Server, bound: socket.socket, on_ready: Callable[[], None], stop: Callable[[], None]
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(READING_THREADS, "reading"))
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop)
    serving = asyncio.create_task(server._serve([bound]))  # noqa: SLF001 - serve() would install handlers of its own
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        search_seldom()
        on_ready()
    await serving
