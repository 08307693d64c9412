"""The reading API, the exports and `/metrics` (the pages: duty/). No SQL here, and no clock but the one given."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import date, datetime
from typing import Annotated, Any

import msgspec
from litestar import MediaType, Request, Response, get
from litestar.params import FromPath, QueryParameter
from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import Connection

from services.alerts.cursors import CursorError
from services.alerts.exports import FORMATS, Report, export, report_json
from services.alerts.journal import AlertFilters, AlertPage, Recorded, list_alerts
from services.alerts.people.guard import Looking
from services.alerts.people.viewer import Viewer
from services.alerts.queries import MAX_LIMIT, Filters, Page, list_cases, list_overdue
from services.alerts.rooms import Rooms
from services.alerts.rungs import NEXT_RUNG
from services.alerts.standings import Recall, figures_of
from shared.case import Case, Outcome, Status
from shared.figures import Period, PeriodError
from shared.http import ProblemError, operation, problem, problems, reply
from shared.registry import Registry
from shared.rules import Ruleset
from shared.times import InstantError, isoformat, parse_instant

METRICS_TYPE = "text/plain; version=0.0.4"  # Litestar adds the charset
WHO = ("token", "session")
EXPORTED = {kind: FORMATS[kind] for kind in ("json", "csv")}

AsOf = Annotated[
    str | None,
    QueryParameter(name="as_of", description="截至的时刻，RFC 3339 带时区，如 2022-04-11T00:00:00+08:00；不写即现在"),
]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=MAX_LIMIT, description=f"每页条数，1–{MAX_LIMIT}")]
Cursor = Annotated[str | None, QueryParameter(name="cursor", max_length=300, description="上一页返回的 next")]
PlatformFilter = Annotated[str | None, QueryParameter(name="platform", description="平台标识")]
CountyFilter = Annotated[str | None, QueryParameter(name="county", description="县区标识")]
CategoryFilter = Annotated[str | None, QueryParameter(name="category", max_length=64, description="类别标识")]
HolderFilter = Annotated[
    str | None, QueryParameter(name="holder", max_length=64, description="承办者：平台标识或单位名称")
]


class CaseFile(Struct, frozen=True):
    """A case with what explains it; `events` and `explanation` are JSON-ready values of the rules' own types."""

    case: Case
    explanation: list[Any]
    events: list[Any]
    alerts: list[Recorded]


OpenFile = Callable[[Connection, str, datetime], CaseFile | None]
Calculate = Callable[[str, datetime, str], CaseFile]
"""(category, received, platform) -> what a message would be, with its deadlines explained."""


class Reader(Struct, frozen=True):
    """What the routes need of the composition root. `ending`: whether the service is told to stop."""

    rules: Ruleset
    now: Callable[[], datetime]
    reading: Callable[[], AbstractContextManager[Connection]]
    recall: Recall
    open_file: OpenFile
    calculate: Calculate
    metrics: CollectorRegistry
    rooms: Rooms
    behind: Callable[[Connection, datetime], str | None] = lambda connection, now: None
    ending: Callable[[], bool] = lambda: False


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_instant(text.replace(" ", "+"))  # a "+" that was not escaped in the URL arrives as a space
    except InstantError as error:
        raise ProblemError(problem(400, "invalid_parameter", f"查询参数 as_of {error}")) from error


def _period(text: str) -> Period:
    try:
        return Period.parse(text)
    except PeriodError as error:
        raise ProblemError(problem(400, "invalid_parameter", f"统计期 {error}")) from error


def only_known(request: Request[Any, Any, Any]) -> None:
    """Refuse query parameters that the route does not have: a misspelt filter must not silently show everything. Those that it
    has hold no NUL."""
    handler = request.route_handler
    definitions = (field.kwarg_definition for field in handler.parsed_fn_signature.parameters.values())
    known = {
        definition.name for definition in definitions if isinstance(definition, QueryParameter) and definition.name
    }
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        names = "、".join(name[:40] for name in unknown)
        usable = "、".join(sorted(known)) or "无"
        raise ProblemError(problem(400, "invalid_parameter", f"没有查询参数 {names}；可用的有：{usable}"))
    repeated = sorted(name for name in known if len(request.query_params.getall(name, [])) > 1)
    if repeated:
        raise ProblemError(
            problem(400, "invalid_parameter", f"查询参数 {'、'.join(repeated)} 写了不止一次，请只写一次")
        )
    nul = sorted(name for name in known if "\0" in request.query_params.get(name, ""))
    if nul:  # PostgreSQL takes none
        raise ProblemError(problem(400, "invalid_parameter", f"查询参数 {'、'.join(nul)} 中有空字符，请删去"))


