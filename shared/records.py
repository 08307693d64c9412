"""What the services exchange on the streams beside events: the record of a case, and a dead letter. Frozen values."""

from datetime import date, datetime

import msgspec
from msgspec import Struct

from shared.case import Case
from shared.events import SOURCE_PREFIX, Event, Tally, decode_event
from shared.times import FIRST_YEAR, LAST_YEAR, SHANGHAI, midnight

FOREIGN = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What decoding bytes that others have written may raise: broken, of other members, not UTF-8, nested without end."""
_FIRST, _AFTER = midnight(date(FIRST_YEAR, 1, 1)), midnight(date(LAST_YEAR + 1, 1, 1))
_OFFSET = SHANGHAI.utcoffset(None)


class ForeignError(ValueError):
    """These bytes are not what this system writes."""


def record_key(event: Event) -> str:
    """The key that an event is sent and recorded under: its case's, or its platform's for a tally."""
    return event.platform if isinstance(event, Tally) else event.key


def read_event(value: bytes | None) -> Event:
    """An event from the topic of events, into which others can write, too. Raises ForeignError unless it is as the door settles it:
    times without an offset, or in years without a calendar, would end whoever computes with them."""
    try:
        event: Event = decode_event(value or b"")
    except FOREIGN as error:
        raise ForeignError from error
    if not event.source.startswith(SOURCE_PREFIX) or event.time.utcoffset() != _OFFSET:
        raise ForeignError
    if not _FIRST <= event.time < _AFTER or (isinstance(event, Tally) and not _known(event.data.date)):
        raise ForeignError
    return event


def _known(day: date) -> bool:
    return FIRST_YEAR <= day.year <= LAST_YEAR


class CaseRecord(Struct, frozen=True):
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


class DeadLetter(Struct, frozen=True):
    """What could not be used: where it came from, why (a closed set), one line for people, and the event if it is settled."""

    origin: str
    reason: str
    detail: str
    event: Event | None = None


encode_letter = msgspec.json.Encoder(order="deterministic").encode
decode_letter = msgspec.json.Decoder(DeadLetter).decode
