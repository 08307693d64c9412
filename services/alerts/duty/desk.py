"""What the one on duty does: a case's page with its alerts to acknowledge, the handing over, and what became of the notices."""

import asyncio
import secrets
from typing import Annotated, Any
from urllib.parse import quote

from litestar import Response, get, post
from litestar.params import FromPath, QueryParameter
from sqlalchemy import Connection

from services.alerts.app import CaseFile, Reader, only_known
from services.alerts.cursors import CursorError
from services.alerts.duty.asking import Chosen, County, Cursor, address, one_of, place_of
from services.alerts.duty.case import case_page, seen_alerts
from services.alerts.duty.pages import PageError, render
from services.alerts.html import go_to
from services.alerts.notices.acknowledging import (
    MAX_NOTE,
    NotAllowedError,
    NoteError,
    RepeatedError,
    UnknownAlertError,
    acknowledgements_of,
)
from services.alerts.notices.doing import Doing
from services.alerts.notices.listing import NoticeFilters, anybody_told, list_notices
from services.alerts.notices.shifts import MAX_NAME, SuccessorError, list_shifts, may_hand_over, on_duty, open_now
from services.alerts.people.guard import CsrfField, Looking, People
from services.alerts.people.requests import Asked, address_of, read_form
from services.alerts.people.viewer import Viewer
from shared.times import show
from shared.zh import NOTICE_STATES, OUTCOMES, STAGES, STATUSES

SHIFTS, NOTICES = 20, 50

StateName = Annotated[str | None, QueryParameter(name="state", max_length=20)]


