"""shared/events.py: the events, their bytes, their precedence, and what counts as the same event again."""

import json
import typing
from datetime import date, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from shared.events import (
    CASE_EVENTS,
    EVENT_TYPES,
    Accepted,
    BaseEvent,
    Completed,
    Event,
    Extended,
    ExtendedData,
    NoData,
    Rated,
    RatedData,
    ReasonData,
    Recategorized,
    RecategorizedData,
    Received,
    ReceivedData,
    Rejected,
    RejectedData,
    Reopened,
    Replied,
    RepliedData,
    Resumed,
    Suspended,
    Tally,
    TallyData,
    Transferred,
    TransferredData,
    Withdrawn,
    accept,
    decode_event,
    encode_event,
)
from shared.times import SHANGHAI

# In the order of precedence: name, then a minimal and a full data object.
MESSAGES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("received", {}, {"category": "inquiry", "title": "路灯不亮", "content": "正文", "category_given": "?",
                      "category_reason": "unknown"}),
    ("accepted", {}, {}),
    ("transferred", {"to": "gongan"}, {"to": "市住建局", "reason": "职责所属"}),
    ("recategorized", {"category": "help"}, {"category": "complaint"}),
    ("extended", {"working_days": 1}, {"working_days": 10, "approved_by": "分管领导", "reason": "需现场核实"}),
    ("suspended", {}, {"reason": "补充材料"}),
    ("resumed", {}, {}),
    ("replied", {}, {"content": "已修复", "interim": True}),
    ("completed", {}, {}),
    ("reopened", {}, {"reason": "不满意"}),
    ("rated", {"score": 1}, {"score": 5}),
    ("rejected", {"reason": "not_in_scope"}, {"reason": "duplicate", "note": "与 zk-1 重复"}),
    ("withdrawn", {}, {}),
]  # fmt: skip
REQUIRED = {
    "transferred": "to",
    "recategorized": "category",
    "extended": "working_days",
    "rated": "score",
    "rejected": "reason",
}
TALLY = {"date": "2022-03-01", "received": 0}


def wire(name: str, data: dict[str, Any] | None = None, **changes: Any) -> bytes:
    group = "platform" if name == "tally" else "message"
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": "zk-000123-1",
        "source": "/platforms/zhenkang",
        "type": f"liuyan.{group}.{name}.v1",
        "subject": "zk-000123",
        "time": "2022-03-01T09:12:00+08:00",
    }
    if data is not None:
        event["data"] = data
    return json.dumps(event | changes, ensure_ascii=False).encode()


def event(ident: str = "1", **changes: Any) -> Event:
    fields = {
        "specversion": "1.0",
        "id": ident,
        "source": "/platforms/zhenkang",
        "subject": "zk-000123",
        "time": datetime(2022, 3, 1, 9, 12, tzinfo=SHANGHAI),
    }
    return Received(**fields | changes)


# Types


def test_the_order_of_precedence_is_that_of_the_contract() -> None:
    assert [kind.name for kind in CASE_EVENTS] == [name for name, _, _ in MESSAGES]
    assert [kind.precedence for kind in CASE_EVENTS] == list(range(len(MESSAGES)))
    assert (Tally.name, Tally.precedence) == ("tally", len(MESSAGES))


def test_the_type_names_are_those_of_the_contract() -> None:
    expected = [f"liuyan.message.{name}.v1" for name, _, _ in MESSAGES]
    assert list(EVENT_TYPES) == [*expected, "liuyan.platform.tally.v1"]
    assert list(EVENT_TYPES.values()) == [*CASE_EVENTS, Tally]


def test_every_type_documents_itself() -> None:
    assert [kind.__name__ for kind in EVENT_TYPES.values() if kind.__doc__ in {None, BaseEvent.__doc__}] == []


def test_no_event_can_be_changed_once_it_is_made() -> None:
    def frozen(kind: type[msgspec.Struct]) -> bool:
        return kind.__struct_config__.frozen

    data = [typing.get_type_hints(kind)["data"] for kind in EVENT_TYPES.values()]
    assert [kind.__name__ for kind in (*EVENT_TYPES.values(), *data) if not frozen(kind)] == []


def test_an_event_knows_its_platform_and_the_key_of_its_case() -> None:
    decoded = decode_event(wire("received"))
    assert decoded.platform == "zhenkang"
    assert decoded.key == "zhenkang/zk-000123"


# Decoding


@pytest.mark.parametrize(("name", "minimal", "full"), MESSAGES, ids=[name for name, _, _ in MESSAGES])
def test_every_type_is_read_with_minimal_and_with_full_data(
    name: str, minimal: dict[str, Any], full: dict[str, Any]
) -> None:
    for data in (minimal, full):
        decoded = decode_event(wire(name, data))
        assert type(decoded).name == name
        assert decoded.time == datetime(2022, 3, 1, 9, 12, tzinfo=SHANGHAI)
        assert decoded.sequence == "0"
        assert {member: getattr(decoded.data, member) for member in data} == data
        assert decode_event(encode_event(decoded)) == decoded


