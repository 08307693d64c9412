"""The newest record of each key, kept beside the projections: cases are evaluated from it as of now or of any other instant.

An event may stand under one key only. A partition of the stream sees only its own keys, so that what was sent a second
time under another message's number is found here: whoever came first keeps the identity, the later one is refused and buried.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from services.alerts.sql import among, chunks, insert_many, insert_missing, put
from services.alerts.stream.tables import identities, letters, records
from shared.case import Case
from shared.events import CaseEvent, Event, Tally
from shared.records import FOREIGN, DeadLetter
from shared.times import from_micros, to_micros
from shared.topics import CASES


class Arrived(Struct, frozen=True, gc=False):
    """A record as it comes: what this service needs of `CaseRecord`. `events` is kept as it was written."""

    key: str
    revision: int
    events: msgspec.Raw
    case: msgspec.Raw = msgspec.Raw(b"null")


decode_arrived = msgspec.json.Decoder(Arrived).decode
_decode_events = msgspec.json.Decoder(tuple[Event, ...]).decode
_decode_case: msgspec.json.Decoder[Case | None] = msgspec.json.Decoder(Case | None)
_decode_ids = msgspec.json.Decoder(frozenset[str]).decode


def meant(record: Arrived) -> Case | None:
    """What the record says that its events mean, as of the latest of them. None where it says nothing that can be read."""
    try:
        return _decode_case.decode(record.case)
    except FOREIGN:
        return None


class Taken(NamedTuple):
    """The events that were not known before, the cases that changed with all their events, and what was refused."""

    new: list[Event]
    histories: dict[str, list[CaseEvent]]
    refused: list[DeadLetter]


_BY_KEY = select(records).where(among("postgresql", records.c.key, "keys"))
_LOCKED = _BY_KEY.with_for_update()
_IDENTITIES = select(identities).where(among("postgresql", identities.c.ident, "idents"))


def take(connection: Connection, arrived: Mapping[str, Arrived], again: bool = False) -> Taken:
    """Keep the records that are newer than those kept; by their keys. `again`: their events came before, and have their identities."""
    kept: dict[str, Any] = {}
    for chunk in chunks(sorted(arrived)):
        kept.update((row.key, row) for row in connection.execute(_LOCKED, {"keys": chunk}))
    newer = {
        key: (record, _decode_events(record.events))
        for key, record in sorted(arrived.items())
        if key not in kept or kept[key].revision < record.revision
    }
    new: dict[str, list[Event]] = {}
    for key, (_, events) in newer.items():
        known = _known(kept.get(key))
        new[key] = [event for event in events if event.id not in known]
    holders = _claim_identities(connection, new, again)
    taken = Taken([], {}, [])
    rows = []
    for key, (record, events) in newer.items():
        refused = {event.id for event in new[key] if holders.get(_ident(event), key) != key} if holders else set()
        taken.refused.extend(_letter(key, event, holders) for event in new[key] if event.id in refused)
        taken.new.extend(event for event in new[key] if event.id not in refused)
        refused |= _refused(kept.get(key))
        if "/" in key:
            taken.histories[key] = _of_case(events, refused)
        rows.append(
            {
                "key": key, "revision": record.revision, "events": bytes(record.events).decode(),
                "refused": msgspec.json.encode(sorted(refused)).decode() if refused else None,
            }
        )  # fmt: skip
    put(connection, records, rows, kept.keys())
    return taken


def _known(row: Any) -> set[str]:
    return set() if row is None else {event.id for event in _decode_events(row.events)}


def _refused(row: Any) -> frozenset[str]:
    return frozenset() if row is None or row.refused is None else _decode_ids(row.refused)


def _ident(event: Event) -> str:
    return f"{event.platform}/{event.id}"


def _claim_identities(connection: Connection, new: Mapping[str, Sequence[Event]], again: bool) -> dict[str, str]:
    """Where each of the events' identities stands; empty when all are new, each under one key."""
    wanted: dict[str, str] = {}
    for key, events in new.items():
        for event in events:
            wanted.setdefault(_ident(event), key)
    doubled = sum(len(events) for events in new.values()) > len(wanted)  # two keys of this very batch
    if not again and _all_new(connection, _rows(wanted)):
        return wanted if doubled else {}
    held = _holders(connection, wanted)
    missing = {ident: key for ident, key in wanted.items() if ident not in held}
    if not missing:
        return held
    others = insert_missing(connection, identities, _rows(missing)) < len(missing)  # who claimed them meanwhile
    return held | (_holders(connection, missing) if others else missing)


def _rows(claims: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"ident": ident, "key": key} for ident, key in sorted(claims.items())]


def _holders(connection: Connection, idents: Iterable[str]) -> dict[str, str]:
    held: dict[str, str] = {}
    for chunk in chunks(sorted(idents)):
        held.update((row.ident, row.key) for row in connection.execute(_IDENTITIES, {"idents": chunk}))
    return held


def _all_new(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Insert them, unless one is there already: to look at each before, as ON CONFLICT does, takes half as long again."""
    try:
        with connection.begin_nested():
            insert_many(connection, identities, rows)
    except IntegrityError:
        return False
    return True


def _letter(key: str, event: Event, holders: Mapping[str, str]) -> DeadLetter:
    subject = holders[_ident(event)].partition("/")[2]
    detail = f"{_ident(event)} 已用于另一件留言 {subject}，以先到者为准；新事件请用新的 id"
    return DeadLetter(f"{CASES.name}/{key}#{event.id}", "conflict", detail, event)  # wherever compaction has put it


def histories(connection: Connection, keys: Iterable[str]) -> Iterator[tuple[str, list[CaseEvent]]]:
    """Each key, in the order given, with all events of its case."""
    for chunk in chunks(keys):
        rows = {row.key: row for row in connection.execute(_BY_KEY, {"keys": chunk})}
        for key in chunk:
            yield key, _history(rows.get(key))


def _history(row: Any) -> list[CaseEvent]:
    if row is None:
        return []
    return _of_case(_decode_events(row.events), _refused(row))


def _of_case(events: Iterable[Event], refused: AbstractSet[str]) -> list[CaseEvent]:
    return [event for event in events if not isinstance(event, Tally) and event.id not in refused]


def bury(connection: Connection, found: Sequence[DeadLetter], at: datetime) -> None:
    """Keep what could not be used; the same, come again, is kept once."""
    rows = [
        {
            "origin": letter.origin, "at": to_micros(at), "reason": letter.reason, "detail": letter.detail,
            "event": None if letter.event is None else msgspec.json.encode(letter.event).decode(),
        }
        for letter in found
    ]  # fmt: skip
    insert_missing(connection, letters, rows)


def buried(connection: Connection) -> Iterator[tuple[datetime, DeadLetter]]:
    """In the order in which they were buried."""
    for row in connection.execute(select(letters).order_by(letters.c.at, letters.c.origin)):
        event = None if row.event is None else msgspec.json.decode(row.event, type=Event)
        yield from_micros(row.at), DeadLetter(row.origin, row.reason, row.detail, event)
