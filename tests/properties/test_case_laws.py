"""Laws of a case, for event sets that are realistic in their kinds and nasty in their times (docs/rules.md).

The instants come from a small pool in which deadlines, midnights, cutoffs and office hours are frequent and collide.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.sla.rules import TRANSITIONS, evaluate, next_change, still_stands
from shared.case import CLOSED, Case, Outcome, Status, Target, Verdict, encode_case
from shared.events import CaseEvent, Received
from shared.rules import Ruleset
from tests.builders import at, event, ruleset, shuffled

DAYS = ruleset("""
[[policy]]
source = "test"
cutoff = "17:30"
default_category = "inquiry"
max_extension_days = 2
categories.simple_inquiry = {name = "简单咨询", reply = 1, complete = 1, source = "test"}
categories.inquiry = {name = "一般咨询", reply = 2, complete = 2, source = "test"}
categories.help = {name = "求助", reply = 1, complete = 3, source = "test"}
categories.complaint = {name = "投诉举报", reply = 2, complete = 5, source = "test"}

[[policy]]
effective_from = 2022-04-02
source = "test"
default_category = "help"
max_extensions = 2
max_extension_days = 1
max_suspensions = 1
categories.simple_inquiry = {name = "简单咨询", reply = 1, complete = 1, reply_completes = false, source = "test"}
categories.help = {name = "求助", reply = 1, complete = 2, reply_completes = true, source = "test"}
""")
HOURS = ruleset("""
[[policy]]
source = "test"
cutoff = "18:00"
default_category = "inquiry"
office_hours = ["08:30-12:00", "14:30-18:00"]
max_suspensions = 3
categories.simple_inquiry = {name = "简单咨询", reply_hours = 2, complete_hours = 2, source = "test"}
categories.inquiry = {name = "一般咨询", reply_hours = 3.5, complete_hours = 7, source = "test"}
categories.help = {name = "求助", reply_hours = 7, complete_hours = 14, source = "test"}
categories.complaint = {name = "投诉举报", reply = 1, complete = 2, source = "test"}
""")

# Thursday to Friday of the week after: with a worked Saturday, Qingming, and the day on which the policy changes.
POOL = [
    at(f"{day} {clock}")
    for day in ("03-31", "04-01", "04-02", "04-03", "04-05", "04-06", "04-07", "04-08")
    for clock in ("00:00", "08:30", "10:00", "12:00", "13:00", "16:30", "17:30", "18:00", "23:59:59.999999")
]
END = at("2023-01-01 00:00")
MOMENT = timedelta(microseconds=1)
NAMES = [
    "received", "accepted", "transferred", "recategorized", "recategorized", "extended", "extended", "suspended",
    "suspended", "suspended", "resumed", "resumed", "replied", "replied", "completed", "completed", "reopened",
    "reopened", "rated", "rejected", "withdrawn",
]  # fmt: skip
DATA: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "received": st.fixed_dictionaries(
        {"category": st.sampled_from(["simple_inquiry", "inquiry", "help", "complaint"])}
    ),
    "transferred": st.fixed_dictionaries({"to": st.sampled_from(["zhenkang", "gongan", "县住建局"])}),
    "recategorized": st.fixed_dictionaries(
        {"category": st.sampled_from(["simple_inquiry", "inquiry", "help", "complaint"])}
    ),
    "extended": st.fixed_dictionaries({"working_days": st.integers(1, 3)}),
    "replied": st.fixed_dictionaries({}, optional={"interim": st.booleans()}),
    "rated": st.fixed_dictionaries({"score": st.integers(1, 5)}),
    "rejected": st.fixed_dictionaries({"reason": st.just("not_in_scope")}),
}
IDS = ["10", "9", "B", "a", "b", "zk-1", "一", "丁", "\uff5e", "\U0001f600", "é", "~", "A", "0", "zk-10", "zk-2"]
RULES = st.sampled_from([DAYS, HOURS])
INSTANTS = st.sampled_from(POOL)


@st.composite
def histories(draw: st.DrawFn) -> list[CaseEvent]:
    """The events of one case, without duplicates, nearly always with a reception early on."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=len(IDS) - 1))
    times = [draw(INSTANTS) for _ in names]
    if draw(st.integers(0, 9)):
        names.append("received")
        times.append(draw(st.sampled_from(POOL[:30])))
    ids = draw(st.permutations(IDS))
    return [
        event(
            identifier,
            name,
            time,
            sequence=draw(st.sampled_from([0, 0, 0, -1, 1, 10])),
            **draw(DATA.get(name, st.just({}))),
        )
        for identifier, name, time in zip(ids, names, times, strict=False)
    ]


