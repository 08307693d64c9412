"""Duty hours: when people are told, and how long they have had (pure)."""

from datetime import datetime, timedelta

from shared.policy import OfficeHours
from shared.times import midnight
from shared.workdays import ONE_DAY, WorkCalendar

MINUTE = timedelta(minutes=1)


def duty_from(calendar: WorkCalendar, hours: OfficeHours, at: datetime) -> datetime:
    """The first instant in duty hours that is not before `at`."""
    day = at.date()
    while True:
        if calendar.is_working(day):
            for start, end in hours.spans:
                if at < midnight(day) + end * MINUTE:
                    return max(at, midnight(day) + start * MINUTE)
        day += ONE_DAY


def duty_after(calendar: WorkCalendar, hours: OfficeHours, at: datetime, minutes: int) -> datetime:
    """When so many minutes of duty have passed since `at`; minutes >= 1."""
    left = minutes * MINUTE
    while True:
        begin = duty_from(calendar, hours, at)
        end = next(stop for _, last in hours.spans if begin < (stop := midnight(begin.date()) + last * MINUTE))
        if begin + left <= end:
            return begin + left
        left -= end - begin
        at = end
