"""How each kind of channel is told: a module for each. `deliver` sends one notice and says what became of it; it never raises."""

from collections.abc import Callable, Mapping
from datetime import datetime

from services.alerts.notices.channels import alertmanager, dingtalk, mail, webhook, wecom
from services.alerts.notices.channels.outcome import Outcome, retry
from services.alerts.notices.digests import Digest
from services.alerts.notices.routing import Channel

Send = Callable[[Channel, str, Digest, datetime], Outcome]

SENDERS: Mapping[str, Send] = {
    "webhook": webhook.send,
    "wecom": wecom.send,
    "dingtalk": dingtalk.send,
    "email": mail.send,
    "alertmanager": alertmanager.send,
}


def deliver(channel: Channel, message: str, digest: Digest, now: datetime) -> Outcome:
    """Send it once. What is not foreseen is tried again, told by its name alone: its text may hold a secret."""
    return _once(lambda: SENDERS[channel.kind](channel, message, digest, now))


def try_out(channel: Channel, message: str, digest: Digest, now: datetime) -> Outcome:
    """As `deliver`, of what is invented: nothing that was told before is touched."""
    if channel.kind == "alertmanager":
        return _once(lambda: alertmanager.try_out(channel, digest))
    return deliver(channel, message, digest, now)


def _once(send: Callable[[], Outcome]) -> Outcome:
    try:
        return send()
    except Exception as error:  # noqa: BLE001 - one channel's trouble is never that of the others
        return retry(f"没有发出（{type(error).__name__}）")
