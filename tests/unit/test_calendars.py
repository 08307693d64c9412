"""shared/calendars.py and shared/workdays.py: which days are worked, by which notice, and whether that is certain."""

import json
from bisect import bisect_left
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import chinese_calendar
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.calendars import (
    CALENDAR_FIRST,
    CALENDAR_LAST,
    LocalDay,
    Notice,
    build_calendars,
    days_of_year,
    notice_title,
)
from shared.times import FIRST_YEAR, LAST_YEAR, parse_instant
from shared.workdays import CalendarRangeError, Mark, WorkCalendar

NATIONAL = build_calendars().national
DEADLINES = json.loads((Path(__file__).parents[1] / "acceptance" / "deadlines.json").read_text(encoding="utf-8"))

# The library ends with 2026 here. Once it holds the notice of 2027, what these tests say of 2027 moves on by a year.
NOTICE_2027 = Notice(
    year=2027,
    source="国办发明电〔2026〕0号",
    rest=(date(2026, 12, 31), date(2027, 1, 1), date(2027, 2, 5), date(2027, 2, 8), date(2027, 10, 1)),
    work=(date(2027, 1, 3), date(2027, 2, 20)),
)


def days_between(first: date, last: date) -> list[date]:
    return [first + timedelta(days=i) for i in range((last - first).days + 1)]


def differences_from_chinese_calendar(first: date, last: date) -> list[str]:
    return [
        f"{day}: {'worked' if NATIONAL.is_working(day) else 'off'} ({NATIONAL.day(day).reason}), "
        f"chinese_calendar has it {'worked' if chinese_calendar.is_workday(day) else 'off'}"
        for day in days_between(first, last)
        if NATIONAL.is_working(day) != chinese_calendar.is_workday(day)
    ]


def small(first: date, last: date, notices: Iterable[Notice] = (), local: Iterable[LocalDay] = ()) -> WorkCalendar:
    return build_calendars(notices, local, first, last).national


# The national calendar


def test_every_day_of_2006_to_2026_is_worked_exactly_when_chinese_calendar_says_so() -> None:
    assert differences_from_chinese_calendar(date(2006, 1, 1), date(2026, 12, 31)) == []


def test_before_2006_only_the_last_day_of_2005_differs_where_the_notice_of_2006_makes_it_a_working_day() -> None:
    assert differences_from_chinese_calendar(date(2004, 1, 1), date(2005, 12, 31)) == [
        "2005-12-31: worked (调休上班), chinese_calendar has it off"
    ]
    assert NATIONAL.day(date(2005, 12, 31)).source == notice_title(2006)


def test_the_calendar_reaches_ten_years_beyond_the_last_event() -> None:
    assert (NATIONAL.first, NATIONAL.last) == (CALENDAR_FIRST, CALENDAR_LAST)
    assert date(FIRST_YEAR, 1, 1) == CALENDAR_FIRST
    assert date(LAST_YEAR + 10, 12, 31) == CALENDAR_LAST


@pytest.mark.parametrize("case", DEADLINES["cases"], ids=lambda case: f"{case['received']}+{case['days']}")
def test_the_worked_dates_of_the_notices(case: dict[str, Any]) -> None:
    received = parse_instant(case["received"]).date()
    due = NATIONAL.nth_working_day(received, case["days"])
    assert due.isoformat() == case["due_day"], case["why"]
    assert not NATIONAL.provisional(received, due)


@pytest.mark.parametrize("case", DEADLINES["provisional"], ids=lambda case: f"{case['received']}+{case['days']}")
def test_the_deadlines_that_rest_on_a_guess_are_provisional(case: dict[str, Any]) -> None:
    received = parse_instant(case["received"]).date()
    assert NATIONAL.provisional(received, NATIONAL.nth_working_day(received, case["days"])), case["why"]


@pytest.mark.parametrize(
    ("day", "working", "reason", "source"),
    [
        (date(2022, 3, 1), True, "工作日", ""),
        (date(2022, 3, 5), False, "周六", ""),
        (date(2022, 3, 6), False, "周日", ""),
        (date(2022, 1, 29), True, "调休上班", notice_title(2022)),
        (date(2022, 2, 1), False, "春节", notice_title(2022)),
        (date(2018, 12, 29), True, "调休上班", notice_title(2019)),
    ],
)
def test_a_day_says_why_it_is_worked_or_off_and_by_which_notice(
    day: date, working: bool, reason: str, source: str
) -> None:
    answer = NATIONAL.day(day)
    assert (answer.date, answer.working, answer.reason, answer.source) == (day, working, reason, source)
    assert answer.confirmed


