"""The headers that every answer to people carries, whichever page or route gives it."""

from collections.abc import Callable, Coroutine
from typing import Any

from litestar.types import Message, Scope

QUIET = frozenset({"/v1/events", "/livez", "/readyz", "/metrics"})
"""Not for browsers."""

ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with "no-referrer" browsers say of our own forms that they come from nowhere
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
UNLESS_GIVEN = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
TLS_ONLY = ("strict-transport-security", "max-age=31536000")


def guarded_headers(secure: Callable[[Scope], bool]) -> Callable[[Message, Scope], Coroutine[Any, Any, None]]:
    """A hook for Litestar's `before_send`. A page that needs more of its content policy states its own."""

    async def before_send(message: Message, scope: Scope) -> None:
        if message["type"] != "http.response.start" or scope["path"] in QUIET:
            return
        given = [(name, value) for name, value in message["headers"] if name.decode().lower() not in ALWAYS]
        names = {name.decode().lower() for name, _ in given}
        added = {**ALWAYS, **{name: value for name, value in UNLESS_GIVEN.items() if name not in names}}
        if secure(scope):
            added[TLS_ONLY[0]] = TLS_ONLY[1]
        message["headers"] = [*given, *((name.encode(), value.encode()) for name, value in added.items())]

    return before_send
