"""Which alerts an open case calls for, and when: the rungs of its targets (pure).

The rungs of a target: `due_today` at the policy's morning of `due_day`, `overdue` at the deadline, `escalated-1` and `-2` at
the morning of the n-th working days after `due_day`. An open suspension has one: `suspended-long`.
"""

from datetime import date, datetime, timedelta
from functools import lru_cache

from msgspec import Struct

from shared.case import Case, Target, Verdict
from shared.policy import Rungs
from shared.rules import Ruleset
from shared.times import midnight, to_micros
from shared.workdays import WorkCalendar

DUE_TODAY, OVERDUE, ESCALATED_1, ESCALATED_2, SUSPENDED_LONG = (
    "due_today", "overdue", "escalated-1", "escalated-2", "suspended-long",
)  # fmt: skip
NEXT_RUNG = {
    DUE_TODAY: OVERDUE,
    OVERDUE: ESCALATED_1,
    ESCALATED_1: ESCALATED_2,
    ESCALATED_2: None,
    SUSPENDED_LONG: None,
}
SUSPENSION = "suspension"
QUIET_AFTER = timedelta(hours=24)


class OpenTarget(Struct, frozen=True, gc=False):
    """A target whose alerts are still to come, all instants in microseconds; `due_at` names it with key and round.

    `morning_at`: of the rung `due_today`; None where the deadline comes before it.
    """

    round: int
    target: str
    due_at: int
    first_rung: str
    first_at: int
    morning_at: int | None
    escalate_1_at: int | None
    escalate_2_at: int | None
    quiet: bool


def open_targets(case: Case, rules: Ruleset, now: datetime) -> list[OpenTarget]:
    """The unmet targets of an open case that have a deadline, and its open suspension, as first seen `now`."""
    if not case.is_open:
        return []
    current, number = case.rounds[-1], len(case.rounds)
    rungs = rules.policy_on(current.anchor.date()).rungs
    found = [
        _target(number, name, target, rungs, rules, case.platform, now)
        for name, target in (("reply", current.targets.reply), ("complete", current.targets.complete))
        if target.verdict in (Verdict.RUNNING, Verdict.OVERDUE)
    ]
    if current.suspensions and current.suspensions[-1].end is None:
        long = to_micros(current.suspensions[-1].start + timedelta(days=rungs.suspended_long_days))
        found.append(OpenTarget(number, SUSPENSION, long, SUSPENDED_LONG, long, None, None, None, _quiet(long, now)))
    return found


@lru_cache(maxsize=4096)
def _mornings(due_day: date, rungs: Rungs, calendar: WorkCalendar) -> tuple[int, int, int]:
    """The morning of `due_day`, and those of the escalations after it: many cases share them."""
    morning = timedelta(hours=rungs.morning.hour, minutes=rungs.morning.minute)
    days = (due_day, *(calendar.nth_working_day(due_day, n) for n in rungs.escalate_after))
    today, first, second = (to_micros(midnight(day) + morning) for day in days)
    return today, first, second


def _quiet(due_at: int, now: datetime) -> bool:
    return to_micros(now - QUIET_AFTER) > due_at


def _target(
    number: int, name: str, target: Target, rungs: Rungs, rules: Ruleset, platform: str, now: datetime
) -> OpenTarget:
    assert target.due_at is not None
    assert target.due_day is not None
    today, first, second = _mornings(target.due_day, rungs, rules.calendar_of(platform))
    due_at = to_micros(target.due_at)
    warn = today < due_at and now < target.due_at  # nobody is warned of what is late already
    return OpenTarget(
        round=number,
        target=name,
        due_at=due_at,
        first_rung=DUE_TODAY if warn else OVERDUE,
        first_at=today if warn else due_at,
        morning_at=today if today < due_at else None,
        escalate_1_at=first,
        escalate_2_at=second,
        quiet=_quiet(due_at, now),
    )