@pytest.mark.parametrize("day", [date(2007, 12, 31), date(2018, 12, 31)])
def test_a_day_off_at_the_end_of_december_rests_on_the_notice_of_the_next_year(day: date) -> None:
    assert not NATIONAL.is_working(day)
    assert NATIONAL.day(day).source == notice_title(day.year + 1)


def test_a_guessed_holiday_names_the_statute_and_is_not_confirmed() -> None:
    guess = NATIONAL.day(date(2027, 10, 1))
    assert (guess.working, guess.reason, guess.confirmed) == (False, "国庆节", False)
    assert "推定" in guess.source
    assert not NATIONAL.day(date(2027, 3, 1)).confirmed


def test_a_year_is_listed_day_by_day_in_order() -> None:
    first, last = days_of_year(2024)
    listed = NATIONAL.days(first, last)
    assert [day.date for day in listed] == days_between(date(2024, 1, 1), date(2024, 12, 31))
    assert [day.working for day in listed] == [NATIONAL.is_working(day.date) for day in listed]


# Notices of the deployment's file


def test_a_notice_for_a_year_that_the_library_lacks_replaces_every_guessed_day() -> None:
    calendar = small(date(2026, 1, 1), date(2028, 12, 31), [NOTICE_2027])
    off_on_weekdays = [
        day for day in days_between(*days_of_year(2027)) if day.weekday() < 5 and not calendar.is_working(day)
    ]
    worked_on_weekends = [
        day for day in days_between(*days_of_year(2027)) if day.weekday() >= 5 and calendar.is_working(day)
    ]
    assert off_on_weekdays == [date(2027, 1, 1), date(2027, 2, 5), date(2027, 2, 8), date(2027, 10, 1)]
    assert worked_on_weekends == [date(2027, 1, 3), date(2027, 2, 20)]
    guessed = date(2027, 5, 3)
    assert not NATIONAL.is_working(guessed)
    assert calendar.day(guessed).reason == "工作日"
    assert calendar.day(date(2027, 2, 20)).source == NOTICE_2027.source


def test_a_notice_leaves_the_guesses_of_other_years_standing() -> None:
    calendar = small(date(2027, 1, 1), date(2029, 12, 31), [NOTICE_2027])
    first, last = date(2028, 1, 1), date(2029, 12, 31)
    assert calendar.days(first, last) == NATIONAL.days(first, last)


def test_a_notice_for_a_year_that_the_library_holds_lies_over_it() -> None:
    notice = Notice(
        year=2026, source="国办发明电〔2026〕9号", rest=(date(2026, 3, 2),), work=(date(2026, 10, 2), date(2026, 3, 7))
    )
    calendar = small(date(2026, 1, 1), date(2026, 12, 31), [notice])
    changed = [day for day in days_between(*days_of_year(2026)) if calendar.day(day) != NATIONAL.day(day)]
    assert changed == [date(2026, 3, 2), date(2026, 3, 7), date(2026, 10, 2)]
    assert [calendar.is_working(day) for day in changed] == [False, True, True]
    assert {calendar.day(day).source for day in changed} == {notice.source}


def test_a_notice_can_change_the_last_days_of_the_year_before() -> None:
    calendar = small(date(2026, 1, 1), date(2027, 12, 31), [NOTICE_2027])
    assert NATIONAL.is_working(date(2026, 12, 31))
    assert not calendar.is_working(date(2026, 12, 31))
    assert calendar.day(date(2026, 12, 31)).source == NOTICE_2027.source
    assert calendar.nth_working_day(date(2026, 12, 30), 1) == date(2027, 1, 3)


def test_of_two_notices_for_a_year_the_later_one_lies_over_the_earlier() -> None:
    correction = Notice(year=2027, source="更正", rest=(date(2027, 1, 4),), work=(date(2027, 1, 1),))
    calendar = small(date(2027, 1, 1), date(2027, 12, 31), [NOTICE_2027, correction])
    assert not calendar.is_working(date(2027, 1, 4))
    assert calendar.is_working(date(2027, 1, 1))
    assert not calendar.is_working(date(2027, 2, 5))


# Local days


