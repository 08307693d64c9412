"""What the embedded engine does with events, as functions over a connection in the caller's transaction.

`take` puts settled events into the log; `take_and_project` brings the projections to the log's end as well. All of it may be
repeated after a crash at any point: the log refuses what it has, and projections are written by difference.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, delete, or_, select

from services.alerts.arrivals import count_events, record_arrivals
from services.alerts.clearing import clear_premature
from services.alerts.projection import Evaluated, project
from services.alerts.sql import chunks
from services.alerts.sweep import BATCH, Raised, sweep
from services.alerts.tables import OPEN, cases, targets
from services.compose.cases import evaluate_keys as cases_as_of_now
from services.ingest.port import Taken
from services.standalone import log
from shared.events import CaseEvent, Event, accept
from shared.records import DeadLetter
from shared.rules import Ruleset
from shared.times import to_micros

CASES_A_STEP = 2_000
RECOMPUTING = "recomputing"
CLOCK_TOLERANCE = timedelta(minutes=1)  # a clock set back by less comes right by itself


class OtherRulesetError(Exception):
    """The projections are of another ruleset: another process runs with other rules on the same database."""

    def __init__(self) -> None:
        super().__init__("数据库已由另一个进程按另一套规则重算：请停止其中一个")


def take(connection: Connection, arriving: Sequence[Event], origins: Sequence[str], now: datetime) -> list[Taken]:
    """Append the new ones of the events to the log and bury the conflicts, with their origins; an answer each, in order."""
    known = log.known_bodies(connection, arriving)
    answers: list[Taken] = []
    new: list[Event] = []
    buried: list[DeadLetter] = []
    for event, origin in zip(arriving, origins, strict=True):
        sorted_in = accept(known, [event])
        if sorted_in.new:
            new.append(event)
            answers.append(Taken.ACCEPTED)
        elif sorted_in.duplicates:
            answers.append(Taken.DUPLICATE)
        else:
            answers.append(Taken.CONFLICT)
            detail = f"{log.ident(event)} 已有内容不同的事件，以先到者为准"
            buried.append(DeadLetter(origin, "conflict", detail, event))
    log.append(connection, new)
    record_arrivals(connection, count_events(new, now))
    log.bury(connection, buried, now)
    return answers


def evaluate_keys(connection: Connection, keys: Iterable[str], rules: Ruleset, now: datetime) -> list[Evaluated]:
    """The cases of these keys as of now, from all their events in the log."""
    return cases_as_of_now(log.histories, connection, keys, rules, now)


def behind(connection: Connection) -> list[str]:
    """The keys with events in the log that are not yet in the projections."""
    statement = (
        select(log.events.c.key)
        .where(log.events.c.position > log.positions(connection).projected, log.events.c.key != "")
        .distinct()
        .order_by(log.events.c.key)
    )
    return list(connection.execute(statement).scalars())


def take_and_project(
    connection: Connection, arriving: Sequence[Event], origins: Sequence[str], rules: Ruleset, now: datetime
) -> list[Taken]:
    """`take`, then project the cases of what was accepted: what a push does, in one transaction.

    The position goes on only when nothing that was logged elsewhere is still to be projected; `catch_up` does that.
    """
    before = require_ruleset(connection, rules)
    answers = take(connection, arriving, origins, now)
    accepted = [event for event, answer in zip(arriving, answers, strict=True) if answer is Taken.ACCEPTED]
    _project_new(connection, before.end, accepted, rules, now)
    position = before.projected if before.projected != before.end else before.end + len(accepted)
    log.set_projected(connection, position, rules.hash, now)
    return answers


def catch_up(connection: Connection, rules: Ruleset, now: datetime) -> bool:
    """Project some of what was logged elsewhere (a replay beside the service): whether there was any."""
    where = require_ruleset(connection, rules)
    step = log.read(connection, where.projected, CASES_A_STEP)
    if step:
        keys = dict.fromkeys(filter(None, (log.case_key(event) for _, event in step)))
        project(connection, evaluate_keys(connection, list(keys), rules, now), rules, now)
        log.set_projected(connection, step[-1][0], rules.hash, now)
    return bool(step)


def _project_new(connection: Connection, before: int, new: Iterable[Event], rules: Ruleset, now: datetime) -> None:
    """Project the cases of events that were just appended after that position: they are here, and need not be read again."""
    by_key: defaultdict[str, list[CaseEvent]] = defaultdict(list)
    for event in new:
        if isinstance(event, CaseEvent):
            by_key[event.key].append(event)

    def histories(connection: Connection, keys: Iterable[str]) -> Iterator[tuple[str, list[CaseEvent]]]:
        return ((key, [*earlier, *by_key[key]]) for key, earlier in log.histories(connection, keys, before))

    for step in chunks(by_key, CASES_A_STEP):
        project(connection, cases_as_of_now(histories, connection, step, rules, now), rules, now)


def require_ruleset(connection: Connection, rules: Ruleset) -> log.Positions:
    """Where the log is. Raises OtherRulesetError unless the projections are of these rules, or there are none yet."""
    where = log.positions(connection)
    if where.ruleset not in ("", rules.hash):
        raise OtherRulesetError
    return where


def sweep_due(connection: Connection, rules: Ruleset, now: datetime, batch: int = BATCH) -> list[Raised]:
    """One batch of what fell due by now. Raises OtherRulesetError."""
    where = require_ruleset(connection, rules)
    raised = sweep(connection, rules, now, lambda c, keys, at: evaluate_keys(c, keys, rules, at), batch)
    log.set_projected(connection, where.projected, rules.hash, now)
    return raised


class Unfinished(NamedTuple):
    """What an earlier run left: keys behind the log's end, keys of cases that were computed with another ruleset, and of
    those that may have been brought to an instant that has not come yet, by a clock that was ahead."""

    behind: list[str]
    outdated: list[str]
    ahead: list[str]
    end: int
    finished: bool


def unfinished(connection: Connection, rules: Ruleset, now: datetime) -> Unfinished:
    where = log.positions(connection)
    ahead = _ahead(connection, to_micros(now)) if where.as_of > to_micros(now + CLOCK_TOLERANCE) else []
    late = behind(connection) if where.projected != where.end else []
    if where.ruleset == rules.hash:
        return Unfinished(late, [], ahead, where.end, finished=where.projected == where.end and not ahead)
    other = select(cases.c.key).where(cases.c.ruleset.not_in((rules.hash, ""))).order_by(cases.c.key)
    old = list(connection.execute(other).scalars())
    late = sorted(set(late).difference(old))  # what is recomputed is brought to the log's end as well
    return Unfinished(late, old, ahead, where.end, finished=False)


def _ahead(connection: Connection, now: int) -> list[str]:
    """Open cases, whose deadlines may not have passed after all, and those with an event that has not happened yet."""
    rows = connection.execute(select(cases.c.key).where(or_(OPEN, cases.c.outcome.is_(None)))).scalars()
    later = (
        event.key
        for event in log.all_events(connection)
        if isinstance(event, CaseEvent) and to_micros(event.time) > now
    )
    return sorted({*rows, *later})


def begin_recomputing(connection: Connection, now: datetime) -> None:
    """From here on the cases are of two rulesets: nobody may add to them until that is over."""
    log.set_projected(connection, log.positions(connection).projected, RECOMPUTING, now)


def recompute(
    connection: Connection, keys: Sequence[str], rules: Ruleset, now: datetime, ruleset_changed: bool
) -> None:
    """Evaluate cases anew; alerts that no longer stand because the ruleset changed are cleared as `recomputed`."""
    project(connection, evaluate_keys(connection, keys, rules, now), rules, now, recomputed=ruleset_changed)


def bring_back(connection: Connection, keys: Sequence[str], rules: Ruleset, now: datetime) -> None:
    """Evaluate cases anew that a clock brought ahead: their rungs begin again, and alerts of what is not yet due are cleared."""
    connection.execute(delete(targets).where(targets.c.key.in_(keys), targets.c.due_at > to_micros(now)))
    clear_premature(connection, keys, now)
    recompute(connection, keys, rules, now, ruleset_changed=True)
