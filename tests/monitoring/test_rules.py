"""The rules of Prometheus: valid, each tested firing and quiet, made of metrics and labels that the code has, each with its runbook."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.generate import exposed_metrics
from tests.docs.markdown import ROOT, anchors, headings, read, tables
from tests.monitoring.programs import program

FOLDER = ROOT / "deploy" / "prometheus"
STORIES = sorted((Path(__file__).parent / "rules").glob("*.yml"))
CONFIGURATIONS = sorted(FOLDER.glob("prometheus*.yml"))
RUNBOOKS = ("docs/runbooks.md", "docs/runbooks.zh-CN.md")

FOREIGN = {"up": {"job", "instance"}, "process_start_time_seconds": {"job", "instance"}}
"""Metrics of Prometheus itself and of its client library."""
HISTORY = {"ALERTS"}
WORDS = {
    "sum", "max", "min", "count", "by", "on", "and", "or", "unless", "group_left", "absent", "time", "vector", "hour", "increase",
    "changes", "last_over_time",
}  # fmt: skip


def _rules() -> list[dict[str, Any]]:
    found = yaml.safe_load((FOLDER / "rules.yml").read_text(encoding="utf-8"))
    return [rule for group in found["groups"] for rule in group["rules"]]


RULES = _rules()
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"]: rule for rule in RULES if "record" in rule}


@cache
def metrics() -> dict[str, set[str]]:
    """Name -> labels, of every metric that some service tells."""
    found = {name: set(labels) for name, _, labels, _ in exposed_metrics()}
    page = read("docs/distributed.md")
    for rows in tables(page[page.index("## Metrics") :])[1:2]:
        for row in rows:
            found[row[0].strip("`")] = set(re.findall(r"`(\w+)`", row[2]))
    return {**found, "liuyan_horizon_timestamp_seconds": set(), **FOREIGN}


def names(expression: str) -> set[str]:
    """The metrics that an expression reads."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\b(?:by|on|group_left)\s*\([^)]*\)", "", bare)
    return {
        name
        for name in re.findall(r"[a-zA-Z_][\w:]*(?!\w)", bare)
        if name not in WORDS and not re.fullmatch(r"\d*[smhd]", name)
    }


def run(name: str, *arguments: object) -> str:
    done = subprocess.run(
        [program(name), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stories(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
    return found


@cache
def samples() -> dict[str, list[dict[str, str]]]:
    """Alert -> the labels with which it fires in the stories; an empty one for each story in which it is seen to be quiet."""
    found: dict[str, list[dict[str, str]]] = {alert: [] for alert in ALERTS}
    for story in (story for file in STORIES for story in stories(file)):
        for test in story["promql_expr_test"]:
            named = [alert for alert in ALERTS if f'"{alert}"' in test["expr"]]
            if not test["exp_samples"]:
                for alert in named:
                    found[alert].append({})
            for sample in test["exp_samples"]:
                labels = dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"]))
                if labels.get("alertname") in found and labels.get("alertstate") == "firing":
                    found[labels["alertname"]].append(labels)
    return found


@pytest.mark.parametrize("file", STORIES, ids=lambda file: file.stem)
def test_every_story_goes_as_it_is_told(file: Path) -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", file)


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=lambda file: file.stem)
def test_the_configurations_and_the_rules_are_taken_by_prometheus(file: Path) -> None:
    assert "rules found" in run("promtool", "check", "config", "--lint-fatal", file)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_told_firing_and_quiet(alert: str) -> None:
    told = samples()[alert]
    assert any(told), "no story in which it fires"
    assert {} in told or alert == "Watchdog", "no story in which it does not"


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_how_urgent_it_is_whom_it_concerns_and_what_it_means_in_chinese(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"critical", "warning", "info", "none"}
    assert rule["labels"]["scope"] in {"county", "city", "pipeline"}
    for name in ("summary", "description"):
        assert re.search(r"[\u4e00-\u9fff]{2}", rule["annotations"][name])
        used = set(re.findall(r"\$labels\.(\w+)", rule["annotations"][name]))
        for labels in filter(None, samples()[alert]):
            assert used <= labels.keys(), "a label that it has not is shown as nothing"
    if rule["labels"]["scope"] == "county":
        assert all("county" in labels for labels in samples()[alert] if labels), "it could not be routed"
        assert "keep_firing_for" in rule, "it would be reported as solved when the program dies"


@pytest.mark.parametrize("alert", ALERTS)
def test_the_runbook_of_every_alert_exists(alert: str) -> None:
    page, _, anchor = ALERTS[alert]["annotations"]["runbook_url"].partition("#")
    assert page == RUNBOOKS[1]
    assert anchor == alert.lower()
    for file in RUNBOOKS:
        assert anchor in anchors(read(file))


@pytest.mark.parametrize("page", RUNBOOKS)
def test_every_runbook_has_its_alert(page: str) -> None:
    assert [heading.text for heading in headings(read(page)) if heading.level == 2] == list(ALERTS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_what_a_rule_reads_exists_with_these_labels(rule: dict[str, Any]) -> None:
    known = metrics() | {name: set() for name in RECORDED}
    read_ = names(rule["expr"])
    assert read_ <= known.keys()
    selected = re.findall(r"([\w:]+)\{([^}]*)\}", rule["expr"])
    for name, matchers in selected:
        assert set(re.findall(r'(\w+)(?:=~|!~|!=|=)"', matchers)) <= known[name]
    grouped = {
        label for labels in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in labels.replace(" ", "").split(",")
    }
    assert grouped <= set().union(*(known[name] for name in read_)) | _recorded_labels(read_)


def _recorded_labels(names_: set[str]) -> set[str]:
    expressions = [RECORDED[name]["expr"] for name in names_ if name in RECORDED]
    return {
        label
        for text in expressions
        for label in re.findall(r"\w+", " ".join(re.findall(r"(?:by|group_left) \(([^)]*)\)", text)))
    } | (_recorded_labels(set().union(*(names(text) for text in expressions))) if expressions else set())


def test_every_recorded_series_is_used() -> None:
    read_ = set().union(*(names(rule["expr"]) for rule in RULES))
    assert RECORDED.keys() <= read_


def test_both_forms_are_scraped_under_the_name_that_the_rules_count_on() -> None:
    assert [file.name for file in CONFIGURATIONS] == ["prometheus-distributed.yml", "prometheus.yml"]
    named = set(re.findall(r'job="(\w+)"', (FOLDER / "rules.yml").read_text(encoding="utf-8")))
    for file in CONFIGURATIONS:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert [job["job_name"] for job in found["scrape_configs"]] == ["liuyan"] == [*named]
        assert found["rule_files"] == ["rules.yml"]
