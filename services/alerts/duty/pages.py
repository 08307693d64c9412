"""What the pages of the duty have in common: what their templates may use, what their content policy allows, and their own files."""

import hashlib
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from litestar import Response
from msgspec import Struct

from services.alerts.html import html, templates
from shared import zh
from shared.registry import Registry
from shared.times import show
from shared.workdays import WEEKDAYS

STATIC_TYPES = {"duty.css": "text/css", "duty.js": "text/javascript", "icon.svg": "image/svg+xml"}
CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self' 'nonce-{nonce}'",
        "script-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
DASH = "—"


class PageError(Exception):
    """Answers a page's request with a page that says what is wrong and what to do (Chinese)."""

    def __init__(self, status: int, title: str, message: str) -> None:
        super().__init__(message)
        self.status, self.title, self.message = status, title, message


class Place(Struct, frozen=True):
    """What every page knows: whose city it is, when, and who looks. `page`: which of the pages it is."""

    registry: Registry
    now: datetime
    person: str
    page: str


def day(value: date) -> str:
    """`2026-02-14 周六`."""
    return f"{value.isoformat()} {WEEKDAYS[value.weekday()]}"


def span(duration: timedelta) -> str:
    """The two greatest units: `2 天 3 小时`, `45 分钟`; less than a minute is `不到 1 分钟`."""
    minutes = abs(duration) // timedelta(minutes=1)
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} 天" + (f" {hours} 小时" if hours and days < 30 else "")
    if hours:
        return f"{hours} 小时" + (f" {rest} 分钟" if rest else "")
    return f"{rest} 分钟" if rest else "不到 1 分钟"


def until(due: datetime, now: datetime) -> str:
    """`还剩 2 天 3 小时`, or `已逾期 17 天`."""
    return f"还剩 {span(due - now)}" if due > now else f"已逾期 {span(now - due)}"


def ends(due: datetime) -> str:
    """A deadline for people: midnight is 24:00 of the day before."""
    return show(due, due.date() - timedelta(days=1))


@cache
def static_file(name: str) -> tuple[bytes, str]:
    """The bytes of one of our own files, and the mark of this version of it."""
    body = (files("services.alerts.duty") / "static" / name).read_bytes()
    return body, hashlib.sha256(body).hexdigest()[:12]


def static_address(name: str) -> str:
    return f"/static/{static_file(name)[1]}/{name}"


def _environment() -> Environment:
    found = templates("services.alerts.duty")
    found.globals |= {
        "zh": zh,
        "dash": DASH,
        "static": static_address,
        "show": show,
        "ends": ends,
        "until": until,
        "span": span,
    }
    found.filters |= {"day": day}
    return found


_TEMPLATES = _environment()


def render(name: str, place: Place, status: int = 200, **values: Any) -> Response[str]:
    """The page from its template."""
    return html(_TEMPLATES.get_template(name), CONTENT_POLICY, {"place": place, **values}, status)
