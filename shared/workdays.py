"""The working-day calendar as a value: which days are worked, why, and whether that is confirmed.

A prefix index over the days answers "the n-th working day after d" in constant time; no function walks days. A calendar
never guesses silently: a day of a year without a notice is `confirmed=False`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta

from msgspec import Struct

ONE_DAY = timedelta(days=1)
NEAR = 32
"""Working days; nearly every deadline is nearer, and found without counting."""
WEEKDAYS = ("周一", "周二", "周三", "周四", "周五", "周六", "周日")


class CalendarRangeError(ValueError):
    """A count leaves the days that the calendar covers."""


class Mark(Struct, frozen=True):
    """A day that differs from Monday–Friday, or is named: from the statutory holidays, a notice, or local."""

    working: bool
    name: str
    source: str


class Day(Struct, frozen=True):
    """What the calendar says of one day. `reason` is for people; `source` is the notice (empty for plain weekdays)."""

    date: date
    working: bool
    reason: str
    source: str
    confirmed: bool


class WorkCalendar:
    """Working days of one county, from `first` to `last` inclusive. Immutable once built."""

    def __init__(self, first: date, last: date, marks: Mapping[date, Mark], confirmed_years: Iterable[int]) -> None:
        self.first, self.last = first, last
        self.confirmed_years = frozenset(confirmed_years)
        self._marks = dict(marks)
        # _nth[k] is the k-th working day, counted from 1; _upto[d] how many there are up to and including d.
        self._nth: list[date] = [first]
        self._upto: dict[date, int] = {}
        day, count = first, 0
        while day <= last:
            mark = self._marks.get(day)
            if mark.working if mark is not None else day.weekday() < 5:
                self._nth.append(day)
                count += 1
            self._upto[day] = count
            day += ONE_DAY
        # _near[d][n] is the n-th working day after d; days with the same rank share theirs.
        near = [tuple(self._nth[rank : rank + NEAR + 1]) for rank in range(count + 1)]
        self._near = {day: near[rank] for day, rank in self._upto.items()}
        self.unconfirmed = self._unconfirmed_spans()

    def nth_working_day(self, day: date, n: int) -> date:
        """The n-th working day after `day` (which is day 0, worked or not); n >= 1."""
        try:
            return self._near[day][n]
        except (KeyError, IndexError):
            return self._far_working_day(day, n)

    def working_days_upto(self, day: date) -> int:
        """How many working days there are from the calendar's first day to `day`, inclusive."""
        try:
            return self._upto[day]
        except KeyError:
            raise self._outside(day) from None

    def working_day(self, rank: int) -> date:
        """The working day with that rank, counted from 1: the inverse of `working_days_upto`."""
        if rank < 1:
            raise self._outside(self.first)
        try:
            return self._nth[rank]
        except IndexError:
            raise self._outside(self.last) from None

    def is_working(self, day: date) -> bool:
        return self._nth[self.working_days_upto(day)] == day and self._upto[day] > 0

    def is_confirmed(self, day: date) -> bool:
        """False when no notice is known that settles the day.

        25-31 December also need the next year's notice: such notices have changed the last days of the year before.
        """
        known = day.year in self.confirmed_years
        return known and (day.month < 12 or day.day < 25 or day.year + 1 in self.confirmed_years)

    def provisional(self, after: date, until: date) -> bool:
        """Whether a day d with after < d <= until is unconfirmed."""
        if after < until:
            for start, end in self.unconfirmed:  # a few spans; asked for every target of every case
                if start <= until and end > after:
                    return True
        return False

    def confirmed_until(self, day: date) -> date:
        """The last day of the confirmed run that begins at `day`; the day before it when `day` is unconfirmed."""
        start = next((start for start, end in self.unconfirmed if end >= day), self.last + ONE_DAY)
        return max(start, day) - ONE_DAY

    def day(self, day: date) -> Day:
        working = self.is_working(day)
        mark = self._marks.get(day)
        if mark is None:
            name = WEEKDAYS[day.weekday()] if not working else "工作日"
            return Day(day, working, name, "", self.is_confirmed(day))
        return Day(day, working, mark.name, mark.source, self.is_confirmed(day))

    def days(self, first: date, last: date) -> list[Day]:
        return [self.day(first + timedelta(days=i)) for i in range((last - first).days + 1)]

    def fingerprint(self) -> Sequence[object]:
        """What identifies the calendar's answers and their reasons, for the hash of a ruleset."""
        marks = [(day.isoformat(), mark) for day, mark in sorted(self._marks.items())]
        return [self.first.isoformat(), self.last.isoformat(), sorted(self.confirmed_years), marks]

    def _far_working_day(self, day: date, n: int) -> date:
        try:
            return self._nth[self._upto[day] + n]
        except (KeyError, IndexError):
            raise self._outside(day) from None

    def _outside(self, day: date) -> CalendarRangeError:
        return CalendarRangeError(f"{day} 起的计数超出日历范围（{self.first} 至 {self.last}）")

    def _unconfirmed_spans(self) -> tuple[tuple[date, date], ...]:
        spans: list[tuple[date, date]] = []
        for year in range(self.first.year, self.last.year + 1):
            for start, end in ((date(year, 1, 1), date(year, 12, 24)), (date(year, 12, 25), date(year, 12, 31))):
                if self.is_confirmed(start):
                    continue
                adjacent = bool(spans) and spans[-1][1] + ONE_DAY == start
                spans.append((spans.pop()[0] if adjacent else start, end))
        return tuple(spans)