def test_local_days_hold_in_their_county_only_and_the_others_share_the_national_calendar() -> None:
    festival = LocalDay("gengma", date(2026, 4, 15), working=False, name="泼水节", source="县政府办通知")
    saturday = LocalDay("gengma", date(2026, 4, 18), working=True, name="补班", source="县政府办通知")
    anniversary = LocalDay("cangyuan", date(2026, 2, 28), working=False, name="县庆", source="县政府办通知")
    calendars = build_calendars((), [festival, saturday, anniversary], date(2026, 1, 1), date(2026, 12, 31))
    gengma, cangyuan = calendars.of("gengma"), calendars.of("cangyuan")

    assert calendars.of("yunxian") is calendars.national
    assert calendars.of("municipal") is calendars.national
    year = days_between(*days_of_year(2026))
    assert [day for day in year if gengma.day(day) != calendars.national.day(day)] == [festival.date, saturday.date]
    assert [day for day in year if cangyuan.day(day) != calendars.national.day(day)] == [anniversary.date]
    assert (gengma.day(festival.date).reason, gengma.day(festival.date).source) == ("泼水节", "县政府办通知")
    assert gengma.nth_working_day(date(2026, 4, 14), 3) == saturday.date


def test_a_local_day_lies_over_the_notice() -> None:
    worked = LocalDay("gengma", date(2027, 2, 8), working=True, name="抗旱值守", source="县政府办通知")
    calendars = build_calendars([NOTICE_2027], [worked], date(2027, 1, 1), date(2027, 12, 31))
    assert calendars.of("gengma").is_working(date(2027, 2, 8))
    assert not calendars.national.is_working(date(2027, 2, 8))


def test_a_local_day_confirms_nothing() -> None:
    worked = LocalDay("gengma", date(2027, 2, 8), working=True, name="抗旱值守", source="县政府办通知")
    calendar = build_calendars((), [worked], date(2027, 1, 1), date(2027, 12, 31)).of("gengma")
    assert not calendar.day(date(2027, 2, 8)).confirmed


# What is certain


def test_the_years_with_a_notice_are_confirmed_those_without_are_not() -> None:
    assert NATIONAL.confirmed_years == frozenset(range(2001, 2027))
    assert small(date(2026, 1, 1), date(2027, 12, 31), [NOTICE_2027]).confirmed_years == frozenset(range(2001, 2028))


def test_the_last_week_of_december_is_confirmed_only_with_the_notice_of_the_next_year() -> None:
    assert NATIONAL.is_confirmed(date(2026, 12, 24))
    assert not any(NATIONAL.is_confirmed(day) for day in days_between(date(2026, 12, 25), date(2027, 1, 1)))
    assert all(NATIONAL.is_confirmed(day) for day in days_between(date(2025, 12, 25), date(2025, 12, 31)))
    calendar = small(date(2026, 1, 1), date(2028, 12, 31), [NOTICE_2027])
    assert all(calendar.is_confirmed(day) for day in days_between(date(2026, 12, 25), date(2027, 12, 24)))
    assert not calendar.is_confirmed(date(2027, 12, 25))


def test_the_notice_of_a_later_year_confirms_no_year_before_it() -> None:
    notice = Notice(year=2028, source="国办发明电〔2027〕0号", rest=(date(2028, 1, 1),))
    calendar = small(date(2026, 1, 1), date(2029, 12, 31), [notice])
    assert not calendar.is_confirmed(date(2026, 12, 25))
    assert not calendar.is_confirmed(date(2027, 12, 31))
    assert calendar.is_confirmed(date(2028, 1, 1))


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2022, 3, 1), date(2026, 12, 24)),
        (date(2026, 12, 24), date(2026, 12, 24)),
        (date(2026, 12, 25), date(2026, 12, 24)),
        (date(2026, 12, 31), date(2026, 12, 30)),
        (date(2030, 6, 1), date(2030, 5, 31)),
    ],
)
def test_confirmed_until_is_the_last_day_of_the_run_or_the_day_before_an_unconfirmed_one(
    day: date, expected: date
) -> None:
    assert NATIONAL.confirmed_until(day) == expected


