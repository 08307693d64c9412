"""What a request says of where it comes from: cookies, forms, its own pages or another site's."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

Connected = ASGIConnection[Any, Any, Any, Any]
Asked = Request[Any, Any, Any]

SESSION, VISIT = "liuyan-session", "liuyan-visit"
FORM = "application/x-www-form-urlencoded"
FIELDS = 20


def origin(connection: Connected, public_url: str | None) -> str:
    """Scheme, host and port under which browsers know the service."""
    if public_url is not None:
        parts = urlsplit(public_url)
        return f"{parts.scheme}://{parts.netloc}"
    return f"{connection.scope['scheme']}://{connection.headers.get('host', '')}"


def is_secure(connection: Connected, public_url: str | None) -> bool:
    return origin(connection, public_url).startswith("https://")


def cookie_name(name: str, secure: bool) -> str:
    """With `__Host-` a browser takes it over TLS only, and from no other host of the same domain."""
    return f"__Host-{name}" if secure else name


def make_cookie(name: str, value: str, secure: bool) -> Cookie:
    """For as long as the browser is open. Other sites' links bring it along, their forms do not."""
    return Cookie(key=cookie_name(name, secure), value=value, path="/", secure=secure, httponly=True, samesite="lax")


def drop_cookie(name: str, secure: bool) -> Cookie:
    return Cookie(
        key=cookie_name(name, secure), value="", path="/", secure=secure, httponly=True, samesite="lax", max_age=0
    )


def read_cookie(connection: Connected, name: str, secure: bool) -> str:
    return connection.cookies.get(cookie_name(name, secure), "")


async def read_form(request: Asked) -> dict[str, str]:
    """The fields of a form, each once; none of any other body."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return {}
    try:
        found = parse_qs((await request.body()).decode(), keep_blank_values=True, max_num_fields=FIELDS)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def address_of(connection: Connected) -> str:
    """Where it comes from, as the proxies that are trusted say."""
    return connection.client.host[:64] if connection.client else ""


# Other sites


def csrf_of(secret: str) -> str:
    """What the forms of a session carry: only pages of this service, shown to this session, have it."""
    return hmac.new(secret.encode("utf-8", "surrogatepass"), b"liuyan form", hashlib.sha256).hexdigest()


def foreign(connection: Connected, public_url: str | None) -> bool:
    """Whether the browser says that another site's page sent it."""
    if connection.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    sender = connection.headers.get("origin")
    return sender is not None and sender != origin(connection, public_url)


def own_form(secret: str, headers: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    """Whether it carries what the forms of this session carry."""
    given = headers.get("x-csrf-token") or fields.get("csrf", "")
    return bool(secret) and hmac.compare_digest(csrf_of(secret).encode(), given.encode("utf-8", "surrogatepass"))


def local_path(text: str) -> str:
    """A page of this service to go on to; `/` for anything that could lead elsewhere."""
    if not text.startswith("/") or len(text) > 2000 or not text.isascii() or not text.isprintable():
        return "/"
    if "\\" in text or text.startswith("//") or "#" in text:
        return "/"
    parts = urlsplit(text)
    return text if not parts.scheme and not parts.netloc else "/"
