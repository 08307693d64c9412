"""Laws of the embedded engine: whatever the order, duplication and batching of events, with restarts, sweeps and clock
settings between, the file says what the pure core says of the accepted set.

Cases and platforms collide in their times, ids and ends of periods; receptions come late, from the future, or not at all.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.ingest.port import Taken
from shared.events import CaseEvent, Event, encode_event
from shared.figures import AWAITING, COUNTS, Standing, count, tabulate
from shared.rules import Ruleset
from tests.builders import at, event, ruleset
from tests.conftest import ONLY_SQLITE
from tests.enginekit import (
    Deck,
    accepted,
    deck,
    expected_alerts,
    expected_cases,
    expected_snapshot,
    expected_standings,
    folder,
    fresh_file,
    started,
    tally,
)
from tests.fakes import FakeClock

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("each_database")]

POLICY = """
[[policy]]
source = "test"
cutoff = "17:30"
default_category = "inquiry"
office_hours = ["08:30-12:00", "14:30-18:00"]
alerts = {suspended_long_days = 2}
categories.simple_inquiry = {name = "简单咨询", reply = 1, complete = 1, source = "test"}
categories.inquiry = {name = "一般咨询", reply = 1, complete = 2, source = "test"}
categories.help = {name = "求助", reply_hours = 2, complete_hours = 7, source = "test"}