def test_an_unconfirmed_run_ends_with_its_last_day() -> None:
    notice = Notice(year=2028, source="国办发明电〔2027〕0号", rest=(date(2028, 1, 1),))
    calendar = small(date(2026, 1, 1), date(2028, 12, 31), [notice])
    assert calendar.unconfirmed == (
        (date(2026, 12, 25), date(2027, 12, 31)),
        (date(2028, 12, 25), date(2028, 12, 31)),
    )
    assert calendar.provisional(date(2027, 12, 30), date(2028, 1, 5))
    assert not calendar.provisional(date(2027, 12, 31), date(2028, 1, 5))
    assert calendar.confirmed_until(date(2027, 12, 31)) == date(2027, 12, 30)
    assert calendar.confirmed_until(date(2028, 1, 1)) == date(2028, 12, 24)


def test_a_calendar_that_is_confirmed_throughout_is_confirmed_until_its_last_day() -> None:
    calendar = small(date(2021, 1, 1), date(2023, 12, 31))
    assert calendar.unconfirmed == ()
    assert calendar.confirmed_until(date(2022, 3, 1)) == date(2023, 12, 31)


@pytest.mark.parametrize(
    ("after", "until", "expected"),
    [
        (date(2026, 12, 1), date(2026, 12, 24), False),
        (date(2026, 12, 24), date(2026, 12, 25), True),
        (date(2026, 12, 1), date(2027, 1, 4), True),
        (date(2028, 1, 1), date(2028, 1, 3), True),
        (date(2022, 12, 1), date(2023, 1, 30), False),
        (date(2026, 12, 24), date(2026, 12, 24), False),
    ],
)
def test_a_count_is_provisional_when_a_day_of_it_is_unconfirmed(after: date, until: date, expected: bool) -> None:
    assert NATIONAL.provisional(after, until) is expected


def test_no_day_between_the_anchor_and_a_deadline_on_its_own_day_can_be_unconfirmed() -> None:
    assert not NATIONAL.provisional(date(2027, 3, 1), date(2027, 3, 1))


# Counting, against a walk from day to day


class Drawn(NamedTuple):
    calendar: WorkCalendar
    worked: list[date]  # in order: what the naive reference goes by


@st.composite
def calendars(draw: st.DrawFn) -> Drawn:
    first = draw(st.dates(date(2001, 1, 1), date(2049, 12, 31)))
    days = days_between(first, first + timedelta(days=draw(st.integers(0, 420))))
    changed = draw(st.dictionaries(st.sampled_from(days), st.booleans(), max_size=30))
    marks = {day: Mark(working, "通知", "通知") for day, working in changed.items()}
    years = draw(st.frozensets(st.integers(first.year - 1, first.year + 2)))
    worked = [day for day in days if changed.get(day, day.isoweekday() <= 5)]
    return Drawn(WorkCalendar(first, days[-1], marks, years), worked)


def walk(drawn: Drawn, day: date, n: int) -> date | None:
    """The n-th working day after `day`, a day at a time; None where the calendar ends before it."""
    worked = set(drawn.worked)
    while n:
        day += timedelta(days=1)
        if day > drawn.calendar.last:
            return None
        n -= day in worked
    return day


def a_day_of(drawn: Drawn, data: st.DataObject) -> date:
    return data.draw(st.dates(drawn.calendar.first, drawn.calendar.last))


@settings(deadline=None)
@given(calendars(), st.data(), st.integers(1, 300))
def test_the_nth_working_day_is_where_a_walk_from_day_to_day_ends(drawn: Drawn, data: st.DataObject, n: int) -> None:
    day = a_day_of(drawn, data)
    expected = walk(drawn, day, n)
    if expected is None:
        with pytest.raises(CalendarRangeError):
            drawn.calendar.nth_working_day(day, n)
    else:
        assert drawn.calendar.nth_working_day(day, n) == expected


@settings(deadline=None)
@given(calendars())
def test_every_day_is_counted_as_a_naive_list_counts_it(drawn: Drawn) -> None:
    calendar, worked = drawn
    days = days_between(calendar.first, calendar.last)
    assert [day for day in days if calendar.is_working(day)] == worked
    assert [day.date for day in calendar.days(calendar.first, calendar.last) if day.working] == worked
    assert [calendar.working_days_upto(day) for day in days] == [
        bisect_left(worked, day + timedelta(days=1)) for day in days
    ]
    assert [calendar.working_day(rank) for rank in range(1, len(worked) + 1)] == worked


