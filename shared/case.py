"""A case (办件) as the SLA rules see it as of an instant: what `liuyan case --json` prints and what the services exchange.

Frozen values. Instants are at +08:00; `None` stands for "does not exist" (a paused target has no deadline).
"""

from datetime import date, datetime
from enum import StrEnum

import msgspec
from msgspec import Struct


class Status(StrEnum):
    AWAITING_RECEPTION = "awaiting_reception"
    OPEN = "open"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


CLOSED = frozenset({Status.COMPLETED, Status.REJECTED, Status.WITHDRAWN})


class Stage(StrEnum):
    """Of an open case, for people: 待受理, 办理中, 已答复. No rule uses it."""

    RECEIVED = "received"
    IN_PROGRESS = "in_progress"
    REPLIED = "replied"


class Verdict(StrEnum):
    """Of a target: 计时中, 已暂停, 按时, 逾期完成, 逾期未完成, 作废."""

    RUNNING = "running"
    PAUSED = "paused"
    ON_TIME = "on_time"
    LATE = "late"
    OVERDUE = "overdue"
    VOID = "void"


class Outcome(StrEnum):
    """Of a case: 按时办结, 逾期办结, 逾期未办结, 在办未逾期; rejected and withdrawn are outside the statistics."""

    ON_TIME = "on_time"
    LATE = "late"
    OVERDUE = "overdue"
    PENDING = "pending"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class Reason(StrEnum):
    """Why an event that does not fit the state is ignored."""

    ALREADY_RECEIVED = "already_received"
    ALREADY_ACCEPTED = "already_accepted"
    ALREADY_SUSPENDED = "already_suspended"
    NOT_SUSPENDED = "not_suspended"
    ALREADY_CLOSED = "already_closed"
    NOT_CLOSED = "not_closed"
    AFTER_DEADLINE = "after_deadline"
    TOO_MANY_EXTENSIONS = "too_many_extensions"
    TOO_LONG = "too_long"
    TOO_MANY_SUSPENSIONS = "too_many_suspensions"


class Target(Struct, frozen=True, gc=False):
    """A target of a round. It is counted from `anchor`: `days` working days, or `hours` office hours and `days` office days."""

    due_at: datetime | None
    due_day: date | None
    met_at: datetime | None
    verdict: Verdict
    provisional: bool
    anchor: datetime
    days: int
    hours: float | None


class Targets(Struct, frozen=True, gc=False):
    reply: Target
    complete: Target


class Suspension(Struct, frozen=True, gc=False, rename={"start": "from", "end": "to"}):
    """[from, to); `to` is None while the clock stands still."""

    start: datetime
    end: datetime | None


class Tenure(Struct, frozen=True, gc=False, rename={"start": "from", "end": "to"}):
    """The time that a holder had; `to` is None while the case is open with it."""

    holder: str
    start: datetime
    end: datetime | None


class Ignored(Struct, frozen=True, gc=False):
    id: str
    reason: Reason


class Round(Struct, frozen=True, gc=False):
    """One pass of handling (轮次)."""

    anchor: datetime
    closed_at: datetime | None
    policy_from: date | None
    targets: Targets
    suspensions: tuple[Suspension, ...]
    extension_days: int


class Case(Struct, frozen=True, gc=False, kw_only=True):
    key: str
    platform: str
    county: str
    category: str | None
    title: str | None
    status: Status
    stage: Stage | None
    outcome: Outcome | None
    breached: bool
    received_at: datetime | None
    closed_at: datetime | None
    holder: str | None
    holders: tuple[Tenure, ...]
    rating: int | None
    provisional: bool
    ruleset: str
    rounds: tuple[Round, ...]
    ignored: tuple[Ignored, ...]
    event_count: int

    @property
    def is_open(self) -> bool:
        return self.status in (Status.OPEN, Status.SUSPENDED)

    @property
    def next_deadline(self) -> datetime | None:
        """The next instant at which the case changes without any event: a running target falls due."""
        if not self.is_open:
            return None
        targets = self.rounds[-1].targets
        due = [t.due_at for t in (targets.reply, targets.complete) if t.verdict is Verdict.RUNNING and t.due_at]
        return min(due, default=None)


encode_case = msgspec.json.Encoder(order="deterministic").encode
"""Case -> canonical bytes; equal cases have equal bytes."""
