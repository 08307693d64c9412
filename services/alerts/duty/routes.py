"""The duty page's addresses. No SQL here; each handler asks as its viewer, and what they may not see is not there."""

from datetime import datetime
from typing import Annotated, Any

from litestar import Response, get
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream
from sqlalchemy import Connection

from services.alerts.app import Reader, only_known
from services.alerts.cursors import CursorError
from services.alerts.duty.asking import Category, Chosen, County, address, pages, place_of
from services.alerts.duty.board import Board, board
from services.alerts.duty.desk import desk_pages
from services.alerts.duty.lists import TITLES_READ, Listed, Wanted, holders, list_due, list_overdue, search
from services.alerts.duty.live import Pulse
from services.alerts.duty.pages import FOR_EVER, STATIC_TYPES, PageError, render, static_file
from services.alerts.duty.reference import reference_pages
from services.alerts.notices.acknowledging import acknowledged_cases
from services.alerts.notices.listing import MOST_COUNTED, trouble
from services.alerts.notices.shifts import on_duty
from services.alerts.people.guard import Lasting, Looking, People

ON_PAGE, ON_PAPER, FOUND = 20, 200, 50

Holder = Annotated[str | None, QueryParameter(name="holder", max_length=64)]
Text = Annotated[str | None, QueryParameter(name="q", max_length=100)]
OverdueCursor = Annotated[str | None, QueryParameter(name="overdue", max_length=300)]
DueCursor = Annotated[str | None, QueryParameter(name="due", max_length=300)]


def duty_routes(reader: Reader, people: People) -> list[Any]:
    """All pages, their event stream and their files. Who looks, the application's guard says."""
    rules, registry = reader.rules, reader.rules.registry
    pulse = Pulse(reader.reading, reader.now, reader.ending)

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
        chosen, here = Chosen(reader, viewer, county, category), place_of(reader, viewer, "board")
        text = (q or "").strip()
        with reader.rooms.page.entered(), reader.reading() as connection:
            found_board = board(connection, registry, chosen.seen, here.now)
            late, coming = lists(connection, chosen, holder or None, here.now, ON_PAGE, overdue, due)
            holding = holders(connection, chosen.slugs)
            found = search(connection, chosen.slugs, text, FOUND) if text else None
            seen = acknowledged_cases(connection, [case.key for case in (*late.cases, *coming.cases)])
            has_duty, undelivered = on_duty(connection, viewer.county), trouble(connection, viewer, here.now)
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
            has_duty=has_duty,
            undelivered=undelivered,
            most_counted=MOST_COUNTED,
            seen=seen,
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
            overdue_first=address("/", narrowed, "#overdue", due=due) if overdue else None,
            overdue_next=address("/", narrowed, "#overdue", due=due, overdue=late.next) if late.next else None,
            due=coming,
            due_first=address("/", narrowed, "#due", overdue=overdue) if due else None,
            due_next=address("/", narrowed, "#due", overdue=overdue, due=coming.next) if coming.next else None,
            print_address=address("/print", {**narrowed, "q": None}),
        )

    @get("/print", sync_to_thread=True, before_request=only_known)
    def print_page(
        viewer: Looking, county: County = None, category: Category = None, holder: Holder = None
    ) -> Response[str]:
        chosen, here = Chosen(reader, viewer, county, category), place_of(reader, viewer, "print")
        with reader.rooms.page.entered(), reader.reading() as connection:
            found = board(connection, registry, chosen.platforms, here.now)
            late, coming = lists(connection, chosen, holder or None, here.now, ON_PAPER)
            holding = holders(connection, chosen.slugs)
            seen = acknowledged_cases(connection, [case.key for case in (*late.cases, *coming.cases)])
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
            seen=seen,
            board=found,
            rows=_rows(found),
            overdue=late,
            due=coming,
            conditions=[name for name in names if name],
            back=address("/", narrowed),
        )

    @get("/live", before_request=only_known)
    async def live(viewer: Looking, lasting: Lasting) -> Stream:
        pulse.require_room()
        stream = pulse.stream(viewer.registry(registry).slugs, viewer.county, lasting)
        return Stream(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    @get("/static/{version:str}/{name:str}", sync_to_thread=False)
    def file(version: FromPath[str], name: FromPath[str]) -> Response[bytes]:
        if name not in STATIC_TYPES or static_file(name)[1] != version:
            raise PageError(404, "没有这个文件", "页面已经更新，请重新打开。")
        return Response(static_file(name)[0], media_type=STATIC_TYPES[name], headers=FOR_EVER)

    own = [duty_page, print_page, live, file]
    return [pages(reader, [*own, *desk_pages(reader, people), *reference_pages(reader)])]


def _rows(of: Board) -> list[Any]:
    """With a total where there is something to add up."""
    return [*of.rows, of.total] if len(of.rows) > 1 else list(of.rows)
