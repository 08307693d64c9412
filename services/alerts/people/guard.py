"""How a request becomes a Viewer: every route asks for one, but those that are declared public here. Whatever is added is guarded."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from litestar import Request, Response, Router
from litestar.concurrency import sync_to_thread
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from msgspec import Struct, field
from msgspec.structs import replace
from sqlalchemy.exc import OperationalError

from services.alerts.html import go_to
from services.alerts.people.headers import guarded_headers
from services.alerts.people.oidc import Provider
from services.alerts.people.passwords import Passwords
from services.alerts.people.requests import (
    SESSION,
    Connected,
    csrf_of,
    foreign,
    is_secure,
    own_form,
    read_cookie,
    read_form,
)
from services.alerts.people.sessions import TOUCH, find_session, touch_session
from services.alerts.people.tokens import PREFIX, viewer_of_token
from services.alerts.people.viewer import Role, Viewer
from services.alerts.rooms import Room
from shared.database import Connections
from shared.http import ProblemError, problem, problem_response
from shared.registry import Registry

Looking = NamedDependency[Viewer]
"""Who looks: how a handler names its parameter `viewer`."""
CsrfField = NamedDependency[str]
"""What each form of a page has to carry in a hidden field `csrf`: how a handler names its parameter `csrf`."""

Lasting = NamedDependency[Callable[[], bool]]
"""Whether who looks may go on: for what stays connected for long, which names its parameter `lasting`. Reads the database."""

PUBLIC = frozenset(
    {
        "/livez", "/readyz", "/metrics", "/schema/openapi.json",  # without anything about a person
        "/v1/events",  # by the platforms' keys
        "/static/{version}/{name}",  # the same for everybody
        "/sign-in", "/sign-in/oidc", "/sign-in/oidc/back",
    }
)  # fmt: skip
"""Paths, as their routes are declared, that answer whoever asks."""

READING = frozenset({"GET", "HEAD"})
EVERYBODY = Viewer("", "未登录", Role.CITY)
"""Who looks where sign-in is off: something else guards, and knows who it is."""
SIGN_INS = 4  # at a time: each takes 64 MiB for a moment


class People(Struct, frozen=True):
    """What signing in needs of the composition root. `required`: whether it is needed at all; `public_url`: how browsers reach
    the service, None where that is as the request says; `provider`: the city's own sign-in."""

    database: Connections
    registry: Registry
    now: Callable[[], datetime]
    required: bool = True
    public_url: str | None = None
    provider: Provider | None = None
    passwords: Passwords = field(default_factory=Passwords)
    room: Room = field(default_factory=lambda: Room(SIGN_INS))

    def secure(self, connection: Connected) -> bool:
        return is_secure(connection, self.public_url)


class Admitted(Struct, frozen=True):
    """`session`: the secret of the browser's cookie, None for a token. `lasting`: whether it would be so if it were asked again now."""

    viewer: Viewer
    session: str | None = None
    lasting: Callable[[], bool] = lambda: True

    @property
    def csrf(self) -> str:
        return csrf_of(self.session) if self.session else ""


class SignInNeededError(Exception):
    """Nobody is signed in. Pages lead to where that is done, the API says so."""


def guard_of(people: People) -> Callable[[Connected, BaseRouteHandler], Any]:
    """A guard for the whole application."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if connection.scope["path_template"] in PUBLIC:
            return
        admitted = Admitted(EVERYBODY)
        if people.required:
            found = await sync_to_thread(admit, people, connection)
            if found is None:
                raise SignInNeededError
            admitted = replace(found, lasting=lambda: _lasts(people, connection, found))
        assert isinstance(connection, Request)
        if connection.method not in READING:
            await _require_own(people, connection, admitted)
        connection.scope["user"], connection.scope["auth"] = admitted.viewer, admitted

    return guard


def admit(people: People, connection: Connected) -> Admitted | None:
    """Who asks, by the token or else the session; None for nobody. Reads the database: asked again later, by what stays connected
    for long, it says whether that may go on."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        if not token.strip().startswith(f"{PREFIX}_"):
            return None
        with people.database.reading() as reading:
            viewer = viewer_of_token(reading, token.strip())
        return None if viewer is None else Admitted(viewer)
    secret = read_cookie(connection, SESSION, people.secure(connection))
    if not secret:
        return None
    now = people.now()
    with people.database.reading() as reading:
        found = find_session(reading, secret, now)
    if found is None:
        return None
    if now - found.seen_at >= TOUCH:
        _touch(people, secret, now)
    return Admitted(found.viewer, secret)


