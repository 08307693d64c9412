"""Which alerts an open case calls for, and when."""

from datetime import timedelta

import pytest

from services.alerts.rungs import NEXT_RUNG, SUSPENDED_LONG, OpenTarget, open_targets
from shared.events import CaseEvent
from shared.rules import Ruleset
from shared.times import from_micros
from tests.builders import at, case_of, event, ruleset, shipped


def received(time: str, category: str = "simple_inquiry", platform: str = "zhenkang") -> CaseEvent:
    return event("r", "received", time, category=category, platform=platform)


def targets_of(events: list[CaseEvent], rules: Ruleset, now: str) -> dict[str, OpenTarget]:
    found = open_targets(case_of(events, rules, now), rules, at(now))
    assert len({target.target for target in found}) == len(found)
    return {target.target: target for target in found}


def times(target: OpenTarget) -> list[str]:
    micros = (target.first_at, target.due_at, target.escalate_1_at, target.escalate_2_at)
    return [f"{from_micros(m):%m-%d %H:%M}" for m in micros if m is not None]


def test_the_rungs_follow_one_another() -> None:
    chain, rung = [], "due_today"
    while rung is not None:
        chain.append(rung)
        rung = NEXT_RUNG[rung]  # type: ignore[assignment]
    assert chain == ["due_today", "overdue", "escalated-1", "escalated-2"]
    assert NEXT_RUNG[SUSPENDED_LONG] is None


@pytest.mark.parametrize(
    ("received_at", "platform", "expected"),
    [
        ("03-01 10:00", "zhenkang", ["03-02 09:00", "03-03 00:00", "03-03 09:00", "03-07 09:00"]),
        ("03-04 10:00", "zhenkang", ["03-07 09:00", "03-08 00:00", "03-08 09:00", "03-10 09:00"]),
        # Due on Friday 1 April: the Saturday after is worked, Sunday to Tuesday are Qingming.
        ("03-31 10:00", "zhenkang", ["04-01 09:00", "04-02 00:00", "04-02 09:00", "04-07 09:00"]),
        ("04-02 10:00", "zhenkang", ["04-06 09:00", "04-07 00:00", "04-07 09:00", "04-11 09:00"]),
        # Spring Festival: 31 January to 6 February; 29 and 30 January are worked.
        ("01-28 10:00", "zhenkang", ["01-29 09:00", "01-30 00:00", "01-30 09:00", "02-08 09:00"]),
    ],
)
def test_when_each_rung_is_reached(received_at: str, platform: str, expected: list[str], rules: Ruleset) -> None:
    found = targets_of([received(received_at, platform=platform)], rules, received_at)
    assert found.keys() == {"reply", "complete"}
    for target in found.values():
        assert (target.round, target.first_rung, target.quiet) == (1, "due_today", False)
        assert times(target) == expected


def test_a_countys_own_day_off_moves_its_escalations() -> None:
    local = ruleset(None, '[[local]]\ncounty = "gengma"\ndate = "2022-03-03"\nrest = true\nname = "x"\nsource = "x"\n')
    found = targets_of([received("03-01 10:00", platform="gengma")], local, "03-01 10:00")
    assert times(found["complete"]) == ["03-02 09:00", "03-03 00:00", "03-04 09:00", "03-08 09:00"]
    found = targets_of([received("03-01 10:00")], local, "03-01 10:00")
    assert times(found["complete"]) == ["03-02 09:00", "03-03 00:00", "03-03 09:00", "03-07 09:00"]


def test_each_target_has_its_own(rules: Ruleset) -> None:
    found = targets_of([received("03-01 10:00", "complaint")], rules, "03-01 10:00")
    assert times(found["reply"]) == ["03-08 09:00", "03-09 00:00", "03-09 09:00", "03-11 09:00"]
    assert times(found["complete"]) == ["03-22 09:00", "03-23 00:00", "03-23 09:00", "03-25 09:00"]
    found = targets_of(
        [received("03-01 10:00", "complaint"), event("a", "replied", "03-02 10:00")], rules, "03-02 10:00"
    )
    assert found.keys() == {"complete"}