HISTORIES = histories()
laws = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example]
)


def encoded(events: Sequence[CaseEvent], rules: Ruleset, as_of: datetime) -> bytes | None:
    """The bytes of the case, None when nothing of it is known."""
    case = evaluate(events, rules, as_of)
    return None if case is None else encode_case(case)


def targets(case: Case) -> list[Target]:
    """Reply and complete of every round."""
    return [target for folded in case.rounds for target in (folded.targets.reply, folded.targets.complete)]


def in_order(events: Sequence[CaseEvent]) -> list[CaseEvent]:
    """The events as rule 0 has them: the earliest reception, then the rest. Without a reception: none."""
    ordered = sorted(events, key=lambda e: (e.time, int(e.sequence), e.precedence, e.id))
    reception = next((e for e in ordered if isinstance(e, Received)), None)
    return [] if reception is None else [reception, *(e for e in ordered if e is not reception)]


@laws
@given(HISTORIES, RULES, INSTANTS, st.integers(0, 2**16))
def test_any_order_of_arrival_gives_the_same_bytes(
    events: list[CaseEvent], rules: Ruleset, as_of: datetime, seed: int
) -> None:
    """Rule 0: a case is a pure function of the set of its events."""
    for when in (as_of, END):
        assert encoded(shuffled(events, seed), rules, when) == encoded(events, rules, when)


@laws
@given(HISTORIES, RULES, INSTANTS)
def test_what_happens_later_changes_nothing_as_of_an_instant(
    events: list[CaseEvent], rules: Ruleset, as_of: datetime
) -> None:
    """§4: as of T only events with time <= T are known."""
    known = [e for e in events if e.time <= as_of]
    assert encoded(known, rules, as_of) == encoded(events, rules, as_of)


@laws
@given(HISTORIES, RULES)
def test_evaluating_never_raises_and_lists_a_case_from_its_first_event_on(
    events: list[CaseEvent], rules: Ruleset
) -> None:
    """Rule 12: an event that does not fit is never an error; §8: of which nothing is known is not listed."""
    first = min(e.time for e in events)
    for as_of in (*POOL[::5], *(e.time for e in events), END):
        assert (evaluate(events, rules, as_of) is not None) == (first <= as_of)


@laws
@given(HISTORIES, RULES, INSTANTS)
def test_a_verdict_is_that_of_the_instants(events: list[CaseEvent], rules: Ruleset, as_of: datetime) -> None:
    """Rules 2, 3, 7: on time is before the deadline, overdue is at or after it, paused is without one."""
    case = evaluate(events, rules, as_of)
    for target in targets(case) if case else []:
        due, met = target.due_at, target.met_at
        assert (due is None) == (target.due_day is None)
        match target.verdict:
            case Verdict.ON_TIME:
                assert met is not None
                assert met <= as_of
                assert due is None or met < due
            case Verdict.LATE:
                assert met is not None
                assert due is not None
                assert due <= met <= as_of
            case Verdict.RUNNING:
                assert met is None
                assert due is not None
                assert as_of < due
            case Verdict.OVERDUE:
                assert met is None
                assert due is not None
                assert due <= as_of
            case Verdict.PAUSED:
                assert (met, due) == (None, None)
            case Verdict.VOID:
                assert met is None


