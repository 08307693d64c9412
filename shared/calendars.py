"""From the statutory holidays (`holidays`), the deployment's notices and its local days to one calendar per county.

`holidays` answers years without a notice silently, from the statute alone; here such a year is unconfirmed. A notice of
the deployment's file replaces that guess, or, for a year that the library holds, is laid over it.
"""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta

import holidays
from msgspec import Struct

from shared.times import FIRST_YEAR, LAST_YEAR
from shared.workdays import Mark, WorkCalendar

CALENDAR_FIRST = date(FIRST_YEAR, 1, 1)
CALENDAR_LAST = date(LAST_YEAR + 10, 12, 31)


class Notice(Struct, frozen=True, forbid_unknown_fields=True):
    """A holiday notice: the days off and the weekend days worked, whole. May name last days of the year before."""

    year: int
    source: str
    rest: tuple[date, ...] = ()
    work: tuple[date, ...] = ()


class LocalDay(Struct, frozen=True, forbid_unknown_fields=True):
    """A county's own day: off (an autonomous county's festival) or worked."""

    county: str
    date: date
    working: bool
    name: str
    source: str


def notice_title(year: int) -> str:
    return f"国务院办公厅关于{year}年部分节假日安排的通知"


def _library_marks(first: date, last: date, noticed: frozenset[int]) -> tuple[dict[date, Mark], frozenset[int]]:
    """Marks of the library, and the years for which it holds the notice; guesses for `noticed` years are left out."""
    library = holidays.country_holidays("CN", years=range(first.year, last.year + 2), language="zh_CN")
    held = frozenset(library.special_public_holidays)
    marks: dict[date, Mark] = {}
    for day, name in library.items():
        year = _year_of_notice(day)
        if year not in held and year in noticed:
            continue
        source = notice_title(year) if year in held else "《全国年节及纪念日放假办法》推定，尚无当年通知"
        marks[day] = Mark(working=False, name=name.replace("; ", "、"), source=source)
    for day in library.weekend_workdays:
        marks[day] = Mark(working=True, name="调休上班", source=notice_title(_year_of_notice(day)))
    return marks, held


def _year_of_notice(day: date) -> int:
    """The year whose notice settles the day: the last days of December belong to the New Year of the next."""
    return day.year + 1 if (day.month, day.day) >= (12, 25) else day.year


def _notice_marks(notice: Notice) -> dict[date, Mark]:
    marks = {day: Mark(working=False, name="放假", source=notice.source) for day in notice.rest}
    marks |= {day: Mark(working=True, name="调休上班", source=notice.source) for day in notice.work}
    return marks


class Calendars:
    """The calendar of every county. Counties without days of their own share the national one."""

    def __init__(self, national: WorkCalendar, counties: Mapping[str, WorkCalendar]) -> None:
        self.national = national
        self._counties = dict(counties)

    def of(self, county: str) -> WorkCalendar:
        return self._counties.get(county, self.national)

    def fingerprint(self) -> object:
        return [self.national.fingerprint(), {c: k.fingerprint() for c, k in sorted(self._counties.items())}]


def build_calendars(
    notices: Iterable[Notice] = (),
    local_days: Iterable[LocalDay] = (),
    first: date = CALENDAR_FIRST,
    last: date = CALENDAR_LAST,
) -> Calendars:
    """All calendars of a deployment. Later notices of the same year are laid over earlier ones."""
    notices, local_days = tuple(notices), tuple(local_days)
    years = frozenset(notice.year for notice in notices)
    marks, held = _library_marks(first, last, years)
    for notice in notices:
        marks |= _notice_marks(notice)
    confirmed = held | years
    counties: dict[str, dict[date, Mark]] = {}
    for local in local_days:
        mark = Mark(working=local.working, name=local.name, source=local.source)
        counties.setdefault(local.county, {})[local.date] = mark
    return Calendars(
        WorkCalendar(first, last, marks, confirmed),
        {county: WorkCalendar(first, last, marks | own, confirmed) for county, own in counties.items()},
    )


def days_of_year(year: int) -> tuple[date, date]:
    return date(year, 1, 1), date(year + 1, 1, 1) - timedelta(days=1)
