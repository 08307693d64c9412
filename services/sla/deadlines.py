"""Counting (rule 2 of `rules.py`): from an anchor, a budget and the suspensions to the deadline.

The anchor's day is day 0, whatever the hour and whether or not it is a working day; a working day after it counts unless
the clock was suspended at any moment of it; the deadline is the cutoff of the n-th counted day. Source: 民法典 201 and
203 by analogy. Working hours instead: only office hours of working days outside suspensions count, from the anchor on, and
the deadline is the instant at which they reach the budget.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from shared.case import Suspension
from shared.policy import OfficeHours
from shared.times import midnight
from shared.workdays import ONE_DAY, WorkCalendar

MICROSECOND = timedelta(microseconds=1)


class Deadline(NamedTuple):
    """The instant from which it is late, and the day that it ends (24:00 belongs to the day before midnight)."""

    at: datetime
    day: date


def day_deadline(
    calendar: WorkCalendar, cutoff: int, anchor: datetime, days: int, suspensions: Iterable[Suspension]
) -> Deadline | None:
    """The cutoff (minutes of the day) of the n-th counted day; None while a suspension is open before it (paused).

    `suspensions` are of the same round, in order and disjoint.
    """
    cursor, remaining = anchor.date(), days
    for start, end in suspended_days(suspensions):
        day = calendar.nth_working_day(cursor, remaining)
        if day < start:
            return _at_cutoff(day, cutoff)
        if end is None:
            return None
        if start > cursor:
            counted = calendar.working_days_upto(start - ONE_DAY) - calendar.working_days_upto(cursor)
            remaining -= counted
        cursor = max(cursor, end)
    return _at_cutoff(calendar.nth_working_day(cursor, remaining), cutoff)


@lru_cache(maxsize=8192)
def _at_cutoff(day: date, cutoff: int) -> Deadline:
    return Deadline(midnight(day) + timedelta(minutes=cutoff), day)


def suspended_days(suspensions: Iterable[Suspension]) -> Iterable[tuple[date, date | None]]:
    """The first and the last day that each suspension touches; an empty one touches none."""
    for suspension in suspensions:
        if suspension.end is None:
            yield suspension.start.date(), None
        elif suspension.start < suspension.end:
            yield suspension.start.date(), (suspension.end - MICROSECOND).date()


def office_deadline(
    calendar: WorkCalendar, office: OfficeHours, anchor: datetime, micros: int, suspensions: Iterable[Suspension]
) -> Deadline | None:
    """The instant at which so many office microseconds have passed since the anchor; None while paused."""
    cursor, remaining = _office_time(calendar, office, anchor), micros
    for suspension in suspensions:
        start = _office_time(calendar, office, suspension.start)
        if cursor + remaining <= start:
            break
        if suspension.end is None:
            return None
        end = _office_time(calendar, office, suspension.end)
        if end > cursor:  # one that ended before a target was anchored anew takes nothing from it
            remaining -= max(start, cursor) - cursor
            cursor = end
    return _office_instant(calendar, office, cursor + remaining)


def office_micros(calendar: WorkCalendar, office: OfficeHours, start: datetime, end: datetime) -> int:
    """Office microseconds in [start, end); 0 when it is empty."""
    if end <= start:
        return 0
    return _office_time(calendar, office, end) - _office_time(calendar, office, start)


def _office_time(calendar: WorkCalendar, office: OfficeHours, instant: datetime) -> int:
    """Office microseconds from the calendar's first day to the instant."""
    day = instant.date()
    worked = calendar.working_days_upto(day)
    if not calendar.is_working(day):
        return worked * office.micros_a_day
    return (worked - 1) * office.micros_a_day + office.elapsed(instant - midnight(day))


def _office_instant(calendar: WorkCalendar, office: OfficeHours, micros: int) -> Deadline:
    """The first instant by which so many office microseconds have passed since the calendar's first day."""
    whole_days, rest = divmod(micros - 1, office.micros_a_day)
    day = calendar.working_day(whole_days + 1)
    return Deadline(midnight(day) + office.reached(rest + 1), day)
