"""Notices, acknowledgements and hand-overs over HTTP. Who asks is a `viewer`; nobody sees or changes another county's anything."""

import asyncio
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, QueryParameter, RawBody
from msgspec import Struct

from services.alerts.app import WHO, CountyFilter, Cursor, Limit, Reader, json_response, only_known
from services.alerts.cursors import CursorError
from services.alerts.notices.acknowledging import Acknowledgement, NotAllowedError, NoteError, UnknownAlertError
from services.alerts.notices.doing import Doing
from services.alerts.notices.listing import STATES, NoticeFilters, NoticePage, list_notices
from services.alerts.notices.shifts import Shift, ShiftPage, SuccessorError, list_shifts
from services.alerts.people.guard import Looking, People
from services.alerts.people.requests import Asked, address_of
from shared.http import ProblemError, operation, problem, problems, reply

T = TypeVar("T")
MAX_BODY = 16 * 1024
BY_SESSION = ("session",)  # a token only reads


class Note(Struct, frozen=True, forbid_unknown_fields=True):
    """`note`: what is being done about it; may be left out."""

    note: str = ""


class HandOver(Struct, frozen=True, forbid_unknown_fields=True):
    """`successor`: who has duty from now on. `once`: any text that names this hand-over; sent again with it, it is recorded once."""

    successor: str
    note: str = ""
    once: str = ""


def notice_routes(reader: Reader, people: People) -> list[Any]:
    registry = reader.rules.registry
    doing = Doing(registry, people, reader.now)

    @get("/v1/notices", operation_class=_NOTICES, summary="通知", tags=["查询"], sync_to_thread=True,
         before_request=only_known)  # fmt: skip
    def notices(
        viewer: Looking,
        county: CountyFilter = None,
        channel: Annotated[str | None, QueryParameter(name="channel", max_length=32, description="通道")] = None,
        which: Annotated[str | None, QueryParameter(name="state", description="pending、sent 或 failed")] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response[bytes]:
        """每一条通知：发给哪个通道、关于几条提醒、送达与否及原因，最新的在前。"""
        for name, value, words in (
            ("county", county, viewer.registry(registry).county_names),
            ("state", which, STATES),
        ):
            if value is not None and value not in words:
                usable = "、".join(words)
                raise _invalid(f"查询参数 {name} 没有这个值；可用的有：{usable}")
        filters = NoticeFilters(channel, county, which)  # type: ignore[arg-type]
        with reader.rooms.present.entered(), reader.reading() as connection:
            try:
                return json_response(list_notices(connection, viewer, filters, limit, cursor))
            except CursorError as error:
                raise _invalid(str(error)) from error

    @post("/v1/alerts/{alert:int}/acknowledge", operation_class=_ACKNOWLEDGE, summary="确认提醒", tags=["值班"],
          sync_to_thread=True, before_request=only_known, status_code=200)  # fmt: skip
    def acknowledge_alert(request: Asked, viewer: Looking, alert: FromPath[int], body: RawBody) -> Response[bytes]:
        """已看到这条提醒，并说明正在怎样处理；之后不再重复通知。可以再次确认，每次都会留下。"""
        wanted = _decoded(body or b"{}", Note)
        try:
            found = doing.acknowledge(viewer, alert, wanted.note, address_of(request))
        except UnknownAlertError as error:
            raise ProblemError(problem(404, "not_found", "没有这条提醒，请核对编号")) from error
        except NotAllowedError as error:
            raise ProblemError(problem(403, "forbidden", str(error))) from error
        except NoteError as error:
            raise ProblemError(problem(400, "invalid_field", str(error), "/note")) from error
        return json_response(found)

    # Two handlers of one path, both in a thread: Litestar 2 wraps the first twice, so these find their thread themselves.
    @get("/v1/shifts", operation_class=_SHIFTS, summary="交接班记录", tags=["值班"], before_request=only_known)  # fmt: skip
    async def shifts(viewer: Looking, limit: Limit = 100, cursor: Cursor = None) -> Response[bytes]:
        """每一次交接：谁交给谁、当时有几条提醒未解除和未确认、几件逾期、交代了什么，最近的在前。"""

        def read() -> ShiftPage:
            with reader.rooms.present.entered(), reader.reading() as connection:
                return list_shifts(connection, viewer, limit, cursor)

        try:
            return json_response(await asyncio.to_thread(read))
        except CursorError as error:
            raise _invalid(str(error)) from error

    @post("/v1/shifts", operation_class=_HAND_OVER, summary="交接班", tags=["值班"], before_request=only_known, status_code=200)  # fmt: skip
    async def hand_over_shift(request: Asked, viewer: Looking, body: RawBody) -> Response[bytes]:
        """把值班交给下一个人；当时未解除的提醒和逾期的件数一并记下。带同样的 once 重发同样的内容，只记一次。"""
        wanted = _decoded(body, HandOver)

        given = wanted.successor, wanted.note, address_of(request), wanted.once
        try:
            return json_response(await asyncio.to_thread(doing.hand_over, viewer, *given))
        except NotAllowedError as error:
            raise ProblemError(problem(403, "forbidden", str(error))) from error
        except SuccessorError as error:
            raise ProblemError(problem(400, "invalid_field", str(error), "/successor")) from error
        except NoteError as error:
            raise ProblemError(problem(400, "invalid_field", str(error), "/note")) from error

    return [notices, acknowledge_alert, shifts, hand_over_shift]


def _decoded(body: bytes, kind: type[T]) -> T:
    if len(body) > MAX_BODY:
        raise ProblemError(problem(413, "too_large", f"内容超过 {MAX_BODY // 1024} KiB"))
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        members = "、".join(kind.__struct_fields__)  # type: ignore[attr-defined]
        raise ProblemError(problem(400, "invalid_field", f"内容应为一个 JSON 对象，只有 {members} 这些成员")) from error


def _invalid(detail: str) -> ProblemError:
    return ProblemError(problem(400, "invalid_parameter", detail))


def _body(schema: str) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


_NOTICES = operation({"200": reply("一页通知", "NoticePage"), **problems(400, 401, 503)}, schemes=WHO)
_SHIFTS = operation({"200": reply("一页交接班记录", "ShiftPage"), **problems(400, 401, 503)}, schemes=WHO)
_ACKNOWLEDGE = operation(
    {"200": reply("确认", "Acknowledgement"), **problems(400, 401, 403, 404, 413, 503)}, _body("Note"), BY_SESSION
)
_HAND_OVER = operation(
    {"200": reply("交接班", "Shift"), **problems(400, 401, 403, 413, 503)},
    {**_body("HandOver"), "required": True},
    BY_SESSION,
)
TYPES = (Acknowledgement, NoticePage, ShiftPage, Shift, Note, HandOver)
"""What these routes answer with, for the document of the API."""
