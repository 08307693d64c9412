"""A deadline explained day by day: from day 0 to `due_day`, what each day is, whether it counted, and by which notice."""

from datetime import date, datetime

from msgspec import Struct

from services.sla.deadlines import office_micros, suspended_days
from shared.case import Case, Round, Suspension, Target
from shared.policy import Policy
from shared.rules import Ruleset
from shared.times import midnight
from shared.workdays import ONE_DAY, WorkCalendar

MICROS_OF_HOUR = 3_600_000_000


class ExplainedDay(Struct, frozen=True):
    """`number`: the how-manieth counted day it is; `hours`: the office hours that counted (categories by hours only)."""

    date: date
    working: bool
    counted: bool
    number: int | None
    hours: float | None
    reason: str
    source: str
    confirmed: bool


class Explanation(Struct, frozen=True):
    """Of one target. `source` orders the category's budget, `policy` the version of the rules.

    `days` ends at `due_day`, or, while it is paused, on the day on which the clock stopped.
    """

    round: int
    target: str
    anchor: datetime
    due_at: datetime | None
    source: str
    policy: str
    days: tuple[ExplainedDay, ...]


def explain(case: Case, rules: Ruleset) -> list[Explanation]:
    """Every target of the case, round by round. `case` was evaluated under the same rules."""
    calendar = rules.calendar_of(case.platform)
    found = []
    for number, current in enumerate(case.rounds, 1):
        policy = rules.policy_on(current.anchor.date())
        for name, target in (("reply", current.targets.reply), ("complete", current.targets.complete)):
            days = tuple(_days(target, current, policy, calendar))
            source = policy.category(case.category or "").source
            found.append(Explanation(number, name, target.anchor, target.due_at, source, policy.source, days))
    return found


def _days(target: Target, current: Round, policy: Policy, calendar: WorkCalendar) -> list[ExplainedDay]:
    stops = [stop for stop in current.suspensions if _bears(stop, target)]
    if target.due_at is None:  # the clock was standing still when the target was met or void, or it does now
        stops[-1] = Suspension(stops[-1].start, None)
    first = target.anchor.date()
    last = target.due_day or max(first, stops[-1].start.date())
    touched = list(suspended_days(stops))
    days: list[ExplainedDay] = []
    number = 0
    for day in calendar.days(first, last):
        stopped = any(start <= day.date and (end is None or day.date <= end) for start, end in touched)
        micros = _hours(target, policy, calendar, day.date, stops) if target.hours is not None else None
        counted = day.working and day.date > first and not stopped if micros is None else micros > 0
        number += counted
        reason = day.reason
        if day.date == first:
            reason = f"{reason}，起算当日（第0日）"
        if stopped:
            reason = f"{reason}，中止" + ("" if micros else "（不计）")
        days.append(
            ExplainedDay(
                day.date,
                day.working,
                counted,
                number if counted else None,
                None if micros is None else micros / MICROS_OF_HOUR,
                reason,
                day.source,
                day.confirmed,
            )
        )
    return days


def _bears(stop: Suspension, target: Target) -> bool:
    """Whether a suspension of the round bears on the target: none that begins once it is met or past."""
    if target.due_at is None:  # paused, or met while it was
        return target.met_at is None or stop.start <= target.met_at
    return stop.start < target.due_at and (target.met_at is None or stop.start < target.met_at)


def _hours(target: Target, policy: Policy, calendar: WorkCalendar, day: date, stops: list[Suspension]) -> int:
    """The office microseconds of the day that counted for the target."""
    office = policy.office_hours
    assert office is not None
    begin, end = midnight(day), midnight(day + ONE_DAY)
    begin, end = max(begin, target.anchor), end if target.due_at is None else min(end, target.due_at)
    counted = office_micros(calendar, office, begin, end)
    for stop in stops:
        start, until = max(stop.start, begin), end if stop.end is None else min(stop.end, end)
        counted -= office_micros(calendar, office, start, until)
    return counted
