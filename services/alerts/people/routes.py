"""The pages for signing in and out, and of one's own account. They work without scripts."""

import secrets
from collections.abc import Callable
from hmac import compare_digest
from typing import Any

from litestar import Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.datastructures import Cookie

from services.alerts.html import go_to, html, templates
from services.alerts.people.accounts import find_account
from services.alerts.people.guard import Admitted, CsrfField, Looking, People, admit
from services.alerts.people.oidc import TRIP, OidcError, new_trip, read_trip, write_trip
from services.alerts.people.passwords import LONGEST, SHORTEST
from services.alerts.people.requests import (
    SESSION,
    VISIT,
    Asked,
    address_of,
    csrf_of,
    drop_cookie,
    foreign,
    local_path,
    make_cookie,
    own_form,
    read_cookie,
    read_form,
)
from services.alerts.people.signing import Refused, change_password, sign_in, sign_in_by_oidc, sign_out
from services.alerts.people.viewer import Viewer
from shared.http import ProblemError
from shared.zh import ROLES

STALE = "页面已过期，请再试一次"
CHANGED = "密码已更改，在其他地方的登录已失效。"
POLICY = "default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

_TEMPLATES = templates("services.alerts.people")


def people_routes(people: People) -> list[Any]:
    def page(
        template: str, status: int = 200, cookies: tuple[Cookie, ...] = (), wait: int = 0, **shown: Any
    ) -> Response[str]:
        headers = {"Retry-After": str(wait)} if wait else None
        shown["city"] = people.registry.city
        return html(_TEMPLATES.get_template(template), POLICY, shown, status, headers, cookies)

    def in_turn(step: Callable[..., str | Refused], *given: Any) -> str | Refused:
        try:
            with people.room.entered():
                return step(*given)
        except ProblemError as error:
            return Refused(503, "现在登录的人太多，请稍后再试", int(error.headers.get("Retry-After", "5")))

    def sign_in_page(
        request: Asked, next_: str, name: str = "", refused: Refused | None = None, further: tuple[Cookie, ...] = ()
    ) -> Response[str]:
        secure = people.secure(request)
        visit = read_cookie(request, VISIT, secure)
        cookies = further
        if not visit:
            visit = secrets.token_urlsafe(32)
            cookies = (*further, make_cookie(VISIT, visit, secure))
        shown = {"next": next_, "name": name, "trouble": refused.why if refused else "", "csrf": csrf_of(visit)}
        status, wait = (refused.status, refused.wait) if refused else (200, 0)
        return page(
            "sign_in.html", status, cookies, wait, oidc=people.provider.name if people.provider else "", **shown
        )

    @get("/sign-in", include_in_schema=False)
    async def show_sign_in(request: Request[Any, Any, Any]) -> Response[Any]:
        next_ = local_path(request.query_params.get("next", "/"))
        if not people.required or await sync_to_thread(admit, people, request) is not None:
            return go_to(next_)
        return sign_in_page(request, next_)

    @post("/sign-in", include_in_schema=False, status_code=200)
    async def take_sign_in(request: Request[Any, Any, Any]) -> Response[Any]:
        fields, secure = await read_form(request), people.secure(request)
        next_, name = local_path(fields.get("next", "/")), fields.get("name", "")[:64]
        visit = read_cookie(request, VISIT, secure)
        if foreign(request, people.public_url) or not own_form(visit, request.headers, fields):
            return sign_in_page(request, next_, name, Refused(403, STALE))
        given = fields.get("password", ""), address_of(request), read_cookie(request, SESSION, secure)
        found = await sync_to_thread(in_turn, sign_in, people, name, *given)
        if isinstance(found, Refused):
            return sign_in_page(request, next_, name, found)
        return go_to(next_, make_cookie(SESSION, found, secure), drop_cookie(VISIT, secure))

    @get("/sign-in/oidc", include_in_schema=False)
    async def leave_for_oidc(request: Request[Any, Any, Any]) -> Response[Any]:
        next_ = local_path(request.query_params.get("next", "/"))
        assert people.provider is not None
        trip = new_trip(next_)
        try:
            url = await sync_to_thread(people.provider.where, trip)
        except OidcError as error:
            return sign_in_page(request, next_, refused=Refused(503, str(error)))
        return go_to(url, make_cookie(TRIP, write_trip(trip), people.secure(request)))

    @get("/sign-in/oidc/back", include_in_schema=False)
    async def back_from_oidc(request: Request[Any, Any, Any]) -> Response[Any]:
        secure = people.secure(request)
        gone = (drop_cookie(TRIP, secure),)
        trip, given = read_trip(read_cookie(request, TRIP, secure)), request.query_params
        if trip is None or not compare_digest(given.get("state", "").encode("utf-8", "replace"), trip.state.encode()):
            return sign_in_page(request, "/", refused=Refused(403, STALE), further=gone)
        replaced = read_cookie(request, SESSION, secure)
        found = await sync_to_thread(
            sign_in_by_oidc, people, trip, given.get("code", ""), given.get("iss"), address_of(request), replaced
        )
        if isinstance(found, Refused):
            return sign_in_page(request, trip.next, refused=found, further=gone)
        return go_to(trip.next, make_cookie(SESSION, found, secure), drop_cookie(VISIT, secure), *gone)

    @post("/sign-out", include_in_schema=False, status_code=303)
    async def take_sign_out(request: Request[Any, Any, Any], viewer: Looking) -> Response[bytes]:
        return await leave(request, viewer, False)

    @post("/sign-out/everywhere", include_in_schema=False, status_code=303)
    async def take_sign_out_everywhere(request: Request[Any, Any, Any], viewer: Looking) -> Response[bytes]:
        return await leave(request, viewer, True)

    async def leave(request: Asked, viewer: Viewer, everywhere: bool) -> Response[bytes]:
        admitted: Admitted = request.auth
        if admitted.session:
            await sync_to_thread(sign_out, people, viewer, admitted.session, address_of(request), everywhere)
        return go_to("/sign-in", drop_cookie(SESSION, people.secure(request)))

    def account_page(
        viewer: Viewer, csrf: str, done: str = "", refused: Refused | None = None, cookies: tuple[Cookie, ...] = ()
    ) -> Response[str]:
        with people.database.reading() as connection:
            kept = find_account(connection, viewer.account)
        return page(
            "account.html",
            refused.status if refused else 200,
            cookies,
            refused.wait if refused else 0,
            viewer=viewer,
            role=ROLES[viewer.role],
            seen=people.registry.county_names.get(viewer.county, viewer.county) if viewer.county else "全市",
            csrf=csrf,
            has_password=kept is not None and kept.password is not None,
            shortest=SHORTEST,
            longest=LONGEST,
            done=done,
            trouble=refused.why if refused else "",
        )

    @get("/account", include_in_schema=False, sync_to_thread=True)
    def show_account(viewer: Looking, csrf: CsrfField) -> Response[str]:
        return account_page(viewer, csrf)

    @post("/account/password", include_in_schema=False, status_code=200)
    async def take_password(request: Request[Any, Any, Any], viewer: Looking, csrf: CsrfField) -> Response[str]:
        fields = await read_form(request)
        present, new, again = (fields.get(name, "") for name in ("present", "new", "again"))

        def changed() -> Response[str]:
            found = in_turn(change_password, people, viewer, present, new, again, address_of(request))
            if isinstance(found, Refused):
                return account_page(viewer, csrf, refused=found)
            cookie = make_cookie(SESSION, found, people.secure(request))
            return account_page(viewer, csrf_of(found), CHANGED, cookies=(cookie,))

        return await sync_to_thread(changed)

    own = [show_sign_in, take_sign_in, take_sign_out, take_sign_out_everywhere, show_account, take_password]
    return [*own, leave_for_oidc, back_from_oidc] if people.provider else own
