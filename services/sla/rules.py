"""From events to a case. Everything that decides a verdict lives in this file and in `deadlines.py`.

The rules (numbers as in docs/rules.md, where their sources are):

0.  A case is a pure function of the set of its accepted events, the ruleset and the instant T as of which it is asked:
    only events with time <= T. The earliest `received` (time, sequence, id) opens the case and comes first; the others follow
    by (time, sequence, precedence, id). What is earlier than the reception counts as happening at the reception.
1.  A round is anchored at the reception or at a `reopened`; the policy in force on the anchor's day gives its targets.
2.  Counting: `deadlines.py`. While suspended with days left to count there is no deadline: paused.
3.  On time = met before the deadline. Past a target = at or after its deadline as known from the events before.
4.  No later event moves a deadline that has passed, and none un-does a breach.
5.  `extended` adds to the complete budget, unless after_deadline, too_many_extensions, too_long (tested in this order).
6.  `recategorized` gives each target that is neither met nor past the new category's budget from the round's anchor; where
    that would not be after the event, 1 working day from the event, unless the present deadline is sooner.
7.  The first final `replied` of a round meets reply, and completes where the category says so. `completed` meets both.
8.  `suspended`: at most `max_suspensions` in a round. A closing ends an open suspension.
9.  `transferred` changes the holder, never the deadline.
10. `rejected` and `withdrawn` void the open targets, unless past the complete target or after a late round: then they close
    like `completed`. A refusal is no way out of a breach.
11. `reopened` starts another round. `rated` is recorded at any time, the last one stands.
12. An event that does not fit the state is ignored with a reason, never an error.
13. The same (source, id) again is a duplicate when it is equal as settled, else a conflict (`shared.events.accept`).

`TRANSITIONS` says what each event does in each status; docs/states.md is drawn from it.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

from services.sla.deadlines import Deadline, day_deadline, office_deadline
from shared.case import (
    CLOSED,
    Case,
    Ignored,
    Outcome,
    Reason,
    Round,
    Stage,
    Status,
    Suspension,
    Target,
    Targets,
    Tenure,
    Verdict,
)
from shared.events import (
    Accepted,
    BaseEvent,
    CaseEvent,
    Completed,
    Extended,
    Rated,
    Recategorized,
    Received,
    Rejected,
    Reopened,
    Replied,
    Resumed,
    Suspended,
    Transferred,
    Withdrawn,
)
from shared.policy import MICROS_OF_MINUTE, Budget, Policy
from shared.rules import Ruleset
from shared.workdays import ONE_DAY, WorkCalendar

_TIME = attrgetter("time")


def evaluate(events: Iterable[CaseEvent], rules: Ruleset, as_of: datetime) -> Case | None:
    """The case as of `as_of`, from its accepted events in any order, without duplicates, all of one key.

    None when nothing of it is known as of then. Reads no clock; raises only for a platform that the registry lacks.
    """
    known = [event for event in events if event.time <= as_of]
    if not known:
        return None
    known.sort(key=order)
    reception = next((event for event in known if type(event) is Received), None)
    if reception is None:
        return _awaiting(known[0], len(known), rules)
    fold = _Fold(reception, rules)
    for event in known:
        if event is reception:
            continue
        reason = TRANSITIONS[fold.status][type(event)].act(fold, event, max(event.time, reception.time))
        if reason is not None:
            fold.ignored.append(Ignored(event.id, reason))
    return fold.case(as_of, len(known))


def next_change(events: Iterable[CaseEvent], case: Case | None, as_of: datetime) -> datetime | None:
    """The first instant after `as_of` at which `evaluate` may answer otherwise though no event arrives."""
    deadline = None if case is None else case.next_deadline
    ahead = min((event.time for event in events if event.time > as_of), default=None)
    return min(filter(None, (deadline, ahead)), default=None)


def still_stands(case: Case, events: Sequence[CaseEvent], rules: Ruleset, as_of: datetime) -> bool:
    """Whether a case, evaluated from these events as of the latest of them, is what `evaluate` would answer as of `as_of`."""
    if case.ruleset != rules.hash or case.event_count != len(events):
        return False
    deadline = case.next_deadline
    return (deadline is None or as_of < deadline) and max(map(_TIME, events)) <= as_of


def order(event: BaseEvent) -> tuple[datetime, int, int, str]:
    """The order in which events are folded, the reception apart, which comes first."""
    return event.time, int(event.sequence), event.precedence, event.id


class _Target:
    """A target while its round is folded."""

    __slots__ = ("anchor", "days", "due", "hours", "met_at", "void")

    def __init__(self, budget: Budget, anchor: datetime, extra_days: int = 0) -> None:
        self.anchor = anchor
        self.hours = budget.amount if budget.unit == "hours" else None
        self.days = int(budget.amount) + extra_days if budget.unit == "days" else extra_days
        self.due: Deadline | None = None
        self.met_at: datetime | None = None
        self.void = False

    @property
    def open(self) -> bool:
        return self.met_at is None and not self.void

    def past(self, at: datetime) -> bool:
        return self.due is not None and at >= self.due.at

    def meet(self, at: datetime) -> None:
        if self.open:
            self.met_at = at

    def verdict(self, as_of: datetime) -> Verdict:
        if self.void:
            return Verdict.VOID
        if self.met_at is not None:
            return Verdict.LATE if self.past(self.met_at) else Verdict.ON_TIME
        if self.due is None:
            return Verdict.PAUSED
        return Verdict.OVERDUE if self.past(as_of) else Verdict.RUNNING


class _Round:
    __slots__ = ("accepted", "anchor", "calendar", "closed_at", "complete", "engaged", "extension_days", "extensions", "policy",
                 "reply", "suspensions")  # fmt: skip

    def __init__(self, anchor: datetime, category: str, policy: Policy, calendar: WorkCalendar) -> None:
        self.anchor, self.policy, self.calendar = anchor, policy, calendar
        self.closed_at: datetime | None = None
        self.accepted = self.engaged = False
        self.extensions = self.extension_days = 0
        self.suspensions: list[Suspension] = []
        targets = policy.category(category)
        self.reply = self.counted(_Target(targets.reply, anchor))
        self.complete = self.counted(_Target(targets.complete, anchor))

    def counted(self, target: _Target) -> _Target:
        """The target with its deadline counted anew."""
        if target.hours is None:
            target.due = day_deadline(self.calendar, self.policy.cutoff, target.anchor, target.days, self.suspensions)
            return target
        office = self.policy.office_hours
        assert office is not None, "a policy with working hours has office hours (checked when it is read)"
        micros = round(target.hours * 60 * MICROS_OF_MINUTE) + target.days * office.micros_a_day
        target.due = office_deadline(self.calendar, office, target.anchor, micros, self.suspensions)
        return target

    def movable(self, at: datetime) -> list[_Target]:
        """The targets that are neither met nor past: the only ones whose deadline an event may move."""
        return [target for target in (self.reply, self.complete) if target.open and not target.past(at)]

    def late(self) -> bool:
        return self.complete.met_at is not None and self.complete.past(self.complete.met_at)


class _Fold:
    """The state of a case while its events are folded, in order."""

    __slots__ = ("calendar", "category", "holders", "ignored", "rating", "reception", "rounds", "rules",
                 "status")  # fmt: skip

    def __init__(self, reception: Received, rules: Ruleset) -> None:
        self.reception, self.rules = reception, rules
        self.calendar = rules.calendar_of(reception.platform)
        given = reception.data.category
        self.category = given if isinstance(given, str) else rules.policy_on(reception.time.date()).default_category
        self.status = Status.OPEN
        self.rating: int | None = None
        self.ignored: list[Ignored] = []
        self.holders = [Tenure(reception.platform, reception.time, None)]
        self.rounds: list[_Round] = []
        self.start_round(reception.time)

    @property
    def round(self) -> _Round:
        return self.rounds[-1]

    def start_round(self, anchor: datetime) -> None:
        policy = self.rules.policy_on(anchor.date())
        self.rounds.append(_Round(anchor, self.category, policy, self.calendar))

    def end_suspension(self, at: datetime) -> None:
        suspensions = self.round.suspensions
        if suspensions and suspensions[-1].end is None:
            suspensions[-1] = Suspension(suspensions[-1].start, at)

    def end_tenure(self, at: datetime) -> None:
        self.holders[-1] = Tenure(self.holders[-1].holder, self.holders[-1].start, at)

    def close(self, status: Status, at: datetime) -> None:
        self.end_suspension(at)
        self.end_tenure(at)
        self.status = status
        self.round.closed_at = at

    def close_met(self, status: Status, at: datetime) -> None:
        self.round.complete.meet(at)
        self.round.reply.meet(at)
        self.close(status, at)

    def case(self, as_of: datetime, known: int) -> Case:
        rounds = tuple(_frozen(folded, as_of) for folded in self.rounds)
        verdicts = [folded.targets.complete.verdict for folded in rounds]
        platform = self.reception.platform
        title = self.reception.data.title
        closed = self.status in CLOSED
        return Case(
            key=self.reception.key,
            platform=platform,
            county=self.rules.registry.county(platform),
            category=self.category,
            title=title if isinstance(title, str) else None,
            status=self.status,
            stage=None if closed else self._stage(),
            outcome=self._outcome(verdicts),
            breached=Verdict.LATE in verdicts or Verdict.OVERDUE in verdicts,
            received_at=self.reception.time,
            closed_at=self.round.closed_at,
            holder=self.holders[-1].holder,
            holders=tuple(self.holders),
            rating=self.rating,
            provisional=any(r.targets.reply.provisional or r.targets.complete.provisional for r in rounds),
            ruleset=self.rules.hash,
            rounds=rounds,
            ignored=tuple(self.ignored),
            event_count=known,
        )

    def _stage(self) -> Stage:
        if self.round.reply.met_at is not None:
            return Stage.REPLIED
        return Stage.IN_PROGRESS if self.round.engaged else Stage.RECEIVED

    def _outcome(self, verdicts: list[Verdict]) -> Outcome:
        if self.status in CLOSED:
            if Verdict.LATE in verdicts:
                return Outcome.LATE
            return Outcome.ON_TIME if self.status is Status.COMPLETED else Outcome(self.status.value)
        return Outcome.OVERDUE if verdicts[-1] is Verdict.OVERDUE else Outcome.PENDING


# What events do. Each returns None, or the reason why the event is ignored and nothing was changed.


def _accept(fold: _Fold, event: Accepted, at: datetime) -> Reason | None:
    if fold.round.accepted:
        return Reason.ALREADY_ACCEPTED
    fold.round.accepted = fold.round.engaged = True
    return None


def _transfer(fold: _Fold, event: Transferred, at: datetime) -> None:
    if event.data.to != fold.holders[-1].holder:
        fold.end_tenure(at)
        fold.holders.append(Tenure(event.data.to, at, None))


def _recategorize(fold: _Fold, event: Recategorized, at: datetime) -> None:
    fold.category = event.data.category
    current = fold.round
    category = current.policy.category(fold.category)
    for target in current.movable(at):
        replying = target is current.reply
        budget = category.reply if replying else category.complete
        fresh = current.counted(_Target(budget, current.anchor, 0 if replying else current.extension_days))
        if fresh.past(at):
            fresh = current.counted(_one_working_day(budget, at))
            if target.due is not None and fresh.due is not None and target.due.at < fresh.due.at:
                continue
        target.anchor, target.days, target.hours, target.due = fresh.anchor, fresh.days, fresh.hours, fresh.due


def _one_working_day(budget: Budget, anchor: datetime) -> _Target:
    """One working day, or one whole office day where the category counts office hours."""
    return _Target(Budget(0, budget.unit), anchor, extra_days=1)


def _extend(fold: _Fold, event: Extended, at: datetime) -> Reason | None:
    current = fold.round
    if current.complete.past(at):
        return Reason.AFTER_DEADLINE
    if current.extensions >= current.policy.max_extensions:
        return Reason.TOO_MANY_EXTENSIONS
    if event.data.working_days > current.policy.max_extension_days:
        return Reason.TOO_LONG
    current.engaged = True
    current.extensions += 1
    current.extension_days += event.data.working_days
    current.complete.days += event.data.working_days
    current.counted(current.complete)
    return None


def _suspend(fold: _Fold, event: Suspended, at: datetime) -> Reason | None:
    current = fold.round
    if len(current.suspensions) >= current.policy.max_suspensions:
        return Reason.TOO_MANY_SUSPENSIONS
    current.engaged = True
    stopped = current.movable(at)
    current.suspensions.append(Suspension(at, None))
    for target in stopped:
        current.counted(target)
    fold.status = Status.SUSPENDED
    return None


def _resume(fold: _Fold, event: Resumed, at: datetime) -> None:
    stopped = fold.round.movable(at)
    fold.end_suspension(at)
    for target in stopped:
        fold.round.counted(target)
    fold.status = Status.OPEN


def _reply(fold: _Fold, event: Replied, at: datetime) -> None:
    current = fold.round
    current.engaged = True
    if event.data.interim:
        return
    current.reply.meet(at)
    if current.policy.category(fold.category).reply_completes:
        fold.close_met(Status.COMPLETED, at)


def _complete(fold: _Fold, event: Completed, at: datetime) -> None:
    fold.close_met(Status.COMPLETED, at)


def _refuse(fold: _Fold, event: Rejected | Withdrawn, at: datetime) -> None:
    status = Status.REJECTED if type(event) is Rejected else Status.WITHDRAWN
    current = fold.round
    if current.complete.past(at) or any(earlier.late() for earlier in fold.rounds):
        fold.close_met(status, at)
        return
    for target in (current.reply, current.complete):
        target.void = target.open
    fold.close(status, at)


def _reopen(fold: _Fold, event: Reopened, at: datetime) -> None:
    fold.status = Status.OPEN
    fold.holders.append(Tenure(fold.holders[-1].holder, at, None))
    fold.start_round(at)


def _rate(fold: _Fold, event: Rated, at: datetime) -> None:
    fold.rating = event.data.score


class Move(NamedTuple):
    """What an event does in a status, and the statuses to which that may lead."""

    act: Callable[[_Fold, Any, datetime], Reason | None]
    leads_to: tuple[Status, ...]
    ignored: Reason | None = None


def _ignore(reason: Reason, status: Status) -> Move:
    return Move(lambda fold, event, at: reason, (status,), reason)


def _open_moves(status: Status) -> dict[type[BaseEvent], Move]:
    suspended = status is Status.SUSPENDED
    return {
        Received: _ignore(Reason.ALREADY_RECEIVED, status),
        Accepted: Move(_accept, (status,)),
        Transferred: Move(_transfer, (status,)),
        Recategorized: Move(_recategorize, (status,)),
        Extended: Move(_extend, (status,)),
        Suspended: _ignore(Reason.ALREADY_SUSPENDED, status)
        if suspended
        else Move(_suspend, (Status.SUSPENDED, status)),
        Resumed: Move(_resume, (Status.OPEN,)) if suspended else _ignore(Reason.NOT_SUSPENDED, status),
        Replied: Move(_reply, (status, Status.COMPLETED)),
        Completed: Move(_complete, (Status.COMPLETED,)),
        Reopened: _ignore(Reason.NOT_CLOSED, status),
        Rated: Move(_rate, (status,)),
        Rejected: Move(_refuse, (Status.REJECTED,)),
        Withdrawn: Move(_refuse, (Status.WITHDRAWN,)),
    }


def _closed_moves(status: Status) -> dict[type[BaseEvent], Move]:
    moves = {kind: _ignore(Reason.ALREADY_CLOSED, status) for kind in _open_moves(Status.OPEN)}
    return moves | {
        Received: _ignore(Reason.ALREADY_RECEIVED, status),
        Reopened: Move(_reopen, (Status.OPEN,)),
        Rated: Move(_rate, (status,)),
    }


TRANSITIONS: dict[Status, dict[type[BaseEvent], Move]] = {
    Status.OPEN: _open_moves(Status.OPEN),
    Status.SUSPENDED: _open_moves(Status.SUSPENDED),
    **{status: _closed_moves(status) for status in (Status.COMPLETED, Status.REJECTED, Status.WITHDRAWN)},
}


def _frozen(folded: _Round, as_of: datetime) -> Round:
    return Round(
        anchor=folded.anchor,
        closed_at=folded.closed_at,
        policy_from=folded.policy.effective_from,
        targets=Targets(
            reply=_frozen_target(folded.reply, folded.calendar, as_of),
            complete=_frozen_target(folded.complete, folded.calendar, as_of),
        ),
        suspensions=tuple(folded.suspensions),
        extension_days=folded.extension_days,
    )


def _frozen_target(target: _Target, calendar: WorkCalendar, as_of: datetime) -> Target:
    due = target.due
    provisional = False
    if due is not None:
        # Office hours of the anchor's own day count, so that day must be confirmed too.
        after = target.anchor.date() if target.hours is None else target.anchor.date() - ONE_DAY
        provisional = calendar.provisional(after, due.day)
    return Target(
        due_at=None if due is None else due.at,
        due_day=None if due is None else due.day,
        met_at=target.met_at,
        verdict=target.verdict(as_of),
        provisional=provisional,
        anchor=target.anchor,
        days=target.days,
        hours=target.hours,
    )


def _awaiting(event: BaseEvent, known: int, rules: Ruleset) -> Case:
    """Events without a reception: kept and listed, nothing else is known."""
    return Case(
        key=event.key,
        platform=event.platform,
        county=rules.registry.county(event.platform),
        category=None,
        title=None,
        status=Status.AWAITING_RECEPTION,
        stage=None,
        outcome=None,
        breached=False,
        received_at=None,
        closed_at=None,
        holder=None,
        holders=(),
        rating=None,
        provisional=False,
        ruleset=rules.hash,
        rounds=(),
        ignored=(),
        event_count=known,
    )
