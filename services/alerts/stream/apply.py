"""A batch of the stream into the projections: one transaction with the positions, so that all of it happens or nothing.

May be repeated at any point: what was applied is recognised by its position, and a record by its revision. The database's clock
is the only one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import DataError, DBAPIError

from services.alerts.arrivals import count_events, record_arrivals
from services.alerts.intake import Step, advance
from services.alerts.projection import Evaluated, project_cases
from services.alerts.sql import insert_missing
from services.alerts.stream.records import Arrived, bury, decode_arrived, meant, take
from services.alerts.stream.tables import state
from services.alerts.sums import Sums
from shared.case import Case
from shared.database import Connections
from shared.events import CaseEvent
from shared.loops import FatalError
from shared.records import FOREIGN, DeadLetter, decode_letter
from shared.rules import Ruleset
from shared.times import SHANGHAI
from shared.topics import CASES

logger = structlog.get_logger("alerts")

Evaluate = Callable[[str, list[CaseEvent], Ruleset, datetime, Case | None], Evaluated]
"""The case of a key as of an instant, from all its events; the last is what the stream says of it, as of the latest of them."""
ALERTS = "alerts"
STATE_LOCK = 0x6C69757473
"""Shared by who projects, alone for who changes the state. No lock of the row: there, whoever wants it alone waits until for once
nobody shares it, which under load is never; here he is the next."""
READING, PROJECTING = "reading", "projecting"
"""Of a rebuild: all records are read before any case is projected, because the topic may hold earlier ones of a case, too:
projected one after the other, they would clear its alerts and raise them again. Nothing is due meanwhile."""
UNUSABLE = (DataError, *FOREIGN, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
STATES = ("21", "22", "54")
"""The same in SQL: a row told twice, a value that a column does not take, a text that no index takes."""


def unusable(error: Exception) -> bool:
    """Whether a record may be the reason of it: anything else is trouble that has nothing to do with it."""
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return isinstance(error, UNUSABLE) or (state is not None and str(state)[:2] in STATES)


class Fetched(NamedTuple):
    """A record of the stream."""

    offset: int
    value: bytes | None


class Batch(NamedTuple):
    """What was read of a partition from `first_offset` on; there it goes on at `next_offset`. `epoch` is the reader's."""

    topic: str
    partition: int
    epoch: int
    first_offset: int
    next_offset: int
    records: Sequence[Fetched]


class OtherRulesetError(FatalError):
    """Another process makes the projections with other rules since: this one's are outdated."""

    def __init__(self) -> None:
        super().__init__("投影已由另一个进程按另一套规则重算")


def database_now(connection: Connection) -> datetime:
    found: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return found.astimezone(SHANGHAI)


def share_state(connection: Connection) -> Any:
    """The state, or None; nobody changes it until the end of the transaction. The transaction's first lock."""
    connection.execute(select(func.pg_advisory_xact_lock_shared(STATE_LOCK)))
    return connection.execute(_STATE).first()


def hold_state(connection: Connection) -> Any:
    """The state, or None, for whoever changes it: nobody projects or sweeps until the end of the transaction. Its first lock;
    not for who shares the state already."""
    connection.execute(select(func.pg_advisory_xact_lock(STATE_LOCK)))
    return connection.execute(_STATE).first()


_STATE = select(state).where(state.c.name == ALERTS)


def require_ruleset(connection: Connection, rules: Ruleset) -> Any:
    """The state, held until the end of the transaction: no other ruleset takes over meanwhile. Raises OtherRulesetError."""
    held = share_state(connection)
    if held is None or held.ruleset != rules.hash:
        raise OtherRulesetError
    return held


def adopt_ruleset(connection: Connection, rules: Ruleset) -> bool:
    """From here on the projections are of these rules; whether those that there are have to be computed anew."""
    held = hold_state(connection)
    if held is None:
        insert_missing(connection, state, [{"name": ALERTS, "ruleset": rules.hash, "recomputed": True}])
        return False
    if held.ruleset != rules.hash:
        connection.execute(update(state).values(ruleset=rules.hash, recomputed=False))
    return held.ruleset != rules.hash or not held.recomputed


