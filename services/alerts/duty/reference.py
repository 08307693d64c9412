"""What one looks up: the calendar with its calculator, and the statistics."""

import re
from datetime import datetime
from typing import Annotated, Any

from litestar import Response, get
from litestar.params import QueryParameter

from services.alerts.app import Reader, only_known
from services.alerts.duty import charts
from services.alerts.duty.asking import Category, Chosen, County, address, one_of, place_of
from services.alerts.duty.calendar import year_of
from services.alerts.duty.pages import PageError, render
from services.alerts.duty.statistics import LONGEST, Statistics, months_until, statistics
from services.alerts.people.guard import Looking
from shared.figures import Period, PeriodError, percent
from shared.times import FIRST_YEAR, LAST_YEAR, InstantError, parse_instant
from shared.workdays import CalendarRangeError

LOCAL = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?", re.ASCII)

PeriodName = Annotated[str | None, QueryParameter(name="period", max_length=20)]
YearNumber = Annotated[str | None, QueryParameter(name="year", max_length=4)]
Received = Annotated[str | None, QueryParameter(name="received", max_length=40)]
PlatformName = Annotated[str | None, QueryParameter(name="platform", max_length=64)]


def reference_pages(reader: Reader) -> list[Any]:
    rules = reader.rules

    @get("/calendar", sync_to_thread=True, before_request=only_known)
    def calendar_page(
        viewer: Looking,
        year: YearNumber = None,
        county: County = None,
        received: Received = None,
        category: Category = None,
        platform: PlatformName = None,
    ) -> Response[str]:
        chosen, here = Chosen(reader, viewer, county, category), place_of(reader, viewer, "calendar")
        platforms = {p.slug: p.name for p in chosen.seen}
        named = one_of("platform", "平台", platform, platforms) or next(iter(platforms), "")
        kind = chosen.category or rules.policy_on(here.now.date()).default_category
        number = _year(year, here.now.year)
        answer = None
        if received and named:
            try:
                answer = reader.calculate(kind, _local(received), named)
            except CalendarRangeError as error:
                raise PageError(400, "算不出来", f"{error}，请换一个接到时间。") from error
        calendar = rules.calendars.of(chosen.county) if chosen.county else rules.calendars.national
        kept = {"county": chosen.county, "received": received, "category": chosen.category, "platform": platform}
        return render(
            "calendar.html",
            here,
            rules=rules,
            year=year_of(calendar, number),
            county_name=dict(chosen.counties).get(chosen.county or ""),
            counties=chosen.counties,
            categories=chosen.categories,
            platforms=list(platforms.items()),
            chosen={
                "county": chosen.county or "",
                "category": kind,
                "platform": named,
                "received": (received or here.now.strftime("%Y-%m-%dT%H:%M")).replace(" ", "T"),
            },
            answer=answer,
            previous=address("/calendar", {**kept, "year": str(number - 1)}, "#year"),
            following=address("/calendar", {**kept, "year": str(number + 1)}, "#year"),
        )

    @get("/statistics", sync_to_thread=True, before_request=only_known)
    def statistics_page(
        viewer: Looking, period: PeriodName = None, county: County = None, category: Category = None
    ) -> Response[str]:
        chosen, here = Chosen(reader, viewer, county, category), place_of(reader, viewer, "statistics")
        wanted = _period(period) if period else Period.quarter_of(here.now.date())
        months = months_until(here.now.strftime("%Y-%m"))
        with reader.rooms.page.entered(), reader.reading() as connection:
            found = statistics(connection, rules, chosen.platforms, chosen.category, wanted.months, months)
            behind = reader.behind(connection, here.now)
        return render(
            "statistics.html",
            here,
            behind=behind,
            period=wanted,
            periods=_periods(wanted, here.now),
            counties=chosen.counties,
            categories=chosen.categories,
            chosen={"county": chosen.county or "", "category": chosen.category or ""},
            found=found,
            handling=_shares(found),
            draw=charts,
        )

    return [calendar_page, statistics_page]


def _year(text: str | None, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and FIRST_YEAR <= int(text) <= LAST_YEAR):
        raise PageError(400, "没有这一年的日历", f"年份须在 {FIRST_YEAR} 至 {LAST_YEAR} 之间。")
    return int(text)


def _local(text: str) -> datetime:
    try:
        if not LOCAL.fullmatch(text):
            raise InstantError("invalid_time", "应写成 2026-02-13T17:00")
        whole = text.replace(" ", "T") + (":00" if text.count(":") == 1 else "")
        return parse_instant(f"{whole}+08:00")
    except InstantError as error:
        raise PageError(400, "接到时间有误", f"{error}。") from error


def _period(text: str) -> Period:
    try:
        return Period.parse(text)
    except PeriodError as error:
        raise PageError(400, "没有这个统计期", f"{error}。") from error


def _periods(wanted: Period, now: datetime) -> list[tuple[str, str]]:
    """This quarter and the seven before, the years, and what was asked for."""
    found = [Period.quarter_of(now.date())]
    for _ in range(7):
        year, month = map(int, found[-1].months[0].split("-"))
        found.append(Period.quarter_before(datetime(year, month, 1)))  # noqa: DTZ001 - a day, no instant
    found += [Period.parse(str(now.year)), Period.parse(str(now.year - 1))]
    if wanted.text not in {period.text for period in found}:
        found.insert(0, wanted)
    return [(period.text, period.title) for period in found]


def _shares(found: Statistics) -> list[tuple[str, int, str | None]]:
    """(working days, cases, share of all up to here) of what took so long; days that none took are left out."""
    handling = found.total.handling
    if handling is None:
        return []
    rows, seen = [], 0
    for days, number in enumerate(handling.groups):
        seen += number
        if number:
            word = f"{days} 个" if days <= LONGEST else f"超过 {LONGEST} 个"
            rows.append((word, number, percent(seen, handling.cases)))
    return rows