def desk_pages(reader: Reader, people: People) -> list[Any]:
    """Both handlers of `/shifts` find their thread themselves: of two handlers of one path Litestar 2 wraps the first twice."""
    rules, registry = reader.rules, reader.rules.registry
    doing = Doing(registry, people, reader.now)

    def opened(connection: Connection, viewer: Viewer, platform: str, subject: str) -> CaseFile:
        seen = platform in viewer.registry(registry) and "\0" not in subject
        file = reader.open_file(connection, f"{platform}/{subject}", reader.now()) if seen else None
        if file is None:
            raise _not_there()
        return file

    def show_case(
        viewer: Viewer, csrf: str, platform: str, subject: str, trouble: str = "", note: str = "", status: int = 200
    ) -> Response[str]:
        here = place_of(reader, viewer, "case")
        with reader.rooms.present.entered(), reader.reading() as connection:
            file = opened(connection, viewer, platform, subject)
            known = acknowledgements_of(connection, file.case.key)
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
        seen = seen_alerts(file.alerts, known)
        return render(
            "case.html",
            here,
            status,
            rules=rules,
            page=case_page(file, rules, here.now),
            facts=facts,
            standing=seen.standing,
            acknowledgements=seen.by,
            unseen=seen.unseen,
            said=seen.said,
            may=viewer.may_change(registry.county(platform)),
            csrf=csrf,
            once=secrets.token_urlsafe(16),
            trouble=trouble,
            note=note,
            longest=MAX_NOTE,
        )

    @get("/cases/{platform:str}/{subject:str}", sync_to_thread=True, before_request=only_known)
    def one_case(viewer: Looking, csrf: CsrfField, platform: FromPath[str], subject: FromPath[str]) -> Response[str]:
        return show_case(viewer, csrf, platform, subject)

    @post("/cases/{platform:str}/{subject:str}/acknowledge", before_request=only_known, status_code=200)
    async def acknowledge(
        request: Asked, viewer: Looking, csrf: CsrfField, platform: FromPath[str], subject: FromPath[str]
    ) -> Response[Any]:
        fields = await read_form(request)
        note, once = _text(fields, "note"), _text(fields, "once")
        page = f"/cases/{quote(platform)}/{quote(subject)}#acknowledge"

        def write() -> Response[Any]:
            try:
                if "\0" in subject:
                    raise _not_there()
                found = doing.acknowledge_case(viewer, f"{platform}/{subject}", note, address_of(request), once)
            except RepeatedError:
                return go_to(page)
            except UnknownAlertError as error:
                raise _not_there() from error
            except NotAllowedError as error:
                raise PageError(403, "不能确认", f"{error}。") from error
            except NoteError as error:
                return show_case(viewer, csrf, platform, subject, f"{error}。", note, 400)
            if not found:
                nothing = "没有要确认的提醒：这件留言没有有效的提醒，可能刚刚解除。"
                return show_case(viewer, csrf, platform, subject, nothing, note, 409)
            return go_to(page)

        return await asyncio.to_thread(write)

    def show_shifts(
        viewer: Viewer, csrf: str, cursor: str | None = None, trouble: str = "", successor: str = "", note: str = ""
    ) -> Response[str]:
        here, chosen = place_of(reader, viewer, "shifts"), Chosen(reader, viewer, None, None)
        with reader.rooms.page.entered(), reader.reading() as connection:
            duties = [("全市" if viewer.county is None else _county(viewer), on_duty(connection, viewer.county))]
            if viewer.county is None:
                duties += [(name, on_duty(connection, county)) for county, name in chosen.counties]
            state = open_now(connection, registry, viewer, here.now)
            try:
                listed = list_shifts(connection, viewer, SHIFTS, cursor)
            except CursorError as error:
                raise PageError(400, "没有这一页", f"{error}。请从第一页翻起。") from error
            behind = reader.behind(connection, here.now)
        return render(
            "shifts.html",
            here,
            400 if trouble else 200,
            behind=behind,
            duties=duties,
            open=state,
            shifts=listed.shifts,
            counties=registry.county_names,
            first="/shifts#records" if cursor else None,
            next=address("/shifts", {"cursor": listed.next}, "#records") if listed.next else None,
            may=may_hand_over(registry, viewer),
            csrf=csrf,
            once=secrets.token_urlsafe(16),
            trouble=trouble,
            given={"successor": successor, "note": note},
            longest={"successor": MAX_NAME, "note": MAX_NOTE},
        )

    def _county(viewer: Viewer) -> str:
        return registry.county_names.get(viewer.county or "", viewer.county or "")

    @get("/shifts", before_request=only_known)
    async def shifts(viewer: Looking, csrf: CsrfField, cursor: Cursor = None) -> Response[str]:
        return await asyncio.to_thread(show_shifts, viewer, csrf, cursor)

    @post("/shifts", before_request=only_known, status_code=200)
    async def hand_over(request: Asked, viewer: Looking, csrf: CsrfField) -> Response[Any]:
        fields = await read_form(request)
        successor, note, once = _text(fields, "successor"), _text(fields, "note"), _text(fields, "once")

        def write() -> Response[Any]:
            try:
                doing.hand_over(viewer, successor, note, address_of(request), once)
            except NotAllowedError as error:
                raise PageError(403, "不能交接班", f"{error}。") from error
            except (SuccessorError, NoteError) as error:
                return show_shifts(viewer, csrf, None, f"{error}。", successor, note)
            return go_to("/shifts#duty")

        return await asyncio.to_thread(write)

    @get("/notices", sync_to_thread=True, before_request=only_known)
    def notices(
        viewer: Looking, which: StateName = None, county: County = None, cursor: Cursor = None
    ) -> Response[str]:
        here, chosen = place_of(reader, viewer, "notices"), Chosen(reader, viewer, county, None)
        wanted = one_of("state", "状态", which, NOTICE_STATES)
        filters = NoticeFilters(county=chosen.county, state=wanted)  # type: ignore[arg-type]
        with reader.rooms.page.entered(), reader.reading() as connection:
            try:
                found = list_notices(connection, viewer, filters, NOTICES, cursor)
            except CursorError as error:
                raise PageError(400, "没有这一页", f"{error}。请从第一页翻起。") from error
            told = anybody_told(connection)
        narrowed = {"state": wanted, "county": chosen.county}
        return render(
            "notices.html",
            here,
            told=told,
            notices=found.notices,
            names=registry.county_names,
            counties=chosen.counties,
            chosen={name: value or "" for name, value in narrowed.items()},
            first=address("/notices", narrowed) if cursor else None,
            next=address("/notices", narrowed, cursor=found.next) if found.next else None,
        )

    return [one_case, acknowledge, shifts, hand_over, notices]


def _text(fields: dict[str, str], name: str) -> str:
    """Browsers end the lines of a form's texts with two characters."""
    return fields.get(name, "").replace("\r\n", "\n")


def _not_there() -> PageError:
    return PageError(404, "没有这件留言", "请核对平台和留言编号，或回到值班页查找。")
