"""Instants and days. One time zone: days are days in Asia/Shanghai; instants are aware datetimes at +08:00.

The zone is a fixed offset: Asia/Shanghai has had no other since 1991, and the system accepts no event before 2001
(a test compares it with the tz database for every day of the accepted years).
"""

import re
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache

SHANGHAI = timezone(timedelta(hours=8))
FIRST_YEAR, LAST_YEAR = 2001, 2049  # of events; the calendar reaches ten years further, for their deadlines

_EPOCH = datetime(1970, 1, 1, 8, tzinfo=SHANGHAI)  # in the zone of nearly all instants: no offsets are asked for then
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:[0-5]\d)", re.ASCII)
_LOCAL = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?)?", re.ASCII)


class InstantError(ValueError):
    """A text is no usable instant. The message (Chinese, one line) says why and what to write instead."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def parse_instant(text: str) -> datetime:
    """RFC 3339 with an offset -> instant at +08:00, to the microsecond (finer digits are cut, never rounded up).

    Raises InstantError with reason `time_without_offset`, `time_out_of_range` or `invalid_time`.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        if _LOCAL.fullmatch(text):
            raise InstantError("time_without_offset", "时间缺少时区，请写成 2022-03-01T09:12:00+08:00 的形式")
        raise InstantError("invalid_time", "不是 RFC 3339 时间，请写成 2022-03-01T09:12:00+08:00 的形式")
    day, clock, fraction, offset = match.groups()
    try:
        parsed = datetime.fromisoformat(
            f"{day}T{clock}{(fraction or '.0')[:7].ljust(7, '0')}{'+00:00' if offset in 'Zz' else offset}"
        ).astimezone(SHANGHAI)
    except OverflowError as error:
        raise _out_of_range() from error
    except ValueError as error:
        raise InstantError("invalid_time", "没有这样的日期或时刻，请核对年月日、时分秒和时区") from error
    if clock.startswith("24"):
        raise InstantError("invalid_time", "没有 24 时，请写成次日的 00:00:00")
    if not FIRST_YEAR <= parsed.year <= LAST_YEAR:
        raise _out_of_range()
    return parsed


def _out_of_range() -> InstantError:
    return InstantError("time_out_of_range", f"年份须在 {FIRST_YEAR} 至 {LAST_YEAR} 之间，请核对平台时钟")


@lru_cache(maxsize=8192)
def midnight(day: date) -> datetime:
    """The first instant of a Shanghai day."""
    return datetime(day.year, day.month, day.day, tzinfo=SHANGHAI)


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970-01-01T00:00Z: how instants are stored, the same in SQLite and PostgreSQL."""
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(micros: int) -> datetime:
    return datetime.fromtimestamp(micros // 1_000_000, SHANGHAI).replace(microsecond=micros % 1_000_000)


def isoformat(instant: datetime) -> str:
    """RFC 3339 at +08:00, as every output of the system writes it."""
    return instant.astimezone(SHANGHAI).isoformat()


def show(instant: datetime, day: date | None = None) -> str:
    """For people: `2022-03-02 17:30`; with the day that it ends, midnight is written `24:00` of that day."""
    local = instant.astimezone(SHANGHAI)
    if day is not None and local == midnight(day) + timedelta(days=1):
        return f"{day.isoformat()} 24:00"
    return local.strftime("%Y-%m-%d %H:%M")
