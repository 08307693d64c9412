"""The API reference: every endpoint, member and reason of the code stands in it, and its examples are real."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from services.alerts.journal import AlertPage, Recorded
from services.alerts.notices.listing import Notice, NoticePage
from services.alerts.notices.shifts import Shift
from services.alerts.queries import Summary
from services.compose.clock import SystemClock
from services.compose.people import everybody
from services.ingest.app import Item
from services.ingest.door import Door
from services.ingest.refusals import Refusal, RefusalReason
from services.sla.explain import ExplainedDay, Explanation
from services.standalone.app import create_app, metrics_registry
from services.standalone.database import open_database
from services.standalone.engine import Engine
from shared.case import Case, Ignored, Round, Suspension, Target, Targets, Tenure
from shared.figures import COUNTS, RATES
from shared.http import Problem
from shared.rules import Ruleset
from tests.docs.markdown import PAGES, ROOT, blocks, name, read, section, spans, tables

API = read("docs/api.md")


@pytest.fixture(scope="module")
def app(rules: Ruleset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Litestar]:
    database = open_database(tmp_path_factory.mktemp("app") / "docs.db", create=True)
    engine = Engine(database, rules, SystemClock())
    registry, _ = metrics_registry(database, engine, rules)
    yield create_app(engine, registry, everybody(database, rules))
    database.close()


def test_endpoints_are_documented_and_nothing_else(app: Litestar) -> None:
    served = {
        f"{method} {re.sub(r':[a-z]+', '', route.path)}"
        for route in app.routes
        for method in getattr(route, "methods", ())
        if method not in ("OPTIONS", "HEAD")
    }
    titles = re.findall(r"^### (.*`.*)$", API, re.MULTILINE)
    documented = {span for title in titles for span in re.findall(r"`([A-Z]+ /[^`]*)`", title)}
    pages = [span for row in tables(section(read("docs/duty-page.md"), "Pages"))[0] for span in spans(row[0])]
    assert documented | {page if " " in page else f"GET {page}" for page in pages} == served


def test_query_parameters_are_documented(app: Litestar) -> None:
    document = TestClient(app).get("/schema/openapi.json").json()
    for path, item in document["paths"].items():
        for parameter in item.get("get", {}).get("parameters", []):
            if parameter["in"] == "query":
                assert parameter["name"] in section(API, f"`GET {path}").replace("?", "`"), path


def test_refusals_of_the_door_and_of_the_routes_are_documented() -> None:
    listed = {spans(row[0])[0] for table in tables(section(API, "Refusals")) for row in table}
    files = ("shared/http.py", "services/alerts/app.py", "services/alerts/people/guard.py")
    code = "".join((ROOT / file).read_text(encoding="utf-8") for file in files)
    routes = set(re.findall(r'problem\(\s*\d{3}, "(\w+)"', code)) | set(re.findall(r'\d{3}: "([a-z_]+)"', code))
    assert listed >= {reason.value for reason in RefusalReason} | routes
    assert "invalid_request" in listed


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_json_in_the_documentation_is_json(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in blocks(text, "json"):
        json.loads(block.text)
    for block in blocks(text, "jsonl"):
        for line in block.text.splitlines():
            json.loads(line)


def test_examples_are_taken_by_the_door(rules: Ruleset) -> None:
    lines = [json.loads(line) for block in blocks(API, "jsonl") for line in block.text.splitlines()]
    batches = [json.loads(block.text) for block in blocks(API, "json") if block.text.startswith("[")]
    assert len(lines) == 14
    assert len(batches) == 1
    for event in (*lines, *batches[0]):
        settled = Door(rules).settle(event, "zhenkang")
        assert not isinstance(settled, Refusal), settled


def example(title: str) -> dict[str, object]:
    value: dict[str, object] = json.loads(blocks(section(API, title), "json")[0].text)
    return value


def test_the_example_of_a_batchs_answer_has_the_members_of_the_code() -> None:
    taken, refused = example("`POST /v1/events`")["results"]  # type: ignore[misc]
    assert {*taken, *refused} == set(Item.__struct_fields__)
    assert set(refused["problem"]) == set(Problem.__struct_fields__)
    assert refused["problem"]["reason"] in set(RefusalReason)
    assert set(example("Refusals")) == set(Problem.__struct_fields__)


def test_the_example_of_a_page_has_the_members_of_the_code() -> None:
    page = example("`GET /v1/cases`")
    assert list(page) == ["cases", "next"]
    assert list(page["cases"][0]) == list(Summary.__struct_fields__)  # type: ignore[index]


def test_the_example_of_alerts_has_the_members_of_the_code() -> None:
    page = example("`GET /v1/alerts`")
    assert list(page) == list(AlertPage.__struct_fields__)
    assert list(page["alerts"][0]) == list(Recorded.__struct_fields__)  # type: ignore[index]


def test_the_example_of_notices_has_the_members_of_the_code() -> None:
    page = example("`GET /v1/notices`")
    assert list(page) == list(NoticePage.__struct_fields__)
    assert list(page["notices"][0]) == list(Notice.__struct_fields__)  # type: ignore[index]
    assert set(Shift.__struct_fields__) <= set(spans(section(API, "`GET /v1/shifts`")))


def test_the_example_of_figures_has_the_members_of_the_code() -> None:
    figures = example("`GET /v1/rates`")
    assert list(figures) == ["period", "as_of", "ruleset", "rows", "total", "definitions"]
    assert list(figures["rows"][0]) == ["platform", "name", "county", *COUNTS, *RATES]  # type: ignore[index]


def test_the_members_of_a_case_are_documented() -> None:
    part = section(API, "`GET /v1/cases/{platform}/{subject}`")
    (rows,) = tables(part)
    listed = [span for row in rows for span in spans(row[0])]
    assert sorted(listed) == sorted([*Case.__struct_fields__, "as_of", "explanation", "events", "alerts"])
    words = set(re.findall(r"\w+", part))
    for kind in (Round, Targets, Target, Ignored, Explanation, ExplainedDay):
        assert set(kind.__struct_fields__) <= words, kind.__name__
    for kind in (Tenure, Suspension):
        assert set(kind.__struct_encode_fields__) <= words, kind.__name__
