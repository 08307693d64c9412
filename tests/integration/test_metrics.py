"""`/metrics`: the names and labels of the contract, every platform from the start, and values that are the official figures."""

import itertools
import json
import math
import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.compose.cases import LETTER_REASONS
from services.compose.demo.quarter import AS_OF, QUARTER, quarter_events
from services.ingest.refusals import RefusalReason
from shared.case import Outcome
from shared.deployment import load_ruleset
from shared.events import EVENT_TYPES
from shared.times import isoformat
from tests.builders import at, ruleset
from tests.service import Json, Served, platform_of, served, until

RULES = load_ruleset()
PLATFORMS = {platform.slug: platform.county for platform in RULES.registry}
CATEGORIES = sorted(RULES.policies.known_categories)
NAMES = {kind.name for kind in EVENT_TYPES.values()}
OUTCOMES = {outcome.value for outcome in Outcome}
NOW = at("03-09 12:00")
CURRENT, LAST = "2022Q1", "2021Q4"

CONTRACT = {
    "liuyan_events_total": ("counter", {"platform", "type"}),
    "liuyan_events_refused_total": ("counter", {"platform", "reason"}),
    "liuyan_dead_letters_total": ("counter", {"reason"}),
    "liuyan_period_cases": ("gauge", {"platform", "county", "period", "outcome"}),
    "liuyan_completion_ratio": ("gauge", {"platform", "county", "period"}),
    "liuyan_on_time_ratio": ("gauge", {"platform", "county", "period"}),
    "liuyan_overdue_cases": ("gauge", {"platform", "county", "category"}),
    "liuyan_due_today_cases": ("gauge", {"platform", "county", "category"}),
    "liuyan_provisional_cases": ("gauge", set()),
    "liuyan_oldest_overdue_timestamp_seconds": ("gauge", {"platform"}),
    "liuyan_awaiting_reception_cases": ("gauge", {"platform"}),
    "liuyan_next_deadline_timestamp_seconds": ("gauge", set()),
    "liuyan_platform_last_event_timestamp_seconds": ("gauge", {"platform"}),
    "liuyan_tally_gap": ("gauge", {"platform"}),
    "liuyan_calendar_confirmed_until_timestamp_seconds": ("gauge", set()),
    "liuyan_overdue_flag_delay_seconds": ("histogram", set()),
    "liuyan_platform_info": ("gauge", {"platform", "name", "county", "county_name"}),
    "liuyan_working_day": ("gauge", {"county"}),
    "liuyan_platform_silent_working_days": ("gauge", {"platform"}),
    "liuyan_sweep_timestamp_seconds": ("gauge", set()),
    "liuyan_live": ("gauge", {"service"}),
    "liuyan_ready": ("gauge", {"service"}),
}
"""Of the product's metrics (docs/metrics.md), all but the consumers' lag: the embedded engine has no consumers."""


