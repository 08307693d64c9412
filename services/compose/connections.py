"""The connections of the HTTP server, each uvicorn's own but for the bounds that it lacks: a request's head and body arrive in time,
and when there are too many connections, those that ask nothing make room for those that may."""

import asyncio
import heapq
from collections.abc import Callable
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from shared.http import ProblemError, busy, header_lines, problem

HEAD_SECONDS = 15.0  # from the connection, or the head's first byte, to its last
BODY_SECONDS = 30.0  # from there to the body's last byte
LAST_SECONDS = 2.0  # for a body that is still arriving when the service stops, or when it is answered already
MAX_CONNECTIONS = 900  # a process may have 1,024 files open where nobody has set more, and needs some for itself
MADE_ROOM = MAX_CONNECTIONS // 10  # at once: looking for the longest idle ones takes a look at all


class Connection(HttpToolsProtocol):
    """`idle_since`: by the loop's clock, since when no request is being answered; None while one is."""

    idle_since: float | None = None
    _wanted: float | None = None  # while a head or a body is arriving: how long it may take
    _stopping = _answered = False
    _late: asyncio.TimerHandle | None = None  # only for what did not come in one piece

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self.idle_since = self.loop.time()
        self._want(HEAD_SECONDS)
        self._wait()
        if len(self.connections) > MAX_CONNECTIONS:
            _make_room(self.connections, self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._want(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._want(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        self._want(BODY_SECONDS)
        self.idle_since = None
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.transport = _AnswersClose(self.transport, self._end)  # type: ignore[assignment] # of what it uses

    def on_message_complete(self) -> None:
        self._want(None)
        super().on_message_complete()
        if self._answered:
            self.transport.close()

    def on_response_complete(self) -> None:
        if not self.pipeline:
            self.idle_since = self.loop.time()
        super().on_response_complete()

    def shutdown(self) -> None:
        super().shutdown()
        if self._wanted is not None:
            self._want(LAST_SECONDS)
            self._stopping = True
            self._wait()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn says in English what is in _NOT_HTTP
        self.transport.write(_NOT_HTTP)
        self.transport.close()

    def _end(self) -> None:
        """The last answer is written. To close while a body is arriving would take the answer from who still sends."""
        if self._wanted is None:
            self.transport.close()
            return
        self._answered = True
        self.transport.write_eof()
        self._want(LAST_SECONDS)
        self._wait()

    def _want(self, seconds: float | None) -> None:
        self._wanted = seconds
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _wait(self) -> None:
        if self._wanted is not None and self._late is None:
            self._late = self.loop.call_later(self._wanted, self._give_up)

    def _give_up(self) -> None:
        """Nobody waits any longer for the rest; what waits for it inside learns that the connection is gone."""
        self._late = None
        if self.flow.read_paused:  # it is we who do not go on reading
            self._want(BODY_SECONDS)
            self._wait()
            return
        if (
            self.idle_since is None and not self.cycle.more_body
        ):  # late is the next head: this one's answer is to come whole
            self.cycle.keep_alive = False
            return
        if self.idle_since is None and not self.cycle.response_started:
            self.transport.write(_STOPPING if self._stopping else _TOO_SLOW)
        self.transport.close()


class _AnswersClose:
    """Of a transport, what an answer uses of it; what closing means is the connection's."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write, self.close = transport.write, close


def _make_room(connections: set[Any], newest: Connection) -> None:
    """Close those that have been idle longest; whoever is being answered stays."""
    idle = [found for found in connections if found is not newest and found.idle_since is not None]
    for found in heapq.nsmallest(MADE_ROOM, idle, key=lambda connection: connection.idle_since):
        found.transport.close()


def _on_the_wire(error: ProblemError) -> bytes:
    body = msgspec.json.encode(error.problem)
    headers = header_lines(error, {"Content-Length": str(len(body)), "Connection": "close"})
    lines = (name + b": " + value + b"\r\n" for name, value in headers)
    return STATUS_LINE[error.problem.status] + b"".join(lines) + b"\r\n" + body


_NOT_HTTP = _on_the_wire(ProblemError(problem(400, "invalid_request", "不是合乎规范的 HTTP 请求，请用 HTTP 库发送")))
_TOO_SLOW = _on_the_wire(
    ProblemError(problem(408, "too_slow", f"内容没有在 {BODY_SECONDS:g} 秒之内到齐，没有存下；请原样重发"))
)
_STOPPING = _on_the_wire(busy("服务正在停止，没有存下；请稍后原样重发"))