class Projector:
    """`apply` and nothing else; safe in several threads and processes at once."""

    def __init__(self, database: Connections, rules: Ruleset, evaluate: Evaluate) -> None:
        self._database, self._rules, self._evaluate = database, rules, evaluate

    def apply(self, batches: Sequence[Batch]) -> int:
        """How many records were applied. Raises FencedError, GapError, OtherRulesetError, and the database's errors: then
        nothing was, or all of it; reading on from what the database says is right in either case.

        A record that cannot be projected is buried, alone.
        """
        try:
            return self._apply(batches)
        except Exception as error:
            if not unusable(error):
                raise
            logger.exception("一批记录未能整理，改为逐个整理", action="batch_split")
            return self._one_by_one(batches)

    def _one_by_one(self, batches: Sequence[Batch]) -> int:
        done = 0
        for batch in batches:
            for single in _singles(batch):
                try:
                    done += self._apply([single])
                except Exception as error:
                    if not unusable(error):
                        raise
                    done += self._give_up(single, error)
        return done

    def _give_up(self, single: Batch, error: Exception) -> int:
        (record,) = single.records
        origin = f"{single.topic}/{single.partition}/{record.offset}"
        logger.error("一条记录不能整理，已记为死信", action="record_buried", origin=origin, error=type(error).__name__)
        with self._database.writing() as connection:
            require_ruleset(connection, self._rules)
            (applied,) = advance(connection, [Step(*single[:5])])
            if record.offset < applied:
                return 0
            letter = DeadLetter(origin, "unusable", f"这条记录不能整理（{type(error).__name__}），请报告给开发者")
            bury(connection, [letter], database_now(connection))
        return 1

    def _apply(self, batches: Sequence[Batch]) -> int:
        with self._database.writing() as connection:
            rebuilding = require_ruleset(connection, self._rules).rebuilding
            now = database_now(connection)
            done = 0
            cases: dict[str, Arrived] = {}
            letters: list[DeadLetter] = []
            positions = advance(connection, [Step(*batch[:5]) for batch in batches])
            for batch, applied in zip(batches, positions, strict=True):
                fresh = [record for record in batch.records if record.offset >= applied]
                done += len(fresh)
                for record in fresh:
                    origin = f"{batch.topic}/{batch.partition}/{record.offset}"
                    found = _decoded(batch.topic, record.value, origin)
                    if isinstance(found, DeadLetter):
                        letters.append(found)
                    elif found.key not in cases or cases[found.key].revision < found.revision:
                        cases[found.key] = found
            bury(connection, letters, now)
            if cases:
                self._take(connection, cases, now, rebuilding)
        return done

    def _take(
        self, connection: Connection, cases: Mapping[str, Arrived], now: datetime, rebuilding: str | None
    ) -> None:
        taken = take(connection, cases, again=rebuilding is not None)
        bury(connection, taken.refused, now)
        arrived, sums = count_events(taken.new, now), Sums()
        if rebuilding != READING:
            histories = taken.histories.items()
            found = [
                self._evaluate(key, history, self._rules, now, meant(cases[key]))
                for key, history in histories
                if history
            ]
            project_cases(connection, found, self._rules, now, sums, rebuilt=rebuilding == PROJECTING)
        sums.write(connection)
        record_arrivals(connection, arrived)


def _singles(batch: Batch) -> Iterator[Batch]:
    """The batch, a record at a time."""
    first = batch.first_offset
    for number, record in enumerate(batch.records, 1):
        following = batch.next_offset if number == len(batch.records) else record.offset + 1
        yield batch._replace(first_offset=first, next_offset=following, records=[record])
        first = following


def _decoded(topic: str, value: bytes | None, origin: str) -> Arrived | DeadLetter:
    try:
        return decode_arrived(value or b"") if topic == CASES.name else decode_letter(value or b"")
    except FOREIGN:
        return DeadLetter(origin, "undecodable", "不是本系统写下的记录，请核对是谁写入了这个主题")
