"""Grafana's dashboards: what is generated is committed, is what the SDK knows, and every panel finds series in a real Prometheus."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client import start_http_server

from deploy.grafana.generate import DUTY_PAGE, FOLDER, TITLES, main, text
from services.distributed.alerts import HORIZON
from services.sla.worker.health import Health
from services.sla.worker.watchdog import Position, Watchdog
from shared.metrics import TimestampCollector
from tests.monitoring.servers import Prometheus, prometheus
from tests.service import running, until

PROVISIONING = FOLDER.parent / "provisioning"
CHOSEN = {"$period": "2022Q1", "$county": "镇康县", "$__rate_interval": "10s"}
BOARDS: dict[str, dict[str, Any]] = {
    uid: json.loads((FOLDER / f"{uid}.json").read_text(encoding="utf-8")) for uid in TITLES
}


class Query(NamedTuple):
    board: str
    panel: str
    ref: str
    expr: str


QUERIES = [
    Query(uid, panel["title"], target["refId"], target["expr"])
    for uid, board in BOARDS.items()
    for panel in board["panels"]
    for target in panel["targets"]
]

every_board = pytest.mark.parametrize("uid", TITLES)


@every_board
def test_what_is_committed_is_what_is_generated(uid: str) -> None:
    assert (FOLDER / f"{uid}.json").read_text(encoding="utf-8") == text(uid), "run python -m deploy.grafana.generate"


def test_no_other_dashboard_is_committed() -> None:
    assert sorted(file.stem for file in FOLDER.iterdir()) == sorted(TITLES)


@every_board
def test_it_is_what_the_sdk_knows(uid: str) -> None:
    """Read by the SDK and written again, nothing is lost."""
    again = json.loads(json.dumps(Dashboard.from_json(BOARDS[uid]), cls=JSONEncoder))
    for ours, theirs in zip(BOARDS[uid]["panels"], again["panels"], strict=True):
        assert ours.keys() <= theirs.keys()
        assert [target["expr"] for target in theirs["targets"]] == [target["expr"] for target in ours["targets"]]
    links = [{**link, "placement": ""} for link in again["links"]]  # the SDK reads it as its own default
    rest = again | {"links": links, "panels": []}
    assert rest == BOARDS[uid] | {"panels": []}


@every_board
def test_it_is_chinese_at_shanghais_time_and_leads_to_the_duty_page(uid: str) -> None:
    board = BOARDS[uid]
    assert (board["uid"], board["timezone"]) == (uid, "Asia/Shanghai")
    assert board["links"][0]["title"] == "值班页"
    assert board["links"][0]["url"] == DUTY_PAGE
    shown = [board["title"], *(panel["title"] for panel in board["panels"])]
    shown += [variable["label"] for variable in board["templating"].get("list", [])]
    assert all(re.search(r"[\u4e00-\u9fff]", title) for title in shown)


@every_board
def test_panels_have_numbers_of_their_own_and_do_not_overlap(uid: str) -> None:
    panels = BOARDS[uid]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + dx, at["y"] + dy) for dx in range(at["w"]) for dy in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


@every_board
def test_every_source_and_variable_is_there(uid: str) -> None:
    board = BOARDS[uid]
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "liuyan.yaml").read_text(encoding="utf-8"))[
        "datasources"
    ]
    named = {(each["datasource"]["type"], each["datasource"]["uid"]) for each in board["panels"]}
    named |= {
        (target["datasource"]["type"], target["datasource"]["uid"]) for p in board["panels"] for target in p["targets"]
    }
    assert named == {(source["type"], source["uid"])}
    known = {f"${variable['name']}" for variable in board["templating"].get("list", [])} | {"$__rate_interval"}
    assert set(re.findall(r"\$\w+", json.dumps(board))) <= known


def test_the_dashboards_are_looked_for_in_one_folder() -> None:
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "liuyan.yaml").read_text(encoding="utf-8"))["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)


def test_another_address_of_the_duty_page(tmp_path: Path) -> None:
    main(["--duty-page", "https://duty.example/", "--out", str(tmp_path)], standalone_mode=False)
    for uid in TITLES:
        assert json.loads((tmp_path / f"{uid}.json").read_text())["links"][0]["url"] == "https://duty.example/"


@pytest.fixture(scope="module")
def scraping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Scrapes the running demonstration, and a worker of the other form, whose lag is made up."""
    health = Health(Watchdog())
    health.see({0: Position(12, 10)})
    health.registry.register(TimestampCollector(*HORIZON, time.time))
    other, thread = start_http_server(0, "127.0.0.1", health.registry)
    folder = tmp_path_factory.mktemp("grafana")
    try:
        with running(None) as demo:
            targets = [demo.url.removeprefix("http://"), f"127.0.0.1:{other.server_port}"]
            with prometheus(folder / "prometheus", targets) as server:
                until(lambda: len(server.query("up == 1")) == 2, "both are scraped")
                until(lambda: server.query('rate(process_cpu_seconds_total{job="liuyan"}[10s])'), "more than once")
                until(
                    lambda: server.query('ALERTS{alertname="LiuyanOverdue", county="zhenkang"}'),
                    "the rules are applied",
                )
                yield server
    finally:
        other.shutdown()
        other.server_close()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.board}-{query.panel}-{query.ref}")
def test_every_panel_finds_series_in_the_running_demonstration(scraping: Prometheus, query: Query) -> None:
    expr = query.expr
    for name, value in CHOSEN.items():
        expr = expr.replace(name, value)
    assert until(lambda: scraping.query(expr), expr, 15)


@pytest.mark.slow
def test_every_variable_has_values_to_choose_from(scraping: Prometheus) -> None:
    for board in BOARDS.values():
        for variable in board["templating"].get("list", []):
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]).groups()  # type: ignore[union-attr]
            values = {series["metric"][label] for series in scraping.query(f"count by ({label}) ({metric})")}
            assert CHOSEN[f"${variable['name']}"] in values


def test_the_figures_are_those_of_the_published_quarter() -> None:
    """What the query of the completion rate takes: closed cases over all that are accountable."""
    (expr,) = {query.expr for query in QUERIES if query.panel == "办结率（$period）" and query.board == "liuyan-city"}
    assert re.findall(r'outcome=~"([^"]+)"', expr) == ["on_time|late", "on_time|late|overdue|pending"]
