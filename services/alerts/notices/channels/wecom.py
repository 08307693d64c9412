"""A robot of a group in 企业微信: markdown of at most 4096 bytes."""

from datetime import datetime

from services.alerts.notices.channels.outcome import Outcome
from services.alerts.notices.channels.robots import tell
from services.alerts.notices.digests import Digest, markdown
from services.alerts.notices.routing import Channel, Web

LIMIT = 4096
LATER = frozenset({-1, 45009})
MEANINGS = {-1: "系统繁忙", 45009: "发送太频繁", 93000: "地址中的 key 不对，或机器人已被移除"}


def send(channel: Channel, message: str, digest: Digest, now: datetime) -> Outcome:  # noqa: ARG001 - senders are alike
    assert isinstance(channel.to, Web)
    content = {"msgtype": "markdown", "markdown": {"content": markdown(digest, LIMIT)}}
    return tell(channel.to.url.reveal(), content, LATER, MEANINGS)