class Scrape:
    """One answer of `/metrics`, read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [
            sample for family in self.families.values() for sample in family.samples if "liuyan_" in sample.name
        ]  # not the process's own

    def __call__(self, name: str, **labels: str) -> float | None:
        """The value of the one sample of that name and these labels; None when there is none."""
        found = [s.value for s in self.samples if s.name == f"liuyan_{name}" and labels.items() <= s.labels.items()]
        assert len(found) <= 1, f"{name}{labels} is not one sample"
        return found[0] if found else None

    def sum(self, name: str, **labels: str) -> float:
        return sum(s.value for s in self.samples if s.name == f"liuyan_{name}" and labels.items() <= s.labels.items())

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(s.labels) for s in self.samples if s.name == f"liuyan_{name}"]


def scrape(service: Served) -> Scrape:
    service.settle()
    return Scrape(service.metrics())


def event(key: str, name: str, time: str, **data: Any) -> Json:
    platform, subject = key.split("/")
    moment = at(time)
    return {
        "specversion": "1.0", "id": f"{subject}-{name}-{moment:%m%d%H%M}", "source": f"/platforms/{platform}",
        "type": f"liuyan.message.{name}.v1", "subject": subject, "time": isoformat(moment), "data": data,
    }  # fmt: skip


def tally(platform: str, day: str, received: int, time: str) -> Json:
    return {
        "specversion": "1.0", "id": f"tally-{day}-{time}", "source": f"/platforms/{platform}",
        "type": "liuyan.platform.tally.v1", "time": isoformat(at(time)), "data": {"date": day, "received": received},
    }  # fmt: skip


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "fresh.db", NOW) as service:
        yield service


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("quarter") / "quarter.db", AS_OF) as service:
        for platform, events in itertools.groupby(sorted(quarter_events(), key=platform_of), platform_of):
            assert service.push_batch(list(events), platform).status_code == 202
        yield service


# From the start


def test_every_metric_of_the_contract_is_there_from_the_start_and_no_other(fresh: Served) -> None:
    found = scrape(fresh)
    kinds = {
        f"{name}_total" if family.type == "counter" else name: family.type
        for name, family in found.families.items()
        if not name.startswith("process_")
    }
    assert kinds == {name: kind for name, (kind, _) in CONTRACT.items()}
    assert all(family.documentation for family in found.families.values())


def test_every_platform_is_there_from_the_start_with_every_label(fresh: Served) -> None:
    found = scrape(fresh)

    def combinations(*lists: Any) -> set[tuple[str, ...]]:
        return set(itertools.product(PLATFORMS, *lists))

    def seen(name: str, *labels: str) -> set[tuple[str, ...]]:
        return {tuple(row[label] for label in ("platform", *labels)) for row in found.labels(name)}

    assert seen("events_total", "type") == combinations(NAMES)
    assert seen("period_cases", "period", "outcome") == combinations((CURRENT, LAST), OUTCOMES)
    for name in ("overdue_cases", "due_today_cases"):
        assert seen(name, "category") == combinations(CATEGORIES)
    for name in ("awaiting_reception_cases", "tally_gap", "platform_last_event_timestamp_seconds",
                 "oldest_overdue_timestamp_seconds"):  # fmt: skip
        assert seen(name) == combinations()
    reasons = [reason.value for reason in RefusalReason]
    assert seen("events_refused_total", "reason") == combinations(reasons) | {("unknown", reason) for reason in reasons}
    assert {row["reason"] for row in found.labels("dead_letters_total")} == set(LETTER_REASONS)
    assert {row["county"] for row in found.labels("working_day")} == set(PLATFORMS.values())
    assert {
        row["platform"]: (row["name"], row["county"], row["county_name"]) for row in found.labels("platform_info")
    } == {platform.slug: (platform.name, platform.county, platform.county_name) for platform in RULES.registry}


def test_the_labels_are_those_of_the_contract_and_the_county_is_the_platforms(quarter: Served) -> None:
    for sample in scrape(quarter).samples:
        name = sample.name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        if not sample.name.endswith("_created"):
            assert set(sample.labels) - {"le"} == CONTRACT[name][1], sample
        if {"county", "platform"} <= sample.labels.keys():
            assert sample.labels["county"] == PLATFORMS[sample.labels["platform"]]


def test_nothing_is_counted_before_anything_has_happened(fresh: Served) -> None:
    found = scrape(fresh)
    for name in ("events_total", "events_refused_total", "dead_letters_total", "period_cases", "overdue_cases",
                 "due_today_cases", "provisional_cases", "awaiting_reception_cases", "tally_gap",
                 "platform_last_event_timestamp_seconds", "overdue_flag_delay_seconds_count"):  # fmt: skip
        assert found.sum(name) == 0, name


def test_what_is_not_defined_yet_has_no_value(fresh: Served) -> None:
    found = scrape(fresh)
    assert found.labels("completion_ratio") == found.labels("on_time_ratio") == []
    assert found.labels("platform_silent_working_days") == []
    assert found("next_deadline_timestamp_seconds") is None
    for platform in PLATFORMS:
        oldest = found("oldest_overdue_timestamp_seconds", platform=platform)
        assert oldest is not None
        assert math.isnan(oldest)


def test_the_calendar_is_confirmed_until_the_days_that_the_next_notice_may_change(fresh: Served) -> None:
    """As of 2022 the library holds the notices up to 2026: the last week of that year is open."""
    assert scrape(fresh)("calendar_confirmed_until_timestamp_seconds") == at("2026-12-25 00:00").timestamp()


def test_every_reason_of_a_dead_letter_in_the_code_is_counted_from_the_start() -> None:
    """What begins with 1 has not risen, for Prometheus: nobody would hear of the first one."""
    root = Path(__file__).parents[2]
    code = "".join(file.read_text(encoding="utf-8") for file in (root / "services").rglob("*.py"))
    named = set(re.findall(r'DeadLetter\([^"]*(?:f"[^"]*", )?"(\w+)"', code))
    assert {"conflict", "undecodable", "unusable", "wrong_key", "wrong_partition", "too_large"} <= named
    assert named <= set(LETTER_REASONS)


def test_what_the_process_takes_is_told_too(fresh: Served) -> None:
    assert {"process_start_time_seconds", "process_resident_memory_bytes"} <= Scrape(fresh.metrics()).families.keys()


# The text


def test_the_text_is_what_prometheus_reads(quarter: Served) -> None:
    answer = quarter.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4; charset=utf-8")
    assert answer.text.endswith("\n")
    names = [line.split()[2] for line in answer.text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    series = [line.rsplit(" ", 1)[0] for line in answer.text.splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))


def test_no_label_holds_the_id_of_a_message_or_anything_that_a_citizen_wrote(quarter: Served) -> None:
    values = {value for sample in scrape(quarter).samples for value in sample.labels.values()}
    for found in quarter_events():
        subject, data = str(found.get("subject")), found.get("data")
        assert str(found["id"]) not in values
        assert subject not in values
        for text in data.values() if isinstance(data, dict) else ():
            assert not isinstance(text, str) or text not in values or text in (*CATEGORIES, *PLATFORMS)


def test_the_number_of_series_does_not_grow_with_the_cases(fresh: Served, quarter: Served) -> None:
    def series(service: Served) -> int:
        names = ("liuyan_completion_ratio", "liuyan_on_time_ratio", "liuyan_platform_silent_working_days")
        return len([s for s in scrape(service).samples if s.name not in names])

    assert series(quarter) - series(fresh) <= 1  # the next deadline, which a service without open cases does not have


# Values


def test_events_are_counted_by_platform_and_type_duplicates_not_again(fresh: Served) -> None:
    fresh.push(event("zhenkang/a", "received", "03-08 09:00"), event("zhenkang/a", "accepted", "03-08 10:00"))
    fresh.push(event("zhenkang/a", "received", "03-08 09:00"), event("lincang/a", "received", "03-08 09:00"))
    found = scrape(fresh)
    assert found("events_total", platform="zhenkang", type="received") == 1
    assert found("events_total", platform="zhenkang", type="accepted") == 1
    assert found("events_total", platform="lincang", type="received") == 1
    assert found.sum("events_total") == 3


def test_the_time_of_the_last_event_is_the_latest_that_has_come_never_one_ahead(fresh: Served) -> None:
    def last(platform: str) -> float | None:
        return scrape(fresh)("platform_last_event_timestamp_seconds", platform=platform)

    fresh.push(event("zhenkang/a", "received", "03-08 09:00"))
    fresh.push(event("zhenkang/b", "received", "03-01 09:00"))
    assert last("zhenkang") == at("03-08 09:00").timestamp()
    fresh.push(event("zhenkang/c", "received", "03-20 09:00"))
    assert last("zhenkang") == NOW.timestamp()
    assert last("lincang") == 0


def test_silence_is_counted_in_whole_working_days_of_the_platforms_county(fresh: Served) -> None:
    """2022-04-03 to 05 were off, Saturday the 2nd was worked."""

    def silent(platform: str = "zhenkang") -> float | None:
        return scrape(fresh)("platform_silent_working_days", platform=platform)

    fresh.push(event("zhenkang/a", "received", "03-09 09:00"))
    for when, days in (
        ("03-09 12:00", 0),
        ("03-10 00:00", 0),
        ("03-11 00:00", 1),
        ("03-12 09:00", 2),
        ("03-14 09:00", 2),
    ):
        fresh.set_clock(at(when))
        assert silent() == days, when
    fresh.set_clock(at("04-01 12:00"))
    fresh.push(event("zhenkang/b", "received", "04-01 09:00"))
    fresh.set_clock(at("04-06 09:00"))
    assert silent() == 1
    fresh.push(tally("zhenkang", "2022-04-06", 0, "04-06 09:00"))
    assert (silent(), silent("lincang")) == (0, None)


def test_a_working_day_is_one_of_the_county(tmp_path: Path) -> None:
    own = '[[local]]\ncounty = "gengma"\ndate = "2022-04-14"\nrest = true\nname = "泼水节"\nsource = "县政府通知"\n'
    with served(tmp_path / "days.db", at("04-14 12:00"), ruleset(calendar=own)) as service:

        def working() -> set[str]:
            found = scrape(service)
            return {county for county in PLATFORMS.values() if found("working_day", county=county)}

        assert set(PLATFORMS.values()) - working() == {"gengma"}
        service.set_clock(at("04-16 12:00"))
        assert working() == set()


def test_the_sweep_and_the_probes_tell_that_it_works(fresh: Served) -> None:
    until(lambda: Scrape(fresh.metrics())("sweep_timestamp_seconds"), "the first sweep")
    before = Scrape(fresh.metrics())("sweep_timestamp_seconds")
    assert before is not None
    assert abs(time.time() - before) < 600  # the machine's clock, not the one of the cases
    fresh.push(event("zhenkang/a", "received", "03-08 09:00"))
    until(lambda: (Scrape(fresh.metrics())("sweep_timestamp_seconds") or 0) > before, "a sweep after the push")
    found = scrape(fresh)
    assert (found("live", service="standalone"), found("ready", service="standalone")) == (1, 1)


def test_a_service_that_does_not_come_on_is_neither_alive_nor_ready(fresh: Served) -> None:
    fresh.engine.stop()
    found = Scrape(fresh.metrics())
    assert (found("live", service="standalone"), found("ready", service="standalone")) == (0, 0)


def test_refusals_are_counted_by_the_platform_of_the_key_and_the_reason(fresh: Served) -> None:
    good = event("zhenkang/a", "received", "03-08 09:00")
    sent: list[tuple[str, str, Any]] = [
        ("zhenkang", "time_without_offset", good | {"time": "2022-03-08T09:00:00"}),
        ("zhenkang", "invalid_field", good | {"subject": "a/b"}),
        ("lincang", "other_platform", good),
        ("zhenkang", "invalid_json", b"{"),
    ]
    for platform, _, body in sent:
        fresh.post(body, platform)
    fresh.post(good, Authorization="Bearer nothing")
    fresh.post(good, media_type="text/plain")
    fresh.push(good)
    fresh.post(good | {"data": {"title": "另一个"}})
    fresh.push_batch([good, good | {"subject": "c/d"}, 5])
    found = scrape(fresh)
    counted = {
        (row["platform"], row["reason"]): found("events_refused_total", **row)
        for row in found.labels("events_refused_total")
        if found("events_refused_total", **row)
    }
    assert counted == {
        ("zhenkang", "time_without_offset"): 1, ("zhenkang", "invalid_field"): 3, ("zhenkang", "invalid_json"): 1,
        ("zhenkang", "unsupported_media_type"): 1, ("zhenkang", "conflict"): 1, ("lincang", "other_platform"): 1,
        ("unknown", "unauthorized"): 1,
    }  # fmt: skip
    assert found("dead_letters_total", reason="conflict") == 1


def test_a_body_that_is_too_large_is_counted_too(fresh: Served) -> None:
    assert fresh.post(b" " * 2_000_000).status_code == 413
    assert scrape(fresh)("events_refused_total", platform="zhenkang", reason="too_large") == 1


def test_a_case_moves_from_outcome_to_outcome_as_events_arrive_and_time_goes_by(fresh: Served) -> None:
    def outcomes() -> dict[str, float | None]:
        found = scrape(fresh)
        values = {name: found("period_cases", platform="zhenkang", period=CURRENT, outcome=name) for name in OUTCOMES}
        return {name: value for name, value in values.items() if value}

    def ratios() -> tuple[float | None, float | None]:
        found = scrape(fresh)
        where = {"platform": "zhenkang", "period": CURRENT}
        return found("completion_ratio", **where), found("on_time_ratio", **where)

    fresh.push(event("zhenkang/a", "received", "03-09 09:00", category="simple_inquiry"))
    assert (outcomes(), ratios()) == ({"pending": 1}, (0, None))
    fresh.set_clock(at("03-11 00:00"))
    assert (outcomes(), ratios()) == ({"overdue": 1}, (0, 0))
    fresh.push(event("zhenkang/a", "replied", "03-10 16:00"))
    assert (outcomes(), ratios()) == ({"on_time": 1}, (1, 1))
    fresh.push(event("zhenkang/b", "received", "03-08 09:00", category="simple_inquiry"))
    fresh.push(event("zhenkang/b", "replied", "03-10 09:00"))
    assert (outcomes(), ratios()) == ({"on_time": 1, "late": 1}, (1, 1 / 2))
    fresh.push(
        event("zhenkang/c", "received", "03-10 09:00"), event("zhenkang/c", "rejected", "03-10 10:00", reason="x")
    )
    assert (outcomes(), ratios()) == ({"on_time": 1, "late": 1, "rejected": 1}, (1, 1 / 2))


def test_a_platform_with_refused_messages_only_has_no_ratio(fresh: Served) -> None:
    fresh.push(event("gengma/c", "received", "03-08 09:00"), event("gengma/c", "rejected", "03-08 10:00", reason="x"))
    found = scrape(fresh)
    assert found("period_cases", platform="gengma", period=CURRENT, outcome="rejected") == 1
    assert found("completion_ratio", platform="gengma", period=CURRENT) is None


def test_open_cases_are_counted_by_category_while_due_today_and_overdue(fresh: Served) -> None:
    def counted(name: str) -> dict[str, float]:
        found = scrape(fresh)
        values = {category: found(name, platform="zhenkang", category=category) for category in CATEGORIES}
        return {category: value for category, value in values.items() if value}

    fresh.push(
        event("zhenkang/a", "received", "03-08 09:00", category="simple_inquiry"),
        event("zhenkang/b", "received", "03-02 09:00", category="inquiry"),
        event("zhenkang/c", "received", "03-09 09:00", category="help"),
    )
    assert (counted("due_today_cases"), counted("overdue_cases")) == ({"simple_inquiry": 1, "inquiry": 1}, {})
    fresh.push(event("zhenkang/b", "replied", "03-09 10:00"))
    assert counted("due_today_cases") == {"simple_inquiry": 1}
    fresh.set_clock(at("03-10 00:00"))
    assert (counted("due_today_cases"), counted("overdue_cases")) == ({}, {"simple_inquiry": 1})
    fresh.push(event("zhenkang/a", "completed", "03-10 00:00"))
    assert counted("overdue_cases") == {}


def test_the_oldest_overdue_and_the_next_deadline_are_told_as_instants(fresh: Served) -> None:
    fresh.push(
        event("zhenkang/a", "received", "03-01 09:00", category="simple_inquiry"),
        event("zhenkang/b", "received", "02-21 09:00", category="simple_inquiry"),
        event("lincang/a", "received", "03-09 09:00", category="help"),
        event("lincang/b", "received", "03-09 09:00", category="correction"),
    )
    found = scrape(fresh)
    assert found("oldest_overdue_timestamp_seconds", platform="zhenkang") == at("02-23 00:00").timestamp()
    assert found("next_deadline_timestamp_seconds") == at("03-15 00:00").timestamp()
    fresh.push(event("zhenkang/b", "completed", "03-09 09:00"))
    assert scrape(fresh)("oldest_overdue_timestamp_seconds", platform="zhenkang") == at("03-03 00:00").timestamp()


def test_cases_that_await_their_reception_are_counted_until_it_comes(fresh: Served) -> None:
    fresh.push(event("yunxian/a", "accepted", "03-08 10:00"))
    assert scrape(fresh)("awaiting_reception_cases", platform="yunxian") == 1
    assert scrape(fresh).sum("period_cases") == 0
    fresh.push(event("yunxian/a", "received", "03-08 09:00"))
    assert scrape(fresh)("awaiting_reception_cases", platform="yunxian") == 0
    assert scrape(fresh).sum("period_cases") == 1


def test_the_gap_to_the_platforms_own_count_is_that_of_its_latest_tallies(fresh: Served) -> None:
    def gap() -> float | None:
        return scrape(fresh)("tally_gap", platform="zhenkang")

    fresh.push(event("zhenkang/a", "received", "03-08 09:00"), tally("zhenkang", "2022-03-08", 3, "03-09 00:05"))
    assert gap() == 2
    fresh.push(tally("zhenkang", "2022-03-08", 9, "03-09 00:01"))  # older, and too late to stand
    assert gap() == 2
    fresh.push(tally("zhenkang", "2022-03-08", 1, "03-09 00:10"))
    assert gap() == 0
    fresh.push(tally("zhenkang", "2022-03-07", 0, "03-08 00:05"), event("zhenkang/b", "received", "03-07 09:00"))
    assert gap() == -1


def test_provisional_cases_are_counted(tmp_path: Path) -> None:
    with served(tmp_path / "provisional.db", at("2026-12-29 12:00")) as service:
        received = event("zhenkang/a", "received", "03-01 09:00", category="help")
        service.push(received | {"time": "2026-12-28T09:00:00+08:00"})
        assert scrape(service)("provisional_cases") == 1
        assert service.json("/v1/cases", provisional="true")["cases"]


def test_the_delay_between_a_deadline_and_its_flag_is_observed(fresh: Served) -> None:
    fresh.push(event("zhenkang/a", "received", "03-08 09:00", category="simple_inquiry"))
    fresh.set_clock(at("03-10 00:00:03"))
    found = scrape(fresh)
    count, total = found("overdue_flag_delay_seconds_count"), found("overdue_flag_delay_seconds_sum")
    assert count is not None
    assert count == len([alert for alert in fresh.raised if alert.rung == "overdue"]) > 0
    assert total == 3 * count
    assert found("overdue_flag_delay_seconds_bucket", le="2.0") == 0
    assert found("overdue_flag_delay_seconds_bucket", le="5.0") == count


def test_loaded_history_is_no_delay(fresh: Served) -> None:
    fresh.push(event("zhenkang/a", "received", "02-08 09:00", category="simple_inquiry"))
    found = scrape(fresh)
    assert found("overdue_cases", platform="zhenkang", category="simple_inquiry") == 1
    assert found("overdue_flag_delay_seconds_count") == 0


# The same as everywhere else


@pytest.mark.parametrize("period", [QUARTER, "2022Q2"])
def test_the_figures_are_those_of_the_report(quarter: Served, period: str) -> None:
    found = scrape(quarter)
    for row in quarter.json("/v1/rates", period=period)["rows"]:
        where = {"platform": row["platform"], "period": period}
        for outcome in OUTCOMES:
            assert found("period_cases", outcome=outcome, **where) == row[outcome]
        settled = row["on_time"] + row["late"] + row["overdue"]
        done = (row["on_time"] + row["late"]) / row["accountable"] if row["accountable"] else None
        assert found("completion_ratio", **where) == done
        assert found("on_time_ratio", **where) == (row["on_time"] / settled if settled else None)


def test_what_is_overdue_is_what_the_list_says(quarter: Served) -> None:
    found, cases = scrape(quarter), quarter.json("/v1/overdue")["cases"]
    for platform in PLATFORMS:
        mine = [case for case in cases if case["platform"] == platform]
        assert found.sum("overdue_cases", platform=platform) == len(mine)
        if mine:
            first = datetime.fromisoformat(mine[0]["due_at"]).timestamp()
            assert found("oldest_overdue_timestamp_seconds", platform=platform) == first


def test_the_periods_are_the_current_and_the_last_quarter_of_the_clock(quarter: Served) -> None:
    assert {row["period"] for row in scrape(quarter).labels("period_cases")} == {QUARTER, "2022Q2"}


def test_in_january_the_last_quarter_is_that_of_the_year_before(tmp_path: Path) -> None:
    with served(tmp_path / "january.db", at("2023-01-01 00:00")) as service:
        assert {row["period"] for row in scrape(service).labels("period_cases")} == {"2023Q1", "2022Q4"}
        service.set_clock(at("2023-01-01 00:00") - timedelta(microseconds=1))
        assert {row["period"] for row in scrape(service).labels("period_cases")} == {"2022Q4", "2022Q3"}


def test_the_values_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "restart.db"

    def kept(service: Served) -> dict[str, float]:
        lost = ("liuyan_events_refused", "liuyan_overdue_flag_delay", "liuyan_sweep")
        return {
            f"{s.name}{json.dumps(s.labels)}": s.value
            for s in scrape(service).samples
            if not s.name.startswith(lost) and not math.isnan(s.value)
        }

    with served(file, AS_OF) as service:
        for found in quarter_events():
            if platform_of(found) in ("zhenkang", "gengma"):
                service.post(found, platform_of(found))
        before = kept(service)
    with served(file, AS_OF) as service:
        assert kept(service) == before
    assert before['liuyan_events_total{"platform": "gengma", "type": "received"}'] == 1