@settings(deadline=None)
@given(st.dates(CALENDAR_FIRST, date(LAST_YEAR, 12, 31)), st.integers(1, 300))
def test_the_nth_working_day_is_the_inverse_of_counting_and_monotone(day: date, n: int) -> None:
    due = NATIONAL.nth_working_day(day, n)
    assert due > day
    assert NATIONAL.is_working(due)
    assert NATIONAL.working_days_upto(due) - NATIONAL.working_days_upto(day) == n
    assert NATIONAL.working_day(NATIONAL.working_days_upto(due)) == due
    assert NATIONAL.nth_working_day(day, n + 1) > due
    assert NATIONAL.nth_working_day(day + timedelta(days=1), n) >= due


@settings(deadline=None)
@given(calendars(), st.data())
def test_what_is_certain_agrees_with_asking_every_day(drawn: Drawn, data: st.DataObject) -> None:
    calendar = drawn.calendar
    after, until = sorted((a_day_of(drawn, data), a_day_of(drawn, data)))
    assume(after < until)
    days = days_between(after + timedelta(days=1), until)
    assert calendar.provisional(after, until) == any(not calendar.is_confirmed(day) for day in days)
    run = after
    while run <= calendar.last and calendar.is_confirmed(run):
        run += timedelta(days=1)
    assert min(calendar.confirmed_until(after), calendar.last) == run - timedelta(days=1)


# The edges


def test_a_count_beyond_the_last_day_names_the_range() -> None:
    with pytest.raises(CalendarRangeError, match=r"^2059-12-31 起的计数超出日历范围（2001-01-01 至 2059-12-31）$"):
        NATIONAL.nth_working_day(CALENDAR_LAST, 1)


@pytest.mark.parametrize("day", [CALENDAR_FIRST - timedelta(days=1), CALENDAR_LAST + timedelta(days=1)])
def test_a_day_outside_the_calendar_is_refused_by_every_question(day: date) -> None:
    for question in (NATIONAL.working_days_upto, NATIONAL.is_working, NATIONAL.day):
        with pytest.raises(CalendarRangeError):
            question(day)
    with pytest.raises(CalendarRangeError):
        NATIONAL.nth_working_day(day, 1)


def test_a_rank_that_the_calendar_does_not_reach_is_refused() -> None:
    total = NATIONAL.working_days_upto(CALENDAR_LAST)
    assert NATIONAL.working_day(total) <= CALENDAR_LAST
    for rank in (total + 1, 0, -1):
        with pytest.raises(CalendarRangeError):
            NATIONAL.working_day(rank)


def test_a_first_day_that_is_off_has_no_working_day_up_to_it() -> None:
    calendar = WorkCalendar(date(2022, 3, 5), date(2022, 3, 8), {}, [])
    assert not calendar.is_working(date(2022, 3, 5))
    assert calendar.working_days_upto(date(2022, 3, 6)) == 0
    assert calendar.nth_working_day(date(2022, 3, 5), 1) == date(2022, 3, 7)


# The fingerprint, of which a ruleset's hash is made


def test_whatever_the_calendar_answers_is_in_the_fingerprint() -> None:
    first, last = date(2022, 1, 1), date(2022, 12, 31)
    weekday, weekend = date(2022, 3, 7), date(2022, 3, 5)
    drawn = [
        WorkCalendar(first, last, {}, [2022]),
        WorkCalendar(first, last, {}, []),
        WorkCalendar(first, date(2022, 12, 30), {}, [2022]),
        WorkCalendar(date(2022, 1, 2), last, {}, [2022]),
        WorkCalendar(first, last, {weekend: Mark(working=False, name="县庆", source="x")}, [2022]),
        WorkCalendar(first, last, {weekend: Mark(working=True, name="县庆", source="x")}, [2022]),
        WorkCalendar(first, last, {weekday: Mark(working=False, name="县庆", source="x")}, [2022]),
        WorkCalendar(first, last, {weekday: Mark(working=False, name="泼水节", source="x")}, [2022]),
        WorkCalendar(first, last, {weekday: Mark(working=False, name="县庆", source="y")}, [2022]),
    ]
    fingerprints = [calendar.fingerprint() for calendar in drawn]
    assert [one for one in fingerprints if fingerprints.count(one) > 1] == []


def test_the_order_of_marks_is_not_in_the_fingerprint() -> None:
    first, last = date(2022, 1, 1), date(2022, 12, 31)
    marks = [(date(2022, 3, day), Mark(working=False, name="县庆", source="x")) for day in (7, 8)]
    one, other = (WorkCalendar(first, last, dict(order), [2022]) for order in (marks, marks[::-1]))
    assert one.fingerprint() == other.fingerprint()
