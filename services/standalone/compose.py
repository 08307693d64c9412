"""The composition root: wires ingest, rules and alerts over one database into the routes of one HTTP application."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec
import prometheus_client
from litestar import Litestar, Response, get
from litestar.enums import OpenAPIMediaType
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from msgspec import Struct, defstruct
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, func, select

from services.alerts.app import CaseFile, Reader, reading_routes
from services.alerts.exports import DEFINITIONS
from services.alerts.journal import AlertPage, alerts_of
from services.alerts.metrics import CaseCollector, FlagDelay
from services.alerts.queries import Recall, State, Summary, state
from services.alerts.rooms import Rooms
from services.ingest.app import BatchReceipt, Receipt, event_routes
from services.ingest.door import Door
from services.ingest.keys import KeyRing, valid_keys
from services.ingest.metrics import Refusals
from services.ingest.strictjson import MAX_BODY
from services.sla.explain import Explanation, explain
from services.sla.rules import evaluate, order
from services.standalone import VERSION, log
from services.standalone.apply import recall
from services.standalone.database import Database
from services.standalone.engine import Engine
from shared.case import Case
from shared.events import Event
from shared.figures import COUNTS, RATES
from shared.http import EXCEPTION_HANDLERS, Problem, busy, health_routes, schemas
from shared.rules import Ruleset


def recaller(rules: Ruleset, ending: Callable[[], bool] = lambda: False) -> Recall:
    """A `Recall` for alerts: cases as of any instant, from the log. When `ending`, it raises ProblemError (503)."""

    def recalled(connection: Connection, keys: Iterable[str], as_of: datetime) -> Iterator[Case]:
        for case in recall(connection, keys, rules, as_of):
            if ending():
                raise busy("服务正在停止，请稍后再试")
            yield case

    return recalled


def open_file(connection: Connection, rules: Ruleset, key: str, as_of: datetime) -> CaseFile | None:
    """A case with its events, its alerts and its deadlines explained; None when nothing of it is known as of then."""
    ((_, history),) = log.histories(connection, [key])
    case = evaluate(history, rules, as_of)
    if case is None:
        return None
    known = sorted((event for event in history if event.time <= as_of), key=order)
    return CaseFile(case, explain(case, rules), known, alerts_of(connection, key, as_of))


def dead_letter_counts(connection: Connection) -> dict[str, int]:
    rows = connection.execute(select(log.dead_letters.c.reason, func.count()).group_by(log.dead_letters.c.reason))
    return {row[0]: row[1] for row in rows}


def metrics_registry(database: Database, engine: Engine, rules: Ruleset) -> tuple[CollectorRegistry, FlagDelay]:
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each counter, of no use to anybody here
    registry = CollectorRegistry()

    def read(months: Iterable[str], now: datetime) -> State:
        with database.reading() as connection:
            return state(connection, rules.registry, months, now)

    def letters() -> dict[str, int]:
        with database.reading() as connection:
            return {"conflict": 0} | dead_letter_counts(connection)

    registry.register(CaseCollector(rules, engine.clock.now, read, letters))
    return registry, FlagDelay(registry)


def create_app(engine: Engine, registry: CollectorRegistry) -> Litestar:
    """The whole HTTP application of `liuyan standalone`."""
    database, rules = engine.database, engine.rules

    def read_keys() -> dict[str, str]:
        with database.reading() as connection:
            return valid_keys(connection)

    reader = Reader(
        rules=rules,
        now=engine.clock.now,
        reading=database.reading,
        recall=recaller(rules, engine.ending.is_set),
        open_file=lambda connection, key, as_of: open_file(connection, rules, key, as_of),
        metrics=registry,
        rooms=Rooms(),
    )
    routes = [
        *event_routes(
            Door(rules), engine.submit, KeyRing(read_keys).platform_of, Refusals(registry, rules.registry.slugs)
        ),
        *reading_routes(reader),
        *health_routes(engine.unhealthy),
    ]
    return Litestar(
        route_handlers=[*routes, _document_route(routes)],
        exception_handlers=EXCEPTION_HANDLERS,  # type: ignore[arg-type]
        openapi_config=None,  # Litestar's own pages answer what is not there with HTML
        request_max_body_size=MAX_BODY,
        logging_config=None,
    )


def _document_route(routes: list[Any]) -> Any:
    """`/schema/openapi.json`: the document of these routes, made once."""
    document = Litestar(routes, openapi_config=_openapi(), logging_config=None).openapi_schema.to_schema()
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
            security_schemes={"key": SecurityScheme(type="http", scheme="bearer", description="平台的推送密钥")},
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
    found = schemas([Receipt, BatchReceipt, Problem, CasePage, AlertPage, Case, Explanation, FiguresJson])
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
                "alerts": {"type": "array", "items": {"$ref": "#/components/schemas/Alert"}},
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
