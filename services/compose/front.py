"""What stands between the HTTP server and the application: HEAD, how many at once, and a quiet end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from shared.http import ProblemError, busy, header_lines

logger = structlog.get_logger("http")

MAX_REQUESTS = 500  # at once; fewer than connections, so that some of these are always idle
ALWAYS_ANSWERED = ("/livez", "/readyz", "/metrics")  # the busiest service is alive
TELL_SECONDS = 60.0  # between two lines about the same

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Front:
    """An ASGI application around another one."""

    def __init__(self, app: Callable[[Any, Receive, Send], Awaitable[None]]) -> None:
        self._app = app
        self._answering = 0
        self._tell_at = 0.0

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if self._answering >= MAX_REQUESTS and scope.get("path") not in ALWAYS_ANSWERED:
            self._tell_too_many()
            await _answer(busy("同时处理的请求太多，没有存下；请稍后再试，推送请原样重发"), send)
            return
        self._answering += 1
        try:
            await self._pass_on(scope, receive, send)
        finally:
            self._answering -= 1

    def _tell_too_many(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            logger.warning("同时处理的请求太多，多出的答以 503", action="too_many_requests", limit=MAX_REQUESTS)

    async def _pass_on(self, scope: Any, receive: Receive, send: Send) -> None:
        started = False

        async def sending(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        asked = {**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope  # the server leaves the body out
        try:
            await self._app(asked, receive, sending)
        except asyncio.CancelledError:  # the stop's grace is over: an answer, instead of a traceback
            logger.warning("停止时仍未答完的请求已放弃", action="request_abandoned", path=scope.get("path"))
            if not started:
                await _answer(busy("服务正在停止，没有答完；请稍后再试，推送请原样重发"), send)


async def _answer(error: ProblemError, send: Send) -> None:
    await send({"type": "http.response.start", "status": error.problem.status, "headers": header_lines(error)})
    await send({"type": "http.response.body", "body": msgspec.json.encode(error.problem)})
