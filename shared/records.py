"""What the services exchange on the streams beside events: the record of a case, and a dead letter. Frozen values."""

import re
from datetime import date, datetime
from typing import Annotated

import msgspec
from msgspec import Struct

from shared.case import Case
from shared.events import SOURCE_PREFIX, Event, Tally, decode_event
from shared.times import FIRST_YEAR, LAST_YEAR, SHANGHAI, midnight

FOREIGN = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What decoding bytes that others have written may raise: broken, of other members, not UTF-8, nested without end."""
_FIRST, _AFTER = midnight(date(FIRST_YEAR, 1, 1)), midnight(date(LAST_YEAR + 1, 1, 1))
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_OFFSET = SHANGHAI.utcoffset(None)


class ForeignError(ValueError):
    """These bytes are not what this system writes."""


def record_key(event: Event) -> str:
    """The key that an event is sent and recorded under: its case's, or its platform's for a tally."""
    return event.platform if isinstance(event, Tally) else event.key


def read_event(value: bytes | None) -> Event:
    """An event from the topic of events, into which others can write, too. Raises ForeignError unless it is as the door settles it:
    times without an offset, or in years without a calendar, would end whoever computes with them,
    and texts with a NUL are not taken by PostgreSQL."""
    try:
        event: Event = decode_event(value or b"")
    except FOREIGN as error:
        raise ForeignError from error
    if not _settled(event) or (value and b"\\u0000" in value and _NUL.search(value)):
        raise ForeignError
    return event


def _settled(event: Event) -> bool:
    if not event.source.startswith(SOURCE_PREFIX) or event.time.utcoffset() != _OFFSET:
        return False
    day = event.data.date if isinstance(event, Tally) else None
    return _FIRST <= event.time < _AFTER and (day is None or FIRST_YEAR <= day.year <= LAST_YEAR)


class CaseRecord(Struct, frozen=True, gc=False):
    """All of a key: its events and what they mean.

    The key of a case is `platform/subject`; the tallies of a platform stand under `platform` and mean no case. `revision` grows
    with every record of the key. `case` is as of the latest of the events, so that equal events make equal records but for
    the revision, whenever and wherever they are folded; who needs it as of now lets time pass (`case.next_deadline`), or evaluates the events again.
    """

    key: str
    revision: int
    ruleset: str
    events: tuple[Event, ...]
    case: Case | None

    @property
    def as_of(self) -> datetime:
        """The instant as of which `case` is; events are never without one."""
        return max(event.time for event in self.events)


encode_record = msgspec.json.Encoder(order="deterministic").encode
"""CaseRecord -> canonical bytes."""
decode_record = msgspec.json.Decoder(CaseRecord).decode


LAST_REVISION = 2**62  # a key has fewer, and the tables' integers hold it


class RecordHead(Struct, frozen=True, gc=False):
    """Of a record, what can be told without decoding all of it."""

    key: str
    revision: Annotated[int, msgspec.Meta(ge=1, le=LAST_REVISION)]
    ruleset: str
    events: msgspec.Raw


_decode_head = msgspec.json.Decoder(RecordHead).decode


def read_head(key: bytes | None, value: bytes | None) -> RecordHead:
    """The head of a record from the topic of records, into which others can write, too. Raises ForeignError."""
    try:
        head = _decode_head(value or b"")
    except FOREIGN as error:
        raise ForeignError from error
    if head.key.encode() != key:
        raise ForeignError
    return head


def read_record(key: bytes, value: bytes) -> CaseRecord:
    """A record under its key; one with events that nobody of us would have written there comes without any. Raises ForeignError
    where there is no head."""
    head = read_head(key, value)
    try:
        record = decode_record(value)
    except FOREIGN:
        record = None
    if record is None or not all(_settled(event) and record_key(event) == head.key for event in record.events):
        return CaseRecord(head.key, head.revision, "", (), None)
    return record


class DeadLetter(Struct, frozen=True, gc=False):
    """What could not be used: where it came from, why (a closed set), one line for people, and the event if it is settled."""

    origin: str
    reason: str
    detail: str
    event: Event | None = None


encode_letter = msgspec.json.Encoder(order="deterministic").encode
decode_letter = msgspec.json.Decoder(DeadLetter).decode
