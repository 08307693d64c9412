"""Which channels hear of what happened to an alert, and from when on (pure).

A channel is one receiver: a robot's group, a mailbox, a system. It hears of the counties, holders and rungs that it names; outside
duty hours only of those that are urgent to it.
"""

from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from services.alerts.notices.duty import duty_after, duty_from
from services.alerts.rungs import NEXT_RUNG
from shared.policy import OfficeHours
from shared.workdays import WorkCalendar

Kind = Literal["webhook", "wecom", "dingtalk", "email", "alertmanager"]
Clearings = Literal["all", "corrections"]
MACHINES = frozenset({"webhook", "alertmanager"})
"""Kinds behind which nobody sleeps: they hear of everything, at any hour, unless told otherwise."""

CORRECTIONS = frozenset({"late_evidence", "deadline_moved", "recomputed"})
"""Reasons of a clearing by which what was told turns out not to hold; by the others it was answered."""

RUNGS = frozenset(NEXT_RUNG)
KEEP_DAYS = 400  # the same month of the last year can be looked up


class Secret:
    """A text that no log, error or representation shows."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


class Web(Struct, frozen=True):
    """An address that is posted to, and what signs or authorises it."""

    url: Secret
    secret: Secret | None = None


class Mailbox(Struct, frozen=True):
    host: str
    port: int
    security: Literal["tls", "starttls", "none"]
    sender: str
    to: tuple[str, ...]
    user: str | None = None
    password: Secret | None = None


class Channel(Struct, frozen=True):
    """`counties` and `holders`: None means any. `repeat_minutes`: of duty, after which what nobody acknowledged is told again, at
    most `repeat_times` times; None: never. `digest_seconds`: for how long others are waited for before a notice goes out."""

    name: str
    kind: Kind
    to: Web | Mailbox
    counties: AbstractSet[str] | None = None
    holders: AbstractSet[str] | None = None
    rungs: AbstractSet[str] = RUNGS
    urgent: AbstractSet[str] = frozenset()
    clearings: Clearings = "corrections"
    digest_seconds: int = 0
    repeat_minutes: int | None = None
    repeat_times: int = 3


class Notices(Struct, frozen=True):
    """`page`: address of the duty page, for links; None: there are none. `keep_days`: how long delivered notices are kept at least."""

    channels: tuple[Channel, ...]
    hours: OfficeHours
    page: str | None = None
    keep_days: int = KEEP_DAYS

    def channel(self, name: str) -> Channel | None:
        return next((channel for channel in self.channels if channel.name == name), None)


def hears(channel: Channel, county: str, holder: str | None, rung: str) -> bool:
    """Whether the channel is told of an alert when it is raised. `holder`: who has the case by then; None: nobody knows."""
    return (
        rung in channel.rungs
        and (channel.counties is None or county in channel.counties)
        and (channel.holders is None or holder in channel.holders)
    )


def hears_clearing(channel: Channel, reason: str | None) -> bool:
    """Whether a channel that was told of an alert is told that it was cleared."""
    return channel.clearings == "all" or reason in CORRECTIONS


def told_from(channel: Channel, hours: OfficeHours, calendar: WorkCalendar, rung: str, at: datetime) -> datetime:
    """From when on a channel is told of what happened `at`."""
    return at if rung in channel.urgent else duty_from(calendar, hours, at)


def repeated_from(channel: Channel, hours: OfficeHours, calendar: WorkCalendar, rung: str, at: datetime) -> datetime:
    """When a channel that repeats is told again of what it was told `at`."""
    assert channel.repeat_minutes is not None
    if rung in channel.urgent:
        return at + timedelta(minutes=channel.repeat_minutes)
    return duty_after(calendar, hours, at, channel.repeat_minutes)
