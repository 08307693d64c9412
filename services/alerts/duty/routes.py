"""The duty page's addresses. No SQL here; each handler asks as its viewer, and what they may not see is not there."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from litestar import Request, Response, Router, get
from litestar.exceptions import ValidationException
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream
from sqlalchemy import Connection

from services.alerts.app import Reader, only_known
from services.alerts.duty import charts
from services.alerts.duty.board import Board, board
from services.alerts.duty.calendar import year_of
from services.alerts.duty.case import case_page
from services.alerts.duty.lists import TITLES_READ, Listed, Wanted, holders, list_due, list_overdue, search
from services.alerts.duty.live import Pulse
from services.alerts.duty.pages import FOR_EVER, HEADERS, STATIC_TYPES, PageError, Place, render, static_file
from services.alerts.duty.statistics import LONGEST, Statistics, months_until, statistics
from services.alerts.people.guard import Lasting, Looking
from services.alerts.people.viewer import Viewer
from services.alerts.queries import CursorError
from shared.figures import Period, PeriodError, percent
from shared.http import TITLES, ProblemError
from shared.registry import Platform
from shared.times import FIRST_YEAR, LAST_YEAR, InstantError, parse_instant, show
from shared.workdays import CalendarRangeError
from shared.zh import OUTCOMES, STAGES, STATUSES

ON_PAGE, ON_PAPER, FOUND = 20, 200, 50
LOCAL = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?", re.ASCII)

County = Annotated[str | None, QueryParameter(name="county", max_length=64)]
Category = Annotated[str | None, QueryParameter(name="category", max_length=64)]
Holder = Annotated[str | None, QueryParameter(name="holder", max_length=64)]
Text = Annotated[str | None, QueryParameter(name="q", max_length=100)]
OverdueCursor = Annotated[str | None, QueryParameter(name="overdue", max_length=300)]
DueCursor = Annotated[str | None, QueryParameter(name="due", max_length=300)]
PeriodName = Annotated[str | None, QueryParameter(name="period", max_length=20)]
YearNumber = Annotated[str | None, QueryParameter(name="year", max_length=4)]
Received = Annotated[str | None, QueryParameter(name="received", max_length=40)]
PlatformName = Annotated[str | None, QueryParameter(name="platform", max_length=64)]


class Chosen:
    """What a request narrows a page to, checked against what the viewer sees. Empty fields of a form narrow nothing."""

    def __init__(self, reader: Reader, viewer: Viewer, county: str | None, category: str | None) -> None:
        registry, policies = reader.rules.registry, reader.rules.policies
        seen = viewer.platforms(registry)
        own = [platform for platform in registry if platform.slug in seen]
        self.seen: Sequence[Platform] = own
        self.counties = list({platform.county: platform.county_name for platform in own}.items())
        slugs = dict.fromkeys(slug for policy in reversed(policies.versions) for slug in policy.categories)
        self.categories = [(slug, policies.category_name(slug)) for slug in slugs]
        self.county = _one_of("county", "县区", county, dict(self.counties))
        self.category = _one_of("category", "类别", category, dict(self.categories))
        self.platforms = [platform for platform in own if self.county in (None, platform.county)]

    @property
    def slugs(self) -> tuple[str, ...]:
        return tuple(platform.slug for platform in self.platforms)


def _one_of(name: str, word: str, value: str | None, words: Mapping[str, str]) -> str | None:
    if not value:
        return None
    if value not in words:
        raise PageError(400, f"没有这个{word}", f"网址里的 {name} 不在可选的{word}之中，请回到上一页重新选择。")
    return value


def duty_routes(reader: Reader) -> list[Any]:
    """The pages, their event stream and their files. Who looks, the application's guard says."""
    rules, registry = reader.rules, reader.rules.registry
    pulse = Pulse(reader.reading, reader.now, reader.ending)

    def place(of: Viewer | None, page: str) -> Place:
        return Place(registry, reader.now(), of.person if of and of.account else "", page)

    def lists(connection: Connection, chosen: Chosen, holder: str | None, now: datetime, limit: int, overdue: str | None = None,
              due: str | None = None) -> tuple[Listed, Listed]:  # fmt: skip
        wanted = Wanted(chosen.slugs, chosen.category, holder)
        try:
            late = list_overdue(connection, wanted, now, limit, overdue)
            return late, list_due(connection, wanted, now, limit, due)
        except CursorError as error:
            raise PageError(400, "没有这一页", f"{error}。请从第一页翻起。") from error

    @get("/", sync_to_thread=True, before_request=only_known)
    def duty_page(
        viewer: Looking,
        county: County = None,
        category: Category = None,
        holder: Holder = None,
        q: Text = None,
        overdue: OverdueCursor = None,
        due: DueCursor = None,
    ) -> Response[str]:
        chosen, text, here = Chosen(reader, viewer, county, category), _plain(q), place(viewer, "board")
        with reader.rooms.page.entered(), reader.reading() as connection:
            found_board = board(connection, registry, chosen.seen, here.now)
            late, coming = lists(connection, chosen, holder or None, here.now, ON_PAGE, overdue, due)
            holding = holders(connection, chosen.slugs)
            found = search(connection, chosen.slugs, text, FOUND) if text else None
            behind = reader.behind(connection, here.now)
        narrowed = {"county": chosen.county, "category": chosen.category, "holder": holder, "q": text}
        known = [(name, registry.holder_name(name)) for name in holding]
        if holder and holder not in holding:  # as it was asked for: nothing is told of who holds none of theirs
            known.append((holder, holder))
        return render(
            "board.html",
            here,
            rules=rules,
            behind=behind,
            board=found_board,
            rows=_rows(found_board),
            chosen={name: value or "" for name, value in narrowed.items()},
            filtered=any((chosen.county, chosen.category, holder)),
            counties=chosen.counties,
            categories=chosen.categories,
            holders=known,
            found=found,
            titles_read=TITLES_READ,
            overdue=late,
            overdue_first=_address("/", narrowed, "#overdue", due=due) if overdue else None,
            overdue_next=_address("/", narrowed, "#overdue", due=due, overdue=late.next) if late.next else None,
            due=coming,
            due_first=_address("/", narrowed, "#due", overdue=overdue) if due else None,
            due_next=_address("/", narrowed, "#due", overdue=overdue, due=coming.next) if coming.next else None,
            print_address=_address("/print", {**narrowed, "q": None}),
        )

    @get("/print", sync_to_thread=True, before_request=only_known)
    def print_page(
        viewer: Looking, county: County = None, category: Category = None, holder: Holder = None
    ) -> Response[str]:
        chosen, here = Chosen(reader, viewer, county, category), place(viewer, "print")
        with reader.rooms.page.entered(), reader.reading() as connection:
            found = board(connection, registry, chosen.platforms, here.now)
            late, coming = lists(connection, chosen, holder or None, here.now, ON_PAPER)
            holding = holders(connection, chosen.slugs)
            behind = reader.behind(connection, here.now)
        narrowed = {"county": chosen.county, "category": chosen.category, "holder": holder}
        names = (
            dict(chosen.counties).get(chosen.county or ""),
            dict(chosen.categories).get(chosen.category or ""),
            registry.holder_name(holder) if holder and holder in holding else holder,
        )
        return render(
            "print.html",
            here,
            rules=rules,
            behind=behind,
            board=found,
            rows=_rows(found),
            overdue=late,
            due=coming,
            conditions=[name for name in names if name],
            back=_address("/", narrowed),
        )

    @get("/cases/{platform:str}/{subject:str}", sync_to_thread=True, before_request=only_known)
    def one_case(viewer: Looking, platform: FromPath[str], subject: FromPath[str]) -> Response[str]:
        here = place(viewer, "case")
        file = None
        if platform in viewer.platforms(registry) and "\0" not in subject:
            with reader.rooms.present.entered(), reader.reading() as connection:
                file = reader.open_file(connection, f"{platform}/{subject}", here.now)
        if file is None:
            raise PageError(404, "没有这件留言", "请核对平台和留言编号，或回到值班页查找。")
        case = file.case
        facts = [
            ("编号", subject),
            ("平台", registry[platform].name),
            ("县区", registry[platform].county_name),
            ("类别", rules.policies.category_name(case.category) if case.category else "—"),
            ("状态", STATUSES[case.status] + (f"（{STAGES[case.stage]}）" if case.stage else "")),
            ("结果", OUTCOMES[case.outcome] if case.outcome else "—"),
            ("接到", show(case.received_at) if case.received_at else "—"),
            ("承办", registry.holder_name(case.holder) if case.holder else "—"),
            ("评价", f"{case.rating} 分" if case.rating else "—"),
        ]
        return render("case.html", here, rules=rules, page=case_page(file, rules, here.now), facts=facts)

    @get("/calendar", sync_to_thread=True, before_request=only_known)
    def calendar_page(
        viewer: Looking,
        year: YearNumber = None,
        county: County = None,
        received: Received = None,
        category: Category = None,
        platform: PlatformName = None,
    ) -> Response[str]:
        chosen, here = Chosen(reader, viewer, county, category), place(viewer, "calendar")
        platforms = {p.slug: p.name for p in chosen.seen}
        named = _one_of("platform", "平台", platform, platforms) or next(iter(platforms), "")
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
            previous=_address("/calendar", {**kept, "year": str(number - 1)}, "#year"),
            following=_address("/calendar", {**kept, "year": str(number + 1)}, "#year"),
        )

    @get("/statistics", sync_to_thread=True, before_request=only_known)
    def statistics_page(
        viewer: Looking, period: PeriodName = None, county: County = None, category: Category = None
    ) -> Response[str]:
        chosen, here = Chosen(reader, viewer, county, category), place(viewer, "statistics")
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

    @get("/live", before_request=only_known)
    async def live(viewer: Looking, lasting: Lasting) -> Stream:
        pulse.require_room()
        headers = {**HEADERS, "X-Accel-Buffering": "no"}
        stream = pulse.stream(viewer.platforms(registry), lasting)
        return Stream(stream, media_type="text/event-stream", headers=headers)

    @get("/static/{version:str}/{name:str}", sync_to_thread=False)
    def file(version: FromPath[str], name: FromPath[str]) -> Response[bytes]:
        if name not in STATIC_TYPES or static_file(name)[1] != version:
            raise PageError(404, "没有这个文件", "页面已经更新，请重新打开。")
        return Response(static_file(name)[0], media_type=STATIC_TYPES[name], headers=FOR_EVER)

    def refuse(_: Request[Any, Any, Any], error: Exception) -> Response[str]:
        here = place(None, "")
        if isinstance(error, PageError):
            return render("message.html", here, error.status, title=error.title, message=error.message)
        if isinstance(error, ProblemError):
            status, detail = error.problem.status, error.problem.detail
            return render("message.html", here, status, title=TITLES.get(status, "请求有误"), message=f"{detail}。")
        return render(
            "message.html", here, 400, title="请求有误", message="网址里有一项太长或不合要求，请回到值班页重新选择。"
        )

    return [
        Router(
            "/",
            route_handlers=[duty_page, print_page, one_case, calendar_page, statistics_page, live],
            exception_handlers={PageError: refuse, ProblemError: refuse, ValidationException: refuse},
            include_in_schema=False,
        ),
        Router("/", route_handlers=[file], exception_handlers={PageError: refuse}, include_in_schema=False),
    ]


def _rows(of: Board) -> list[Any]:
    """With a total where there is something to add up."""
    return [*of.rows, of.total] if len(of.rows) > 1 else list(of.rows)


def _plain(text: str | None) -> str:
    return (text or "").replace("\0", "").strip()


def _address(path: str, narrowed: Mapping[str, str | None], fragment: str = "", **cursors: str | None) -> str:
    query = urlencode({name: value for name, value in {**narrowed, **cursors}.items() if value})
    return f"{path}?{query}{fragment}" if query else f"{path}{fragment}"


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
