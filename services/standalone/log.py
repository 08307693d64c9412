"""The durable, append-only event log of the embedded engine, and its dead letters: tables of one SQLite file.

`ident` (platform/id) makes an event unique; `body` is its canonical encoding. Nothing is ever updated or deleted here.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    bindparam,
    func,
    insert,
    select,
    true,
    update,
)

from services.alerts.sql import among, chunks, insert_missing, run_many, upsert
from shared.events import BaseEvent, CaseEvent, Event, decode_event, encode_event
from shared.records import DeadLetter, encode_letter
from shared.times import from_micros, to_micros

metadata = MetaData()

events = Table(
    "events",
    metadata,
    Column("position", Integer, primary_key=True, comment="grows in the order of acceptance"),
    Column("ident", Text, nullable=False, unique=True, comment="platform/id"),
    Column("key", Text, nullable=False, comment="platform/subject; empty for what belongs to no case"),
    Column("body", LargeBinary, nullable=False),
)
Index("events_key", events.c.key)

progress = Table(
    "progress",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", Integer, nullable=False, comment="up to here the log is in the projections"),
    Column("ruleset", Text, nullable=False, comment="hash of the ruleset of all the projections"),
    Column("as_of", BigInteger, nullable=False, comment="the latest instant as of which the projections were brought"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("origin", Text, nullable=False, comment="where it came from: a file's line, or a platform's push"),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("body", LargeBinary, comment="only what was settled and de-identified"),
    Column("digest", Text, nullable=False, unique=True, comment="of all the above but `at`: the same is buried once"),
)
Index("dead_letters_reason", dead_letters.c.reason)

CASES = "cases"
LAST_POSITION = 2**63 - 1


def ident(event: BaseEvent) -> str:
    return f"{event.platform}/{event.id}"


def case_key(event: Event) -> str:
    """The key of the case that an event belongs to; empty for a tally."""
    return event.key if isinstance(event, CaseEvent) else ""


@lru_cache
def _by_ident(dialect_name: str) -> Select[Any]:
    return select(events.c.ident, events.c.body).where(among(dialect_name, events.c.ident, "idents"))


def known_bodies(connection: Connection, arriving: Iterable[Event]) -> dict[tuple[str, str], bytes]:
    """The bodies of those of the arriving events whose (source, id) is in the log."""
    by_ident = {ident(event): (event.source, event.id) for event in arriving}
    found: dict[tuple[str, str], bytes] = {}
    for chunk in chunks(by_ident):
        for name, body in connection.execute(_by_ident(connection.dialect.name), {"idents": chunk}):
            found[by_ident[name]] = body
    return found


@lru_cache
def _by_key(dialect_name: str) -> Select[Any]:
    found = among(dialect_name, events.c.key, "keys") & (events.c.position <= bindparam("upto", type_=BigInteger))
    return select(events.c.key, events.c.body).where(found)


_APPEND = insert(events).values({name: bindparam(name) for name in ("ident", "key", "body")})


def append(connection: Connection, new: Sequence[Event]) -> None:
    if new:
        rows = [{"ident": ident(event), "key": case_key(event), "body": encode_event(event)} for event in new]
        run_many(connection, _APPEND, rows)


def histories(
    connection: Connection, keys: Iterable[str], upto: int = LAST_POSITION
) -> Iterator[tuple[str, list[CaseEvent]]]:
    """Each case's key with all its events up to that position of the log, in no particular order."""
    for chunk in chunks(keys):
        grouped: dict[str, list[CaseEvent]] = {key: [] for key in chunk}
        for key, body in connection.execute(_by_key(connection.dialect.name), {"keys": chunk, "upto": upto}):
            grouped[key].append(decode_event(body))
        yield from grouped.items()


class Positions(NamedTuple):
    """The position of the last event in the log (0: there is none), up to where it is in the projections, their ruleset and instant."""

    end: int
    projected: int
    ruleset: str
    as_of: int


_END = select(func.max(events.c.position).label("last")).subquery()
_POSITIONS = select(_END.c.last, progress.c.position, progress.c.ruleset, progress.c.as_of).select_from(
    _END.outerjoin(progress, true())
)


def positions(connection: Connection) -> Positions:
    row = connection.execute(_POSITIONS).one()
    return Positions(row[0] or 0, row[1] or 0, row[2] or "", row[3] or 0)


def set_projected(connection: Connection, position: int, ruleset: str, as_of: datetime) -> None:
    """The projections hold the log up to that position, all of that ruleset, as of then at the latest.

    Neither the position nor the instant ever goes back here: another process may have been faster, a clock slower.
    """
    row = {"name": CASES, "position": position, "ruleset": ruleset, "as_of": to_micros(as_of)}
    upsert(connection, progress, [row], latest=("position", "as_of"))


def set_as_of(connection: Connection, as_of: datetime) -> None:
    """The projections were brought back to that instant."""
    connection.execute(update(progress).values(as_of=to_micros(as_of)))


def read(connection: Connection, after: int, limit: int) -> list[tuple[int, Event]]:
    """Events after a position, in the order of acceptance."""
    rows = connection.execute(
        select(events.c.position, events.c.body)
        .where(events.c.position > after)
        .order_by(events.c.position)
        .limit(limit)
    )
    return [(row.position, decode_event(row.body)) for row in rows]


def entries(connection: Connection) -> Iterator[tuple[Row[Any], Event]]:
    """The whole log, in the order of acceptance: each row (position, ident, key) with its event."""
    after = 0
    statement = select(events).where(events.c.position > bindparam("after")).order_by(events.c.position).limit(10_000)
    while page := connection.execute(statement, {"after": after}).all():
        yield from ((row, decode_event(row.body)) for row in page)
        after = page[-1].position


def all_events(connection: Connection) -> Iterator[Event]:
    """The whole log's events, in the order of acceptance."""
    return (event for _, event in entries(connection))


def bury(connection: Connection, letters: Iterable[DeadLetter], at: datetime) -> None:
    """Keep what could not be used. The same from the same place, come again, is not kept twice."""
    rows = [
        {"at": to_micros(at), "origin": d.origin, "reason": d.reason, "detail": d.detail,
         "body": None if d.event is None else encode_event(d.event), "digest": _digest(d)}
        for d in letters
    ]  # fmt: skip
    insert_missing(connection, dead_letters, rows)


def _digest(letter: DeadLetter) -> str:
    return hashlib.sha256(encode_letter(letter)).hexdigest()


def buried(connection: Connection) -> Iterator[tuple[datetime, DeadLetter]]:
    for row in connection.execute(select(dead_letters).order_by(dead_letters.c.id)):
        event = None if row.body is None else decode_event(row.body)
        yield from_micros(row.at), DeadLetter(row.origin, row.reason, row.detail, event)
