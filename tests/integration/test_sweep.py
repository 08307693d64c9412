"""What time alone does to the tables: deadlines turn rows as `evaluate` would, rungs are recorded once and cleared with a reason."""

import contextlib
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection

from services.alerts.standings import standings_now
from services.alerts.sweep import Raised
from services.alerts.tables import alerts
from services.sla.rules import evaluate
from services.standalone.apply import evaluate_keys
from shared.case import Case
from shared.events import CaseEvent, encode_event
from shared.rules import Ruleset
from shared.times import from_micros, to_micros
from tests.builders import at, event, ruleset, shipped
from tests.conftest import ONLY_SQLITE
from tests.enginekit import Deck, deck, expected_alerts, expected_rows, expected_standings, fresh_file, recaller, tally
from tests.service import tamper

pytestmark = pytest.mark.usefixtures("each_database")

KEY = "zhenkang/zk-000123"
MOMENT = timedelta(microseconds=1)
DAY = timedelta(days=1)
HOURS = ruleset("""
[[policy]]
source = "test"
default_category = "help"
office_hours = ["08:30-12:00", "14:30-18:00"]
categories.help = {name = "求助", reply_hours = 2, complete_hours = 7, source = "test"}
""")


def received(time: str, category: str = "simple_inquiry", subject: str = "zk-000123", **where: str) -> CaseEvent:
    return event(f"{subject}-r-{time}", "received", time, subject=subject, category=category, **where)


def told(raised: Sequence[Raised]) -> list[tuple[str, str]]:
    return [(alert.target, alert.rung) for alert in raised]


# Rows


HISTORIES: dict[str, list[CaseEvent]] = {
    "both targets at one instant": [received("03-31 10:00")],
    "reply first, then complete": [received("03-01 10:00", "complaint")],
    "reply met, complete runs": [received("03-01 10:00", "complaint"), event("a", "replied", "03-02 10:00")],
    "only an interim reply": [received("03-01 10:00", "help"), event("a", "replied", "03-02 10:00", interim=True)],
    "extended": [received("03-01 10:00", "help"), event("a", "extended", "03-02 10:00", working_days=3)],
    "suspended": [received("03-01 10:00", "help"), event("a", "suspended", "03-03 10:00")],
    "suspended between the deadlines": [
        received("03-01 10:00", "complaint"),
        event("a", "suspended", "03-10 10:00"),
        event("b", "resumed", "03-14 10:00"),
    ],
    "suspended, resumed, suspended": [
        received("03-01 10:00", "help"),
        event("a", "suspended", "03-03 10:00"),
        event("b", "resumed", "03-07 10:00"),
        event("c", "suspended", "03-08 10:00"),
    ],
    "suspended after the deadline": [received("03-01 10:00"), event("a", "suspended", "03-07 10:00")],
    "reopened": [
        received("03-01 10:00", "complaint"),
        event("a", "completed", "03-02 10:00"),
        event("b", "reopened", "03-20 10:00"),
    ],
    "reopened after a late round": [
        received("03-01 10:00"),
        event("a", "completed", "03-09 10:00"),
        event("b", "reopened", "03-20 10:00"),
        event("c", "withdrawn", "03-21 10:00"),
    ],
    "provisional": [received("2031-12-30 10:00", "complaint")],
    "recategorized": [
        received("03-01 10:00", "complaint"),
        event("a", "recategorized", "03-04 10:00", category="help"),
    ],
    "recategorized to less than is left": [
        received("03-01 10:00", "complaint"),
        event("a", "recategorized", "03-15 10:00", category="correction"),
    ],
    "no reception": [event("a", "accepted", "03-01 10:00"), event("b", "replied", "03-02 10:00")],
    "the reception is the last to happen": [event("a", "accepted", "03-01 10:00"), received("03-05 10:00", "help")],
    "completed at the deadline": [received("03-31 10:00"), event("a", "completed", "04-02 00:00")],
    "two receptions": [received("04-01 10:00", "help"), received("03-31 10:00", "simple_inquiry")],
    "an unknown category": [received("03-01 10:00", "没有的")],
    "local days": [received("04-06 10:00", platform="gengma")],
}


@pytest.mark.parametrize("when_known", ["as it happens", "all ahead", "all late"])
@pytest.mark.parametrize("name", HISTORIES)
def test_a_row_turns_as_evaluate_would_turn_it(name: str, when_known: str, rules: Ruleset) -> None:
    """All columns, at and around every deadline and event, whether the case was known before, or has events ahead."""
    events = HISTORIES[name]
    first = min(e.time for e in events)
    known = {"as it happens": first, "all ahead": first - DAY, "all late": first + 60 * DAY}[when_known]
    _follow(events, rules, known, spread=when_known == "as it happens")


@pytest.mark.parametrize(
    "events",
    [
        [received("03-01 10:00", "help")],
        [received("03-01 11:30", "help"), event("a", "suspended", "03-01 12:00"), event("b", "resumed", "03-02 10:00")],
        [received("03-01 10:00", "help"), event("a", "replied", "03-01 10:30"), event("b", "extended", "03-01 11:00", working_days=1)],
    ],
    ids=["plain", "suspended", "extended"],
)  # fmt: skip
def test_a_row_turns_by_office_hours(events: list[CaseEvent]) -> None:
    _follow(events, HOURS, events[0].time, spread=True)


