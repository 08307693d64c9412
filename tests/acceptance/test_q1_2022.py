"""The published figures of the first quarter of 2022 come out of every outlet, however the events came in.

Three ways in: the demonstration's own filling, `liuyan replay` of a file (shuffled, with duplicates), and pushes over HTTP in
batches. Every outlet is compared with q1-2022.json, and the ways with one another, byte for byte.
"""

import csv
import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.compose.demo.quarter import AS_OF, QUARTER, quarter_events
from services.standalone import live
from services.standalone.database import open_database
from shared.figures import percent
from shared.times import isoformat
from tests.builders import shipped_rules
from tests.service import Json, Running, Served, liuyan, platform_of, ran, running, served

PUBLISHED = json.loads((Path(__file__).parent / "q1-2022.json").read_text(encoding="utf-8"))
BATCHES = (1, 37, 250)
NUMBERS = ("received", "accountable", "on_time", "late", "overdue", "pending")


def fill_like_the_demo(file: Path) -> None:
    database = open_database(file, create=True)
    live.fill(database, shipped_rules())
    database.close()


def replay_a_shuffled_file_with_duplicates(file: Path) -> None:
    rng = random.Random(49)  # noqa: S311 - an order, not a secret
    events = quarter_events()
    lines = [json.dumps(event, ensure_ascii=False) for event in events + rng.sample(events, 200)]
    rng.shuffle(lines)
    source = file.with_suffix(".jsonl")
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    told = ran("replay", source, "--db", file).out
    assert told.startswith(f"读入 {len(lines)} 行：新事件 {len(lines) - 200 - resent(events)}，重复 ")
    assert "冲突 0，不合要求 0，空行 0" in told


def resent(events: list[Json]) -> int:
    """How many of the quarter's events its own portals pushed a second time."""
    return len(events) - len({(event["source"], event["id"]) for event in events})


def push_over_http_in_batches(file: Path) -> None:
    by_platform: dict[str, list[Json]] = {}
    for event in quarter_events():
        by_platform.setdefault(platform_of(event), []).append(event)
    with served(file, AS_OF) as service:
        for number, (platform, events) in enumerate(by_platform.items()):
            size = BATCHES[number % len(BATCHES)]
            for start in range(0, len(events), size):
                answer = service.push_batch(events[start : start + size], platform)
                assert answer.status_code == 202, answer.text


WAYS_IN: tuple[Callable[[Path], None], ...] = (
    fill_like_the_demo,
    replay_a_shuffled_file_with_duplicates,
    push_over_http_in_batches,
)


class Loaded:
    """A database with the quarter, asked over HTTP as of the demonstration's clock and on the command line."""

    def __init__(self, file: Path, service: Served) -> None:
        self.file, self.service = file, service

    def export(self, kind: str) -> bytes:
        return ran("export", QUARTER, "--as-of", isoformat(AS_OF), "--format", kind, "--db", self.file).raw


@pytest.fixture(scope="module", params=WAYS_IN, ids=lambda way: way.__name__)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    file = tmp_path_factory.mktemp("quarter") / "q.db"
    request.param(file)
    with served(file, AS_OF) as service:
        yield Loaded(file, service)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    file = tmp_path_factory.mktemp("demo") / "q.db"
    fill_like_the_demo(file)
    with served(file, AS_OF) as service:
        yield Loaded(file, service)


def assert_published(report: Any) -> None:
    """The report (JSON) says what the city published."""
    rows, total = report["rows"], report["total"]
    assert report["period"] == PUBLISHED["period"]
    assert report["as_of"] == "2022-04-11T00:00:00+08:00"
    assert [(row["platform"], row["received"]) for row in rows] == list(PUBLISHED["received"].items())
    assert {row["platform"]: row["overdue"] for row in rows if row["overdue"]} == PUBLISHED["overdue"]
    assert total["received"] == PUBLISHED["total"]["received"]
    assert total["on_time"] + total["late"] == PUBLISHED["total"]["on_time_or_late"]
    assert total["completion_rate"] == PUBLISHED["total"]["completion_rate"]
    for counts in (*rows, total):
        assert counts["accountable"] == counts["on_time"] + counts["late"] + counts["overdue"] + counts["pending"]
    for name in NUMBERS:
        assert total[name] == sum(row[name] for row in rows)


# Every way in, every way out


def test_the_rates_over_http_are_those_published(loaded: Loaded) -> None:
    assert_published(loaded.service.json("/v1/rates", period=QUARTER))
    assert_published(loaded.service.json("/v1/rates", period=QUARTER, as_of=isoformat(AS_OF)))


def test_the_json_export_is_that_published_and_the_same_over_http_and_on_the_command_line(loaded: Loaded) -> None:
    exported = loaded.service.get(f"/v1/exports/{QUARTER}.json").content
    assert_published(json.loads(exported))
    assert loaded.service.get(f"/v1/exports/{QUARTER}.json", as_of=isoformat(AS_OF)).content == exported
    assert loaded.export("json") == exported


