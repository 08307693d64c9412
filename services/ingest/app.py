"""The HTTP face of ingest: `POST /v1/events`. 202 only when durable; every refusal says field, problem and remedy."""

from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Request, post
from litestar.exceptions import InternalServerException
from litestar.types import ASGIApp, Receive, Scope, Send
from msgspec import Struct

from services.ingest.door import Door
from services.ingest.examples import BATCH, EVENTS
from services.ingest.metrics import Refusals
from services.ingest.port import BusyError, Submit, Taken, UnknownOutcomeError
from services.ingest.refusals import Refusal, RefusalReason, RefusedError
from services.ingest.strictjson import MAX_BODY, parse_json
from shared.events import Event
from shared.http import Problem, ProblemError, operation, problem, problems, reply

SINGLE, BATCHED = "application/cloudevents+json", "application/cloudevents-batch+json"
MAX_BATCH = 1_000
MAX_IN_FLIGHT = 64 * MAX_BODY  # bytes of requests that wait for their answer
NOBODY = "unknown"

STATUS = {
    RefusalReason.OTHER_PLATFORM: 403,
    RefusalReason.CONFLICT: 409,
    RefusalReason.UNAUTHORIZED: 401,
    RefusalReason.UNSUPPORTED_MEDIA_TYPE: 415,
    RefusalReason.TOO_LARGE: 413,
    RefusalReason.TOO_MANY_EVENTS: 413,
    RefusalReason.BUSY: 503,
}
"""The status of a refusal; 422 where nothing is said."""

CONFLICT = Refusal(
    RefusalReason.CONFLICT, "/id", "同一 source 和 id 已有内容不同的事件，以先到者为准；新事件请用新的 id"
)
BUSY = Refusal(RefusalReason.BUSY, "", "系统繁忙，没有存下；请稍后原样重发")


class Receipt(Struct, frozen=True):
    """The event is durable. `duplicate`: it had been already; nothing changed."""

    id: str
    status: Taken


class Item(Struct, frozen=True, omit_defaults=True):
    """What became of one event of a batch, in the order sent: `status` as it would be for the event alone."""

    status: int
    id: str | None = None
    result: Taken | None = None
    problem: Problem | None = None


class BatchReceipt(Struct, frozen=True):
    results: list[Item]


def refusal_problem(refusal: Refusal) -> Problem:
    return problem(STATUS.get(refusal.reason, 422), refusal.reason, refusal.detail, refusal.pointer)


def event_routes(door: Door, submit: Submit, platform_of: Callable[[str], str | None], refusals: Refusals) -> list[Any]:
    """The routes. `platform_of`: the platform for which a key writes, None for an unknown or revoked key."""
    in_flight = 0

    def refuse(platform: str, refusal: Refusal) -> ProblemError:
        refusals.count(platform, refusal.reason, refusal.pointer)
        return ProblemError(refusal_problem(refusal), _headers(refusal.reason))

    def authenticate(request: Request[Any, Any, Any]) -> str:
        scheme, _, key = _header(request, b"authorization").partition(" ")
        platform = platform_of(key.strip()) if scheme.lower() == "bearer" and key else None
        if platform is None:
            detail = "请在 Authorization 头中写 Bearer 加本平台的密钥；密钥可能有误或已作废"
            raise refuse(NOBODY, Refusal(RefusalReason.UNAUTHORIZED, "", detail))
        return platform

    async def make_durable(platform: str, events: list[Event]) -> list[Taken]:
        try:
            return await submit(events, f"push:{platform}")
        except BusyError:
            raise refuse(platform, BUSY) from None
        except UnknownOutcomeError:
            detail = "不能确定是否已存下；请稍后原样重发，重复的会被认出"
            raise refuse(platform, Refusal(RefusalReason.BUSY, "", detail)) from None

    async def one(platform: str, body: bytes) -> ASGIApp:
        settled = _settle_body(door, body, platform)
        if isinstance(settled, Refusal):
            raise refuse(platform, settled)
        (taken,) = await make_durable(platform, [settled])
        if taken is Taken.CONFLICT:
            raise refuse(platform, CONFLICT)
        return _json(Receipt(settled.id, taken), 202)

    async def many(platform: str, body: bytes) -> ASGIApp:
        try:
            values = parse_json(body)
        except RefusedError as refused:
            raise refuse(platform, refused.refusal) from refused
        if not isinstance(values, list):
            raise refuse(platform, Refusal(RefusalReason.INVALID_FIELD, "", "应为 CloudEvents 事件的 JSON 数组"))
        if len(values) > MAX_BATCH:
            detail = f"一批最多 {MAX_BATCH} 个事件，收到 {len(values)} 个，请分批发送"
            raise refuse(platform, Refusal(RefusalReason.TOO_MANY_EVENTS, "", detail))
        settled = [door.settle(value, platform) for value in values]
        events = [item for item in settled if not isinstance(item, Refusal)]
        answers = iter(await make_durable(platform, events) if events else [])
        items = [_item(item, None if isinstance(item, Refusal) else next(answers)) for item in settled]
        for item in items:
            if item.problem is not None:
                refusals.count(platform, RefusalReason(item.problem.reason), item.problem.pointer)
        taken = sum(item.status == 202 for item in items)
        return _json(BatchReceipt(items), 202 if taken == len(items) else 207 if taken else 422)

    @post("/v1/events", operation_class=DOCUMENTED, summary="推送事件", tags=["推送"], status_code=202)
    async def push(request: Request[Any, Any, Any]) -> ASGIApp:
        """一个事件（application/cloudevents+json）或一批事件（application/cloudevents-batch+json，最多 1000 个）。

        202 表示已可靠存下；同一事件重发仍答 202，不会重复计数。503 时请按 Retry-After 原样重发。
        """
        platform = authenticate(request)
        media_type = _header(request, b"content-type").partition(";")[0].strip().lower()
        if media_type not in (SINGLE, BATCHED):
            detail = f"Content-Type 应为 {SINGLE}（一个）或 {BATCHED}（一批）"
            raise refuse(platform, Refusal(RefusalReason.UNSUPPORTED_MEDIA_TYPE, "", detail))
        body = await _read(request)
        if body is None:
            detail = f"内容超过 {MAX_BODY // 1024} KiB，请分批发送"
            raise refuse(platform, Refusal(RefusalReason.TOO_LARGE, "", detail))
        nonlocal in_flight
        if in_flight + len(body) > MAX_IN_FLIGHT:
            raise refuse(platform, BUSY)
        in_flight += len(body)
        try:
            return await (one if media_type == SINGLE else many)(platform, body)
        finally:
            in_flight -= len(body)

    return [push]