def _follow(events: list[CaseEvent], rules: Ruleset, known: datetime, spread: bool) -> None:
    """Push, each event at its time or all at `known`, and compare everything around each instant at which anything changes."""
    instants = {known, *(e.time for e in events)}
    for as_of in list(instants):
        case = evaluate(events, rules, as_of)
        for folded in case.rounds if case else ():
            instants |= {t.due_at for t in (folded.targets.reply, folded.targets.complete) if t.due_at}
    with deck(rules, known) as found:
        pushed: list[CaseEvent] = []
        if not spread:
            found.push(*events)
            pushed = events
        for now in sorted(moment for i in instants for moment in (i - MOMENT, i, i + MOMENT) if moment >= known):
            found.clock.set(now)
            found.push(*(e for e in events if e.time == now and e not in pushed))
            pushed = [e for e in events if e in pushed or e.time == now]
            assert found.differences() == []
            found.sweep()
            assert found.read_cases() == expected_rows(pushed, rules, now)
            assert found.figures() == dict(expected_standings(pushed, rules, now))
            assert found.differences() == []
            wake = found.next_wake()
            assert wake is None or wake > now


def test_plain_cases_turn_without_being_evaluated(rules: Ruleset) -> None:
    """100,000 at midnight must be flagged within seconds: only reopened cases and those with events ahead are read again."""
    with deck(rules, at("03-31 12:00")) as found:
        found.push(received("03-31 10:00", subject="plain"), received("03-31 10:00", subject="ahead"))
        found.push(event("x", "rated", "05-01 10:00", subject="ahead", score=3))
        found.push(
            *(
                event(f"o-{name}", name, f"03-31 1{i}:30", subject="again")
                for i, name in enumerate(["received", "completed", "reopened"])
            )
        )
        found.clock.set(at("04-30 00:00"))
        again: list[str] = []
        with found.database.writing() as connection:
            from services.alerts.sweep import sweep

            def reevaluate(c: object, keys: Sequence[str], now: datetime) -> list[object]:
                again.extend(keys)
                return list(evaluate_keys(connection, keys, rules, now))

            sweep(connection, rules, found.now, reevaluate)  # type: ignore[arg-type]
        assert sorted(again) == ["zhenkang/again", "zhenkang/ahead"]
        found.sweep()
        assert found.differences() == []


def test_the_next_wake_is_the_next_change_or_rung(rules: Ruleset) -> None:
    with deck(rules, at("03-31 12:00")) as found:
        assert found.next_wake() is None
        found.push(received("03-31 10:00"))
        assert found.next_wake() == at("04-01 09:00")  # due today
        found.push(event("later", "rated", "03-31 18:00", score=1))
        assert found.next_wake() == at("03-31 18:00")
        found.sweep(at("04-01 09:00"))
        assert found.next_wake() == at("04-02 00:00")
        found.sweep(at("04-02 00:00"))
        assert found.next_wake() == at("04-02 09:00")
        found.push(event("done", "completed", "04-01 10:00"))
        assert found.next_wake() is None


# Rungs


def test_every_rung_at_its_instant_and_once_across_a_holiday(rules: Ruleset) -> None:
    """Thursday 31 March, one working day: due on Friday; Saturday is worked; Sunday to Tuesday is Qingming."""
    expected = [
        (at("04-01 09:00"), "due_today"),
        (at("04-02 00:00"), "overdue"),
        (at("04-02 09:00"), "escalated-1"),
        (at("04-07 09:00"), "escalated-2"),
    ]
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"))
        for instant, rung in expected:
            assert found.next_wake() == instant
            assert found.sweep(instant - MOMENT) == []
            assert told(found.sweep(instant)) == [("reply", rung), ("complete", rung)]
            for _ in range(2):
                assert found.sweep_once() == ()
                found.restart()
                assert found.sweep() == []
        assert found.sweep(at("06-01 00:00")) == []
        assert found.rungs(KEY) == [(rung, None) for _, rung in expected]
        assert not any(alert.quiet for alert in found.raised)


def test_an_outage_skips_no_rung_and_records_each_once(rules: Ruleset) -> None:
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"))
        found.restart()
        found.sweep(at("04-20 10:00"))
        assert [rung for rung, _ in found.rungs(KEY)] == ["due_today", "overdue", "escalated-1", "escalated-2"]


def test_due_today_comes_at_once_when_it_is_set_later_that_day(rules: Ruleset) -> None:
    with deck(rules, at("04-01 14:00")) as found:
        found.push(received("03-31 10:00"))
        assert told(found.sweep()) == [("reply", "due_today"), ("complete", "due_today")]


