"""shared/times.py: instants and days in Asia/Shanghai."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.times import (
    FIRST_YEAR,
    LAST_YEAR,
    SHANGHAI,
    InstantError,
    from_micros,
    isoformat,
    midnight,
    parse_instant,
    show,
    to_micros,
)

OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
INSTANTS = st.datetimes(
    datetime(FIRST_YEAR, 1, 2),  # noqa: DTZ001 - the strategy adds the zone
    datetime(LAST_YEAR, 12, 30, 23, 59, 59, 999_999),  # noqa: DTZ001
    timezones=OFFSETS,
)


def reason_of_refusal(text: str) -> str:
    with pytest.raises(InstantError) as caught:
        parse_instant(text)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return caught.value.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2022-03-01T09:12:00+08:00", "2022-03-01T09:12:00+08:00"),
        ("2022-03-01T01:12:00Z", "2022-03-01T09:12:00+08:00"),
        ("2022-03-01t01:12:00z", "2022-03-01T09:12:00+08:00"),
        ("2022-03-01T01:12:00-00:00", "2022-03-01T09:12:00+08:00"),
        ("2022-03-01T01:12:00+00:00", "2022-03-01T09:12:00+08:00"),
        ("2022-02-28T18:00:00-10:00", "2022-03-01T12:00:00+08:00"),
        ("2022-02-28T23:59:59+05:30", "2022-03-01T02:29:59+08:00"),
        ("2024-02-29T00:00:00+08:00", "2024-02-29T00:00:00+08:00"),
        ("2022-03-01T09:12:00.5+08:00", "2022-03-01T09:12:00.500000+08:00"),
        ("2022-03-01T09:12:00.000001+08:00", "2022-03-01T09:12:00.000001+08:00"),
    ],
)
def test_an_rfc_3339_time_is_read_as_an_instant_in_shanghai(text: str, expected: str) -> None:
    parsed = parse_instant(text)
    assert parsed.utcoffset() == timedelta(hours=8)
    assert isoformat(parsed) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2022-03-01T23:59:59.9999999+08:00", "2022-03-01T23:59:59.999999+08:00"),
        ("2022-03-01T09:12:00.1234567Z", "2022-03-01T17:12:00.123456+08:00"),
        ("2022-03-01T09:12:00.00000051+08:00", "2022-03-01T09:12:00+08:00"),
        ("2049-12-31T23:59:59.99999999999999999999+08:00", "2049-12-31T23:59:59.999999+08:00"),
    ],
)
def test_digits_finer_than_a_microsecond_are_cut_never_rounded(text: str, expected: str) -> None:
    assert isoformat(parse_instant(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2022-03-01",
        "2022-03-01 09:12",
        "2022-03-01T09:12",
        "2022-03-01t09:12:00",
        "2022-03-01T09:12:00",
        "2022-03-01 09:12:00.123",
        "2022-02-30 09:12:00",
    ],
)
def test_a_time_without_an_offset_is_refused_as_that(text: str) -> None:
    assert reason_of_refusal(text) == "time_without_offset"


@pytest.mark.parametrize("text", ["2022-03-01", "昨天"])
def test_a_refusal_shows_a_form_that_is_accepted(text: str) -> None:
    with pytest.raises(InstantError) as caught:
        parse_instant(text)
    (example,) = re.findall(r"\d{4}-[0-9T:+-]+", str(caught.value))
    assert isoformat(parse_instant(example)) == example


@pytest.mark.parametrize(
    "text",
    [
        "",
        "昨天",
        "1646097120",
        "2022/03/01 09:12",
        "2022-3-1T09:12:00+08:00",
        "22-03-01T09:12:00+08:00",
        "+2022-03-01T09:12:00+08:00",
        "2022-03-01 09:12:00+08:00",
        "2022-03-01T09:12+08:00",
        "2022-03-01T09:12:00.+08:00",
        "2022-03-01T09:12:00,5+08:00",
        "2022-03-01T09:12:00+0800",
        "2022-03-01T09:12:00+08",
        "2022-03-01T09:12:00+08:00[Asia/Shanghai]",
        "2022-03-01T09:12:00+08:00\n",
        "2022-03-01T09:12:00\n",
        " 2022-03-01T09:12:00+08:00",
        "２０２２-03-01T09:12:00+08:00",
        "2022-W09-2T09:12:00+08:00",
        "20220301T091200Z",
    ],
)
def test_what_is_not_rfc_3339_is_an_invalid_time(text: str) -> None:
    assert reason_of_refusal(text) == "invalid_time"


@pytest.mark.parametrize(
    "text",
    [
        "2022-02-29T09:12:00+08:00",
        "2022-13-01T09:12:00+08:00",
        "2022-00-01T09:12:00+08:00",
        "2022-03-32T09:12:00+08:00",
        "0000-03-01T09:12:00+08:00",
        "2022-03-01T24:00:00+08:00",
        "2022-03-01T09:60:00+08:00",
        "2022-03-01T09:12:61+08:00",
        "2022-03-01T09:12:00+24:00",
        "2022-03-01T09:12:00+08:60",
        "2022-03-01T09:12:00-08:99",
    ],
)
def test_a_date_time_or_offset_that_does_not_exist_is_an_invalid_time(text: str) -> None:
    assert reason_of_refusal(text) == "invalid_time"


@pytest.mark.parametrize("text", ["2016-12-31T23:59:60Z", "2017-01-01T07:59:60+08:00", "2022-03-01T09:12:60.5+08:00"])
def test_a_leap_second_is_refused(text: str) -> None:
    assert reason_of_refusal(text) == "invalid_time"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2000-12-31T16:00:00Z", "2001-01-01T00:00:00+08:00"),
        ("2000-12-31T12:00:00-04:00", "2001-01-01T00:00:00+08:00"),
        ("2049-12-31T15:59:59.999999Z", "2049-12-31T23:59:59.999999+08:00"),
        ("2050-01-01T00:00:00+14:00", "2049-12-31T18:00:00+08:00"),
    ],
)
def test_the_first_and_the_last_accepted_instant_are_those_of_shanghai_years(text: str, expected: str) -> None:
    assert isoformat(parse_instant(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2000-12-31T15:59:59.999999Z",
        "2001-01-01T00:00:00+08:01",
        "2049-12-31T16:00:00Z",
        "2049-12-31T20:00:00-00:01",
        "1970-01-01T00:00:00Z",
        "0001-01-02T00:00:00+08:00",
        "9999-12-31T23:59:59+08:00",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+09:00",
    ],
)
def test_a_year_outside_the_accepted_ones_is_out_of_range(text: str) -> None:
    assert reason_of_refusal(text) == "time_out_of_range"


@given(INSTANTS)
def test_what_is_written_is_read_back_as_the_same_instant(instant: datetime) -> None:
    assert parse_instant(instant.isoformat()) == instant
    assert parse_instant(isoformat(instant)) == instant
    assert isoformat(instant).endswith("+08:00")


@pytest.mark.parametrize(
    ("instant", "micros"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1970, 1, 1, tzinfo=SHANGHAI), -28_800_000_000),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), -1),
        (datetime(2022, 3, 1, 9, 12, 0, 7, tzinfo=SHANGHAI), 1_646_097_120_000_007),
    ],
)
def test_micros_count_from_the_epoch(instant: datetime, micros: int) -> None:
    assert to_micros(instant) == micros
    assert from_micros(micros) == instant


@given(INSTANTS)
def test_an_instant_survives_its_micros(instant: datetime) -> None:
    restored = from_micros(to_micros(instant))
    assert restored == instant
    assert restored.utcoffset() == timedelta(hours=8)


@given(st.integers(-62_000_000_000_000_000, 250_000_000_000_000_000))
def test_micros_survive_their_instant(micros: int) -> None:
    assert to_micros(from_micros(micros)) == micros


@given(INSTANTS, INSTANTS)
def test_micros_are_ordered_as_the_instants_are(one: datetime, other: datetime) -> None:
    assert (to_micros(one) < to_micros(other)) == (one < other)


def test_micros_of_a_time_without_an_offset_do_not_exist() -> None:
    with pytest.raises(TypeError):
        to_micros(datetime(2022, 3, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("instant", "day", "expected"),
    [
        ("2022-03-03T00:00:00+08:00", date(2022, 3, 2), "2022-03-02 24:00"),
        ("2022-03-02T16:00:00Z", date(2022, 3, 2), "2022-03-02 24:00"),
        ("2023-01-01T00:00:00+08:00", date(2022, 12, 31), "2022-12-31 24:00"),
        ("2024-03-01T00:00:00+08:00", date(2024, 2, 29), "2024-02-29 24:00"),
        ("2022-03-03T00:00:00+08:00", None, "2022-03-03 00:00"),
        ("2022-03-03T00:00:00+08:00", date(2022, 3, 3), "2022-03-03 00:00"),
        ("2022-03-03T00:00:00+08:00", date(2022, 3, 1), "2022-03-03 00:00"),
        ("2022-03-03T00:00:00.000001+08:00", date(2022, 3, 2), "2022-03-03 00:00"),
        ("2022-03-02T17:30:00+08:00", date(2022, 3, 2), "2022-03-02 17:30"),
        ("2022-03-02T09:30:59.999999Z", None, "2022-03-02 17:30"),
    ],
)
def test_people_are_shown_24_00_of_the_day_that_midnight_ends(instant: str, day: date | None, expected: str) -> None:
    assert show(datetime.fromisoformat(instant), day) == expected


def test_the_fixed_offset_is_that_of_asia_shanghai_on_every_day_of_the_accepted_years() -> None:
    zone = ZoneInfo("Asia/Shanghai")
    first = midnight(date(FIRST_YEAR, 1, 1))
    count = (date(LAST_YEAR, 12, 31) - first.date()).days + 1
    midnights = [first + timedelta(days=i) for i in range(count)]
    assert midnights[-1].date() == date(LAST_YEAR, 12, 31)
    differing = [
        instant.isoformat()
        for start in midnights
        for instant in (start, start + timedelta(hours=12))
        if instant.astimezone(zone).utcoffset() != timedelta(hours=8)
    ]
    assert differing == []
