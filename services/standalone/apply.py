"""What the embedded engine does with events, as functions over a connection in the caller's transaction.

`take` puts settled events into the log; `advance` brings the projections to the log's end. Both may be repeated after a crash at
any point: the log refuses what it has, and projections are written by difference.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection, or_, select

from services.alerts.projection import Evaluated, project, record_events
from services.alerts.sql import chunks
from services.alerts.tables import cases
from services.ingest.port import Taken
from services.sla.rules import evaluate, next_change
from services.standalone import log
from shared.case import Case
from shared.events import Event, accept, encode_event
from shared.rules import Ruleset

CASES_A_STEP = 2_000


def take(connection: Connection, arriving: Sequence[Event], origins: Sequence[str], now: datetime) -> list[Taken]:
    """Append the new ones of the events to the log and bury the conflicts, with their origins; an answer each, in order."""
    known = log.known_bodies(connection, arriving)
    answers: list[Taken] = []
    new: list[Event] = []
    buried: list[log.DeadLetter] = []
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
            buried.append(log.DeadLetter(origin, "conflict", detail, encode_event(event)))
    log.append(connection, new)
    record_events(connection, new, now)
    log.bury(connection, buried, now)
    return answers


def evaluate_keys(connection: Connection, keys: Iterable[str], rules: Ruleset, now: datetime) -> list[Evaluated]:
    """The cases of these keys as of now, from all their events in the log."""
    found = []
    for key, history in log.histories(connection, keys):
        case = evaluate(history, rules, now)
        found.append(Evaluated(key, case, next_change(history, case, now), any(event.time > now for event in history)))
    return found


def recall(connection: Connection, keys: Iterable[str], rules: Ruleset, as_of: datetime) -> Iterator[Case]:
    """The cases of these keys as of any instant, in the order given; those of which nothing was known are left out."""
    for _, history in log.histories(connection, keys):
        case = evaluate(history, rules, as_of)
        if case is not None:
            yield case


def behind(connection: Connection) -> list[str]:
    """The keys with events in the log that are not yet in the projections."""
    statement = (
        select(log.events.c.key)
        .where(log.events.c.position > log.projected(connection), log.events.c.key != "")
        .distinct()
        .order_by(log.events.c.key)
    )
    return list(connection.execute(statement).scalars())


def advance(connection: Connection, rules: Ruleset, now: datetime) -> None:
    """Bring the projections to the log's end, in this transaction."""
    end = log.end(connection)
    for keys in chunks(behind(connection), CASES_A_STEP):
        project(connection, evaluate_keys(connection, keys, rules, now), rules, now)
    log.set_projected(connection, end)


def outdated(connection: Connection, rules: Ruleset) -> list[str]:
    """The keys of cases that were computed with another ruleset (found by index)."""
    return list(
        connection.execute(
            select(cases.c.key)
            .where(or_(cases.c.ruleset < rules.hash, cases.c.ruleset > rules.hash), cases.c.ruleset != "")
            .order_by(cases.c.key)
        ).scalars()
    )


def recompute(connection: Connection, keys: Sequence[str], rules: Ruleset, now: datetime) -> None:
    """Evaluate cases anew under a changed ruleset; alerts that no longer stand are cleared as `recomputed`."""
    project(connection, evaluate_keys(connection, keys, rules, now), rules, now, recomputed=True)
