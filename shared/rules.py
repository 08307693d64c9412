"""A ruleset: everything besides the events that a case depends on. Its hash is carried by every case."""

import hashlib
from datetime import date

import msgspec

from shared.calendars import Calendars
from shared.policy import Policy, PolicyHistory
from shared.registry import Registry
from shared.workdays import WorkCalendar

EDITION = 1
"""Of the code that evaluates: raised with every change that makes it answer otherwise, so that what was computed before is
recognised as outdated and computed anew."""


class Ruleset:
    """Policy, calendars and the platforms' counties. Immutable; equal hashes mean equal answers for equal events."""

    def __init__(self, registry: Registry, policies: PolicyHistory, calendars: Calendars) -> None:
        self.registry = registry
        self.policies = policies
        self.calendars = calendars
        content = [
            EDITION,
            {platform.slug: platform.county for platform in registry},
            policies.versions,
            calendars.fingerprint(),
        ]
        self.hash = hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:16]

    def policy_on(self, day: date) -> Policy:
        return self.policies.on(day)

    def calendar_of(self, platform: str) -> WorkCalendar:
        return self.calendars.of(self.registry.county(platform))
