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
MEANINGS = {
    -1: "系统繁忙",
    130101: "发送太频繁",
    410100: "发送太频繁",
    300001: "地址中的 token 不对",
    310000: "安全设置不符，请核对加签的密钥、关键词或 IP 地址段",
    400013: "群已解散",
    400101: "地址中的 token 不对",
    400102: "机器人已停用",
    400106: "机器人不存在",
}


def send(channel: Channel, message: str, digest: Digest, now: datetime) -> Outcome:  # noqa: ARG001 - senders are alike
    assert isinstance(channel.to, Web)
    url = channel.to.url.reveal()
    if channel.to.secret is not None:
        url = signed(url, channel.to.secret.reveal(), now)
    text = markdown(digest, LIMIT).replace("\n", "\n\n")  # a single line break is none there
    content = {"msgtype": "markdown", "markdown": {"title": title(digest)[:100], "text": text}}
    return tell(url, content, LATER, MEANINGS)


def signed(url: str, secret: str, now: datetime) -> str:
    timestamp = int(now.timestamp() * 1000)
    digest = hmac.new(secret.encode(), f"{timestamp}\n{secret}".encode(), hashlib.sha256).digest()
    joined = "&" if "?" in url else "?"
    return f"{url}{joined}timestamp={timestamp}&sign={quote_plus(base64.b64encode(digest))}"