@laws
@given(HISTORIES, RULES, INSTANTS)
def test_the_outcome_is_that_of_the_verdicts(events: list[CaseEvent], rules: Ruleset, as_of: datetime) -> None:
    """Outcome: accountable cases are on_time, late, overdue or pending; rejected and withdrawn never hide a breach."""
    case = evaluate(events, rules, as_of)
    if case is None:
        return
    complete = [folded.targets.complete.verdict for folded in case.rounds]
    assert case.breached == bool({Verdict.LATE, Verdict.OVERDUE} & set(complete))
    if case.status is Status.AWAITING_RECEPTION:
        assert (case.outcome, case.stage, case.received_at, case.category, case.holder) == (None,) * 5
        assert (case.rounds, case.ignored) == ((), ())
    elif case.status in CLOSED:
        assert set(complete) <= {Verdict.ON_TIME, Verdict.LATE, Verdict.VOID}
        late = Verdict.LATE in complete
        refused = case.status is not Status.COMPLETED
        assert case.outcome == (Outcome.LATE if late else case.status.value if refused else Outcome.ON_TIME)
        assert case.stage is None
        assert refused or complete[-1] is not Verdict.VOID
        assert not (late and complete[-1] is Verdict.VOID)
    else:
        assert set(complete[:-1]) <= {Verdict.ON_TIME, Verdict.LATE, Verdict.VOID}
        assert case.outcome is (Outcome.OVERDUE if complete[-1] is Verdict.OVERDUE else Outcome.PENDING)
        assert case.stage is not None
        assert (case.status is Status.SUSPENDED) >= (Verdict.PAUSED in [t.verdict for t in targets(case)])


@laws
@given(HISTORIES, RULES, INSTANTS, INSTANTS)
def test_a_deadline_that_has_passed_is_never_moved(
    events: list[CaseEvent], rules: Ruleset, one: datetime, other: datetime
) -> None:
    """Rule 4: what was overdue as of an instant has the same deadline ever after, and is then overdue or late.

    The reply of a case that is refused in time may become void.
    """
    before, after = evaluate(events, rules, min(one, other)), evaluate(events, rules, max(one, other))
    if before is None or after is None:
        return
    for earlier, later in zip(before.rounds, after.rounds, strict=False):
        for name in ("reply", "complete"):
            then, now = getattr(earlier.targets, name), getattr(later.targets, name)
            if then.verdict is Verdict.OVERDUE:
                assert (now.due_at, now.due_day) == (then.due_at, then.due_day)
                assert now.verdict in (Verdict.OVERDUE, Verdict.LATE, *([Verdict.VOID] if name == "reply" else []))
            elif then.verdict in (Verdict.ON_TIME, Verdict.LATE, Verdict.VOID):
                assert now == then


@laws
@given(HISTORIES, RULES, INSTANTS, INSTANTS)
def test_a_breach_stays_a_breach(events: list[CaseEvent], rules: Ruleset, one: datetime, other: datetime) -> None:
    """Rules 4 and 10: no later event un-does a breach, and a breached case that is closed is late."""
    before, after = evaluate(events, rules, min(one, other)), evaluate(events, rules, max(one, other))
    if before is None or after is None or not before.breached:
        return
    assert after.breached
    assert after.outcome not in (Outcome.ON_TIME, Outcome.REJECTED, Outcome.WITHDRAWN)


@laws
@given(HISTORIES, RULES)
def test_every_change_of_status_is_one_that_the_transitions_allow(events: list[CaseEvent], rules: Ruleset) -> None:
    """`TRANSITIONS` says what each event does in each status, and where that may lead."""
    order = in_order(events)
    for taken in range(1, len(order)):
        before, after = evaluate(order[:taken], rules, END), evaluate(order[: taken + 1], rules, END)
        assert before is not None
        assert after is not None
        move = TRANSITIONS[before.status][type(order[taken])]
        ignored = after.ignored[len(before.ignored) :]
        assert after.ignored[: len(before.ignored)] == before.ignored
        assert [i.id for i in ignored] in ([], [order[taken].id])
        assert after.status in move.leads_to
        assert move.ignored is None or [i.reason for i in ignored] == [move.ignored]
        if ignored:
            assert msgspec.structs.replace(after, ignored=before.ignored, event_count=taken) == before


