"""The connections of the HTTP server, each uvicorn's own but for two bounds, which it lacks: a request's head arrives in time, and
when there are too many connections, those that ask nothing make room for those that may."""

import asyncio
import heapq
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 15.0  # from the connection, or the head's first byte, to its last
MAX_CONNECTIONS = 900  # a process may have 1,024 files open where nobody has set more, and needs some for itself
MADE_ROOM = MAX_CONNECTIONS // 10  # at once: looking for the longest idle ones takes a look at all


class Connection(HttpToolsProtocol):
    """`idle_since`: by the loop's clock, since when no request is being answered; None while one is."""

    idle_since: float | None = None
    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self.idle_since = self.loop.time()
        self._await_head()
        if len(self.connections) > MAX_CONNECTIONS:
            _make_room(self.connections, self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._forget_head()
        self.idle_since = None
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        if not self.pipeline:
            self.idle_since = self.loop.time()
        super().on_response_complete()

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _forget_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None


def _make_room(connections: set[Any], newest: Connection) -> None:
    """Close those that have been idle longest; whoever is being answered stays."""
    idle = [found for found in connections if found is not newest and found.idle_since is not None]
    for found in heapq.nsmallest(MADE_ROOM, idle, key=lambda connection: connection.idle_since):
        found.transport.close()
