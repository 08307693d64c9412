"""The page `/`: figures of this and the last quarter, and what is overdue. Server-rendered, no script, refreshes itself."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from litestar import MediaType, Response

from services.alerts.exports import DASH, Report
from services.alerts.queries import Page
from shared.rules import Ruleset
from shared.times import show

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_TEMPLATE = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
    (files("services.alerts") / "templates" / "index.html").read_text(encoding="utf-8")
)


def render(
    rules: Ruleset, now: datetime, reports: Sequence[Report], overdue: Page, behind: str | None = None
) -> Response[str]:
    """`behind`: why what is shown may still change (Chinese, one sentence)."""
    nonce = secrets.token_urlsafe(16)
    body = _TEMPLATE.render(
        city=rules.registry.city,
        nonce=nonce,
        now=now.strftime("%Y-%m-%d %H:%M:%S"),
        reports=reports,
        dash=DASH,
        behind=behind,
        overdue=[
            {
                "key": case.key,
                "title": case.title or "",
                "platform": rules.registry[case.platform].name,
                "holder": rules.registry.holder_name(case.holder or ""),
                "category": rules.policies.category_name(case.category or ""),
                "received": show(case.received_at) if case.received_at else "",
                "provisional": case.provisional,
                "due": show(case.due_at, case.due_day) if case.due_at else "",
            }
            for case in overdue.cases
        ],
        more=overdue.next is not None,
    )
    headers = {name: value.replace("{nonce}", nonce) for name, value in HEADERS.items()}
    return Response(body, media_type=MediaType.HTML, headers=headers)