@laws
@given(HISTORIES, RULES, INSTANTS)
def test_nothing_changes_before_the_next_change(events: list[CaseEvent], rules: Ruleset, as_of: datetime) -> None:
    """`next_change`: between as_of and it the case does not change though time goes by; without one, never."""
    case = evaluate(events, rules, as_of)
    change = next_change(events, case, as_of)
    assert change is None or change > as_of
    now = None if case is None else encode_case(case)
    last = END if change is None else change - MOMENT
    for when in (*(instant for instant in POOL if as_of < instant < last), last):
        assert encoded(events, rules, when) == now
    if change is not None and not any(e.time == change for e in events):
        assert encoded(events, rules, change) != now


@laws
@given(HISTORIES, RULES, INSTANTS)
def test_what_was_found_as_of_the_latest_event_stands_only_while_evaluating_would_say_the_same(
    events: list[CaseEvent], rules: Ruleset, as_of: datetime
) -> None:
    """`still_stands`: never where the answer is another one; always where everything has happened and no deadline has come since."""
    latest = max(e.time for e in events)
    case = evaluate(events, rules, latest)
    assert case is not None
    change = next_change(events, case, latest)
    stands = still_stands(case, events, rules, as_of)
    assert stands == (latest <= as_of and (change is None or as_of < change))
    if stands:
        assert encoded(events, rules, as_of) == encode_case(case)
    assert not still_stands(case, events[1:], rules, as_of)
    assert not still_stands(case, events, HOURS if rules is DAYS else DAYS, as_of)


@laws
@given(HISTORIES, RULES, INSTANTS)
def test_an_event_is_either_effective_or_ignored_and_what_is_ignored_changes_nothing(
    events: list[CaseEvent], rules: Ruleset, as_of: datetime
) -> None:
    """Rule 12: ignored events are kept, listed and counted, each once, and the rest alone make the same case."""
    case = evaluate(events, rules, as_of)
    if case is None:
        return
    known = [e for e in events if e.time <= as_of]
    ignored = [i.id for i in case.ignored]
    effective = [e for e in known if e.id not in ignored]
    assert case.event_count == len(known) == len(effective) + len(ignored)
    assert [e.id for e in in_order(known) if e.id in ignored] == ignored
    alone = evaluate(effective, rules, as_of)
    assert alone == msgspec.structs.replace(case, ignored=(), event_count=len(effective))


@laws
@given(HISTORIES, RULES, INSTANTS)
def test_acceptance_transfers_and_ratings_move_no_deadline(
    events: list[CaseEvent], rules: Ruleset, as_of: datetime
) -> None:
    """Rules 9 and 11: without them the rounds, the status and the outcome are the same."""
    case = evaluate(events, rules, as_of)
    rest = evaluate([e for e in events if e.name not in ("accepted", "transferred", "rated")], rules, as_of)
    if case is None or rest is None:
        return
    assert (case.rounds, case.status, case.outcome) == (rest.rounds, rest.status, rest.outcome)


@laws
@given(HISTORIES, RULES, INSTANTS)
def test_the_holders_times_are_those_in_which_the_case_is_open(
    events: list[CaseEvent], rules: Ruleset, as_of: datetime
) -> None:
    """Rule 9: they follow one another from the reception on; only the last of an open case goes on."""
    case = evaluate(events, rules, as_of)
    if case is None or not case.holders:
        assert case is None or case.status is Status.AWAITING_RECEPTION
        return
    assert case.holders[0].start == case.received_at
    assert case.holders[0].holder == case.platform
    assert case.holders[-1].holder == case.holder
    for earlier, later in zip(case.holders, case.holders[1:], strict=False):
        assert earlier.end is not None
        assert earlier.start <= earlier.end <= later.start
        assert earlier.end == later.start or later.start in [folded.anchor for folded in case.rounds]
    assert (case.holders[-1].end is None) == case.is_open
    assert case.holders[-1].end == case.closed_at
