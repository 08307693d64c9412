"""What stands on the calendar page: a year's days month by month, what they rest on, and until when it is confirmed."""

from collections.abc import Iterable
from datetime import date
from itertools import groupby

from msgspec import Struct

from shared.calendars import days_of_year
from shared.workdays import Day, WorkCalendar

WORKED, OFF, REST, MADE_UP = "", "off", "rest", "work"
WORDS = {WORKED: "工作日", OFF: "休息", REST: "放假", MADE_UP: "调休上班"}


class Cell(Struct, frozen=True):
    """A day in its month's table. `kind` is one of WORDS; `name`: of a holiday, or why it is worked."""

    date: date
    kind: str
    name: str
    confirmed: bool

    @property
    def word(self) -> str:
        return WORDS[self.kind]


class Month(Struct, frozen=True):
    """Weeks from Monday to Sunday; None: a day of another month."""

    number: int
    weeks: tuple[tuple[Cell | None, ...], ...]
    working: int


class Span(Struct, frozen=True):
    """Days in a row that are off, or worked, for the same reason."""

    first: date
    last: date
    kind: str
    name: str
    source: str
    confirmed: bool


class Year(Struct, frozen=True):
    """`unconfirmed`: the spans of days that no notice settles."""

    year: int
    working: int
    months: tuple[Month, ...]
    spans: tuple[Span, ...]
    unconfirmed: tuple[tuple[date, date], ...]


def year_of(calendar: WorkCalendar, year: int) -> Year:
    days = calendar.days(*days_of_year(year))
    months = tuple(_month(number, list(own)) for number, own in groupby(days, key=lambda day: day.date.month))
    first, last = days_of_year(year)
    unconfirmed = tuple((max(a, first), min(b, last)) for a, b in calendar.unconfirmed if a <= last and b >= first)
    return Year(year, sum(day.working for day in days), months, tuple(_spans(days)), unconfirmed)


def kind_of(day: Day) -> str:
    if day.working:
        return MADE_UP if day.source else WORKED
    return REST if day.source else OFF


def _month(number: int, days: list[Day]) -> Month:
    cells: list[Cell | None] = [None] * days[0].date.weekday()
    cells += [Cell(day.date, kind_of(day), day.reason if day.source else "", day.confirmed) for day in days]
    cells += [None] * (-len(cells) % 7)
    weeks = tuple(tuple(cells[start : start + 7]) for start in range(0, len(cells), 7))
    return Month(number, weeks, sum(day.working for day in days))


def _spans(days: Iterable[Day]) -> Iterable[Span]:
    for (kind, name, source, confirmed), own in groupby(
        (day for day in days if day.source), key=lambda day: (kind_of(day), day.reason, day.source, day.confirmed)
    ):
        run = list(own)
        first = last = run[0].date
        for day in run[1:]:
            if (day.date - last).days > 1:
                yield Span(first, last, kind, name, source, confirmed)
                first = day.date
            last = day.date
        yield Span(first, last, kind, name, source, confirmed)
