"""services/sla/deadlines.py against a slow and naive counting that shares no code with it.

Days are walked one by one, office time minute by minute; whether a day is worked is asked of chinese_calendar.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cache

import chinese_calendar
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sla.deadlines import Deadline, day_deadline, office_deadline
from shared.calendars import build_calendars
from shared.case import Suspension
from shared.policy import OfficeHours
from shared.times import SHANGHAI

CALENDAR = build_calendars().national
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
# Spring Festival, Qingming, May Day and National Day of 2022 with their make-up days, and the year's end.
FIRST_DAYS = [date(2022, 1, 26), date(2022, 3, 30), date(2022, 4, 28), date(2022, 9, 28), date(2022, 12, 28)]


@cache
def is_worked(day: date) -> bool:
    worked: bool = chinese_calendar.is_workday(day)
    return worked


def start_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)


def walk_days(cutoff: int, anchor: datetime, days: int, suspensions: Sequence[Suspension]) -> Deadline | None:
    """A working day after the anchor's day counts unless the clock was suspended at any moment of it."""
    day, counted = anchor.date(), 0
    while counted < days:
        day += DAY
        begin, end = start_of(day), start_of(day + DAY)
        touching = [
            stop for stop in suspensions if stop.start < end and (stop.end is None or begin < stop.end > stop.start)
        ]
        if any(stop.end is None for stop in touching):
            return None
        counted += is_worked(day) and not touching
    return Deadline(start_of(day) + cutoff * MINUTE, day)


def walk_minutes(
    spans: Sequence[tuple[int, int]], anchor: datetime, minutes: int, suspensions: Sequence[Suspension]
) -> Deadline | None:
    """A minute counts when it is in office hours of a working day and outside every suspension."""
    now, counted = anchor, 0
    while counted < minutes:
        if any(stop.end is None and stop.start <= now for stop in suspensions):
            return None
        minute = now.hour * 60 + now.minute
        office = any(start <= minute < end for start, end in spans) and is_worked(now.date())
        stopped = any(stop.end is not None and stop.start <= now < stop.end for stop in suspensions)
        now += MINUTE
        counted += office and not stopped
    return Deadline(now, (now - MINUTE).date())  # 24:00 belongs to the day that it ends


@st.composite
def clocks(draw: st.DrawFn) -> tuple[datetime, list[Suspension]]:
    """An anchor, and suspensions in order and disjoint. They may have begun before it: rule 6 anchors at an event."""
    first = start_of(draw(st.sampled_from(FIRST_DAYS)))
    moments = st.one_of(
        st.integers(0, 9 * 24 * 60),
        st.builds(
            lambda day, minute: day * 1440 + minute,
            st.integers(0, 9),
            st.sampled_from([0, 510, 720, 870, 1050, 1080, 1439]),
        ),
    )
    anchor, *stops = draw(st.lists(moments, min_size=1, max_size=7))
    stops.sort()
    suspensions = [
        Suspension(first + start * MINUTE, first + end * MINUTE)
        for start, end in zip(stops[::2], stops[1::2], strict=False)
    ]
    if len(stops) % 2:
        suspensions.append(Suspension(first + stops[-1] * MINUTE, None))
    return first + anchor * MINUTE, suspensions


@settings(max_examples=500, deadline=None)
@given(clocks(), st.sampled_from([24 * 60, 17 * 60 + 30, 1]), st.integers(1, 12))
def test_days_are_counted_as_by_walking_them(clock: tuple[datetime, list[Suspension]], cutoff: int, days: int) -> None:
    anchor, suspensions = clock
    assert day_deadline(CALENDAR, cutoff, anchor, days, suspensions) == walk_days(cutoff, anchor, days, suspensions)


@settings(max_examples=150, deadline=None)
@given(
    clocks(),
    st.sampled_from([((510, 720), (870, 1080)), ((540, 1020),), ((0, 1440),), ((480, 481), (1438, 1440))]),
    st.data(),
)
def test_office_hours_are_counted_as_by_walking_the_minutes(
    clock: tuple[datetime, list[Suspension]], spans: tuple[tuple[int, int], ...], data: st.DataObject
) -> None:
    anchor, suspensions = clock
    a_day = sum(end - start for start, end in spans)
    whole = st.sampled_from([a_day, 2 * a_day, spans[0][1] - spans[0][0]])
    minutes = data.draw(st.one_of(st.integers(1, min(2 * a_day, 1000)), whole))
    counted = office_deadline(CALENDAR, OfficeHours(spans), anchor, minutes * 60_000_000, suspensions)
    assert counted == walk_minutes(spans, anchor, minutes, suspensions)