def test_a_tally_is_read_with_or_without_a_subject() -> None:
    tally = decode_event(wire("tally", TALLY, subject=""))
    assert isinstance(tally, Tally)
    assert tally.data == TallyData(date(2022, 3, 1), 0)
    without = json.loads(wire("tally", TALLY))
    del without["subject"]
    assert decode_event(json.dumps(without)) == tally


@pytest.mark.parametrize("name", [name for name, _, _ in MESSAGES if name not in REQUIRED])
def test_data_without_a_required_member_may_be_left_out_but_not_null(name: str) -> None:
    assert decode_event(wire(name)) == decode_event(wire(name, {}))
    with pytest.raises(msgspec.ValidationError, match=r"`\$\.data`"):
        decode_event(wire(name, {}).replace(b"{}", b"null"))


@pytest.mark.parametrize(("name", "member"), [*REQUIRED.items(), ("tally", "date"), ("tally", "received")])
def test_a_required_member_is_required(name: str, member: str) -> None:
    whole = TALLY if name == "tally" else next(minimal for known, minimal, _ in MESSAGES if known == name)
    with pytest.raises(msgspec.ValidationError, match=f"`{member}`"):
        decode_event(wire(name, {key: value for key, value in whole.items() if key != member}))
    with pytest.raises(msgspec.ValidationError, match="`data`"):
        decode_event(wire(name))


def test_an_answer_is_final_unless_it_says_interim() -> None:
    assert decode_event(wire("replied")).data == RepliedData(interim=False)


def test_unknown_members_are_ignored_and_not_stored() -> None:
    plain = wire("received", {"category": "inquiry"})
    more = wire(
        "received",
        {"category": "inquiry", "contact": {"name": "张三", "phone": "13800000000"}, "mood": 1},
        datacontenttype="application/json",
        traceparent="00-1",
    )
    assert decode_event(more) == decode_event(plain)
    assert encode_event(decode_event(more)) == encode_event(decode_event(plain))


@pytest.mark.parametrize(
    ("name", "data", "changes", "pointer"),
    [
        ("received", {}, {"specversion": "0.3"}, "specversion"),
        ("received", {}, {"type": "liuyan.message.received.v2"}, "type"),
        ("received", {}, {"id": ""}, "id"),
        ("received", {}, {"id": "x" * 129}, "id"),
        ("received", {}, {"id": 7}, "id"),
        ("received", {}, {"subject": ""}, "subject"),
        ("received", {}, {"subject": "x" * 65}, "subject"),
        ("received", {}, {"subject": "zk/1"}, "subject"),
        ("received", {}, {"subject": "留言1"}, "subject"),
        ("received", {}, {"subject": "zk 1"}, "subject"),
        ("received", {}, {"subject": "zk-1\n"}, "subject"),
        ("received", {}, {"time": "yesterday"}, "time"),
        ("received", {}, {"sequence": 1}, "sequence"),
        ("received", {}, {"sequence": ""}, "sequence"),
        ("received", {}, {"sequence": "+1"}, "sequence"),
        ("received", {}, {"sequence": "1.5"}, "sequence"),
        ("received", {}, {"sequence": "１"}, "sequence"),
        ("received", {}, {"sequence": "1" * 19}, "sequence"),
        ("received", {}, {"sequence": "1\n"}, "sequence"),
        ("received", {"category": None}, {}, "data.category"),
        ("transferred", {"to": ""}, {}, "data.to"),
        ("recategorized", {"category": ""}, {}, "data.category"),
        ("extended", {"working_days": 0}, {}, "data.working_days"),
        ("extended", {"working_days": -1}, {}, "data.working_days"),
        ("extended", {"working_days": 1.5}, {}, "data.working_days"),
        ("extended", {"working_days": "3"}, {}, "data.working_days"),
        ("replied", {"interim": "yes"}, {}, "data.interim"),
        ("rated", {"score": 0}, {}, "data.score"),
        ("rated", {"score": 6}, {}, "data.score"),
        ("rejected", {"reason": ""}, {}, "data.reason"),
        ("tally", {"date": "2022-02-29", "received": 0}, {}, "data.date"),
        ("tally", {"date": "2022-03-01", "received": -1}, {}, "data.received"),
    ],
)
def test_a_value_that_the_contract_excludes_is_refused_with_its_place(
    name: str, data: dict[str, Any], changes: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        decode_event(wire(name, data, **changes))
    assert f"`$.{pointer}`" in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "x"},
        {"subject": "AZaz09_.:-" + "x" * 54},
        {"id": "x" * 128},
        {"id": "编号 1"},
        {"sequence": "-9"},
        {"sequence": "9" * 18},
    ],
)
def test_the_widest_allowed_values_are_read(changes: dict[str, str]) -> None:
    decoded = decode_event(wire("received", **changes))
    assert {member: getattr(decoded, member) for member in changes} == changes


