"""The projections made anew from the topic of records: begun by a command, carried on by whoever reads and sweeps.

First everything is read (`READING`: only the records are kept), then each case is projected once, from all its events. What
cannot be made anew stays: the journal of alerts, who came first with an identity, and the targets, which know what was sent of
them already. So a rebuild raises and clears nothing by itself; nothing falls due while it lasts.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import structlog
from sqlalchemy import JSON, Connection, Select, cast, delete, exists, func, or_, select, update

from services.alerts.intake import restart
from services.alerts.projection import Evaluated, project
from services.alerts.sql import insert_missing
from services.alerts.stream.apply import (
    ALERTS,
    PROJECTING,
    READING,
    UNUSABLE,
    OtherRulesetError,
    database_now,
    hold_state,
    require_ruleset,
)
from services.alerts.stream.horizon import Offsets, forget_horizon, projected, reached
from services.alerts.stream.records import bury
from services.alerts.stream.tables import records, state
from services.alerts.tables import cases, days, due_days, event_counts, figures, handled, tallies, targets
from shared.database import Connections
from shared.records import DeadLetter
from shared.rules import Ruleset
from shared.topics import CASES, DEAD_LETTERS

logger = structlog.get_logger("alerts")

LOOK_SECONDS = 0.5
CASES_A_STEP = 2_000
TOPICS = (CASES.name, DEAD_LETTERS.name)
EMPTIED = (cases, figures, due_days, handled, days, tallies, event_counts, records)

EvaluateKeys = Callable[[Connection, Sequence[str], datetime], list[Evaluated]]
_decode_ends = msgspec.json.Decoder(dict[str, dict[int, int]]).decode


def rebuilding(connection: Connection) -> str | None:
    """READING, PROJECTING; None while the projections are whole."""
    found: str | None = connection.execute(select(state.c.rebuilding).where(state.c.name == ALERTS)).scalar()
    return found


def begin(connection: Connection, rules: Ruleset, end_offsets: Callable[[str], Offsets]) -> None:
    """Empty the projections and read from the beginning, up to `end_offsets` (of a topic) at least.

    In a transaction of its own; may be begun again at any time. Raises OtherRulesetError, and what `end_offsets` raises.
    """
    held = hold_state(connection)  # from here on nobody writes projections
    if held is None:
        insert_missing(connection, state, [{"name": ALERTS, "ruleset": rules.hash, "recomputed": True}])
    elif held.ruleset != rules.hash:
        raise OtherRulesetError
    ends = {topic: dict(end_offsets(topic)) for topic in TOPICS}
    for topic in TOPICS:
        restart(connection, topic)
    forget_horizon(connection)
    for table in EMPTIED:
        connection.execute(delete(table))  # truncated, they would be empty for those who are reading a snapshot
    connection.execute(update(state).values(rebuilding=READING, read_to=msgspec.json.encode(ends).decode()))


def read_so_far(connection: Connection) -> tuple[int, int]:
    """How many offsets of how many are read."""
    ends = _ends(connection.execute(select(state)).one())
    done = {topic: projected(connection, topic) for topic in ends}
    wanted = [(done[topic].get(partition, 0), end) for topic, own in ends.items() for partition, end in own.items()]
    return sum(min(offset, end) for offset, end in wanted), sum(end for _, end in wanted)


def projected_so_far(connection: Connection) -> tuple[int, int]:
    """How many cases of how many are projected."""
    of_cases = select(func.count()).select_from(records).where(_OF_A_CASE)
    return _number(connection, select(func.count()).select_from(cases)), _number(connection, of_cases)


def _number(connection: Connection, statement: Select[Any]) -> int:
    found: int = connection.execute(statement).scalar_one()
    return found


def _ends(held: Any) -> Mapping[str, Mapping[int, int]]:
    return {} if held.read_to is None else _decode_ends(held.read_to)


def _all_read(connection: Connection, held: Any) -> bool:
    return all(reached(ends, projected(connection, topic)) for topic, ends in _ends(held).items())


_OF_A_CASE = records.c.key.contains("/", autoescape=True) & or_(
    records.c.refused.is_(None),  # what has only events that stand elsewhere is no case
    func.json_array_length(cast(records.c.events, JSON)) > func.json_array_length(cast(records.c.refused, JSON)),
)
_MISSING = select(records.c.key).where(_OF_A_CASE, ~exists().where(cases.c.key == records.c.key))


class Rebuild:
    """Brings a rebuild that was begun to its end. `step` is for a loop; any number of them, in several processes, share the work."""

    def __init__(self, database: Connections, rules: Ruleset, evaluate_keys: EvaluateKeys) -> None:
        self._database, self._rules, self._evaluate_keys = database, rules, evaluate_keys
        self._after = ""
        self._chosen: list[str] = []

    def step(self) -> float:
        """For how many seconds there is nothing to do. Raises OtherRulesetError and the database's errors."""
        with self._database.reading() as connection:
            phase = rebuilding(connection)
        if phase == READING:
            return self._end_reading()
        return 0.0 if self._project_some() else self._end()

    def _end_reading(self) -> float:
        with self._database.reading() as connection:
            if not _all_read(connection, connection.execute(select(state)).one()):
                return LOOK_SECONDS
        with self._database.writing() as connection:
            held = hold_state(connection)
            if held.rebuilding == READING and _all_read(connection, held):
                connection.execute(update(state).values(rebuilding=PROJECTING))
        return 0.0

    def _project_some(self) -> bool:
        """Some cases that nobody else is at; whether there may be more."""
        after, self._after = self._after, ""
        try:
            keys = self._project(_MISSING.where(records.c.key > after).order_by(records.c.key).limit(CASES_A_STEP))
        except UNUSABLE:
            logger.exception("一批记录未能整理，改为逐个整理", action="batch_split")
            keys = self._chosen
            for key in keys:
                self._project_one(key)
        self._after = keys[-1] if keys else ""
        return bool(keys or after)

    def _project(self, chosen: Select[Any]) -> list[str]:
        with self._database.writing() as connection:
            held = require_ruleset(connection, self._rules)
            if held.rebuilding != PROJECTING:
                return []
            locked = chosen.with_for_update(of=records, skip_locked=True)  # as whoever takes a newer record locks it
            self._chosen = keys = list(connection.execute(locked).scalars())
            if keys:
                now = database_now(connection)
                found = self._evaluate_keys(connection, keys, now)
                project(connection, found, self._rules, now, recomputed=not held.recomputed, rebuilt=True)
        return keys

    def _project_one(self, key: str) -> None:
        """Or else its record is buried, as when it cannot be projected on its arrival."""
        try:
            self._project(_MISSING.where(records.c.key == key))
        except UNUSABLE as error:
            origin, name = f"{CASES.name}/{key}", type(error).__name__
            logger.error("一条记录不能整理，已记为死信", action="record_buried", origin=origin, error=name)
            letter = DeadLetter(origin, "unusable", f"这条记录不能整理（{name}），请报告给开发者")
            with self._database.writing() as connection:
                require_ruleset(connection, self._rules)
                connection.execute(delete(records).where(records.c.key == key))
                bury(connection, [letter], database_now(connection))

    def _end(self) -> float:
        """When no case is missing; those that somebody else is at are waited for."""
        with self._database.writing() as connection:
            if hold_state(connection).rebuilding != PROJECTING:
                return 0.0
            if connection.execute(_MISSING.limit(1)).first() is not None:
                return LOOK_SECONDS
            connection.execute(delete(targets).where(~exists().where(cases.c.key == targets.c.key)))
            connection.execute(update(state).values(rebuilding=None, read_to=None))
        logger.info("投影重建完毕", action="rebuilt", ruleset=self._rules.hash)
        return 0.0
