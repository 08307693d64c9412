"""The OpenAPI document: valid, complete, and true — whatever is sent, the service answers as it says there."""

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.definitions import OPENAPI_31

from services.compose.demo.quarter import quarter_events
from services.ingest.app import MAX_BATCH
from services.ingest.examples import BATCH as EXAMPLE_BATCH
from services.ingest.examples import EVENTS
from tests.service import BATCH, SINGLE, Served, assembled, platform_of, served

PAGES = {
    "/", "/print", "/cases/{platform}/{subject}", "/calendar", "/statistics", "/live", "/shifts", "/notices",
    "/cases/{platform}/{subject}/acknowledge", "/static/{version}/{name}",
    "/sign-in", "/sign-out", "/sign-out/everywhere", "/account", "/account/password",
}  # fmt: skip
NOT_DOCUMENTED = PAGES | {"/schema", "/schema/openapi.json", "/schema/{path}"}
TRUTHS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("openapi") / "openapi.db") as found:
        yield found


@pytest.fixture(scope="module")
def document(service: Served) -> Any:
    return service.json("/schema/openapi.json")


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def texts(value: Any, member: str) -> Iterator[str]:
    """All texts under members of that name."""
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        if name == member and isinstance(inner, str):
            yield inner
        elif isinstance(inner, (dict, list)):
            yield from texts(inner, member)


def validator(document: Any, name: str) -> Any:
    """A validator for a component of the document."""
    return jsonschema_rs.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": document["components"]}, validate_formats=True
    )


# The document


