"""A deadline explained day by day adds up to its budget and says why each day does or does not count."""

from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings

from services.sla.explain import ExplainedDay, Explanation, explain
from services.sla.rules import evaluate
from shared.case import Case, Target
from shared.events import CaseEvent
from shared.rules import Ruleset
from tests.builders import at, case_of, event
from tests.enginekit import grouped
from tests.properties.test_engine_laws import RULES, Story, stories

DAY = timedelta(days=1)


def explained(
    events: list[CaseEvent], rules: Ruleset, as_of: str, target: str = "complete", number: int = 1
) -> Explanation:
    found = {(e.round, e.target): e for e in explain(case_of(events, rules, as_of), rules)}
    return found[number, target]


def dates(days: tuple[ExplainedDay, ...], counted: bool | None = None) -> list[str]:
    return [f"{d.date:%m-%d}" for d in days if counted is None or d.counted is counted]


def received(time: str, category: str) -> CaseEvent:
    return event("r", "received", time, category=category)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(stories(conflicts=False))
def test_counted_days_add_up_to_the_budget(story: Story) -> None:
    for history in grouped(story.arriving, RULES).values():
        for as_of in (story.season.pool[len(story.season.pool) // 2], story.until):
            case = evaluate(history, RULES, as_of)
            if case is not None:
                check(case)


def check(case: Case) -> None:
    calendar = RULES.calendar_of(case.platform)
    found = explain(case, RULES)
    assert [(e.round, e.target) for e in found] == [
        (number, name) for number in range(1, len(case.rounds) + 1) for name in ("reply", "complete")
    ]
    for explanation in found:
        current = case.rounds[explanation.round - 1]
        target: Target = getattr(current.targets, explanation.target)
        days = explanation.days
        assert (explanation.anchor, explanation.due_at) == (target.anchor, target.due_at)
        assert [d.date for d in days] == [days[0].date + i * DAY for i in range(len(days))]
        assert days[0].date == target.anchor.date()
        assert all(d.working == calendar.is_working(d.date) and d.reason for d in days)
        assert all(d.working for d in days if d.counted)
        numbers = [d.number for d in days if d.counted]
        assert numbers == list(range(1, len(numbers) + 1))
        assert all((d.number is None) != d.counted for d in days)
        if target.due_day is None:
            # A paused target is explained up to the day on which its clock stopped.
            begun = [s.start.date() for s in current.suspensions if target.met_at is None or s.start <= target.met_at]
            assert days[-1].date == max(target.anchor.date(), begun[-1])
            if target.hours is None:
                assert len(numbers) < target.days
            continue
        assert days[-1].date == target.due_day
        assert days[-1].counted
        if target.hours is None:
            assert len(numbers) == target.days
            assert all(d.hours is None for d in days)
        else:
            office = RULES.policy_on(current.anchor.date()).office_hours
            assert office is not None
            budget = target.hours + target.days * office.micros_a_day / 3_600_000_000
            assert sum(d.hours or 0 for d in days) == pytest.approx(budget)


def test_a_week_with_a_holiday_and_a_worked_saturday(rules: Ruleset) -> None:
    found = explained([received("03-31 10:00", "inquiry")], rules, "03-31 10:00")
    assert dates(found.days) == [f"{date(2022, 3, 31) + i * DAY:%m-%d}" for i in range(9)]
    assert dates(found.days, counted=True) == ["04-01", "04-02", "04-06", "04-07", "04-08"]
    by_day = {f"{d.date:%m-%d}": d for d in found.days}
    assert "第0日" in by_day["03-31"].reason
    assert not by_day["03-31"].counted
    assert by_day["04-02"].reason == "调休上班"
    assert by_day["04-05"].reason.startswith("清明节")
    assert all("国务院办公厅关于2022年" in by_day[day].source for day in ("04-02", "04-04", "04-05"))
    assert all(d.confirmed for d in found.days)
    assert [d.number for d in found.days if d.counted] == [1, 2, 3, 4, 5]
    assert "默认规则" in found.policy


def test_suspended_days_do_not_count_and_say_so(rules: Ruleset) -> None:
    """Suspended on Wednesday afternoon, resumed on Friday morning: three days are touched."""
    events = [
        received("03-01 10:00", "inquiry"), event("a", "suspended", "03-02 15:00"), event("b", "resumed", "03-04 09:00"),
    ]  # fmt: skip
    found = explained(events, rules, "03-05 10:00")
    assert dates(found.days, counted=True) == ["03-07", "03-08", "03-09", "03-10", "03-11"]
    assert [f"{d.date:%m-%d}" for d in found.days if "中止（不计）" in d.reason] == ["03-02", "03-03", "03-04"]


def test_an_empty_suspension_and_one_that_ends_at_midnight(rules: Ruleset) -> None:
    events = [
        received("03-01 10:00", "inquiry"), event("a", "suspended", "03-02 15:00"), event("b", "resumed", "03-02 15:00"),
        event("c", "suspended", "03-03 00:00"), event("d", "resumed", "03-04 00:00"),
    ]  # fmt: skip
    found = explained(events, rules, "03-05 10:00")
    assert dates(found.days, counted=True) == ["03-02", "03-04", "03-07", "03-08", "03-09"]
    assert [f"{d.date:%m-%d}" for d in found.days if "中止" in d.reason] == ["03-03"]


def test_a_paused_target_ends_on_the_day_on_which_the_clock_stopped(rules: Ruleset) -> None:
    events = [received("03-01 10:00", "inquiry"), event("a", "suspended", "03-03 15:00")]
    found = explained(events, rules, "03-20 10:00")
    assert found.due_at is None
    assert dates(found.days) == ["03-01", "03-02", "03-03"]
    assert dates(found.days, counted=True) == ["03-02"]


def test_a_suspension_after_the_target_was_met_or_past_bears_not_on_it(rules: Ruleset) -> None:
    events = [received("03-01 10:00", "complaint"), event("a", "replied", "03-02 10:00"),
              event("b", "suspended", "03-03 10:00"), event("c", "resumed", "03-07 10:00")]  # fmt: skip
    found = explained(events, rules, "03-08 10:00", "reply")
    assert dates(found.days, counted=True) == ["03-02", "03-03", "03-04", "03-07", "03-08"]
    assert not any("中止" in d.reason for d in found.days)
    overdue = [received("03-01 10:00", "simple_inquiry"), event("b", "suspended", "03-03 10:00")]
    assert dates(explained(overdue, rules, "03-08 10:00").days, counted=True) == ["03-02"]


def test_a_target_met_while_paused_is_explained_up_to_that_pause_only(rules: Ruleset) -> None:
    """A complaint is answered during its first suspension; the case goes on and is suspended a second time."""
    events = [
        received("03-01 10:00", "complaint"), event("a", "suspended", "03-02 15:00"), event("b", "replied", "03-03 10:00"),
        event("c", "resumed", "03-04 10:00"), event("d", "suspended", "03-09 10:00"), event("e", "resumed", "03-10 10:00"),
    ]  # fmt: skip
    found = explained(events, rules, "03-11 10:00", "reply")
    assert found.due_at is None
    assert dates(found.days) == ["03-01", "03-02"]


def test_an_extension_is_counted_for_complete_alone(rules: Ruleset) -> None:
    events = [received("03-01 10:00", "help"), event("a", "extended", "03-02 10:00", working_days=3)]
    assert len(dates(explained(events, rules, "03-02 10:00").days, counted=True)) == 13
    assert len(dates(explained(events, rules, "03-02 10:00", "reply").days, counted=True)) == 5


def test_each_round_is_explained_from_its_own_anchor(rules: Ruleset) -> None:
    events = [
        received("03-01 10:00", "simple_inquiry"), event("a", "completed", "03-01 12:00"), event("b", "reopened", "03-05 10:00"),
    ]  # fmt: skip
    found = explained(events, rules, "03-05 10:00", number=2)
    assert found.anchor == at("03-05 10:00")
    assert dates(found.days) == ["03-05", "03-06", "03-07"]


def test_an_unconfirmed_day_says_so(rules: Ruleset) -> None:
    found = explained([received("2031-12-30 10:00", "inquiry")], rules, "2031-12-30 10:00")
    assert not any(d.confirmed for d in found.days)


def test_office_hours_are_told_day_by_day() -> None:
    """Seven hours from 17:00: one today, six tomorrow; the lunch break does not count, nor what was suspended."""
    found = explained([received("04-01 17:00", "help")], RULES, "04-01 17:00")
    assert [(f"{d.date:%m-%d}", d.hours) for d in found.days] == [("04-01", 1.0), ("04-02", 6.0)]
    events = [
        received("04-01 17:00", "help"), event("a", "suspended", "04-02 09:30"), event("b", "resumed", "04-02 15:00"),
    ]  # fmt: skip
    found = explained(events, RULES, "04-02 15:00")
    assert [(f"{d.date:%m-%d}", d.hours) for d in found.days if d.hours] == [
        ("04-01", 1.0),
        ("04-02", 4.0),
        ("04-06", 2.0),
    ]
    assert "中止" in found.days[1].reason
    assert "不计" not in found.days[1].reason