def test_the_csv_export_is_that_published_and_the_same_over_http_and_on_the_command_line(loaded: Loaded) -> None:
    exported = loaded.service.get(f"/v1/exports/{QUARTER}.csv").content
    assert loaded.export("csv") == exported
    assert exported.startswith(b"\xef\xbb\xbf")
    table = list(csv.reader(io.StringIO(exported.decode("utf-8-sig"))))
    rows = [dict(zip(table[0], line, strict=True)) for line in table[1:12]]
    assert [int(row["接到留言"]) for row in rows[:-1]] == list(PUBLISHED["received"].values())
    assert {row["平台"]: int(row["逾期未办结"]) for row in rows[:-1] if row["逾期未办结"] != "0"} == {"镇康县": 5}
    assert rows[-1]["平台"] == "合计"
    assert int(rows[-1]["接到留言"]) == PUBLISHED["total"]["received"]
    assert int(rows[-1]["按时办结"]) + int(rows[-1]["逾期办结"]) == PUBLISHED["total"]["on_time_or_late"]
    assert rows[-1]["办结率(%)"] == PUBLISHED["total"]["completion_rate"]
    assert rows[1]["办结率(%)"] == "—"


def test_the_text_export_is_the_published_sentence_to_the_letter(loaded: Loaded) -> None:
    assert loaded.export("text").decode("utf-8") == PUBLISHED["sentence"] + "\n"


def test_the_metrics_hold_the_published_figures(loaded: Loaded) -> None:
    cases: dict[tuple[str, str], float] = {}
    ratios: dict[str, float] = {}
    for family in text_string_to_metric_families(loaded.service.metrics()):
        for sample in family.samples:
            if sample.labels.get("period") != QUARTER:
                continue
            if sample.name == "liuyan_period_cases":
                cases[sample.labels["platform"], sample.labels["outcome"]] = sample.value
            elif sample.name == "liuyan_completion_ratio":
                ratios[sample.labels["platform"]] = sample.value
    received = {
        platform: sum(n for (slug, _), n in cases.items() if slug == platform) for platform in PUBLISHED["received"]
    }
    assert received == PUBLISHED["received"]
    assert {platform: n for (platform, outcome), n in cases.items() if outcome == "overdue" and n} == PUBLISHED[
        "overdue"
    ]
    sums = {
        outcome: sum(n for (_, o), n in cases.items() if o == outcome) for outcome in ("on_time", "late", "overdue")
    }
    done, accountable = int(sums["on_time"] + sums["late"]), int(sum(sums.values()))
    assert (done, accountable) == (109, 114)
    assert percent(done, accountable) == PUBLISHED["total"]["completion_rate"]
    assert ratios == {
        platform: (number - PUBLISHED["overdue"].get(platform, 0)) / number
        for platform, number in PUBLISHED["received"].items()
        if number
    }


def test_no_way_in_makes_a_difference_to_any_export_case_or_count(loaded: Loaded, demo: Loaded) -> None:
    for kind in ("json", "csv", "text"):
        assert loaded.export(kind) == demo.export(kind), kind
    listed = [ran("cases", "--as-of", isoformat(AS_OF), "--jsonl", "--db", place.file).raw for place in (loaded, demo)]
    assert listed[0] == listed[1]
    assert len(listed[0].splitlines()) == 114
    tallies = [
        [line for line in place.service.metrics().splitlines() if "tally_gap{" in line] for place in (loaded, demo)
    ]
    assert tallies[0] == tallies[1]
    assert all(line.endswith(" 0.0") for line in tallies[0])


def test_a_recount_from_the_log_finds_no_difference(loaded: Loaded) -> None:
    assert liuyan("reconcile", "--db", loaded.file)[:2] == (0, "核对完毕，没有差异\n".encode())


def test_the_months_add_up_to_the_quarter_and_the_quarter_to_the_year(loaded: Loaded) -> None:
    def total(period: str) -> dict[str, int]:
        counts = loaded.service.json("/v1/rates", period=period, as_of=isoformat(AS_OF))["total"]
        return {name: counts[name] for name in NUMBERS}

    months = [total(f"2022-0{month}") for month in (1, 2, 3)]
    assert {name: sum(month[name] for month in months) for name in NUMBERS} == total(QUARTER) == total("2022")


@pytest.mark.parametrize("printed", PUBLISHED["rates_printed_alike"], ids=lambda printed: printed["rate"])
def test_rates_are_printed_as_the_city_prints_them(printed: Json) -> None:
    assert percent(printed["passed"], printed["of"]) == printed["rate"]


# The demonstration as a person starts it


@pytest.fixture(scope="module")
def demonstration() -> Iterator[Running]:
    with running(None) as service:
        yield service


@pytest.mark.slow
def test_the_demonstration_prints_the_published_sentence_and_serves_the_published_figures(
    demonstration: Running,
) -> None:
    assert PUBLISHED["sentence"] in demonstration.lines
    assert_published(demonstration.json("/v1/rates", period=QUARTER, as_of=isoformat(AS_OF)))
    exported = demonstration.get(f"/v1/exports/{QUARTER}.json", as_of=isoformat(AS_OF)).content
    with_options = ("--as-of", isoformat(AS_OF), "--db", demonstration.database)
    assert ran("export", QUARTER, "--format", "json", *with_options).raw == exported
    assert ran("export", QUARTER, "--format", "text", *with_options).out == PUBLISHED["sentence"] + "\n"


@pytest.mark.slow
def test_the_demonstrations_metrics_hold_the_published_figures(demonstration: Running) -> None:
    lines = [line for line in demonstration.metrics().splitlines() if f'period="{QUARTER}"' in line]
    overdue = [line for line in lines if 'outcome="overdue"' in line and not line.endswith(" 0.0")]
    assert overdue == [
        'liuyan_period_cases{county="zhenkang",outcome="overdue",period="2022Q1",platform="zhenkang"} 5.0'
    ]


@pytest.mark.slow
def test_the_demonstration_leaves_nothing_behind() -> None:
    with running(None) as service:
        folder = service.database.parent
        assert service.database.exists()
        assert service.stop() == 0
    assert not folder.exists()
