"""Alertmanager's configuration: what is generated is committed and taken, and every alert goes where it belongs."""

import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.alertmanager.generate import configuration, main, text
from shared.rules import Ruleset
from tests.docs.markdown import ROOT
from tests.monitoring.programs import program
from tests.monitoring.test_rules import ALERTS

COMMITTED = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
TOWN = """
city = "示范市"

[[platform]]
slug = "shifan"
name = "市政府"
county = "municipal"
county_name = "市本级"

[[platform]]
slug = "dongxian"
name = "东县"
county = "dongxian"
county_name = "东县"
"""


def amtool(*arguments: object) -> str:
    done = subprocess.run(
        [program("amtool"), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def route(file: Path, **labels: str) -> list[str]:
    """The receivers of an alert with these labels."""
    given = [f"{name}={value}" for name, value in labels.items()]
    return amtool("config", "routes", "test", f"--config.file={file}", *given).split()


def test_what_is_committed_is_what_is_generated_for_the_shipped_city(rules: Ruleset) -> None:
    assert COMMITTED.read_text(encoding="utf-8") == text(rules.registry), "run python -m deploy.alertmanager.generate"


def test_it_is_taken() -> None:
    assert "SUCCESS" in amtool("check-config", COMMITTED)


def test_each_county_hears_of_its_own(rules: Ruleset) -> None:
    for county in rules.registry.county_names:
        for severity in ("warning", "info"):
            labels = {"alertname": "LiuyanOverdue", "scope": "county", "severity": severity, "county": county}
            assert route(COMMITTED, **labels) == [f"county-{county}"]


def test_what_is_of_no_county_of_the_registry_is_for_the_city() -> None:
    assert route(COMMITTED, alertname="LiuyanOverdue", scope="county", county="elsewhere") == ["city"]


@pytest.mark.parametrize("alert", [alert for alert, rule in ALERTS.items() if rule["labels"]["scope"] != "county"])
def test_the_others_are_for_those_who_run_it_or_keep_the_citys_files(alert: str) -> None:
    labels = ALERTS[alert]["labels"]
    wanted = "heartbeat" if alert == "Watchdog" else {"pipeline": "operators", "city": "city"}[labels["scope"]]
    assert route(COMMITTED, alertname=alert, **labels) == [wanted]


def test_what_nobody_foresaw_is_for_those_who_run_it() -> None:
    assert route(COMMITTED, alertname="NodeDown") == ["operators"]


def test_a_pipeline_that_stands_still_mutes_the_counties_and_the_switch_is_never_muted() -> None:
    """As the labels of the rules say: what is a source, what a target."""

    def matches(matchers: list[str], labels: dict[str, str]) -> bool:
        wanted = dict(matcher.replace('"', "").split("=") for matcher in matchers)
        return wanted.items() <= labels.items()

    rules = yaml.safe_load(COMMITTED.read_text(encoding="utf-8"))["inhibit_rules"]
    muted: dict[str, set[str]] = {alert: set() for alert in ALERTS}
    for rule in rules:
        for source, target in ((a, b) for a in ALERTS for b in ALERTS):
            of, to = ALERTS[source]["labels"], ALERTS[target]["labels"]
            if matches(rule["source_matchers"], of) and matches(rule["target_matchers"], to):
                muted[target].add(source)
    critical = {alert for alert, rule in ALERTS.items() if rule["labels"]["severity"] == "critical"}
    assert critical == {
        "LiuyanMetricsAbsent", "LiuyanServiceDown", "LiuyanNotReady", "LiuyanSweepStalled", "LiuyanHorizonStalled",
    }  # fmt: skip
    for alert, rule in ALERTS.items():
        quiet = rule["labels"]["scope"] == "county" or rule["labels"] == {"severity": "warning", "scope": "pipeline"}
        assert muted[alert] == (critical if quiet else set()), alert


def test_another_city_generates_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "platforms.toml").write_text(TOWN, encoding="utf-8")
    monkeypatch.setenv("LIUYAN_PLATFORMS", str(tmp_path / "platforms.toml"))
    main(["--to", "http://alerts.example/in/", "--heartbeat", "http://beat.example/liuyan"], standalone_mode=False)
    written = tmp_path / "alertmanager.yml"
    written.write_text(capsys.readouterr().out, encoding="utf-8")
    assert "示范市" in written.read_text(encoding="utf-8")
    assert "SUCCESS" in amtool("check-config", written)
    assert route(written, alertname="LiuyanOverdue", scope="county", county="dongxian") == ["county-dongxian"]
    assert route(written, alertname="LiuyanOverdue", scope="county", county="zhenkang") == ["city"]
    found = {
        each["name"]: each["webhook_configs"][0]["url"] for each in yaml.safe_load(written.read_text())["receivers"]
    }
    assert found["county-dongxian"] == "http://alerts.example/in/county-dongxian"
    assert found["heartbeat"] == "http://beat.example/liuyan"


def test_every_receiver_is_used_and_the_switch_does_not_tell_of_an_end(rules: Ruleset) -> None:
    found = configuration(rules.registry)

    def used(each: dict[str, object]) -> set[str]:
        return {str(each["receiver"])}.union(*(used(child) for child in each.get("routes", [])))  # type: ignore[attr-defined]

    assert {receiver["name"] for receiver in found["receivers"]} == used(found["route"])
    (beat,) = (receiver for receiver in found["receivers"] if receiver["name"] == "heartbeat")
    assert beat["webhook_configs"][0]["send_resolved"] is False