def test_the_document_is_valid_openapi_3_1(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")
    errors = jsonschema_rs.validator_for(OPENAPI_31).iter_errors(document)
    assert [f"{list(error.instance_path)}: {error.message}" for error in errors] == []


def test_every_reference_leads_somewhere_and_every_schema_is_one(document: Any) -> None:
    found = set(references(document["paths"])) | set(references(document["components"]))
    assert len(found) > 30
    for reference in found:
        prefix, name = reference.rsplit("/", 1)
        assert prefix == "#/components/schemas"
        assert name in document["components"]["schemas"], reference
    for name, schema in document["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(schema | {"$schema": "https://json-schema.org/draft/2020-12/schema"}), name


def test_the_patterns_are_those_of_json_schema(document: Any) -> None:
    """JSON Schema's are ECMA 262's, which knows no \\A and no \\Z."""
    patterns = set(texts(document, "pattern"))
    assert len(patterns) >= 3
    assert [pattern for pattern in patterns if re.search(r"\\[AZz]|\(\?[P<]", pattern)] == []


def test_every_route_is_documented(service: Served, document: Any) -> None:
    paths = {re.sub(r"{(\w+):\w+}", r"{\1}", route.path) for route in service.app.routes}
    assert set(document["paths"]) == paths - NOT_DOCUMENTED


def test_every_operation_says_what_it_is_in_chinese_and_what_it_answers(document: Any) -> None:
    identifiers = []
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        identifiers.append(operation["operationId"])
        assert re.search("[\u4e00-\u9fff]", operation["summary"]), where
        assert operation["responses"], where
        for status, answer in operation["responses"].items():
            assert re.search("[\u4e00-\u9fff]", answer["description"]), f"{where} {status}"
            for media_type, content in answer.get("content", {}).items():
                assert content["schema"], f"{where} {status} {media_type}"
                if status >= "400" and not path.endswith("z"):
                    assert media_type == "application/problem+json" or (status, path) == ("422", "/v1/events")
        for parameter in operation.get("parameters", []):
            assert re.search("[\u4e00-\u9fff]", parameter.get("description", "")) or parameter["in"] == "path"
    assert len(identifiers) == len(set(identifiers))


def test_pushing_needs_the_key_and_reading_a_token_or_a_session(document: Any) -> None:
    schemes = document["components"]["securitySchemes"]
    assert {name: (scheme["type"], scheme.get("scheme") or scheme["in"]) for name, scheme in schemes.items()} == {
        "key": ("http", "bearer"), "token": ("http", "bearer"), "session": ("apiKey", "cookie"),
    }  # fmt: skip
    needed = {
        (path, method): [name for each in operation.get("security", []) for name in each]
        for path, method, operation in operations(document)
    }
    assert needed.pop(("/v1/events", "post")) == ["key"]
    assert {path for (path, _), names in needed.items() if not names} == {"/livez", "/readyz", "/metrics"}
    reading = [names for (_, method), names in needed.items() if names and method == "get"]
    assert {tuple(names) for names in reading} == {("token", "session")}
    assert {tuple(names) for (_, method), names in needed.items() if method == "post"} == {("session",)}


def test_the_limits_of_the_contract_stand_in_the_document(document: Any) -> None:
    limits = [
        parameter["schema"]
        for path in ("/v1/cases", "/v1/overdue", "/v1/alerts")
        for parameter in document["paths"][path]["get"]["parameters"]
        if parameter["name"] == "limit"
    ]
    assert [(limit["minimum"], limit["maximum"], limit["default"]) for limit in limits] == [(1, 500, 100)] * 3
    content = document["paths"]["/v1/events"]["post"]["requestBody"]["content"]
    assert content[BATCH]["schema"]["maxItems"] == MAX_BATCH


def test_the_examples_stand_in_the_document_and_follow_their_own_schema(document: Any) -> None:
    content = document["paths"]["/v1/events"]["post"]["requestBody"]["content"]
    assert set(content) == {SINGLE, BATCH}
    assert {name: found["value"] for name, found in content[SINGLE]["examples"].items()} == EVENTS
    assert [found["value"] for found in content[BATCH]["examples"].values()] == [EXAMPLE_BATCH]
    good = validator(document, "Event")
    for name, example in EVENTS.items():
        assert [error.message for error in good.iter_errors(example)] == [], name


def test_no_schema_offers_what_only_the_door_itself_writes(document: Any) -> None:
    received = document["components"]["schemas"]["ReceivedData"]["properties"]
    assert set(received) == {"category", "title", "content", "contact"}


@pytest.mark.parametrize(
    "change",
    [
        {"specversion": "0.3"},
        {"id": ""},
        {"subject": "a/b"},
        {"source": "zhenkang"},
        {"type": "x"},
        {"data": []},
        {"id": 5},
    ],
    ids=str,
)
def test_what_the_door_refuses_by_its_form_the_schema_refuses_too(document: Any, change: dict[str, Any]) -> None:
    assert not validator(document, "Event").is_valid(EVENTS["received"] | change)


def test_the_answers_follow_their_schemas(service: Served, document: Any) -> None:
    service.push_batch(list(EVENTS.values()))
    for path, schema in (
        ("/v1/cases", "CasePage"), ("/v1/overdue", "CasePage"), ("/v1/alerts", "AlertPage"), ("/v1/cases/zhenkang/zk-000123", "CaseFile"),
        ("/v1/rates", "Report"), ("/v1/exports/2022Q1.json", "Report"),
    ):  # fmt: skip
        errors = validator(document, schema).iter_errors(service.json(path))
        assert [f"{path} {list(error.instance_path)}: {error.message}" for error in errors] == []


# Whatever is sent


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with the quarter in it, without a client: schemathesis brings its own."""
    file = tmp_path_factory.mktemp("schemathesis") / "quarter.db"
    with served(file) as filling:
        for platform, events in itertools.groupby(sorted(quarter_events(), key=platform_of), platform_of):
            filling.push_batch(list(events), platform)
    with assembled(file) as service:
        yield service


@pytest.fixture(scope="module")
def api(whole: Served) -> Any:
    return schemathesis.openapi.from_asgi("/schema/openapi.json", whole.app)


def search(cases: Any, examples: int, send: Callable[[schemathesis.Case], None]) -> None:
    """Send so many generated cases; the same ones every time."""

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=cases)
    def sent(case: schemathesis.Case) -> None:
        send(case)

    sent()


def with_key(service: Served) -> Callable[[schemathesis.Case], None]:
    headers = {"Authorization": f"Bearer {service.keys['zhenkang']}"}
    return lambda case: case.call_and_validate(headers=headers, checks=TRUTHS)


OPERATIONS = [
    ("POST", "/v1/events"), ("GET", "/v1/cases"), ("GET", "/v1/overdue"), ("GET", "/v1/alerts"), ("GET", "/v1/cases/{platform}/{subject}"),
    ("GET", "/v1/notices"), ("GET", "/v1/shifts"), ("POST", "/v1/shifts"), ("POST", "/v1/alerts/{alert}/acknowledge"),
    ("GET", "/v1/rates"), ("GET", "/v1/exports/{name}"), ("GET", "/metrics"), ("GET", "/livez"), ("GET", "/readyz"),
]  # fmt: skip
TAKING_NOTHING = ("/metrics", "/livez", "/readyz")
KNOWN_PLACES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/cases/{platform}/{subject}", {"path_parameters": {"platform": "zhenkang", "subject": "zk-2022-0015"}}),
    ("/v1/exports/{name}", {"path_parameters": {"name": "2022Q1.csv"}}),
    ("/v1/exports/{name}", {"path_parameters": {"name": "2022Q1.json"}}),
    ("/v1/rates", {"query": {"period": "2022"}}),
    ("/v1/cases", {"query": {"platform": "zhenkang"}}),
    ("/v1/overdue", {"query": {"county": "zhenkang"}}),
    ("/v1/alerts", {"query": {"rung": "overdue"}}),
]


def test_the_operations_tried_below_are_all_there_are(document: Any) -> None:
    assert {(method.upper(), path) for path, method, _ in operations(document)} == set(OPERATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda text: text)
def test_whatever_is_sent_is_answered_as_documented(
    whole: Served, api: Any, method: str, path: str, mode: GenerationMode
) -> None:
    if not (path in TAKING_NOTHING and mode is GenerationMode.NEGATIVE):  # then there is nothing to make wrong
        search(api[path][method].as_strategy(generation_mode=mode), 40, with_key(whole))


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_whatever_else_is_in_an_event_of_the_right_platform_it_is_answered_as_documented(
    whole: Served, api: Any, mode: GenerationMode
) -> None:
    search(api["/v1/events"]["POST"].as_strategy(generation_mode=mode).map(of_zhenkang), 80, with_key(whole))


def of_zhenkang(case: schemathesis.Case) -> schemathesis.Case:
    """The case with a platform and a time that let its events pass the first questions of the door."""

    def moved(value: Any) -> Any:
        there = {"source": "/platforms/zhenkang", "time": "2022-03-01T09:12:00+08:00"}
        return value | there if isinstance(value, dict) else value

    case.body = [moved(item) for item in case.body] if isinstance(case.body, list) else moved(case.body)
    return case


@pytest.mark.slow
@pytest.mark.parametrize(("path", "fixed"), KNOWN_PLACES, ids=str)
def test_whatever_else_is_asked_of_what_is_there_is_answered_as_documented(
    whole: Served, api: Any, path: str, fixed: dict[str, Any]
) -> None:
    search(api[path]["GET"].as_strategy(**fixed), 20, with_key(whole))


@pytest.mark.slow
def test_without_a_key_whatever_is_pushed_is_answered_as_documented(api: Any) -> None:
    search(api["/v1/events"]["POST"].as_strategy(), 20, lambda case: case.call_and_validate(checks=TRUTHS))
