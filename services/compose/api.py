"""The HTTP application of a service: its routes, how errors are answered, and the document of it all."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, get
from litestar.enums import OpenAPIMediaType
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from msgspec import Struct, defstruct

from services.alerts.exports import DEFINITIONS
from services.alerts.journal import AlertPage, Recorded
from services.alerts.notices import routes as notice_routes
from services.alerts.people.guard import (
    DEPENDENCIES,
    People,
    SignInNeededError,
    guarded,
    on_sign_in_needed,
    protections,
    wants_page,
)
from services.alerts.people.requests import SESSION
from services.alerts.people.routes import people_routes
from services.alerts.queries import Summary
from services.ingest.app import BatchReceipt, Receipt
from services.ingest.strictjson import MAX_BODY
from services.sla.explain import Explanation
from shared.case import Case
from shared.events import Event
from shared.figures import COUNTS, RATES
from shared.http import EXCEPTION_HANDLERS, Problem, on_unavailable, schemas
from shared.version import VERSION


def application(
    routes: list[Any],
    away: Iterable[type[Exception]] = (),
    people: People | None = None,
    page: Callable[[Request[Any, Any, Any], Problem], Response[Any]] | None = None,
) -> Litestar:
    """The routes as an application, with `/schema/openapi.json` about them. `away`: what a database raises that does not answer.
    With `people`, whoever asks for anything that is not public has to be one of them; without, the routes guard themselves. `page`: how a
    browser is told of a problem outside of the API."""
    handlers: dict[Any, Any] = {**EXCEPTION_HANDLERS, **dict.fromkeys(away, on_unavailable)}
    if page is not None:
        handlers = {kind: _on_page(handler, page) for kind, handler in handlers.items()}
    handlers[SignInNeededError] = on_sign_in_needed
    every = [*routes, _document_route(routes)]
    return Litestar(
        route_handlers=every if people is None else guarded([*every, *people_routes(people)], people),
        exception_handlers=handlers,
        **({} if people is None else protections(people)),
        openapi_config=None,  # Litestar's own pages answer what is not there with HTML
        request_max_body_size=MAX_BODY,
        logging_config=None,
    )


def _on_page(answer: Any, page: Callable[[Request[Any, Any, Any], Problem], Response[Any]]) -> Any:
    """As `answer`; to a browser on a page."""

    def shown(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
        found: Response[bytes] = answer(request, error)
        if not wants_page(request) or request.url.path.startswith("/v1/"):
            return found
        told = page(request, msgspec.json.decode(found.content, type=Problem))
        told.headers.update({name: value for name, value in found.headers.items() if name not in told.headers})
        return told

    return shown


def _document_route(routes: list[Any]) -> Any:
    """`/schema/openapi.json`: the document of these routes, made once."""
    document = Litestar(
        routes, openapi_config=_openapi(), logging_config=None, dependencies=DEPENDENCIES
    ).openapi_schema.to_schema()
    document["components"]["schemas"] = _schemas()  # of the types that are really encoded
    body = msgspec.json.encode(document)

    @get("/schema/openapi.json", include_in_schema=False, sync_to_thread=False)
    def openapi() -> Response[bytes]:
        return Response(body, media_type=OpenAPIMediaType.OPENAPI_JSON)

    return openapi


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="liuyan 网民留言办理时限系统",
        version=VERSION,
        description="推送留言事件，查询办件、逾期与办结率。时刻均为 RFC 3339 带时区；错误均为 RFC 9457。",
        components=Components(
            security_schemes={
                "key": SecurityScheme(type="http", scheme="bearer", description="平台的推送密钥"),
                "token": SecurityScheme(type="http", scheme="bearer", description="账号的读取令牌"),
                "session": SecurityScheme(
                    type="apiKey", security_scheme_in="cookie", name=SESSION, description="登录后的浏览器"
                ),
            },
        ),
    )


FiguresJson = defstruct(
    "FiguresJson",
    [*((name, int) for name in COUNTS), *((name, str | None) for name in RATES), ("provisional", int)],
    module=__name__,
)


class CasePage(Struct):
    cases: list[Summary]
    next: str | None


def _schemas() -> dict[str, Any]:
    """Component schemas, from the types that the code really encodes."""
    found = schemas(
        [
            Receipt,
            BatchReceipt,
            Problem,
            CasePage,
            Recorded,
            AlertPage,
            Case,
            Explanation,
            FiguresJson,
            *notice_routes.TYPES,
        ]
    )
    (event,), components = msgspec.json.schema_components([Event], ref_template="#/components/schemas/{name}")
    received = components["ReceivedData"]["properties"]
    for settled in ("category_given", "category_reason"):
        del received[settled]
    received["contact"] = {"type": "object", "description": "联系方式；只用来遮盖正文里的同样文字，不会存下"}
    for name, schema in components.items():
        if "source" in schema.get("properties", {}):
            schema["properties"]["source"] |= {"pattern": "^/platforms/[a-z][a-z0-9_-]{0,31}$"}
            schema["properties"]["id"] |= {"pattern": r"^[^\x00-\x1f\x7f]+$"}
        components[name] = schema
    row = {"properties": {name: {"type": "string"} for name in ("platform", "name", "county")}}
    figures = {"$ref": "#/components/schemas/FiguresJson"}
    return {
        **found,
        **components,
        "Event": event,
        "CaseFile": {
            "allOf": [{"$ref": "#/components/schemas/Case"}],
            "properties": {
                "as_of": {"type": "string", "format": "date-time"},
                "explanation": {"type": "array", "items": {"$ref": "#/components/schemas/Explanation"}},
                "events": {"type": "array", "items": {"type": "object"}},
                "alerts": {"type": "array", "items": {"$ref": "#/components/schemas/Recorded"}},
            },
            "required": ["as_of", "explanation", "events", "alerts"],
        },
        "Report": {
            "type": "object",
            "properties": {
                "period": {"type": "string"},
                "as_of": {"type": "string", "format": "date-time"},
                "ruleset": {"type": "string"},
                "rows": {"type": "array", "items": {"allOf": [figures, row]}},
                "total": figures,
                "definitions": {"type": "object", "properties": {name: {"type": "string"} for name in DEFINITIONS}},
            },
            "required": ["period", "as_of", "ruleset", "rows", "total", "definitions"],
        },
    }
