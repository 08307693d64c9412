"""What the services' HTTP faces share: problem+json (RFC 9457), the documented operation, and health endpoints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from litestar import MediaType, Request, Response, get
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.spec import Operation
from msgspec import Struct

logger = structlog.get_logger("http")

PROBLEM_TYPE = "application/problem+json"
TITLES = {
    400: "请求有误",
    401: "没有有效的凭据",
    403: "没有权限",
    404: "没有找到",
    405: "不支持的方法",
    408: "内容没有到齐",
    409: "与已有事件冲突",
    413: "内容过大",
    415: "不支持的内容类型",
    422: "事件不合要求",
    500: "服务内部错误",
    503: "暂时不能受理",
}


class Problem(Struct, frozen=True, omit_defaults=True):
    """RFC 9457. `reason` is from a closed set (docs/api.md); `pointer` is a JSON pointer to the offending field."""

    type: str
    title: str
    status: int
    detail: str = ""
    reason: str = ""
    pointer: str | None = None


class ProblemError(Exception):
    """Answers the request with a problem."""

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.detail)
        self.problem, self.headers = problem, dict(headers or {})


def problem(status: int, reason: str, detail: str, pointer: str | None = None) -> Problem:
    return Problem(f"urn:liuyan:problem:{reason}", TITLES.get(status, "错误"), status, detail, reason, pointer)


def busy(detail: str) -> ProblemError:
    """Refuses for now: the same may be asked again."""
    return ProblemError(problem(503, "busy", detail), {"Retry-After": "5"})


def header_lines(error: ProblemError, more: Mapping[str, str] | None = None) -> list[tuple[bytes, bytes]]:
    """The headers of a problem that is answered without the framework."""
    headers = {"Content-Type": PROBLEM_TYPE, **error.headers, **(more or {})}
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def problem_response(found: Problem, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    return Response(
        msgspec.json.encode(found), status_code=found.status, media_type=PROBLEM_TYPE, headers=dict(headers or {})
    )


def _on_problem(_: Request[Any, Any, Any], error: ProblemError) -> Response[bytes]:
    return problem_response(error.problem, error.headers)


def _on_validation(_: Request[Any, Any, Any], error: ValidationException) -> Response[bytes]:
    extra = error.extra if isinstance(error.extra, list) else []
    names = "、".join(sorted({str(item["key"]) for item in extra if isinstance(item, dict) and "key" in item}))
    detail = f"查询参数 {names} 的值不合要求，请看接口文档" if names else "查询参数不合要求，请看接口文档"
    return problem_response(problem(400, "invalid_parameter", detail))


def _on_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    status = error.status_code
    details = {
        404: f"没有 {request.url.path[:100]} 这个地址",
        405: f"这个地址不支持 {request.method}",
        413: "内容超过大小限制，请分批发送",
    }
    reasons = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}
    detail = details.get(status, TITLES.get(status, "错误"))
    return problem_response(problem(status, reasons.get(status, "invalid_request"), detail), error.headers)


def _on_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    logger.error("请求处理出错", action="request_failed", path=request.url.path, exc_info=error)
    return problem_response(problem(500, "internal", "服务内部错误，已记入日志"))


def on_unavailable(_: Request[Any, Any, Any], __: Exception) -> Response[bytes]:
    """For what is away and comes back (a database): the loops tell of it once, not every request. Nothing was stored."""
    found = busy("数据库没有应答，没有存下任何东西；请稍后原样重试")
    return problem_response(found.problem, found.headers)


EXCEPTION_HANDLERS: Mapping[type[Exception], Callable[..., Response[bytes]]] = {
    ProblemError: _on_problem,
    ValidationException: _on_validation,
    HTTPException: _on_http,
    Exception: _on_error,
}


def reply(description: str, schema: str, media_type: str = "application/json") -> dict[str, Any]:
    """An OpenAPI response: `schema` is the name of a component."""
    return {"description": description, "content": {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def problems(*statuses: int) -> dict[str, Any]:
    """The OpenAPI responses of refusals."""
    return {str(status): reply(TITLES[status], "Problem", PROBLEM_TYPE) for status in statuses}


def operation(
    responses: Mapping[str, Any], body: Mapping[str, Any] | None = None, schemes: Sequence[str] = ()
) -> type[Operation]:
    """An OpenAPI operation whose answers are written out, so that the document says what the code really does. One of the `schemes`
    says who asks."""

    @dataclass
    class Documented(Operation):
        def __post_init__(self) -> None:
            self.responses = dict(responses)
            if body is not None:
                self.request_body = dict(body)  # type: ignore[assignment]
            if schemes:
                self.security = [{scheme: []} for scheme in schemes]

    return Documented


def schemas(types: Sequence[type]) -> dict[str, Any]:
    """JSON Schema of the types for the document's components."""
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return components


def health_routes(unhealthy: Callable[[], str | None], unready: Callable[[], str | None] | None = None) -> list[Any]:
    """`/livez` and `/readyz`: 200 `ok`, or 503 with the reason. What is not live is not ready either."""

    def answer(trouble: str | None) -> Response[str]:
        return Response(trouble or "ok", status_code=503 if trouble else 200, media_type=MediaType.TEXT)

    documented = {
        "200": {"description": "正常", "content": {"text/plain": {"schema": {"type": "string"}}}},
        "503": {"description": "不正常，正文说明原因", "content": {"text/plain": {"schema": {"type": "string"}}}},
    }

    @get(
        "/livez",
        operation_class=operation(documented),
        summary="是否存活",
        sync_to_thread=False,
        media_type=MediaType.TEXT,
    )
    def livez() -> Response[str]:
        return answer(unhealthy())

    @get(
        "/readyz",
        operation_class=operation(documented),
        summary="是否就绪",
        sync_to_thread=False,
        media_type=MediaType.TEXT,
    )
    def readyz() -> Response[str]:
        return answer(unhealthy() or (unready() if unready is not None else None))

    return [livez, readyz]
