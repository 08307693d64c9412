"""Laws of the stream's processing: whatever the batches, repetitions and restarts, the records hold the accepted events and what
they mean, and each message that is not in one is a dead letter."""

from collections.abc import Iterable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sla import processing
from services.sla.processing import Message, process, reevaluated
from services.sla.rules import evaluate
from shared.events import CaseEvent, Event, encode_event
from shared.records import CaseRecord, decode_record, encode_record, record_key
from shared.topics import CASES, LARGEST_HISTORY
from tests.builders import at, event
from tests.enginekit import tally
from tests.properties.test_engine_laws import CHANGED, RULES, STORIES, Story, laws


def messages(events: Iterable[Event]) -> list[Message]:
    return [
        Message(record_key(e).encode(), encode_event(e), f"liuyan.messages.v1/0/{offset}")
        for offset, e in enumerate(events)
    ]


def run(batches: Iterable[Sequence[Message]]) -> tuple[dict[str, CaseRecord], dict[str, str]]:
    """The records after all batches, each through its bytes, and the reason of each dead letter by its origin."""
    records: dict[str, CaseRecord] = {}
    letters: dict[str, str] = {}
    for batch in batches:
        done = process(records, batch, RULES)
        assert len({record.key for record in done.records}) == len(done.records)
        for record in done.records:
            assert record.revision == (records[record.key].revision if record.key in records else 0) + 1
            records[record.key] = decode_record(encode_record(record))
        letters |= {letter.origin: letter.reason for letter in done.letters}
    return records, letters


@st.composite
def cut(draw: st.DrawFn, items: Sequence[Message]) -> list[Sequence[Message]]:
    """The messages in batches, some of which are handed in again, as after a crash before their acknowledgement."""
    batches: list[Sequence[Message]] = []
    at_ = 0
    while at_ < len(items):
        end = at_ + draw(st.integers(1, 6))
        batches.append(items[at_:end])
        at_ = end if draw(st.integers(0, 4)) else max(0, at_ - draw(st.integers(0, 3)))
    return batches


@laws
@given(STORIES, st.data())
def test_batches_and_repetitions_change_nothing(story: Story, data: st.DataObject) -> None:
    all_messages = messages(story.arriving)
    records, letters = run([all_messages])
    again, again_letters = run(data.draw(cut(all_messages)))
    assert {k: (r.events, r.case) for k, r in records.items()} == {k: (r.events, r.case) for k, r in again.items()}
    assert letters == again_letters


@laws
@given(STORIES)
def test_every_message_is_in_its_record_or_a_dead_letter_and_the_case_is_what_the_core_says(story: Story) -> None:
    records, letters = run([[message] for message in messages(story.arriving)])
    for offset, found in enumerate(story.arriving):
        stands = found in records[record_key(found)].events
        assert stands is (f"liuyan.messages.v1/0/{offset}" not in letters)
    for key, record in records.items():
        history: list[CaseEvent] = [e for e in record.events if isinstance(e, CaseEvent)]
        assert len({(e.source, e.id) for e in record.events}) == len(record.events)
        assert {record_key(e) for e in record.events} == {key}
        assert record.case == (evaluate(history, RULES, record.as_of) if history else None)


@laws
@given(STORIES)
def test_other_rules_give_the_next_revision_with_the_same_events(story: Story) -> None:
    records, _ = run([messages(story.arriving)])
    for record in records.values():
        assert reevaluated(record, RULES) is None
        changed = reevaluated(record, CHANGED)
        assert changed is not None
        assert (changed.revision, changed.ruleset) == (record.revision + 1, CHANGED.hash)
        assert changed.events == record.events
        assert reevaluated(changed, CHANGED) is None


def test_a_record_of_a_platform_that_the_registry_lacks_stays_as_it_is() -> None:
    """Taken out of the file, or written by somebody else: the processor would have died of it at every start."""
    known = event("a", "received", at("03-01 09:00"))
    (record,) = process({}, messages([known]), RULES).records
    gone = msgspec.structs.replace(known, source="/platforms/gone")
    assert reevaluated(msgspec.structs.replace(record, key="gone/zk-1", ruleset="x", events=(gone,)), RULES) is None
    assert reevaluated(msgspec.structs.replace(record, key="gone", ruleset="x", events=(gone,)), RULES) is None


