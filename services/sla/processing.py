"""From the stream's messages to the records of their cases (pure): what the SLA processor does between reading and writing.

Every message is either in the record of its key afterwards, or was there already, or becomes a dead letter. So handing in the
same messages again, in whatever batches, changes nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from services.sla.rules import evaluate, order
from shared.events import CaseEvent, Event, Tally, accept, encode_event
from shared.records import CaseRecord, DeadLetter, ForeignError, read_event, record_key
from shared.rules import Ruleset
from shared.topics import LARGEST_HISTORY, MESSAGES, MIB

MISPLACED = "消息不在它的键所属的分区，请用 Kafka 默认的分区方法写入"

TOO_LARGE = (
    f"同一件留言（或同一平台的自报数）的全部事件超过 {LARGEST_HISTORY // MIB} MiB，放不下了；请核对平台是否反复推送"
)


class Message(NamedTuple):
    """A message of the topic of events. `origin` names its place (topic, partition, offset) for the dead letters."""

    key: bytes | None
    value: bytes | None
    origin: str


class Processed(NamedTuple):
    """The records that changed, once each, and the dead letters; both in no particular order."""

    records: list[CaseRecord]
    letters: list[DeadLetter]


def process(
    known: Mapping[str, CaseRecord],
    messages: Iterable[Message],
    rules: Ruleset,
    belongs: Callable[[str], bool] = lambda key: True,
) -> Processed:
    """What the messages make of the known records (of all their keys that there are).

    `belongs` tells whether a key's record may stand where the messages stand: elsewhere, a second record of it would begin.
    """
    letters: list[DeadLetter] = []
    arriving: dict[str, list[tuple[Event, str]]] = {}
    for message in messages:
        found = _read(message, rules)
        if isinstance(found, DeadLetter):
            letters.append(found)
        else:
            arriving.setdefault(record_key(found), []).append((found, message.origin))
    records = []
    for key, events in arriving.items():
        if key not in known and not belongs(key):
            letters += [DeadLetter(origin, "wrong_partition", MISPLACED, event) for event, origin in events]
            continue
        record, refused = _add(known.get(key), key, events, rules)
        letters += refused
        if record is not None:
            records.append(record)
    return Processed(records, letters)


def reevaluated(record: CaseRecord, rules: Ruleset) -> CaseRecord | None:
    """The record under these rules; None when it is of them already, or of a platform that they do not know."""
    if record.ruleset == rules.hash or record.key.partition("/")[0] not in rules.registry:
        return None
    return _record(record.key, record.revision + 1, record.events, rules)


def _read(message: Message, rules: Ruleset) -> Event | DeadLetter:
    try:
        event = read_event(message.value)
    except ForeignError:
        return DeadLetter(message.origin, "undecodable", "不是本系统写下的事件，请核对是谁写入了这个主题")
    if event.platform not in rules.registry:
        return DeadLetter(message.origin, "unknown_platform", "登记表里没有这个平台，请核对登记表", event)
    if message.key != record_key(event).encode():  # its record would not be found
        return DeadLetter(message.origin, "wrong_key", "消息的键与事件不符，请以 平台/留言编号 为键写入", event)
    return event


def _add(
    old: CaseRecord | None, key: str, arriving: list[tuple[Event, str]], rules: Ruleset
) -> tuple[CaseRecord | None, list[DeadLetter]]:
    events = () if old is None else old.events
    arrived = {(event.source, event.id) for event, _ in arriving}
    bodies = {identity: encode_event(event) for event in events if (identity := (event.source, event.id)) in arrived}
    sorted_in = accept(bodies, (event for event, _ in arriving))
    letters = []
    conflicting = {id(event) for event in sorted_in.conflicts}
    if conflicting:
        letters = [
            DeadLetter(origin, "conflict", f"{event.platform}/{event.id} 已有内容不同的事件，以先到者为准", event)
            for event, origin in arriving
            if id(event) in conflicting
        ]
    new = sorted_in.new[: _fitting(events, sorted_in.new)]
    if len(new) < len(sorted_in.new):
        left = {(event.source, event.id) for event in sorted_in.new[len(new) :]}
        letters += [
            DeadLetter(origin, "too_large", TOO_LARGE, event)
            for event, origin in arriving
            if (event.source, event.id) in left and id(event) not in conflicting
        ]
    if not new:
        return None, letters
    revision = 1 if old is None else old.revision + 1
    return _record(key, revision, (*events, *new), rules), letters


def _fitting(events: Sequence[Event], new: Sequence[Event]) -> int:
    """How many of the new ones, in their order, fit into the key's record. One that does not would stop all that come after it."""
    if (len(events) + len(new)) * MESSAGES.max_bytes <= LARGEST_HISTORY:
        return len(new)
    room = LARGEST_HISTORY - sum(len(encode_event(event)) for event in events)
    for number, event in enumerate(new):
        room -= len(encode_event(event))
        if room < 0:
            return number
    return len(new)


def _record(key: str, revision: int, events: tuple[Event, ...], rules: Ruleset) -> CaseRecord:
    """Events in the order of folding: equal sets of events make equal records, however they arrived."""
    ordered = tuple(sorted(events, key=order))
    of_case: list[CaseEvent] = [event for event in ordered if not isinstance(event, Tally)]
    case = evaluate(of_case, rules, ordered[-1].time) if of_case else None
    return CaseRecord(key, revision, rules.hash, ordered, case)
