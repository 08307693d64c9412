"""A webhook signed as Standard Webhooks has it: `webhook-id` stays the same at every attempt, so that repeats can be told."""

from datetime import UTC, datetime

import msgspec
from standardwebhooks import Webhook

from services.alerts.notices.channels.outcome import Outcome
from services.alerts.notices.channels.post import outcome, posted
from services.alerts.notices.digests import Digest
from services.alerts.notices.routing import Channel, Web
from shared.times import isoformat

TYPE = "liuyan.alerts.told"


def send(channel: Channel, message: str, digest: Digest, now: datetime) -> Outcome:
    assert isinstance(channel.to, Web)
    assert channel.to.secret is not None
    body = msgspec.json.encode({"type": TYPE, "timestamp": isoformat(digest.created_at), "data": digest})
    at = now.astimezone(UTC)
    secrets = channel.to.secret.reveal().split()  # two while one is being replaced by the other
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message, at, body.decode()) for secret in secrets),
    }
    return outcome(posted(channel.to.url.reveal(), body, headers))
