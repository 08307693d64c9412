"""The decisions that docs/rules.md lists where no document says anything, one test each, in its order."""

import json
from datetime import datetime, timedelta
from pathlib import Path

from services.alerts.rungs import OVERDUE, open_targets
from services.ingest.door import Door
from services.sla.rules import evaluate
from services.standalone.app import metrics_registry
from services.standalone.database import open_database
from services.standalone.engine import Engine
from services.standalone.replay import replay
from shared.case import Stage, Status
from shared.events import accept
from shared.rules import Ruleset
from tests.builders import at, case_of, event, ruleset
from tests.docs.markdown import read, section
from tests.fakes import FakeClock

HOURS = """
[[policy]]
source = "test"
default_category = "hotline"
office_hours = ["08:30-12:00", "14:30-18:00"]
categories.hotline = {name = "热线", reply_hours = 4, complete_hours = 4, source = "test"}
categories.slow = {name = "慢件", reply_hours = 20, complete_hours = 20, source = "test"}
categories.desk = {name = "窗口", reply_hours = 1, complete_hours = 1, source = "test"}
"""


RECEIVED = event("1", "received", "03-01 09:00", category="help")


def test_the_page_lists_the_decisions_that_are_tested_here() -> None:
    tested = [name for name in globals() if name.startswith("test_")][1:]
    for page, title in (("docs/rules.md", "Decisions where"), ("docs/rules.zh-CN.md", "文件没有规定")):
        listed = [line for line in section(read(page), title).splitlines() if line.startswith("* ")]
        assert len(listed) == len(tested)


def test_holders_end_at_closing_and_start_again_with_the_same(rules: Ruleset) -> None:
    closed = [RECEIVED, event("2", "transferred", "03-01 10:00", to="县住建局"), event("3", "completed", "03-02 09:00")]
    assert case_of(closed, rules, "03-03").holders[-1].end == at("03-02 09:00")
    case = case_of([*closed, event("4", "reopened", "03-04 09:00")], rules, "03-05")
    assert case.holder == "县住建局"
    assert (case.holders[-1].start, case.holders[-1].end) == (at("03-04 09:00"), None)


def test_a_transfer_to_the_present_holder_changes_nothing(rules: Ruleset) -> None:
    case = case_of([RECEIVED, event("2", "transferred", "03-01 10:00", to="zhenkang")], rules, "03-02")
    assert len(case.holders) == 1
    assert case.ignored == ()


def test_stage_follows_who_has_acted(rules: Ruleset) -> None:
    quiet = [
        RECEIVED,
        event("2", "transferred", "03-01 10:00", to="x"),
        event("3", "recategorized", "03-01 11:00", category="complaint"),
    ]
    assert case_of(quiet, rules, "03-02").stage is Stage.RECEIVED
    for name, data in (
        ("accepted", {}),
        ("extended", {"working_days": 1}),
        ("suspended", {}),
        ("replied", {"interim": True}),
    ):
        assert case_of([RECEIVED, event("2", name, "03-01 10:00", **data)], rules, "03-02").stage is Stage.IN_PROGRESS
    replied = [RECEIVED, event("2", "replied", "03-01 10:00")]
    assert case_of(replied, rules, "03-02").stage is Stage.REPLIED
    again = [*replied, event("3", "completed", "03-02 10:00"), event("4", "reopened", "03-03 10:00")]
    assert case_of(again[:3], rules, "03-03 09:00").stage is None
    assert case_of(again, rules, "03-04").stage is Stage.RECEIVED


def test_a_second_final_reply_completes_where_the_category_says_so_by_then(rules: Ruleset) -> None:
    history = [
        RECEIVED,
        event("2", "replied", "03-01 10:00"),
        event("3", "recategorized", "03-01 11:00", category="inquiry"),
        event("4", "replied", "03-02 10:00"),
    ]
    assert case_of(history[:3], rules, "03-02").status is Status.OPEN
    assert case_of(history, rules, "03-03").closed_at == at("03-02 10:00")


def test_a_day_of_extension_and_the_one_working_day_are_an_office_days_hours() -> None:
    rules = ruleset(policy=HOURS)
    extended = [event("1", "received", "03-01 08:30"), event("2", "extended", "03-01 09:00", working_days=1)]
    assert case_of(extended, rules, "03-01 10:00").rounds[0].targets.complete.due_at == at("03-02 15:00")
    changed = [
        event("1", "received", "03-01 08:30", category="slow"),
        event("2", "recategorized", "03-02 10:00", category="desk"),
    ]
    assert case_of(changed[:1], rules, "03-02 10:00").rounds[0].targets.complete.due_at == at("03-03 17:00")
    assert case_of(changed, rules, "03-02 10:00").rounds[0].targets.complete.due_at == at("03-03 10:00")


def test_the_anchors_day_of_working_hours_must_be_confirmed_too() -> None:
    received = event("1", "received", "2026-12-25 09:00")
    case = case_of([received], ruleset(policy=HOURS), "2026-12-25 09:00")
    assert case.rounds[0].targets.complete.due_day == at("2026-12-25 00:00").date()
    assert case.provisional


