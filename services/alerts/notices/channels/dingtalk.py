"""A robot of a group in 钉钉: markdown; where it is secured by a signature, the address carries one with the time."""

import base64
import hashlib
import hmac
from datetime import datetime
from urllib.parse import quote_plus

from services.alerts.notices.channels.outcome import Outcome
from services.alerts.notices.channels.robots import tell
from services.alerts.notices.digests import Digest, markdown, title
from services.alerts.notices.routing import Channel, Web

LIMIT = 20_000
LATER = frozenset({-1, 130101, 410100})
"""系统繁忙; 发送速度太快."""


def send(channel: Channel, message: str, digest: Digest, now: datetime) -> Outcome:  # noqa: ARG001 - senders are alike
    assert isinstance(channel.to, Web)
    url = channel.to.url.reveal()
    if channel.to.secret is not None:
        url = signed(url, channel.to.secret.reveal(), now)
    text = markdown(digest, LIMIT).replace("\n", "\n\n")  # a single line break is none there
    return tell(url, {"msgtype": "markdown", "markdown": {"title": title(digest)[:100], "text": text}}, LATER)


def signed(url: str, secret: str, now: datetime) -> str:
    timestamp = int(now.timestamp() * 1000)
    digest = hmac.new(secret.encode(), f"{timestamp}\n{secret}".encode(), hashlib.sha256).digest()
    joined = "&" if "?" in url else "?"
    return f"{url}{joined}timestamp={timestamp}&sign={quote_plus(base64.b64encode(digest))}"