def json_response(value: object) -> Response[bytes]:
    return Response(msgspec.json.encode(value), media_type=MediaType.JSON)


def make_report(
    reader: Reader, connection: Connection, viewer: Viewer, period: Period, as_of: datetime | None
) -> Report:
    """The figures of what they see, and the total of these."""
    now, registry = reader.now(), viewer.registry(reader.rules.registry)
    found = figures_of(connection, reader.recall, registry, period.months, now, as_of)
    return Report(period, as_of or now, reader.rules.hash, found)


def read_report(reader: Reader, viewer: Viewer, period: Period, as_of: datetime | None) -> Report:
    rooms = reader.rooms
    with (rooms.present if as_of is None else rooms.past).entered(), reader.reading() as connection:
        return make_report(reader, connection, viewer, period, as_of)


def reading_routes(reader: Reader) -> list[Any]:
    """The routes. To who looks, what they may not see does not exist: a platform, a county or a case of others is unknown."""

    def seen_by(viewer: Viewer) -> Registry:
        return viewer.registry(reader.rules.registry)

    def known(value: str | None, name: str, words: Any) -> str | None:
        if value is not None and value not in words:
            usable = "、".join(words)
            raise ProblemError(problem(400, "invalid_parameter", f"查询参数 {name} 没有这个值；可用的有：{usable}"))
        return value

    def place(registry: Registry, platform: str | None, county: str | None) -> tuple[str | None, str | None]:
        return known(platform, "platform", registry.slugs), known(county, "county", list(registry.county_names))

    def paged(read: Callable[[Connection], Page | AlertPage]) -> Response[bytes]:
        try:
            with reader.rooms.present.entered(), reader.reading() as connection:
                found = read(connection)
        except CursorError as error:
            raise ProblemError(problem(400, "invalid_parameter", str(error))) from error
        return json_response(found)

    @get(
        "/v1/cases",
        operation_class=_LIST,
        summary="办件列表",
        tags=["查询"],
        sync_to_thread=True,
        before_request=only_known,
    )
    def cases(
        viewer: Looking,
        platform: PlatformFilter = None,
        county: CountyFilter = None,
        category: CategoryFilter = None,
        status: Annotated[str | None, QueryParameter(name="status", description="状态")] = None,
        outcome: Annotated[str | None, QueryParameter(name="outcome", description="结果")] = None,
        holder: HolderFilter = None,
        provisional: Annotated[bool | None, QueryParameter(name="provisional", description="时限是否为暂定")] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response[bytes]:
        """按平台登记顺序、再按留言编号排列；用 next 作为 cursor 取下一页。"""
        registry = seen_by(viewer)
        filters = Filters(
            *place(registry, platform, county),
            category,
            known(status, "status", [s.value for s in Status]),
            known(outcome, "outcome", [o.value for o in Outcome]),
            holder,
            provisional,
        )
        return paged(lambda connection: list_cases(connection, registry, filters, limit, cursor))

    @get(
        "/v1/overdue",
        operation_class=_LIST,
        summary="逾期未办结的办件",
        tags=["查询"],
        sync_to_thread=True,
        before_request=only_known,
    )
    def overdue(
        viewer: Looking,
        platform: PlatformFilter = None,
        county: CountyFilter = None,
        category: CategoryFilter = None,
        holder: HolderFilter = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response[bytes]:
        """截止时间最早的在前。"""
        registry = seen_by(viewer)
        filters = Filters(
            *place(registry, platform, county),
            category,
            holder=holder,
        )
        return paged(lambda connection: list_overdue(connection, registry, filters, reader.now(), limit, cursor))

    @get(
        "/v1/alerts",
        operation_class=_ALERTS,
        summary="提醒",
        tags=["查询"],
        sync_to_thread=True,
        before_request=only_known,
    )
    def alerts(
        viewer: Looking,
        platform: PlatformFilter = None,
        county: CountyFilter = None,
        rung: Annotated[str | None, QueryParameter(name="rung", description="提醒级别，如 overdue")] = None,
        standing: Annotated[
            bool | None, QueryParameter(name="standing", description="true：仍然有效的；false：已解除的")
        ] = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response[bytes]:
        """每一次提醒：何时提出、何时解除及原因，最新提出的在前。"""
        registry = seen_by(viewer)
        filters = AlertFilters(
            *place(registry, platform, county),
            known(rung, "rung", list(NEXT_RUNG)),
            standing,
        )
        return paged(lambda connection: list_alerts(connection, registry, filters, limit, cursor))

    @get("/v1/cases/{platform:str}/{subject:str}", operation_class=_CASE, summary="一个办件", tags=["查询"],
         sync_to_thread=True, before_request=only_known)  # fmt: skip
    def one_case(
        viewer: Looking, platform: FromPath[str], subject: FromPath[str], as_of: AsOf = None
    ) -> Response[bytes]:
        """办件的全部：各轮时限与判定、不计事件及原因、逐日说明的截止时间、事件、提醒。"""
        instant = _instant(as_of) or reader.now()
        with reader.rooms.present.entered(), reader.reading() as connection:
            seen = platform in seen_by(viewer) and "\0" not in subject
            found = reader.open_file(connection, f"{platform}/{subject}", instant) if seen else None
        if found is None:
            raise ProblemError(problem(404, "not_found", "截至该时刻没有这个办件，请核对平台标识和留言编号"))
        return json_response(case_file_json(found, instant))

    @get(
        "/v1/rates",
        operation_class=_RATES,
        summary="统计与比率",
        tags=["查询"],
        sync_to_thread=True,
        before_request=only_known,
    )
    def rates(
        viewer: Looking,
        period: Annotated[
            str | None, QueryParameter(name="period", description="2022-03、2022Q1 或 2022；不写即本季度")
        ] = None,
        as_of: AsOf = None,
    ) -> Response[bytes]:
        """各平台与合计的件数、比率；比率为两位小数的百分数，分母为 0 时为 null。"""
        wanted = Period.quarter_of(reader.now().date()) if period is None else _period(period)
        return json_response(report_json(read_report(reader, viewer, wanted, _instant(as_of))))

    @get("/v1/exports/{name:str}", operation_class=_EXPORT, summary="导出文件", tags=["查询"], sync_to_thread=True,
         before_request=only_known)  # fmt: skip
    def exports(viewer: Looking, name: FromPath[str], as_of: AsOf = None) -> Response[bytes]:
        """文件名为 统计期.格式，如 2022Q1.csv；格式有 csv 和 json。"""
        text, dot, kind = name.rpartition(".")
        if not dot or kind not in EXPORTED:
            raise ProblemError(problem(404, "not_found", "文件名应为 统计期.csv 或 统计期.json，如 2022Q1.csv"))
        wanted, instant = _period(text), _instant(as_of)
        body = export(read_report(reader, viewer, wanted, instant), kind, seen_by(viewer))
        headers = {"Content-Disposition": f'attachment; filename="{wanted.text}.{kind}"'}
        return Response(body, media_type=EXPORTED[kind], headers=headers)

    @get("/metrics", operation_class=_METRICS, summary="Prometheus 指标", tags=["运行"], sync_to_thread=True)
    def metrics() -> Response[bytes]:
        with reader.rooms.metrics.entered():
            return Response(generate_latest(reader.metrics), media_type=METRICS_TYPE)

    return [cases, overdue, alerts, one_case, rates, exports, metrics]


def case_file_json(found: CaseFile, as_of: datetime) -> dict[str, Any]:
    """A case as `/v1/cases/…` and `liuyan case --json` show it: its members, and what explains them."""
    return {
        **msgspec.to_builtins(found.case, builtin_types=(datetime, date)),
        "as_of": isoformat(as_of),
        "explanation": found.explanation,
        "events": found.events,
        "alerts": found.alerts,
    }


_LIST = operation({"200": reply("一页办件", "CasePage"), **problems(400, 401, 503)}, schemes=WHO)
_ALERTS = operation({"200": reply("一页提醒", "AlertPage"), **problems(400, 401, 503)}, schemes=WHO)
_CASE = operation({"200": reply("办件", "CaseFile"), **problems(400, 401, 404, 503)}, schemes=WHO)
_RATES = operation({"200": reply("统计", "Report"), **problems(400, 401, 503)}, schemes=WHO)
_METRICS = operation(
    {"200": {"description": "指标", "content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(503)}
)
_EXPORT = operation(
    {
        "200": {
            "description": "文件",
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Report"}},
                "text/csv": {"schema": {"type": "string"}},
            },
        },
        **problems(400, 401, 404, 503),
    },
    schemes=WHO,
)