@pytest.mark.parametrize(
    ("now", "rung", "first_at"),
    [("03-02 08:59", "due_today", "03-02 09:00"), ("03-02 23:59", "due_today", "03-02 09:00"),
     ("03-03 00:00", "overdue", "03-03 00:00"), ("03-20 00:00", "overdue", "03-03 00:00")],
)  # fmt: skip
def test_the_first_rung_is_the_morning_or_when_it_is_past_the_deadline_itself(
    now: str, rung: str, first_at: str, rules: Ruleset
) -> None:
    target = targets_of([received("03-01 10:00")], rules, now)["complete"]
    assert (target.first_rung, f"{from_micros(target.first_at):%m-%d %H:%M}") == (rung, first_at)


@pytest.mark.parametrize(("cutoff", "rung"), [("09:01", "due_today"), ("09:00", "overdue"), ("08:30", "overdue")])
def test_no_warning_where_the_deadline_comes_before_the_morning(cutoff: str, rung: str) -> None:
    early = ruleset(shipped("policy.toml").replace('cutoff = "24:00"', f'cutoff = "{cutoff}"'))
    assert targets_of([received("03-01 10:00")], early, "03-01 10:00")["complete"].first_rung == rung


def test_the_policy_of_the_rounds_anchor_says_when() -> None:
    text = shipped("policy.toml")
    text = text[text.index("\n[[policy]]") :]
    later = (
        text.replace("[[policy]]", "[[policy]]\neffective_from = 2022-03-10")
        .replace('morning = "09:00"', 'morning = "08:15"')
        .replace("escalate_after = [1, 3]", "escalate_after = [2, 5]")
        .replace("suspended_long_days = 30", "suspended_long_days = 7")
    )
    both = ruleset(text + later)
    events = [received("03-01 10:00"), event("a", "completed", "03-02 10:00"), event("b", "reopened", "03-10 10:00")]
    assert times(targets_of(events[:1], both, "03-01 10:00")["complete"])[0] == "03-02 09:00"
    found = targets_of(events, both, "03-10 10:00")["complete"]
    assert found.round == 2
    assert times(found) == ["03-11 08:15", "03-12 00:00", "03-15 08:15", "03-18 08:15"]
    found = targets_of([*events, event("c", "suspended", "03-10 12:00")], both, "03-10 12:00")["suspension"]
    assert times(found) == ["03-17 12:00", "03-17 12:00"]


def test_a_paused_case_has_only_its_suspension(rules: Ruleset) -> None:
    events = [received("03-01 10:00", "help"), event("a", "suspended", "03-02 10:00")]
    (found,) = targets_of(events, rules, "03-02 10:00").values()
    assert (found.target, found.first_rung) == ("suspension", "suspended-long")
    assert from_micros(found.due_at) == at("03-02 10:00") + timedelta(days=30)
    assert (found.escalate_1_at, found.escalate_2_at) == (None, None)


def test_an_overdue_case_that_is_suspended_keeps_its_targets(rules: Ruleset) -> None:
    events = [received("03-01 10:00"), event("a", "suspended", "03-04 10:00")]
    assert targets_of(events, rules, "03-05 10:00").keys() == {"reply", "complete", "suspension"}


@pytest.mark.parametrize(
    "further",
    [[("completed", {})], [("rejected", {"reason": "x"})], [("withdrawn", {})], [("suspended", {}), ("completed", {})]],
)
def test_a_closed_case_calls_for_nothing(further: list[tuple[str, dict[str, str]]], rules: Ruleset) -> None:
    events = [received("03-01 10:00", "help")]
    events += [event(f"x{i}", name, "03-02 10:00", **data) for i, (name, data) in enumerate(further)]
    assert targets_of(events, rules, "03-02 10:00") == {}


def test_a_case_without_a_reception_calls_for_nothing(rules: Ruleset) -> None:
    assert targets_of([event("a", "accepted", "03-02 10:00")], rules, "03-02 10:00") == {}


@pytest.mark.parametrize(
    ("now", "quiet"),
    [("03-03 00:00", False), ("03-04 00:00", False), ("03-04 00:00:00.000001", True), ("05-01 00:00", True)],
)
def test_overdue_for_more_than_24_hours_when_first_seen_is_quiet(now: str, quiet: bool, rules: Ruleset) -> None:
    assert {target.quiet for target in targets_of([received("03-01 10:00")], rules, now).values()} == {quiet}