[[policy]]
effective_from = 2022-04-02
source = "test"
default_category = "inquiry"
max_extensions = 2
categories.inquiry = {name = "一般咨询", reply = 1, complete = 3, source = "test"}
"""
LOCAL = """
[[local]]
county = "gengma"
date = "2022-04-06"
rest = true
name = "泼水节"
source = "test"
"""
RULES = ruleset(POLICY, LOCAL)
CHANGED = ruleset(POLICY.replace("complete = 2", "complete = 4"), LOCAL.replace("04-06", "04-07"))
"""The same city after its policy and its calendar were corrected."""


class Season(NamedTuple):
    """Where the events happen, and until when all of it has been noticed."""

    pool: list[datetime]
    months: tuple[str, ...]


def season(days: Sequence[str], months: Sequence[str]) -> Season:
    clocks = ("00:00", "09:00", "12:00", "17:30", "18:00", "23:59:59.999999")
    return Season([at(f"{day} {clock}") for day in days for clock in clocks], tuple(months))


SEASONS = [
    # Thursday, the end of a quarter, to Monday: a worked Saturday, Qingming, a local day, a new policy.
    season(["03-31", "04-01", "04-02", "04-04", "04-06", "04-07", "04-11"], ["2022-03", "2022-04"]),
    # A year's end whose days no notice confirms.
    season(
        ["2031-12-24", "2031-12-25", "2031-12-31", "2032-01-01", "2032-01-02", "2032-01-05"], ["2031-12", "2032-01"]
    ),
]
CASES = [("zhenkang", "1"), ("zhenkang", "a"), ("gengma", "a"), ("gongan", "A"), ("lincang", "a:b.c_d-e")]
IDS = [
    "1",
    "2",
    "a",
    "A",
    "é",
    "e\u0301",
    "'",
    '"',
    "%",
    "_",
    "a/b",
    "b' OR 1=1 --",
    "一",
    "\uff5e",
    "\U0001f600",
    "x y",
]
NAMES = [
    "received",
    "accepted",
    "transferred",
    "recategorized",
    "extended",
    "suspended",
    "suspended",
    "resumed",
    "resumed",
    "replied",
    "replied",
    "completed",
    "completed",
    "reopened",
    "reopened",
    "rated",
    "rejected",
    "withdrawn",
    "tally",
]
RECEPTION = ["received"]
CATEGORY = st.fixed_dictionaries({"category": st.sampled_from(["simple_inquiry", "inquiry", "help", "gone"])})
DATA: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "received": CATEGORY,
    "transferred": st.fixed_dictionaries({"to": st.sampled_from(["zhenkang", "gongan", "县住建局"])}),
    "recategorized": CATEGORY,
    "extended": st.fixed_dictionaries({"working_days": st.integers(1, 3)}),
    "replied": st.fixed_dictionaries({}, optional={"interim": st.booleans()}),
    "rated": st.fixed_dictionaries({"score": st.integers(1, 5)}),
    "rejected": st.fixed_dictionaries({"reason": st.just("not_in_scope")}),
}


@st.composite
def one_event(draw: st.DrawFn, found: Season, identifier: str, where: tuple[str, str], names: Sequence[str]) -> Event:
    name, (platform, subject) = draw(st.sampled_from(names)), where
    pool = found.pool[: len(found.pool) // 2] if names is RECEPTION else found.pool
    time, sequence = draw(st.sampled_from(pool)), draw(st.sampled_from([0, 0, 0, -1, 7]))
    if name == "tally":
        day = draw(st.sampled_from(found.pool)).date().isoformat()
        return tally(identifier, time, day, draw(st.integers(0, 2)), platform, sequence)
    data = draw(DATA.get(name, st.just({})))
    return event(identifier, name, time, platform=platform, subject=subject, sequence=sequence, **data)


@st.composite
def sets_of_events(draw: st.DrawFn, found: Season) -> list[Event]:
    """Of up to four cases, most with a reception early on, some with very much happening; ids repeat between platforms."""
    events: list[Event] = []
    for where in draw(st.lists(st.sampled_from(CASES), min_size=1, max_size=4, unique=True)):
        ids = iter(
            draw(st.permutations([identifier for identifier in IDS if (where[0], identifier) not in used(events)]))
        )
        if draw(st.integers(0, 5)):
            events.append(draw(one_event(found, next(ids), where, RECEPTION)))
        number = draw(st.integers(0, 7))
        events += [
            draw(one_event(found, identifier, where, NAMES)) for identifier, _ in zip(ids, range(number), strict=False)
        ]
    return events


def used(events: Sequence[Event]) -> set[tuple[str, str]]:
    return {(event.platform, event.id) for event in events}


class Push(NamedTuple):
    events: list[Event]


class Clock(NamedTuple):
    to: datetime


class Sweep(NamedTuple):
    batch: int


class Restart(NamedTuple):
    pass


Action = Push | Clock | Sweep | Restart


class Story(NamedTuple):
    """What arrives and what else happens, in order; `season.pool[0] <= now` throughout, and time does not go back."""

    season: Season
    actions: list[Action]
    until: datetime

    @property
    def arriving(self) -> list[Event]:
        return [event for action in self.actions if isinstance(action, Push) for event in action.events]


@st.composite
def stories(draw: st.DrawFn, conflicts: bool = True) -> Story:
    found = draw(st.sampled_from(SEASONS))
    events = draw(sets_of_events(found).filter(bool))
    arriving = [*events, *(draw(st.sampled_from(events)) for _ in range(draw(st.integers(0, 4))))]
    if conflicts:
        others = draw(st.lists(st.sampled_from(events), max_size=3))
        arriving += [draw(one_event(found, e.id, draw(st.sampled_from(CASES)), NAMES)) for e in others]
    arriving = draw(st.permutations(arriving))
    times = sorted(draw(st.lists(st.sampled_from(found.pool), min_size=1, max_size=6)))
    actions: list[Action] = [Clock(time) for time in times]
    while arriving:
        size = draw(st.integers(1, 6))
        actions.insert(draw(st.integers(0, len(actions))), Push(list(arriving[:size])))
        arriving = arriving[size:]
    for _ in range(draw(st.integers(0, 4))):
        actions.insert(
            draw(st.integers(0, len(actions))), draw(st.sampled_from([Restart(), Sweep(1), Sweep(2), Sweep(5_000)]))
        )
    return Story(
        found, actions, draw(st.sampled_from([times[-1], found.pool[-1], found.pool[-1] + timedelta(days=30)]))
    )


EXAMPLES = 60
STORIES = stories()
laws = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def play(found: Deck, story: Story, check: Any = lambda: None) -> list[tuple[Event, Taken]]:
    """Do what the story says, with a sweep at its end; what became of each event, in the order of arrival."""
    taken: list[tuple[Event, Taken]] = []
    for action in story.actions:
        match action:
            case Push(events):
                taken += zip(events, found.push(*events), strict=True)
            case Clock(to):
                found.clock.set(to)
            case Sweep(batch):
                found.sweep_once(batch)
            case Restart():
                found.restart()
        check()
    found.sweep(max(found.now, story.until))
    check()
    return taken


@laws
@given(STORIES)
def test_any_order_batching_restarts_and_sweeps_give_what_the_pure_core_says(story: Story) -> None:
    """§4: duplicates, order of arrival and restarts cannot change a case, nor what is counted from it."""
    with deck(RULES, story.season.pool[0]) as found:
        taken = play(found, story)
        assert found.differences() == []
        actual = found.snapshot()
        del actual["targets"]
        assert actual == expected_snapshot(story.arriving, RULES, found.now)
        stands = accepted(story.arriving)
        assert [event for event, what in taken if what is Taken.ACCEPTED] == stands
        assert found.logged() == [f"{event.platform}/{event.id}" for event in stands]
        conflicts = {encode_event(event) for event, what in taken if what is Taken.CONFLICT}
        assert [reason for _, reason in found.dead_letters()] == ["conflict"] * len(conflicts)


@laws
@given(stories(conflicts=False))
def test_two_ways_of_arriving_leave_the_same_tables(story: Story) -> None:
    """The same events, all at once: identical rows, figures, cases, open targets with their next rungs, and alerts."""
    with deck(RULES, story.season.pool[0]) as one, deck(RULES, story.season.pool[0]) as other:
        play(one, story)
        other.clock.set(one.now)
        other.push(*reversed(story.arriving))
        other.sweep()
        assert one.snapshot() == other.snapshot()


@laws
@given(STORIES)
def test_the_figures_hold_at_every_instant_also_before_the_sweep(story: Story) -> None:
    """Kept figures, corrected for what fell due, equal those as of now and those of the pure core; and rows reconcile."""
    months = story.season.months
    with deck(RULES, story.season.pool[0]) as found:
        seen: list[Event] = []
        pushes = iter([action.events for action in story.actions if isinstance(action, Push)])

        def check() -> None:
            expected = Counter(s for s in expected_standings(seen, RULES, found.now).elements() if s.month in months)
            assert found.standings_now(months) == expected
            assert found.standings_as_of(months, found.now) == expected
            assert found.differences() == []

        for action in story.actions:
            if isinstance(action, Push):
                seen += next(pushes)
            play(found, Story(story.season, [action], found.now)) if not isinstance(action, Clock) else found.clock.set(
                action.to
            )
            check()


@laws
@given(STORIES, st.data())
def test_an_answer_as_of_an_instant_depends_on_nothing_later(story: Story, data: st.DataObject) -> None:
    """As of T only events with time <= T are known, whatever the tables hold by now."""
    as_of = data.draw(st.sampled_from(story.season.pool))
    months = story.season.months
    known = [event for event in accepted(story.arriving) if event.time <= as_of]
    with deck(RULES, story.season.pool[0]) as found:
        play(found, story)
        assert found.encoded(as_of) == expected_cases(known, RULES, as_of)
        expected = Counter(s for s in expected_standings(known, RULES, as_of).elements() if s.month in months)
        assert found.standings_as_of(months, as_of) == expected
        with deck(RULES, as_of) as other:
            other.push(*known)
            assert other.encoded(as_of) == found.encoded(as_of)


@laws
@given(STORIES)
def test_each_rung_is_recorded_and_told_once(story: Story) -> None:
    """§7: an alert is raised once per (case, round, target, rung, due_at), and again only when cleared; those that stand are
    those of open targets."""
    with deck(RULES, story.season.pool[0]) as found:
        play(found, story)
        recorded = [alert[:-1] for alert in found.alerts()]
        assert [(r.key, r.round, r.target, r.rung, r.due_at) for r in found.raised] == recorded
        uncleared = [alert for alert in found.alerts() if alert.cleared is None]
        standing = found.standing_alerts()
        assert len(uncleared) == len(standing)
        assert {a for a in standing if a.rung != "due_today"} == expected_alerts(story.arriving, RULES, found.now)
        before = len(found.raised), found.alerts()
        found.restart()
        found.sweep_once()
        found.sweep()
        assert (len(found.raised), found.alerts()) == before


@laws
@given(STORIES, st.integers(0, 3))
def test_a_changed_ruleset_recomputes_everything_whenever_it_comes(story: Story, when: int) -> None:
    """After a restart with other rules the tables are those that these rules alone would have made."""
    at_most = min(when, len(story.actions))
    with deck(RULES, story.season.pool[0]) as found:
        play(found, Story(story.season, story.actions[:at_most], story.season.pool[0]))
        found.restart(CHANGED)
        assert found.differences() == []
        play(found, Story(story.season, story.actions[at_most:], story.until))
        assert found.differences() == []
        actual = found.snapshot()
        with deck(CHANGED, found.now) as other:
            for action in story.actions:
                if isinstance(action, Push):
                    other.push(*action.events)
            other.sweep()
            assert actual == other.snapshot()


@laws
@given(STORIES)
def test_the_statistics_keep_their_identities(story: Story) -> None:
    """§4: received = rejected + withdrawn + accountable; accountable = on_time + late + overdue + pending; and so on."""
    with deck(RULES, story.season.pool[0]) as found:
        play(found, story)
        standings = found.standings_now(story.season.months)
        table = tabulate(standings, RULES.registry, story.season.months)
        for counts in (*(row.counts for row in table.rows), table.total):
            assert counts.received == counts.rejected + counts.withdrawn + counts.accountable
            assert counts.accountable == counts.on_time + counts.late + counts.overdue + counts.pending
            assert counts.late + counts.overdue <= counts.breached <= counts.accountable
            assert counts.suspended <= counts.pending
            assert counts.reply_on_time + counts.reply_late + counts.reply_overdue <= counts.accountable
            assert all(getattr(counts, name) >= 0 for name in COUNTS)
        assert {name: sum(getattr(row.counts, name) for row in table.rows) for name in COUNTS} == {
            name: getattr(table.total, name) for name in COUNTS
        }
        months = [count({s: n for s, n in standings.items() if s.month == month}) for month in story.season.months]
        assert {name: sum(getattr(m, name) for m in months) for name in COUNTS} == {
            name: getattr(table.total, name) for name in COUNTS
        }
        awaiting = [s for s in found.figures() if s.outcome == AWAITING]
        assert all(s == Standing(s.platform, "", "", AWAITING, False, False, "", False) for s in awaiting)


@ONLY_SQLITE
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(STORIES)
def test_the_engines_own_thread_does_the_same(story: Story) -> None:
    """Through `Engine.submit`, with the sweeps that the thread makes by itself, and a stop in the middle."""
    actions = [action for action in story.actions if not isinstance(action, Sweep)]
    clock = FakeClock(story.season.pool[0])
    with folder() as where:
        file = fresh_file(where)

        async def submit(chosen: list[Action]) -> list[Event]:
            with started(file, RULES, clock) as engine:
                taken: list[Event] = []
                for action in chosen:
                    if isinstance(action, Push):
                        answers = await engine.submit(action.events, "test")
                        taken += [e for e, what in zip(action.events, answers, strict=True) if what is Taken.ACCEPTED]
                    elif isinstance(action, Clock):
                        clock.set(action.to)
                assert engine.unhealthy() is None
                return taken

        half = len(actions) // 2
        taken = [*asyncio.run(submit(actions[:half])), *asyncio.run(submit(actions[half:]))]
        assert taken == accepted(story.arriving)
        found = Deck(file, RULES, clock.now())
        try:
            found.sweep(max(clock.now(), story.until))
            assert found.differences() == []
            actual = found.snapshot()
            del actual["targets"]
            assert actual == expected_snapshot(story.arriving, RULES, found.now)
        finally:
            found.close()


@ONLY_SQLITE
def test_the_stories_have_what_they_are_about() -> None:
    """The generator really makes cases that wait, come from the future, reopen, are suspended, provisional and so on."""
    seen: Counter[str] = Counter()

    @settings(max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(STORIES)
    def look(story: Story) -> None:
        stands = accepted(story.arriving)
        if len(stands) < len(story.arriving):
            seen["repeated"] += 1
        if any(event.time > story.until for event in stands):
            seen["ahead"] += 1
        if len({(e.platform, e.subject) for e in stands if isinstance(e, CaseEvent)}) > 1:
            seen["several"] += 1
        for one in expected_standings(stands, RULES, story.until):
            seen.update([one.outcome, f"reply {one.reply}", "provisional" * one.provisional, "paused" * one.suspended])

    look()
    wanted = ["repeated", "ahead", "several", "provisional", "paused", AWAITING]
    wanted += ["on_time", "late", "overdue", "pending", "rejected", "withdrawn"]
    wanted += ["reply on_time", "reply late", "reply overdue", "reply running", "reply void", "reply paused"]
    assert [word for word in wanted if seen[word] < 3] == []


@ONLY_SQLITE
def test_rules_differ() -> None:
    assert RULES.hash != CHANGED.hash
    assert isinstance(RULES, Ruleset)


def test_a_case_that_moves_to_another_month_leaves_the_old_one() -> None:
    """An earlier reception arrives late: the figures of the month that it seemed to belong to go down."""
    late, early = (
        event(name, "received", time, subject="1", category="inquiry")
        for name, time in (("b", "04-01 10:00"), ("a", "03-31 10:00"))
    )
    with deck(RULES, at("04-01 12:00")) as found:
        found.push(late)
        assert {s.month: n for s, n in found.figures().items()} == {"2022-04": 1}
        found.sweep(at("04-09 10:00"))
        assert {(s.month, s.outcome): n for s, n in found.figures().items()} == {("2022-04", "overdue"): 1}
        found.push(early)
        assert {(s.month, s.outcome): n for s, n in found.figures().items()} == {("2022-03", "overdue"): 1}
        assert found.standings_as_of(["2022-04"], found.now) == Counter()
        assert found.snapshot()["days"] == {("zhenkang", "2022-03-31"): (1, None, None)}
        assert found.differences() == []