def test_a_case_is_provisional_when_any_round_is(rules: Ruleset) -> None:
    history = [
        event("1", "received", "2026-12-28 09:00", category="help"),
        event("2", "completed", "2026-12-28 10:00"),
        event("3", "reopened", "2026-12-28 11:00"),
    ]
    case = case_of(history, rules, "2026-12-29")
    assert all(r.targets.complete.provisional for r in case.rounds)
    assert case.provisional


def test_events_of_the_future_count_from_their_time_on(rules: Ruleset) -> None:
    assert evaluate([RECEIVED], rules, at("03-01 08:59")) is None
    assert case_of([RECEIVED], rules, "03-01 09:00").status is Status.OPEN


def sent(name: str, number: int, time: str, **data: object) -> dict[str, object]:
    kind = "platform.tally" if name == "tally" else f"message.{name}"
    head = {"specversion": "1.0", "id": f"{name}-{number}", "source": "/platforms/zhenkang", "subject": "zk-1"}
    return {**head, "type": f"liuyan.{kind}.v1", "time": f"{time}+08:00", "data": data}


def sample(folder: Path, rules: Ruleset, name: str, events: list[dict[str, object]], now: datetime) -> float | None:
    """A metric of 镇康县 after the events were replayed at that instant."""
    lines = folder / "events.jsonl"
    lines.write_text("\n".join(map(json.dumps, events)), encoding="utf-8")
    database = open_database(folder / "events.db", create=True)
    try:
        replay(lines, database, Door(rules), lambda: now, lambda _: None)
        engine = Engine(database, rules, FakeClock(now))
        engine.prepare()
        registry, _ = metrics_registry(database, engine, rules)
        return registry.get_sample_value(name, {"platform": "zhenkang"})
    finally:
        database.close()


def test_the_time_of_a_platforms_last_event_is_never_later_than_now(tmp_path: Path, rules: Ruleset) -> None:
    now = at("03-02 09:00")
    ahead = [sent("received", 1, "2022-03-01T09:00:00"), sent("completed", 1, "2030-01-01T00:00:00")]
    name = "liuyan_platform_last_event_timestamp_seconds"
    assert sample(tmp_path, rules, name, ahead, now) == now.timestamp()


def test_the_latest_tally_of_a_day_stands_and_the_gap_is_summed_over_tallied_days(
    tmp_path: Path, rules: Ruleset
) -> None:
    events = [
        sent("received", 1, "2022-03-01T09:00:00"),
        sent("tally", 1, "2022-03-02T00:10:00", date="2022-03-01", received=3),
        sent("tally", 2, "2022-03-02T00:05:00", date="2022-03-01", received=9),
        sent("tally", 3, "2022-03-03T00:05:00", date="2022-03-02", received=1),
    ]
    assert sample(tmp_path, rules, "liuyan_tally_gap", events, at("03-04 09:00")) == (3 - 1) + (1 - 0)


def test_members_that_are_not_named_are_not_stored(rules: Ruleset) -> None:
    plain = {
        "specversion": "1.0",
        "id": "1",
        "source": "/platforms/zhenkang",
        "type": "liuyan.message.received.v1",
        "subject": "zk-1",
        "time": "2022-03-01T09:00:00+08:00",
        "data": {"category": "help", "title": "求助"},
    }
    data = {"category": "help", "title": "求助", "contact": {"phone": "13800000000"}, "colour": "red"}
    richer = {**plain, "traceparent": "00-1", "time": "2022-03-01T01:00:00.0000004Z", "data": data}
    door = Door(rules)
    first, second = door.settle(plain), door.settle(richer)
    assert len(accept({}, [first, second]).duplicates) == 1  # type: ignore[list-item]


def test_finer_fractions_are_cut(rules: Ruleset) -> None:
    event_ = {
        "specversion": "1.0",
        "id": "1",
        "source": "/platforms/zhenkang",
        "type": "liuyan.message.completed.v1",
        "subject": "1",
    }
    settled = Door(rules).settle({**event_, "time": "2022-03-01T23:59:59.9999999+08:00"})
    assert getattr(settled, "time", None) == at("03-01 23:59:59.999999")


def test_nobody_is_warned_of_what_is_late_already(rules: Ruleset) -> None:
    now = at("03-16 00:00")
    targets = open_targets(case_of([RECEIVED], rules, now), rules, now)
    assert {target.first_rung for target in targets} == {OVERDUE}


def test_what_was_overdue_for_more_than_a_day_when_first_seen_is_quiet(rules: Ruleset) -> None:
    deadline = at("03-16 00:00")
    for passed, quiet in ((timedelta(hours=24), False), (timedelta(hours=24, seconds=1), True)):
        now = deadline + passed
        (complete,) = (t for t in open_targets(case_of([RECEIVED], rules, now), rules, now) if t.target == "complete")
        assert complete.quiet is quiet


def test_an_instant_in_the_future_can_be_asked_about(rules: Ruleset) -> None:
    assert case_of([RECEIVED], rules, "2049-01-01 00:00").outcome == "overdue"