def _header(request: Request[Any, Any, Any], name: bytes) -> str:
    """A header's value, straight from the request: Litestar's mapping of all headers would cost more than the rest here."""
    return next((value.decode("latin-1") for header, value in request.scope["headers"] if header == name), "")


async def _read(request: Request[Any, Any, Any]) -> bytes | None:
    """The body, as the server hands it over; None if it is larger than MAX_BODY. Litestar's own reading would cost six times as much."""
    declared = _header(request, b"content-length")
    if declared.isdecimal() and int(declared) > MAX_BODY:
        return None
    parts, size, more = [], 0, True
    while more:
        message: Any = await request.receive()
        if message["type"] == "http.disconnect":
            raise InternalServerException  # nobody is there to be told
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)


def _settle_body(door: Door, body: bytes, platform: str) -> Event | Refusal:
    try:
        return door.settle(parse_json(body), platform)
    except RefusedError as refused:
        return refused.refusal


def _item(settled: Event | Refusal, taken: Taken | None) -> Item:
    if isinstance(settled, Refusal):
        found = refusal_problem(settled)
        return Item(found.status, problem=found)
    if taken is Taken.CONFLICT:
        return Item(409, settled.id, problem=refusal_problem(CONFLICT))
    return Item(202, settled.id, taken)


def _json(value: object, status: int) -> ASGIApp:
    body = msgspec.json.encode(value)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

    async def answer(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return answer


def _headers(reason: RefusalReason) -> dict[str, str]:
    if reason is RefusalReason.BUSY:
        return {"Retry-After": "5"}
    return {"WWW-Authenticate": "Bearer"} if reason is RefusalReason.UNAUTHORIZED else {}


DOCUMENTED = operation(
    responses={
        "202": {
            "description": "已可靠存下（批量：全部收下）",
            "content": {
                "application/json": {
                    "schema": {
                        "anyOf": [
                            {"$ref": "#/components/schemas/Receipt"},
                            {"$ref": "#/components/schemas/BatchReceipt"},
                        ]
                    }
                }
            },
        },
        "207": reply("批量：收下一部分，逐个说明", "BatchReceipt"),
        "422": {
            "description": "事件不合要求（批量：一个也没有收下）",
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
                "application/json": {"schema": {"$ref": "#/components/schemas/BatchReceipt"}},
            },
        },
        **problems(400, 401, 403, 408, 409, 413, 415, 503),
    },
    body={
        "required": True,
        "content": {
            SINGLE: {
                "schema": {"$ref": "#/components/schemas/Event"},
                "examples": {name: {"value": value} for name, value in EVENTS.items()},
            },
            BATCHED: {
                "schema": {"type": "array", "maxItems": MAX_BATCH, "items": {"$ref": "#/components/schemas/Event"}},
                "examples": {"batch": {"value": BATCH}},
            },
        },
    },
    schemes=["key"],
)
