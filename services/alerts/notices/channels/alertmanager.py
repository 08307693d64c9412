"""Alertmanager's API v2: an alert for each county and rung that stands as long as any of its alerts does."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from services.alerts.notices.channels.outcome import Outcome
from services.alerts.notices.channels.post import outcome, posted
from services.alerts.notices.digests import Digest, Part
from services.alerts.notices.routing import Channel, Web
from services.alerts.rungs import DUE_TODAY
from shared.times import isoformat
from shared.zh import RUNGS

PATH = "/api/v2/alerts"
TRIAL, TRIAL_FOR = "trial", timedelta(minutes=5)
STANDS_FOR = timedelta(days=365)  # until told otherwise: Alertmanager would end it by itself after some minutes


def send(channel: Channel, message: str, digest: Digest, now: datetime) -> Outcome:  # noqa: ARG001 - senders are alike
    assert isinstance(channel.to, Web)
    return _post(channel.to, alerts_of(digest))


def try_out(channel: Channel, digest: Digest) -> Outcome:
    """An alert that has a rung of its own, so that it ends none that stands; it goes the county's ways, and is over after some minutes."""
    assert isinstance(channel.to, Web)
    summary = f"{digest.county_name}：虚构的提醒，{TRIAL_FOR // timedelta(minutes=1)} 分钟后自行结束"
    return _post(
        channel.to, [_made(digest, TRIAL, "warning", summary, digest.created_at, digest.created_at + TRIAL_FOR)]
    )


def _post(to: Web, alerts: list[dict[str, Any]]) -> Outcome:
    url = to.url.reveal().rstrip("/") + PATH
    return outcome(posted(url, msgspec.json.encode(alerts), {"Content-Type": "application/json"}))


def alerts_of(digest: Digest) -> list[dict[str, Any]]:
    """One for each rung of the digest; ended where nothing of it stands any more."""
    rungs = dict.fromkeys(rung for part in digest.parts for rung in part.rungs)
    return [_alert(digest, rung) for rung in rungs]


def _alert(digest: Digest, rung: str) -> dict[str, Any]:
    stands = digest.standing.get(rung)
    begun = stands.since if stands is not None else _since(digest.parts, rung, digest.created_at)
    until = digest.created_at if stands is None else digest.created_at + STANDS_FOR
    total = 0 if stands is None else stands.total
    severity = "warning" if rung == DUE_TODAY else "critical"
    summary = f"{digest.county_name}：{RUNGS[rung]}提醒 {total} 条有效"
    return _made(digest, rung, severity, summary, min(begun, digest.created_at), until)


def _made(digest: Digest, rung: str, severity: str, summary: str, begun: datetime, until: datetime) -> dict[str, Any]:
    found = {
        "labels": {"alertname": "LiuyanAlerts", "county": digest.county, "rung": rung, "severity": severity},
        "annotations": {"summary": summary},
        "startsAt": isoformat(begun),
        "endsAt": isoformat(until),
    }
    return found if digest.page is None else {**found, "generatorURL": digest.page}


def _since(parts: Any, rung: str, default: datetime) -> datetime:
    """When the first of those was raised that the digest names."""
    named: list[Part] = list(parts)
    return min((entry.raised_at for part in named for entry in part.oldest if entry.rung == rung), default=default)