def test_nobody_is_warned_of_what_is_late_already_or_due_before_the_morning(rules: Ruleset) -> None:
    with deck(rules, at("04-02 00:00")) as found:
        found.push(received("03-31 10:00"))
        assert told(found.sweep()) == [("reply", "overdue"), ("complete", "overdue")]
    early = ruleset(shipped("policy.toml").replace('cutoff = "24:00"', 'cutoff = "09:00"'))
    with deck(early, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"))
        assert told(found.sweep(at("04-01 09:00"))) == [("reply", "overdue"), ("complete", "overdue")]


def test_each_target_has_its_own_rungs(rules: Ruleset) -> None:
    """A complaint: reply on the 5th working day, complete on the 15th."""
    with deck(rules, at("03-01 10:00")) as found:
        found.push(received("03-01 10:00", "complaint"))
        assert told(found.sweep(at("03-09 00:00"))) == [("reply", "due_today"), ("reply", "overdue")]
        found.clock.set(at("03-09 08:00"))
        found.push(event("a", "replied", "03-09 08:00"))
        assert found.rungs(KEY, "reply") == [("due_today", "completed"), ("overdue", "completed")]
        assert told(found.sweep(at("03-23 00:00"))) == [("complete", "due_today"), ("complete", "overdue")]


def test_a_long_suspension_is_told_after_30_days_and_once(rules: Ruleset) -> None:
    with deck(rules, at("03-02 10:00")) as found:
        found.push(received("03-01 10:00", "help"), event("a", "suspended", "03-02 10:00"))
        assert found.next_wake() == at("04-01 10:00")
        assert found.sweep(at("04-01 10:00") - MOMENT) == []
        assert told(found.sweep(at("04-01 10:00"))) == [("suspension", "suspended-long")]
        found.restart()
        assert found.sweep(at("06-01 10:00")) == []
        assert found.rungs(KEY, "suspension") == [("suspended-long", None)]
        found.push(event("b", "completed", "06-01 09:00"))
        assert found.rungs(KEY, "suspension") == [("suspended-long", "closed")]


def test_the_alert_of_a_suspension_does_not_outlive_it_in_the_next_one(rules: Ruleset) -> None:
    """Resumed and suspended again in one push: the second suspension is not yet long."""
    with deck(rules, at("03-02 10:00")) as found:
        found.push(received("03-01 10:00", "help"), event("a", "suspended", "03-02 10:00"))
        found.sweep(at("04-01 10:00"))
        found.clock.set(at("04-02 10:00"))
        found.push(event("b", "resumed", "04-02 09:00"), event("c", "suspended", "04-02 10:00"))
        assert found.standing_alerts() == expected_alerts(
            [received("03-01 10:00", "help"), event("a", "suspended", "03-02 10:00"),
             event("b", "resumed", "04-02 09:00"), event("c", "suspended", "04-02 10:00")], rules, found.now,
        )  # fmt: skip
        found.sweep(at("05-02 10:00"))
        assert [(a.rung, a.due_at, a.cleared) for a in found.alerts()] == [
            ("suspended-long", to_micros(at("04-01 10:00")), "deadline_moved"),
            ("suspended-long", to_micros(at("05-02 10:00")), None),
        ]


def test_an_empty_suspension_at_the_same_instant_does_not_end_the_long_one(rules: Ruleset) -> None:
    """Suspended, resumed and suspended again within one minute of a coarse clock."""
    events = [
        received("03-01 10:00", "help"),
        event("a", "suspended", "03-02 10:00", sequence=1),
        event("b", "resumed", "03-02 10:00", sequence=2),
        event("c", "suspended", "03-02 10:00", sequence=3),
    ]
    with deck(rules, at("03-02 10:00")) as found:
        found.push(*events)
        found.sweep(at("04-01 10:00"))
        found.push(event("d", "transferred", "03-20 10:00", to="gongan"))
        assert found.rungs(KEY, "suspension") == [("suspended-long", None)]
        assert found.differences() == []


def test_a_reopened_case_has_rungs_of_its_own(rules: Ruleset) -> None:
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"))
        found.sweep(at("04-02 00:00"))
        found.clock.set(at("04-02 08:00"))
        found.push(event("a", "completed", "04-02 07:00"), event("b", "reopened", "04-02 08:00"))
        assert found.standing_alerts() == set()
        found.sweep(at("04-07 00:00"))
        assert [(a.round, a.rung, a.cleared) for a in found.alerts() if a.target == "complete"] == [
            (1, "due_today", "completed"), (1, "overdue", "completed"), (2, "due_today", None), (2, "overdue", None),
        ]  # fmt: skip


# Clearing


@pytest.mark.parametrize(
    ("category", "until", "arriving", "now", "expected"),
    [
        pytest.param("simple_inquiry", "04-02 00:00", [("completed", "04-02 08:00", {})], "04-02 08:00",
                     {"due_today": "completed", "overdue": "completed"}, id="completed late"),
        pytest.param("simple_inquiry", "04-01 09:00", [("replied", "04-01 10:00", {})], "04-01 10:00",
                     {"due_today": "completed"}, id="a final reply completes"),
        pytest.param("simple_inquiry", "04-01 09:00", [("replied", "04-01 10:00", {"interim": True})], "04-01 10:00",
                     {"due_today": None}, id="an interim reply clears nothing"),
        pytest.param("simple_inquiry", "04-01 09:00", [("rejected", "04-01 10:00", {"reason": "x"})], "04-01 10:00",
                     {"due_today": "closed"}, id="rejected in time"),
        pytest.param("simple_inquiry", "04-01 09:00", [("withdrawn", "04-01 10:00", {})], "04-01 10:00",
                     {"due_today": "closed"}, id="withdrawn in time"),
        pytest.param("simple_inquiry", "04-01 09:00", [("extended", "04-01 10:00", {"working_days": 2})], "04-01 10:00",
                     {"due_today": "deadline_moved"}, id="extended"),
        pytest.param("simple_inquiry", "04-01 09:00", [("suspended", "04-01 10:00", {})], "04-01 10:00",
                     {"due_today": "deadline_moved"}, id="suspended"),
        pytest.param("simple_inquiry", "04-01 09:00", [("recategorized", "04-01 10:00", {"category": "help"})],
                     "04-01 10:00", {"due_today": "deadline_moved"}, id="recategorized"),
        pytest.param("simple_inquiry", "04-01 09:00", [("transferred", "04-01 10:00", {"to": "gongan"})], "04-01 10:00",
                     {"due_today": None}, id="a transfer clears nothing"),
        pytest.param("simple_inquiry", "04-02 00:00", [("extended", "04-02 08:00", {"working_days": 2})], "04-02 08:00",
                     {"due_today": None, "overdue": None}, id="an extension after the deadline clears nothing"),
        pytest.param("simple_inquiry", "04-02 00:00", [("suspended", "04-02 08:00", {})], "04-02 08:00",
                     {"due_today": None, "overdue": None}, id="a suspension after the deadline clears nothing"),
        pytest.param("simple_inquiry", "04-02 00:00", [("completed", "04-01 20:00", {})], "04-02 08:00",
                     {"due_today": "completed", "overdue": "late_evidence"}, id="completed in time, said late"),
        pytest.param("simple_inquiry", "04-02 00:00", [("suspended", "04-01 20:00", {})], "04-02 08:00",
                     {"due_today": "deadline_moved", "overdue": "late_evidence"}, id="suspended in time, said late"),
        pytest.param("simple_inquiry", "04-02 00:00", [("extended", "04-01 20:00", {"working_days": 2})], "04-02 08:00",
                     {"due_today": "deadline_moved", "overdue": "late_evidence"}, id="extended in time, said late"),
        pytest.param("simple_inquiry", "04-02 00:00", [("withdrawn", "04-01 20:00", {})], "04-02 08:00",
                     {"due_today": "closed", "overdue": "late_evidence"}, id="withdrawn in time, said late"),
        pytest.param("simple_inquiry", "04-02 00:00", [("rejected", "04-01 20:00", {"reason": "x"})], "04-02 08:00",
                     {"due_today": "closed", "overdue": "late_evidence"}, id="rejected in time, said late"),
        pytest.param("simple_inquiry", "04-02 00:00", [("received", "03-30 20:00", {"category": "simple_inquiry"})],
                     "04-02 08:00", {"due_today": "deadline_moved", "overdue": "late_evidence"},
                     id="received earlier, said late"),
    ],
)  # fmt: skip
def test_an_alert_is_cleared_with_its_reason(
    rules: Ruleset,
    category: str,
    until: str,
    arriving: list[tuple[str, str, dict[str, object]]],
    now: str,
    expected: dict[str, str | None],
) -> None:
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00", category))
        found.sweep(at(until))
        found.clock.set(at(now))
        found.push(*(event(f"x{i}", name, time, **data) for i, (name, time, data) in enumerate(arriving)))
        due = to_micros(at("04-02 00:00"))
        assert {a.rung: a.cleared for a in found.alerts() if a.target == "complete" and a.due_at == due} == expected
        assert found.differences() == []


def test_a_refusal_past_the_reply_target_closes_its_alert(rules: Ruleset) -> None:
    """A complaint, its reply overdue, is withdrawn before its complete deadline: nothing was disproved."""
    with deck(rules, at("03-01 10:00")) as found:
        found.push(received("03-01 10:00", "complaint"))
        found.sweep(at("03-10 00:00"))
        found.push(event("a", "withdrawn", "03-09 20:00"))
        assert found.rungs(KEY, "reply")[1] == ("overdue", "closed")


def test_a_suspension_that_was_over_in_time_disproves_its_alert(rules: Ruleset) -> None:
    with deck(rules, at("03-02 10:00")) as found:
        found.push(received("03-01 10:00", "help"), event("a", "suspended", "03-02 10:00"))
        found.sweep(at("04-02 10:00"))
        found.push(event("b", "resumed", "03-20 10:00"))
        assert found.rungs(KEY, "suspension") == [("suspended-long", "late_evidence")]


def test_cleared_late_evidence_is_raised_again_for_its_own_deadline(rules: Ruleset) -> None:
    """The case is re-anchored by an earlier reception: other deadlines, alerts of their own."""
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"))
        found.sweep(at("04-02 08:00"))
        found.push(received("03-30 10:00"))
        found.sweep(at("04-02 08:00"))
        assert [(a.rung, from_micros(a.due_at), a.cleared) for a in found.alerts() if a.target == "complete"] == [
            ("due_today", at("04-02 00:00"), "deadline_moved"),
            ("overdue", at("04-02 00:00"), "late_evidence"),
            ("overdue", at("04-01 00:00"), None),
            ("escalated-1", at("04-01 00:00"), None),
        ]


def test_an_alert_is_raised_again_only_after_it_was_cleared(rules: Ruleset) -> None:
    """A ruleset that is taken back: the same deadline, cleared and reached again; each time with its own instants."""
    longer = ruleset(shipped("policy.toml").replace("reply = 1\ncomplete = 1", "reply = 3\ncomplete = 3"))
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"))
        found.sweep(at("04-02 00:00"))
        for hour, now_rules in enumerate((longer, rules, longer, rules), 1):
            found.clock.set(at(f"04-02 0{hour}:00"))
            found.restart(now_rules)
            for _ in range(2):
                found.sweep()
        rows = [r for r in found.read(alerts) if (r["target"], r["rung"]) == ("complete", "overdue")]
        hours = [tuple(r[name] and from_micros(r[name]).hour for name in ("raised_at", "cleared_at")) for r in rows]
        assert hours == [(0, 1), (2, 3), (4, None)]
        assert [r["clear_reason"] for r in rows] == ["recomputed", "recomputed", None]
        assert found.differences() == []


# Quiet


def test_loading_history_raises_no_alarm(rules: Ruleset) -> None:
    with deck(rules, at("06-01 10:00")) as found:
        found.push(received("03-31 10:00"), received("03-01 10:00", "complaint", "other"))
        found.sweep()
        assert len(found.raised) == 12
        assert all(alert.quiet for alert in found.raised)


def test_history_from_a_file_raises_no_alarm(rules: Ruleset, tmp_path: Path) -> None:
    """`liuyan replay`, then the service: first the log, then the cases, then the sweep."""
    from services.ingest.door import Door
    from services.standalone.replay import replay

    file = tmp_path / "history.jsonl"
    history = [received("03-31 10:00", subject=f"s{i}") for i in range(5)]
    file.write_bytes(b"".join(encode_event(e) + b"\n" for e in history))
    with deck(rules, at("06-01 10:00")) as found:
        replay(file, found.database, Door(rules), lambda: found.now, lambda read: None)
        assert found.sweep() == []
        found.restart()
        found.sweep()
        assert {alert.quiet for alert in found.raised} == {True}
        assert found.differences() == []
        assert found.next_wake() is None


@pytest.mark.parametrize(
    ("seen", "quiet"), [("04-03 00:00", False), ("04-03 00:00:00.000001", True)], ids=["24 h", "more"]
)
def test_what_is_overdue_for_more_than_a_day_when_first_seen_is_listed(rules: Ruleset, seen: str, quiet: bool) -> None:
    with deck(rules, at(seen)) as found:
        found.push(received("03-31 10:00"))
        assert {(a.rung, a.quiet) for a in found.sweep()} == {("overdue", quiet), ("escalated-1", quiet)}


def test_an_outage_of_three_days_does_not_silence_what_was_known_before(rules: Ruleset) -> None:
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"))
        found.clock.set(at("04-05 00:00"))
        found.restart()
        found.push(event("a", "transferred", "04-04 10:00", to="gongan"))
        raised = found.sweep()
        assert {a.rung for a in raised} == {"due_today", "overdue", "escalated-1"}
        assert not any(a.quiet for a in raised)


def test_a_reply_that_is_long_overdue_does_not_silence_the_other_target(rules: Ruleset) -> None:
    with deck(rules, at("03-15 10:00")) as found:
        found.push(received("03-01 10:00", "complaint"))
        found.sweep(at("04-20 00:00"))
        assert {(a.target, a.quiet) for a in found.raised} == {("reply", True), ("complete", False)}


@pytest.mark.parametrize(
    "evidence",
    [
        [received("03-30 10:00")],
        [event("a", "completed", "03-31 11:00"), event("b", "reopened", "03-31 12:00")],
        [received("03-30 10:00"), event("a", "recategorized", "03-30 11:00", category="simple_inquiry")],
    ],
    ids=["received earlier", "another round", "recategorized"],
)
def test_evidence_that_comes_late_does_not_silence_a_case_that_was_known_before(
    rules: Ruleset, evidence: list[CaseEvent]
) -> None:
    """Another deadline, also long ago by now: but the case was seen in time."""
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"))
        found.clock.set(at("04-08 10:00"))
        found.push(*evidence)
        raised = found.sweep()
        assert "overdue" in {a.rung for a in raised}
        assert not any(a.quiet for a in raised)


def test_a_target_that_is_new_in_a_case_that_is_watched_is_told(rules: Ruleset) -> None:
    """The clock stood still, so there was no deadline; that it went on is said weeks later."""
    with deck(rules, at("03-02 10:00")) as found:
        found.push(received("03-01 10:00", "help"), event("a", "suspended", "03-02 10:00"))
        found.clock.set(at("03-28 10:00"))
        found.push(event("b", "resumed", "03-03 10:00"))
        raised = found.sweep()
        assert {(a.target, a.rung) for a in raised} >= {("complete", "overdue"), ("reply", "overdue")}
        assert not any(a.quiet for a in raised)


def test_history_that_is_told_in_pieces_stays_quiet(rules: Ruleset) -> None:
    """Nothing of the case was ever to be sent: neither a replaced target nor another round is."""
    with deck(rules, at("06-01 10:00")) as found:
        found.push(received("03-31 10:00"))
        found.push(received("03-30 10:00"))
        found.sweep()
        found.push(event("a", "completed", "04-20 10:00"))
        found.push(event("b", "reopened", "04-21 10:00"))
        found.sweep()
        assert {a.round for a in found.raised} == {1, 2}
        assert all(a.quiet for a in found.raised)


# What a recount finds


@ONLY_SQLITE
@pytest.mark.parametrize("rung", ["overdue", "escalated-1", "suspended-long"])
@pytest.mark.parametrize("change", ["DELETE FROM alerts", "UPDATE alerts SET cleared_at = 1, clear_reason = 'closed'"])
def test_a_recount_finds_an_alert_that_is_missing(rules: Ruleset, change: str, rung: str) -> None:
    with deck(rules, at("03-01 10:00")) as found:
        found.push(received("03-01 10:00"), received("03-01 10:00", "help", "stopped"))
        found.push(event("a", "suspended", "03-01 11:00", subject="stopped"))
        found.sweep(at("04-02 10:00"))
        assert found.differences() == []
        tamper(found.file, f"{change} WHERE rung = '{rung}' AND target != 'reply'")
        (line,) = found.differences()
        assert rung in line


def test_a_recount_finds_no_alert_missing_before_the_sweep(rules: Ruleset) -> None:
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"))
        found.clock.set(at("04-20 10:00"))
        assert found.differences() == []
        found.sweep_once()
        assert found.differences() == []


# Tallies


def test_a_tally_counts_from_its_time_on(rules: Ruleset) -> None:
    """One from the future neither stands at once nor hides the one before it; nothing needs to happen at its time."""
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"))
        found.push(
            tally("late", at("03-31 12:00"), "2022-03-31", 9), tally("alone", at("03-31 13:00"), "2022-03-30", 2)
        )
        assert found.tally_gaps() == {}
        found.push(tally("now", at("03-31 10:00"), "2022-03-31", 3), tally("old", at("03-31 09:00"), "2022-03-31", 7))
        assert found.tally_gaps() == {"zhenkang": 2}
        found.clock.set(at("03-31 12:00"))
        assert found.tally_gaps() == {"zhenkang": 8}
        assert found.differences() == []
        found.clock.set(at("03-31 13:00"))
        assert found.tally_gaps() == {"zhenkang": 10}
        assert found.differences() == []


def test_the_latest_tally_of_a_day_is_that_of_time_then_sequence_then_id(rules: Ruleset) -> None:
    with deck(rules, at("04-01 10:00")) as found:
        for identifier, time, sequence, number in [
            ("b", "04-01 01:00", 1, 5), ("a", "04-01 01:00", 1, 4), ("c", "04-01 01:00", 0, 3), ("d", "04-01 00:30", 9, 2),
        ]:  # fmt: skip
            found.push(tally(identifier, at(time), "2022-03-31", number, sequence=sequence))
        assert found.tally_gaps() == {"zhenkang": 5}
        assert found.differences() == []


# Another ruleset


def test_a_changed_ruleset_recomputes_and_clears(rules: Ruleset) -> None:
    """Three working days instead of one: what was overdue is not; and back again."""
    longer = ruleset(shipped("policy.toml").replace("reply = 1\ncomplete = 1", "reply = 3\ncomplete = 3"))
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"), received("03-31 10:00", "help", "other"))
        found.sweep(at("04-02 10:00"))
        found.restart(longer)
        assert found.rungs(KEY) == [(rung, "recomputed") for rung in ("due_today", "overdue", "escalated-1")]
        assert {row["ruleset"] for row in found.read_cases()} <= {longer.hash, None, ""}
        assert found.row(KEY)["outcome"] == "pending"
        assert found.differences() == []
        assert found.next_wake() == at("04-06 09:00")
        found.restart(rules)
        found.sweep()
        assert found.row(KEY)["outcome"] == "overdue"
        assert found.rungs(KEY) == [
            ("due_today", "recomputed"), ("overdue", "recomputed"), ("escalated-1", "recomputed"),
            ("overdue", None), ("escalated-1", None),
        ]  # fmt: skip
        assert found.differences() == []


def test_a_corrected_calendar_moves_the_rungs_to_come_though_the_deadline_stands(rules: Ruleset) -> None:
    """7 April becomes a day off: due_day stays Friday 1 April, the third working day after it is 8 April."""
    corrected = ruleset(
        None, '[[local]]\ncounty = "zhenkang"\ndate = "2022-04-07"\nrest = true\nname = "x"\nsource = "x"\n'
    )
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"))
        found.sweep(at("04-02 10:00"))
        found.restart(corrected)
        assert found.next_wake() == at("04-08 09:00")


@pytest.mark.parametrize(("now", "expected"), [("03-31 12:00", "04-01 07:30"), ("04-01 08:00", "04-01 08:00")])
def test_an_earlier_morning_moves_the_warning_though_the_deadline_stands(
    rules: Ruleset, now: str, expected: str
) -> None:
    earlier = ruleset(shipped("policy.toml").replace('morning = "09:00"', 'morning = "07:30"'))
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"))
        found.sweep(at(now))
        found.restart(earlier)
        wake = found.next_wake()
        assert wake is not None
        assert max(wake, at(now)) == at(expected)


@pytest.mark.parametrize("only", ["tallies", "events ahead", "nothing"])
def test_a_changed_ruleset_with_nothing_to_recompute(rules: Ruleset, only: str) -> None:
    """A city that has pushed nothing but tallies, or nothing yet, and then corrects its policy, can still push."""
    other = ruleset(shipped("policy.toml").replace("complete = 15", "complete = 20"))
    with deck(rules, at("03-31 10:00")) as found:
        if only == "tallies":
            found.push(tally("t", at("03-31 09:00"), "2022-03-31", 0))
        elif only == "events ahead":
            found.push(received("04-30 10:00", subject="ahead"))
        found.restart(other)
        found.push(received("03-31 10:00"))
        found.sweep(at("05-15 00:00"))
        assert found.differences() == []


@pytest.mark.parametrize("steps", range(1, 6))
def test_an_interrupted_recomputation_goes_on_at_the_next_start(
    rules: Ruleset, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends after so many steps: the next start finishes, whichever ruleset it has."""
    from services.standalone import prepare as prepare_module
    from services.standalone.engine import Engine

    monkeypatch.setattr(prepare_module, "CASES_A_STEP", 2)
    other = ruleset(shipped("policy.toml").replace("reply = 1\ncomplete = 1", "reply = 3\ncomplete = 3"))

    class KilledError(Exception):
        pass

    for final in (other, rules):
        with deck(rules, at("03-31 10:00")) as found:
            found.push(*(received("03-31 10:00", subject=f"s{i}") for i in range(8)))
            found.sweep(at("04-03 00:00"))
            left = [steps]

            def progress(title: str, done: int, total: int, left: list[int] = left) -> None:
                left[0] -= 1
                if not left[0]:
                    raise KilledError

            with contextlib.suppress(KilledError):
                Engine(found.database, other, found.clock).prepare(progress)
            found.restart(final)
            assert found.differences() == []
            found.push(received("03-31 12:00", subject="new"))
            found.sweep()
            assert found.differences() == []
            assert found.read_cases() == expected_rows(
                [*(received("03-31 10:00", subject=f"s{i}") for i in range(8)), received("03-31 12:00", subject="new")],
                final, found.now,
            )  # fmt: skip


# Many at once


@pytest.mark.slow
def test_many_deadlines_at_one_instant_in_batches_between_pushes(rules: Ruleset) -> None:
    """2,000 fall due at midnight; between the batches some are completed late, in time, or withdrawn, and others arrive."""
    chance = random.Random(20220402)  # noqa: S311 - an order, not a secret
    events: list[CaseEvent] = [received("03-31 10:00", subject=f"s{i:04}") for i in range(2_000)]
    with deck(rules, at("03-31 10:00")) as found:
        found.push(*events)
        found.clock.set(at("04-02 10:00"))
        batches = 0
        while (wake := found.next_wake()) is not None and wake <= found.now:
            found.sweep_once(batch=150)
            batches += 1
            assert batches < 500
            if batches > 60:
                continue
            subject = f"s{chance.randrange(2_000):04}"
            name, time = chance.choice(
                [("completed", "04-01 20:00"), ("completed", "04-02 08:00"), ("withdrawn", "04-01 12:00")]
            )
            further = [
                event(f"x{batches}", name, time, subject=subject),
                received("03-31 11:00", subject=f"new{batches:04}"),
            ]
            found.push(*further)
            events += further
            if batches % 10 == 0:
                assert found.differences() == []
                assert found.standings_now(["2022-03"]) == expected_standings(events, rules, found.now)
        assert found.differences() == []
        assert found.read_cases() == expected_rows(events, rules, found.now)
        assert Counter(Counter(a[:-1] for a in found.alerts()).values()).keys() == {1}
        assert {a for a in found.standing_alerts() if a.rung != "due_today"} == expected_alerts(
            events, rules, found.now
        )


def test_the_figures_of_now_evaluate_no_case_whose_deadline_only_passed(rules: Ruleset) -> None:
    """At midnight there may be 100,000 of them, and whoever asks before the sweep is through would keep it from its work."""
    events = [
        *(received("03-31 10:00", subject=f"plain{number}") for number in range(3)),
        *(received("03-31 10:00", "help", subject=f"help{number}") for number in range(2)),
        received("03-28 10:00", subject="again"),
        event("again-c", "completed", "03-28 11:00", subject="again"),
        event("again-o", "reopened", "03-31 12:00", subject="again"),
        received("03-31 10:00", subject="ahead"),
        event("ahead-c", "completed", "04-09 10:00", subject="ahead"),
    ]
    evaluated: list[str] = []

    def recall(connection: Connection, keys: Iterable[str], as_of: datetime) -> Iterator[Case]:
        asked = list(keys)
        evaluated.extend(asked)
        return recaller(rules)(connection, asked, as_of)

    with deck(rules, at("03-31 12:00")) as found:
        found.push(*events)
        for moment in ("04-01 12:00", "04-02 00:00", "04-08 00:00"):
            found.clock.set(at(moment))
            with found.database.reading() as connection:
                counted = +standings_now(connection, recall, ["2022-03"], found.now)
            assert counted == expected_standings(events, rules, found.now)
    assert set(evaluated) == {"zhenkang/again", "zhenkang/ahead"}


# A clock that is set


def test_a_clock_that_goes_back_records_no_rung_twice_and_comes_right(rules: Ruleset) -> None:
    """The clock is set back before the deadline, an event arrives, and time goes on."""
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"))
        found.sweep(at("04-02 10:00"))
        found.clock.set(at("04-01 12:00"))
        found.push(event("a", "transferred", "04-01 11:00", to="gongan"))
        found.sweep()
        found.restart()
        found.sweep(at("04-02 10:00"))
        assert found.rungs(KEY) == [
            ("due_today", None), ("overdue", "recomputed"), ("escalated-1", "recomputed"),
            ("overdue", None), ("escalated-1", None),
        ]  # fmt: skip
        # Overdue and escalated were raised by a clock that was ahead; put right at the restart, they are told when they are due.
        assert len(found.raised) == 10
        assert found.differences() == []
        assert found.row(KEY)["outcome"] == "overdue"


def test_a_clock_that_goes_back_before_the_reception_comes_right(rules: Ruleset) -> None:
    events = [received("03-31 10:00"), event("a", "transferred", "03-31 11:00", to="gongan")]
    with deck(rules, at("03-31 10:00")) as found:
        found.push(events[0])
        found.sweep(at("04-02 10:00"))
        found.clock.set(at("03-30 12:00"))
        found.push(events[1])
        found.sweep()
        assert found.read_cases() == expected_rows(events, rules, found.now)
        found.sweep(at("04-02 10:00"))
        assert found.read_cases() == expected_rows(events, rules, found.now)
        assert found.differences() == []
        standing = [a for a in found.alerts() if a.cleared is None]
        assert len(standing) == len(set(standing)) == 4


def test_a_clock_that_was_far_ahead_is_put_right_at_the_next_start(rules: Ruleset) -> None:
    """A machine without a battery starts in 2036, sweeps, learns the time, and is started again."""
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"))
        found.sweep(at("2036-01-01 00:00"))
        found.clock.set(at("03-31 12:00"))
        found.restart()
        found.sweep()
        assert found.read_cases() == expected_rows([received("03-31 10:00")], rules, found.now)
        assert found.differences() == []


def test_a_clock_that_was_a_second_ahead_tells_nothing_twice(rules: Ruleset) -> None:
    """The clock is corrected by a second while the service is restarted."""
    with deck(rules, at("03-31 10:00")) as found:
        found.push(received("03-31 10:00"), received("03-01 10:00", "complaint", "other"))
        found.sweep(at("04-02 08:00:01"))
        before = found.alerts()
        found.clock.set(at("04-02 08:00"))
        found.restart()
        assert found.sweep() == []
        assert found.alerts() == before
        assert found.differences() == []


@pytest.mark.parametrize(
    "events",
    [
        [received("03-01 10:00"), event("a", "completed", "03-01 11:00"), event("b", "rated", "06-01 10:00", score=1)],
        [event("a", "accepted", "06-01 10:00")],
        [event("a", "accepted", "03-01 10:00"), event("b", "rated", "06-01 10:00", score=1)],
        [received("06-01 10:00"), event("b", "withdrawn", "03-01 10:00")],
        [received("03-01 10:00"), event("a", "completed", "03-01 11:00"), event("b", "reopened", "06-01 10:00"),
         event("c", "completed", "06-01 10:00")],
    ],
    ids=["rated", "nothing yet", "awaiting", "received", "reopened"],
)  # fmt: skip
def test_what_happens_later_is_unknown_again_after_a_clock_was_ahead(rules: Ruleset, events: list[CaseEvent]) -> None:
    with deck(rules, at("2036-01-01 00:00")) as found:
        found.push(*events)
        found.sweep()
        found.clock.set(at("03-31 12:00"))
        found.restart()
        assert found.differences() == []
        found.sweep()
        assert found.read_cases() == expected_rows(events, rules, found.now)


@ONLY_SQLITE
def test_a_file_of_its_own_name(rules: Ruleset, tmp_path: Path) -> None:
    """Folders and files with blanks, quotes, percent signs and Chinese names."""
    where = tmp_path / "a b'c%20?#号"
    where.mkdir()
    found = Deck(fresh_file(where, "库 'x'%.db"), rules, at("03-31 10:00"))
    try:
        found.push(received("03-31 10:00"))
        assert found.differences() == []
        assert (where / "库 'x'%.db").stat().st_size > 0
        assert {f.name for f in tmp_path.iterdir()} == {where.name}
    finally:
        found.close()