# Bytes

TEXT = st.text(max_size=20)
MAYBE = st.one_of(st.just(UNSET), TEXT)
SHORT = st.text(min_size=1, max_size=64)
DATA: dict[type[BaseEvent], st.SearchStrategy[Any]] = {
    Received: st.builds(
        ReceivedData, category=MAYBE, title=MAYBE, content=MAYBE, category_given=MAYBE, category_reason=MAYBE
    ),
    Accepted: st.builds(NoData),
    Transferred: st.builds(TransferredData, to=SHORT, reason=MAYBE),
    Recategorized: st.builds(RecategorizedData, category=SHORT),
    Extended: st.builds(ExtendedData, working_days=st.integers(1, 10_000), approved_by=MAYBE, reason=MAYBE),
    Suspended: st.builds(ReasonData, reason=MAYBE),
    Resumed: st.builds(NoData),
    Replied: st.builds(RepliedData, content=MAYBE, interim=st.booleans()),
    Completed: st.builds(NoData),
    Reopened: st.builds(ReasonData, reason=MAYBE),
    Rated: st.builds(RatedData, score=st.integers(1, 5)),
    Rejected: st.builds(RejectedData, reason=SHORT, note=MAYBE),
    Withdrawn: st.builds(NoData),
    Tally: st.builds(TallyData, date=st.dates(date(2001, 1, 1), date(2049, 12, 31)), received=st.integers(0, 10**9)),
}
HEAD: dict[str, st.SearchStrategy[Any]] = {
    "specversion": st.just("1.0"),
    "id": st.text(min_size=1, max_size=128),
    "source": st.sampled_from(["/platforms/zhenkang", "/platforms/lincang"]),
    "subject": st.from_regex(r"[A-Za-z0-9_.:-]{1,64}", fullmatch=True),
    "time": st.datetimes(datetime(2001, 1, 1), datetime(2049, 12, 31), timezones=st.just(SHANGHAI)),  # noqa: DTZ001
    "sequence": st.integers(-(10**18) + 1, 10**18 - 1).map(str),
}
EVENTS = st.one_of(*(st.builds(kind, data=data, **HEAD) for kind, data in DATA.items()))


def test_the_strategy_draws_every_type() -> None:
    assert list(DATA) == list(EVENT_TYPES.values())


@settings(deadline=None)
@given(EVENTS)
def test_what_is_encoded_is_decoded_as_the_same_event(drawn: Event) -> None:
    body = encode_event(drawn)
    decoded = decode_event(body)
    assert decoded == drawn
    assert decoded.time.isoformat() == drawn.time.isoformat()
    assert b"\n" not in body


@settings(deadline=None)
@given(EVENTS)
def test_equal_events_built_separately_have_equal_bytes(drawn: Event) -> None:
    fields = {name: getattr(drawn, name) for name in drawn.__struct_fields__}
    again = type(drawn)(**fields | {"data": msgspec.structs.replace(drawn.data)})
    assert again == drawn
    assert encode_event(again) == encode_event(drawn)


def test_the_stored_bytes_are_these() -> None:
    full = Extended(
        specversion="1.0",
        id="e-1",
        source="/platforms/zhenkang",
        subject="zk-000123",
        time=datetime(2022, 3, 1, 9, 12, 0, 500_000, tzinfo=SHANGHAI),
        sequence="2",
        data=ExtendedData(3, approved_by="分管领导"),
    )
    assert encode_event(full).decode() == (
        '{"type":"liuyan.message.extended.v1","specversion":"1.0","id":"e-1","source":"/platforms/zhenkang",'
        '"subject":"zk-000123","time":"2022-03-01T09:12:00.500000+08:00","sequence":"2",'
        '"data":{"working_days":3,"approved_by":"分管领导"}}'
    )


def test_the_order_of_members_and_white_space_do_not_show_in_the_bytes() -> None:
    given_ = json.loads(wire("rejected", {"note": "见附件", "reason": "duplicate"}, sequence="3"))
    shuffled = json.dumps(dict(reversed(given_.items())), indent=2).encode()
    straight = wire("rejected", given_["data"], sequence="3")
    assert encode_event(decode_event(shuffled)) == encode_event(decode_event(straight))