def test_what_cannot_be_used_is_a_dead_letter_with_its_origin_and_the_rest_goes_on() -> None:
    good = event("good", "received", at("04-01 09:00"), subject="s", category="inquiry")
    elsewhere = encode_event(good).replace(b"/platforms/", b"/platforms/x")
    batch = [
        Message(None, None, "t/0/1"), Message(b"k", b"{", "t/0/2"), Message(b"k", b"\xff", "t/0/3"),
        Message(b"other/key", encode_event(good), "t/0/4"), Message(None, elsewhere, "t/0/5"),
        Message(None, encode_event(good), "t/0/6"), Message(good.key.encode(), encode_event(good), "t/0/7"),
        *messages([tally("t-1", at("04-01 09:00"), "2022-04-01", 3)]),
    ]  # fmt: skip
    done = process({}, batch, RULES)
    assert [(letter.origin, letter.reason) for letter in done.letters] == [
        ("t/0/1", "undecodable"), ("t/0/2", "undecodable"), ("t/0/3", "undecodable"), ("t/0/4", "wrong_key"),
        ("t/0/5", "unknown_platform"), ("t/0/6", "wrong_key"),
    ]  # fmt: skip
    assert [len(record.events) for record in done.records] == [1, 1]
    assert [record.case is None for record in done.records] == [False, True]


@pytest.mark.parametrize(
    "value",
    [
        b'{"x":' * 50_000,
        *(encode_event(event("a", "received", "03-01 09:00")).replace(b"2022-03-01T09:00:00+08:00", time) for time in (
            b"2022-03-01T09:00:00", b"2022-03-01T01:00:00Z", b"0001-01-01T00:00:00+08:00", b"9999-12-31T23:59:59+08:00",
            b"2000-12-31T23:59:59+08:00", b"2050-01-01T00:00:00+08:00",
        )),
        encode_event(event("a", "received", "03-01 09:00")).replace(b"/platforms/", b"+platforms+"),
        encode_event(event("a", "replied", "03-01 09:00", content="\x00")),
        encode_event(event("a", "replied", "03-01 09:00", content="\\\\\x00")),
        encode_event(tally("t-1", at("04-01 09:00"), "2022-04-01", 3)).replace(b"2022-04-01\"", b"9999-12-31\""),
    ],
)  # fmt: skip
def test_what_the_door_would_not_have_settled_so_stops_nobody(value: bytes) -> None:
    """Written by somebody else: the processor would have died of most of them, again at every start."""
    known = [event("a", "received", "03-01 09:00"), tally("t-1", at("04-01 09:00"), "2022-04-01", 3)]
    assert all(encode_event(found) != value for found in known)
    for key in {record_key(found) for found in known}:
        done = process({}, [*messages(known), Message(key.encode(), value, "t/0/9")], RULES)
        assert [(letter.origin, letter.reason) for letter in done.letters] == [("t/0/9", "undecodable")]
        assert [len(record.events) for record in done.records] == [1, 1]


def test_a_text_that_only_spells_a_nul_is_one_like_others() -> None:
    spelled = event("a", "replied", "03-01 09:00", content="\\u0000 \\\\u0000")
    assert [record.events for record in process({}, messages([spelled]), RULES).records] == [(spelled,)]


def test_a_message_in_another_partition_than_its_keys_begins_no_record_there() -> None:
    arriving = messages([event("a", "received", "03-01 09:00"), event("b", "accepted", "03-01 10:00")])
    done = process({}, arriving, RULES, lambda key: False)
    assert not done.records
    assert [(letter.origin, letter.reason) for letter in done.letters] == [
        (message.origin, "wrong_partition") for message in arriving
    ]
    known = {record.key: record for record in process({}, arriving[:1], RULES).records}
    (record,) = process(known, arriving, RULES, lambda key: False).records  # one that stands there goes on
    assert len(record.events) == 2


def test_what_does_not_fit_into_a_record_is_a_dead_letter_and_what_fits_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A record that Kafka does not take would stop its partition for good."""
    said = [event(f"n{number}", "replied", "03-02 09:00", content=f"{number}" * 200) for number in range(6)]
    size = len(encode_event(said[0]))
    monkeypatch.setattr(processing, "LARGEST_HISTORY", 3 * size + size // 2)
    other = event("o", "received", "03-01 09:00", subject="zk-2")
    arriving = messages([*said, said[0], said[5], other])
    records, letters = run([arriving])
    assert [e.id for e in records[said[0].key].events] == ["n0", "n1", "n2"]
    assert other.key in records
    wanted = {f"liuyan.messages.v1/0/{offset}": "too_large" for offset in (3, 4, 5, 7)}
    assert letters == wanted
    one_by_one = run([[message] for message in arriving])
    assert one_by_one[1] == wanted
    assert {k: r.events for k, r in one_by_one[0].items()} == {k: r.events for k, r in records.items()}


def test_the_largest_record_is_taken_by_its_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event of it is ignored, or explained, at the greatest length."""
    monkeypatch.setattr(processing, "LARGEST_HISTORY", LARGEST_HISTORY // 64)
    many = [event(f"n{number}", "rated", "03-02 09:00", score=3) for number in range(2_000)]
    (record,) = process({}, messages(many), RULES).records
    history = sum(len(encode_event(e)) for e in record.events)
    assert len(record.events) < 2_000
    assert len(encode_record(record)) < CASES.max_bytes // 64, f"{len(encode_record(record)) / history}"