def _lasts(people: People, connection: Connected, before: Admitted) -> bool:
    now = admit(people, connection)
    return now is not None and now.viewer == before.viewer


def _touch(people: People, secret: str, now: datetime) -> None:
    """Reading goes on where writing is not possible now; the session ends the sooner."""
    try:
        with people.database.writing() as connection:
            touch_session(connection, secret, now)
    except OperationalError:
        pass


async def _require_own(people: People, request: Request[Any, Any, Any], admitted: Admitted) -> None:
    """What changes something comes from a form of this service, shown in this session; never with a token, which only reads."""
    if people.required and admitted.session is None:
        raise ProblemError(problem(403, "read_only", "读取令牌只能查询，不能更改任何东西；请登录后在页面上操作"))
    if foreign(request, people.public_url):
        raise ProblemError(problem(403, "foreign_page", "请求不是从本系统的页面发出的，没有执行"))
    if admitted.session and not own_form(admitted.session, request.headers, await read_form(request)):
        raise ProblemError(problem(403, "stale_form", "页面已过期，没有执行；请返回并刷新页面再试"))


def wants_page(request: Request[Any, Any, Any]) -> bool:
    """Whether a browser asks for something to be shown, and no script or program."""
    return "text/html" in request.headers.get("accept", "") and request.headers.get("sec-fetch-dest") != "empty"


def on_sign_in_needed(request: Request[Any, Any, Any], _: SignInNeededError) -> Response[bytes]:
    """A browser that opens a page is led to the sign-in and back; whatever else asks is told."""
    if request.method in READING and wants_page(request):
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        where = "/sign-in" if asked == "/" else f"/sign-in?next={quote(asked, safe='')}"
        return go_to(where)
    detail = "请登录，或在 Authorization 头中写 Bearer 加读取令牌；令牌可能有误或已作废"
    return problem_response(problem(401, "sign_in_needed", detail), {"WWW-Authenticate": "Bearer"})


def viewer_of(request: Request[Any, Any, Any]) -> Viewer:
    viewer: Viewer = request.user
    return viewer


def csrf_field(request: Request[Any, Any, Any]) -> str:
    admitted: Admitted = request.auth
    return admitted.csrf


def lasting_of(request: Request[Any, Any, Any]) -> Callable[[], bool]:
    admitted: Admitted = request.auth
    return admitted.lasting


DEPENDENCIES = {
    "viewer": Provide(viewer_of, sync_to_thread=False),
    "csrf": Provide(csrf_field, sync_to_thread=False),
    "lasting": Provide(lasting_of, sync_to_thread=False),
}
"""What handlers are given: `viewer: Looking`, `csrf: CsrfField`, `lasting: Lasting`."""


def guarded(routes: Sequence[Any], people: People) -> list[Router]:
    """The routes, guarded. What is public is let pass anyway; a route that is all public is not even asked, because Litestar's way of
    asking costs a tenth of a push."""
    spared = [route for route in routes if isinstance(route, HTTPRouteHandler) and PUBLIC.issuperset(route.paths)]
    others = [route for route in routes if route not in spared]
    return [Router("/", route_handlers=spared), Router("/", route_handlers=others, guards=[guard_of(people)])]


def protections(people: People) -> dict[str, Any]:
    """What an application of guarded routes is made with."""
    return {
        "dependencies": DEPENDENCIES,
        "before_send": [guarded_headers(lambda scope: is_secure(ASGIConnection(scope), people.public_url))],
    }
