"""Who is told, when, and in which words: the pure part of the notices."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.alerts.notices.digests import OLDEST, Entry, Standing, line, lines, make_digest, markdown, plain, title
from services.alerts.notices.duty import duty_after, duty_from
from services.alerts.notices.gathering import decode_digest, encode_digest
from services.alerts.notices.routing import (
    CORRECTIONS,
    RUNGS,
    Channel,
    Secret,
    Web,
    hears,
    hears_clearing,
    repeated_from,
    told_from,
)
from shared.policy import OfficeHours
from shared.rules import Ruleset
from shared.times import midnight
from shared.workdays import ONE_DAY, WorkCalendar
from shared.zh import CLEARED
from tests.builders import at
from tests.noticekit import parts_of

HOURS = OfficeHours(((510, 720), (870, 1080)))  # 08:30-12:00, 14:30-18:00
INSTANTS = st.integers(0, 353 * 86_400).map(lambda seconds: at("01-01") + timedelta(seconds=seconds))


@pytest.fixture(scope="module")
def calendar(rules: Ruleset) -> WorkCalendar:
    return rules.calendars.national


def in_duty(calendar: WorkCalendar, instant: datetime) -> bool:
    since = instant - midnight(instant.date())
    spans = [(timedelta(minutes=start), timedelta(minutes=end)) for start, end in HOURS.spans]
    return calendar.is_working(instant.date()) and any(start <= since < end for start, end in spans)


def minutes_between(calendar: WorkCalendar, start: datetime, end: datetime) -> timedelta:
    """By walking through the days."""
    total, day = timedelta(), start.date()
    while day <= end.date():
        if calendar.is_working(day):
            for first, last in HOURS.spans:
                a, b = (midnight(day) + timedelta(minutes=m) for m in (first, last))
                total += max(timedelta(), min(b, end) - max(a, start))
        day += ONE_DAY
    return total


@given(INSTANTS)
def test_duty_begins_at_the_first_instant_in_duty_hours(calendar: WorkCalendar, instant: datetime) -> None:
    found = duty_from(calendar, HOURS, instant)
    assert in_duty(calendar, found)
    assert found >= instant
    assert minutes_between(calendar, instant, found) == timedelta()


@given(INSTANTS, st.integers(1, 10_000))
def test_minutes_of_duty_are_counted_in_duty_hours_alone(
    calendar: WorkCalendar, instant: datetime, minutes: int
) -> None:
    found = duty_after(calendar, HOURS, instant, minutes)
    assert minutes_between(calendar, instant, found) == timedelta(minutes=minutes)
    assert minutes_between(calendar, instant, found - timedelta(seconds=1)) < timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("instant", "begins"),
    [
        ("04-02 08:29:59", "04-02 08:30"),  # a Saturday that is worked
        ("04-02 12:00", "04-02 14:30"),
        ("04-02 18:00", "04-06 08:30"),  # 清明节
        ("04-06 09:00", "04-06 09:00"),
    ],
)
def test_duty_follows_the_calendar(calendar: WorkCalendar, instant: str, begins: str) -> None:
    assert duty_from(calendar, HOURS, at(instant)) == at(begins)


def channel(**members: object) -> Channel:
    return Channel("c", "webhook", Web(Secret("http://127.0.0.1/")), **members)  # type: ignore[arg-type]


NAMES = st.sampled_from(["zhenkang", "gengma", "交通局"])
SETS = st.none() | st.frozensets(NAMES, min_size=1)


@given(SETS, SETS, st.frozensets(st.sampled_from(sorted(RUNGS))), NAMES, NAMES, st.sampled_from(sorted(RUNGS)))
def test_a_channel_hears_of_what_it_names(
    counties: frozenset[str] | None,
    holders: frozenset[str] | None,
    rungs: frozenset[str],
    county: str,
    holder: str,
    rung: str,
) -> None:
    wanted = rung in rungs and county in (counties or {county}) and holder in (holders or {holder})
    assert hears(channel(counties=counties, holders=holders, rungs=rungs), county, holder, rung) is wanted


@pytest.mark.parametrize("reason", CLEARED)
def test_corrections_are_told_and_answers_where_wanted(reason: str) -> None:
    assert hears_clearing(channel(clearings="all"), reason)
    assert hears_clearing(channel(clearings="corrections"), reason) is (reason in CORRECTIONS)


@given(INSTANTS, st.sampled_from(sorted(RUNGS)))
def test_what_is_urgent_is_told_at_once_and_the_rest_in_duty_hours(
    calendar: WorkCalendar, instant: datetime, rung: str
) -> None:
    found = channel(urgent={"overdue"}, repeat_minutes=30)
    told = told_from(found, HOURS, calendar, rung, instant)
    again = repeated_from(found, HOURS, calendar, rung, told)
    if rung == "overdue":
        assert (told, again) == (instant, instant + timedelta(minutes=30))
    else:
        assert told == duty_from(calendar, HOURS, instant)
        assert again == duty_after(calendar, HOURS, told, 30)


# Digests

ENTRIES = st.lists(
    st.builds(
        lambda number, what, rung, minutes, reason, holder: Entry(
            key=f"zhenkang/zk-{number}", what=what, rung=rung, target="complete", round=1,
            due_at=at("04-01") + timedelta(minutes=minutes), raised_at=at("04-01"),
            holder=holder, reason=reason if what == "cleared" else None,
        ),
        st.integers(0, 10**6), st.sampled_from(["raised", "repeated", "cleared"]), st.sampled_from(sorted(RUNGS)),
        st.integers(0, 100_000), st.sampled_from(sorted(CLEARED)), st.none() | st.text(max_size=64),
    ),
    min_size=1, max_size=60,
)  # fmt: skip


@given(ENTRIES)
def test_a_digest_counts_all_and_names_the_oldest(entries: list[Entry]) -> None:
    digest = make_digest("zhenkang", "镇康县", at("04-02"), parts_of(entries), {"overdue": Standing(3, at("04-01"))})
    assert sum(part.total for part in digest.parts) == len(entries)
    for part in digest.parts:
        own = [entry for entry in entries if entry.what == part.what]
        assert part.total == len(own) == sum(part.rungs.values())
        assert sum(part.reasons.values()) == (len(own) if part.what == "cleared" else 0)
        assert [e.due_at for e in part.oldest] == sorted(e.due_at for e in own)[:OLDEST]
    assert set(digest.standing) <= {rung for part in digest.parts for rung in part.rungs}
    assert decode_digest(encode_digest(digest).decode()) == digest
    assert str(len(entries)) in title(digest) or len(digest.parts) > 1 or len(digest.parts[0].rungs) > 1


@given(ENTRIES, st.integers(300, 4096))
def test_a_message_fits_in_the_bytes_that_a_robot_takes(entries: list[Entry], limit: int) -> None:
    digest = make_digest("zhenkang", "镇康县", at("04-02"), parts_of(entries), {}, "https://127.0.0.1/")
    text = markdown(digest, limit)
    assert len(text.encode()) <= limit
    assert text.startswith(f"**{title(digest)[:20]}")
    if limit == 4096 and len(text.encode()) < 3900:
        assert "内容过长" not in text


@given(st.text())
def test_a_name_that_others_wrote_is_only_text(name: str) -> None:
    assert not set(plain(name)) & set("*_`[]()<>#\n\r@\\")


def test_the_words_of_a_digest() -> None:
    entries = [
        Entry("zhenkang/1", "raised", "overdue", "complete", 1, at("04-02"), at("04-02"), "镇康县"),
        Entry("zhenkang/2", "cleared", "overdue", "reply", 2, at("04-02"), at("04-02"), None, "late_evidence"),
    ]
    digest = make_digest("zhenkang", "镇康县", at("04-02 09:00"), parts_of(entries), {})
    assert title(digest) == "网民留言提醒 镇康县：逾期 1 条；解除：逾期 1 条"
    assert lines(digest) == [
        "**新提醒 1 条**（逾期 1）",
        "- zhenkang/1 第1轮办结 逾期（截止 2022-04-01 24:00），承办：镇康县",
        "**解除 1 条**（逾期 1）",
        "更正：其中 1 条此前的提醒不再成立",
        "- zhenkang/2 第2轮答复 逾期（截止 2022-04-01 24:00），迟到证据解除",
    ]
    assert line(entries[0]) in markdown(digest, 4096)
