"""How a page is made of its template, in whichever room: every value is escaped, what is missing is an error, and nothing runs or applies
but what the page's content policy allows. All other headers are the guard's (people/headers.py)."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from litestar import MediaType, Response
from litestar.datastructures import Cookie


def templates(package: str) -> Environment:
    """Those in the package's folder `templates`."""
    return Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def html(
    template: Template,
    policy: str,
    shown: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    cookies: Sequence[Cookie] = (),
) -> Response[str]:
    """`policy`: its content policy, with `{nonce}` where this answer's own nonce stands; the template is given that too."""
    nonce = secrets.token_urlsafe(16)
    own = {**(headers or {}), "Content-Security-Policy": policy.replace("{nonce}", nonce)}
    body = template.render(nonce=nonce, **shown)
    return Response(body, status_code=status, media_type=MediaType.HTML, headers=own, cookies=list(cookies))


def go_to(where: str, *cookies: Cookie) -> Response[bytes]:
    """To another page, by GET."""
    return Response(b"", status_code=303, media_type=MediaType.TEXT, headers={"Location": where}, cookies=list(cookies))