def test_an_interim_of_false_is_not_written() -> None:
    said = decode_event(wire("replied", {"content": "好", "interim": False}))
    unsaid = decode_event(wire("replied", {"content": "好"}))
    assert encode_event(said) == encode_event(unsaid)


@pytest.mark.parametrize(("data", "changes"), [({}, {}), (None, {"sequence": "0"})], ids=["empty data", "sequence 0"])
@pytest.mark.parametrize("name", ["received", "accepted", "replied", "completed"])
def test_a_default_that_was_sent_does_not_show_in_the_bytes(
    name: str, data: dict[str, Any] | None, changes: dict[str, str]
) -> None:
    said, unsaid = decode_event(wire(name, data, **changes)), decode_event(wire(name))
    assert said == unsaid
    assert encode_event(said) == encode_event(unsaid)


def test_the_same_event_with_its_defaults_sent_is_a_duplicate() -> None:
    known: dict[tuple[str, str], bytes] = {}
    accept(known, [decode_event(wire("completed"))])
    again = decode_event(wire("completed", {}, sequence="0"))
    assert accept(known, [again]).duplicates == (again,)


# The same event again


def test_new_events_are_taken_in_their_order_and_become_known() -> None:
    known: dict[tuple[str, str], bytes] = {}
    first, second = event("b"), event("a")
    accepting = accept(known, [first, second])
    assert accepting.new == (first, second)
    assert accepting.duplicates == accepting.conflicts == ()
    assert known == {
        ("/platforms/zhenkang", "b"): encode_event(first),
        ("/platforms/zhenkang", "a"): encode_event(second),
    }


def test_a_known_event_is_a_duplicate_also_when_its_bytes_come_from_a_store() -> None:
    stored = event()
    known = {(stored.source, stored.id): bytes(bytearray(encode_event(stored)))}
    accepting = accept(known, [event()])
    assert (accepting.new, accepting.duplicates, accepting.conflicts) == ((), (event(),), ())


def test_duplicates_within_one_delivery_are_told_apart_from_the_first() -> None:
    accepting = accept({}, [event(), event(), event()])
    assert (len(accepting.new), len(accepting.duplicates), len(accepting.conflicts)) == (1, 2, 0)


@pytest.mark.parametrize(
    "other",
    [
        event(subject="zk-000124"),
        event(time=datetime(2022, 3, 1, 9, 12, 0, 1, tzinfo=SHANGHAI)),
        event(sequence="1"),
        event(data=ReceivedData(title="别的")),
        decode_event(wire("accepted", id="1")),
    ],
    ids=["subject", "instant", "sequence", "data", "type"],
)
def test_another_event_under_a_known_id_is_a_conflict_and_the_first_stands(other: Event) -> None:
    known: dict[tuple[str, str], bytes] = {}
    accepting = accept(known, [event(), other, event(), other])
    assert accepting.new == (event(),)
    assert accepting.conflicts == (other, other)
    assert accepting.duplicates == (event(),)
    assert known == {("/platforms/zhenkang", "1"): encode_event(event())}


def test_the_same_id_from_another_source_is_another_event() -> None:
    here, there = event(), event(source="/platforms/lincang")
    assert accept({}, [here, there]).new == (here, there)


def test_nothing_arriving_changes_nothing() -> None:
    known = {("/platforms/zhenkang", "1"): b"{}"}
    accepting = accept(known, [])
    assert (accepting.new, accepting.duplicates, accepting.conflicts) == ((), (), ())
    assert known == {("/platforms/zhenkang", "1"): b"{}"}


FEW = st.lists(
    st.builds(event, st.sampled_from("abc"), sequence=st.sampled_from("12"), source=HEAD["source"]), max_size=12
)


@settings(deadline=None)
@given(FEW, FEW)
def test_events_are_accepted_alike_in_one_delivery_or_in_two(one: list[Event], two: list[Event]) -> None:
    whole: dict[tuple[str, str], bytes] = {}
    parts: dict[tuple[str, str], bytes] = {}
    together = accept(whole, one + two)
    first, second = accept(parts, one), accept(parts, two)
    assert together.new == first.new + second.new
    assert together.duplicates == first.duplicates + second.duplicates
    assert together.conflicts == first.conflicts + second.conflicts
    assert list(whole.items()) == list(parts.items())
    assert [encode_event(taken) for taken in together.new] == list(whole.values())
    assert len(together.new) + len(together.duplicates) + len(together.conflicts) == len(one) + len(two)


@settings(deadline=None)
@given(FEW)
def test_a_second_delivery_of_the_same_events_brings_nothing_new(events: list[Event]) -> None:
    known: dict[tuple[str, str], bytes] = {}
    first = accept(known, events)
    before = dict(known)
    assert accept(known, first.new).duplicates == first.new
    assert known == before
