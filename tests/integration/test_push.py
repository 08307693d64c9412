"""The door over HTTP: what is taken, what is refused and how that is told, and that a refusal changes nothing."""

import contextlib
import html
import http.client
import itertools
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry
from sqlalchemy.exc import OperationalError

from services.ingest import app as ingest_app
from services.ingest.app import MAX_BATCH
from services.ingest.door import Door as DoorItself
from services.ingest.examples import BATCH as EXAMPLE_BATCH
from services.ingest.examples import EVENTS
from services.ingest.keys import create_key, list_keys, revoke_key
from services.ingest.metrics import Refusals
from services.ingest.refusals import RefusalReason
from shared.logs import LogFormat, configure_logs
from tests.service import (
    AS_OF,
    BATCH,
    SINGLE,
    Json,
    Pusher,
    Running,
    Served,
    dump,
    ran,
    raw_bytes,
    running,
    served,
    until,
)

PROBLEM = "application/problem+json"
NAME, PHONE, HOME = "欧阳测试", "13912345678", "南伞镇示例路88号"
RESIDENT_ID, CARD, MAIL = "533524199003074513", "6222021234567890128", "ouyang@example.cn"
CONTACT = {"name": NAME, "phone": PHONE, "address": HOME}
PERSONAL = (NAME, PHONE, HOME, RESIDENT_ID, CARD, MAIL)
SURROGATE, LONG = "\ud800", "长" * 65


# Events, good and bad


def event(name: str = "received", identifier: str = "t-1", *, subject: str = "t-001", **data: Any) -> Json:
    """An event of a case of 镇康县 on a day of March 2022; `data` are its data members."""
    return {
        "specversion": "1.0",
        "id": identifier,
        "source": "/platforms/zhenkang",
        "type": f"liuyan.message.{name}.v1",
        "subject": subject,
        "time": "2022-03-01T09:12:00+08:00",
        "data": data,
    }


def personal(**members: Any) -> Json:
    """A reception full of personal data, otherwise good; `members` replace those of the envelope."""
    found = event(title=f"{NAME}的留言", content=f"请致电{PHONE}，身份证{RESIDENT_ID}", contact=CONTACT)
    return found | {"id": "bad-1", "subject": "bad-001"} | members


def tally(**data: Any) -> Json:
    return {
        "specversion": "1.0",
        "id": "bad-tally",
        "source": "/platforms/zhenkang",
        "type": "liuyan.platform.tally.v1",
        "time": "2022-03-02T00:05:00+08:00",
        "data": {"date": "2022-03-01", "received": 1} | data,
    }


GOOD_DATA: dict[str, Json] = {
    "received": {"category": "help", "title": "标题", "content": "内容", "contact": CONTACT},
    "accepted": {},
    "transferred": {"to": "县住建局", "reason": "职责"},
    "recategorized": {"category": "help"},
    "extended": {"working_days": 5, "approved_by": "分管领导", "reason": "核查"},
    "suspended": {"reason": "补充材料"},
    "replied": {"content": "答复", "interim": False},
    "reopened": {"reason": "未解决"},
    "rated": {"score": 4},
    "rejected": {"reason": "duplicate", "note": "重复"},
}
"""Of each type, all the members that mean something, with a good value."""


def bad(name: str, **data: Any) -> Json:
    """An event of the type with good data but for the members given."""
    if name == "tally":
        return tally(**data)
    return event(name, "bad-1", subject="bad-001", **GOOD_DATA[name] | data)


def lacking(whole: Json, member: str) -> Json:
    return {name: value for name, value in whole.items() if name != member}


class Refused(NamedTuple):
    """What is sent, and the refusal that it must get. A body that is not bytes is sent as JSON."""

    name: str
    body: Any
    reason: str
    pointer: str | None
    status: int = 422

    @property
    def parameter(self) -> Any:
        return pytest.param(self, id=self.name)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


ENVELOPE = ("specversion", "id", "source", "type", "subject", "time", "sequence")
WRONG: dict[str, tuple[Any, ...]] = {
    "text": (None, 5, 1.5, True, [], {}, ["x"], {"x": 1}),
    "number": (None, "5", 1.5, True, False, [], {}, -1, 1e300, 10**30),
    "truth": (None, "true", 0, 1, 1.5, [], {}),
}
KINDS = {"working_days": "number", "score": "number", "received": "number", "interim": "truth"}
MAY_BE_NULL = ("category", "contact")  # an absent member, said aloud


def wrong_types() -> Iterator[Refused]:
    """Every member of every type with values of every wrong type."""
    for member in ENVELOPE:
        for value in WRONG["text"]:
            reason = "unknown_type" if member == "type" else "invalid_field"
            yield Refused(f"{member} is {value!r}", personal(**{member: value}), reason, f"/{member}")
    for name, members in {**GOOD_DATA, "tally": tally()["data"]}.items():
        for member in members:
            if member == "contact":
                continue
            for value in WRONG[KINDS.get(member, "text")]:
                if value is None and (name, member) == ("received", "category"):
                    continue
                body = bad(name, **{member: value})
                yield Refused(f"{name}: {member} is {value!r}", body, "invalid_field", f"/data/{member}")
    for value in (5, 1.5, True, "x", ["x"], []):
        body = bad("received", contact=value)
        yield Refused(f"received: contact is {value!r}", body, "invalid_field", "/data/contact")
        yield Refused(f"data is {value!r}", personal(data=value), "invalid_field", "/data")


def missing_members() -> Iterator[Refused]:
    for member in ("specversion", "id", "source", "type", "subject", "time"):
        reason = "unknown_type" if member == "type" else "invalid_field"
        yield Refused(f"no {member}", lacking(personal(), member), reason, f"/{member}")
    for name, member in (
        ("transferred", "to"), ("recategorized", "category"), ("extended", "working_days"), ("rated", "score"),
        ("rejected", "reason"), ("tally", "date"), ("tally", "received"),
    ):  # fmt: skip
        body = bad(name)
        yield Refused(
            f"{name} without {member}",
            body | {"data": lacking(body["data"], member)},
            "invalid_field",
            f"/data/{member}",
        )
        yield Refused(f"{name} without data, so without {member}", lacking(body, "data"), "invalid_field", "/data/")


def wrong_values() -> Iterator[Refused]:
    """Values of the right type that do not stand for anything."""

    def field(name: str, pointer: str, body: Json) -> Refused:
        return Refused(name, body, "invalid_field", pointer)

    for text in ("0.3", "1", "1.0.0", ""):
        yield field(f"specversion {text!r}", "/specversion", personal(specversion=text))
    for text in ("", "x" * 129, "a\x00b", "a\tb", "a\nb", "a\x7fb", "a\u200bb", "a\u2028b", SURROGATE):
        yield field(f"id {text[:9]!r}, {len(text)} characters", "/id", personal(id=text))
    for text in ("zhenkang", "/platforms", "platforms/zhenkang", "https://zhenkang", ""):
        yield field(f"source {text!r}", "/source", personal(source=text))
    for text in ("nowhere", "", "Zhenkang", "zhenkang/", "zhenkang ", PHONE, SURROGATE):
        yield Refused(
            f"unknown platform {text!r}", personal(source=f"/platforms/{text}"), "unknown_platform", "/source"
        )
    for text in ("received", "liuyan.message.received.v2", "liuyan.message.deleted.v1", "", PHONE, SURROGATE):
        yield Refused(f"type {text!r}", personal(type=text), "unknown_type", "/type")
    for text in ("", "a/b", "x" * 65, "zk 1", "留言1", "a\x00", "a\n", "../x", "a?b", f"{PHONE}/", SURROGATE):
        yield field(f"subject {text[:9]!r}, {len(text)} characters", "/subject", personal(subject=text))
    for text in ("1.5", "abc", "", "+1", "1e3", " 1", "1\n", "９", "9" * 19, "0x1", "--1", SURROGATE):
        yield field(f"sequence {text!r}", "/sequence", personal(sequence=text))
    for media_type in ("application/xml", "text/plain", "json", "", 5, ["application/json"]):
        yield field(f"data of type {media_type!r}", "/datacontenttype", personal(datacontenttype=media_type))
    yield field("data in base64", "/data_base64", personal(data_base64="5L2g5aW9"))
    for text in ("昨天", "", "2022-03-01T09:12+08:00", "2022-02-30T09:12:00+08:00", "2022-03-01T25:00:00+08:00", NAME):
        yield Refused(f"time {text!r}", personal(time=text), "invalid_time", "/time")
    for text in ("2022-03-01T09:12:00", "2022-03-01 09:12", "2022-03-01"):
        yield Refused(f"time without offset {text!r}", personal(time=text), "time_without_offset", "/time")
    for text in ("9999-03-01T09:12:00+08:00", "1999-12-31T23:59:59+08:00", "2050-01-01T00:00:00+08:00"):
        yield Refused(f"time out of range {text!r}", personal(time=text), "time_out_of_range", "/time")
    for number in (0, -1, 10_001, 2**63, 2**70):
        yield field(f"working_days {number}", "/data/working_days", bad("extended", working_days=number))
    for number in (0, 6, -1, 2**64):
        yield field(f"score {number}", "/data/score", bad("rated", score=number))
    for text in ("", LONG):
        yield field(f"transferred to {len(text)} characters", "/data/to", bad("transferred", to=text))
        yield field(f"rejected for {len(text)} characters", "/data/reason", bad("rejected", reason=text))
    for text in ("nonsense", "投诉举报", "Help", PHONE):
        yield Refused(
            f"recategorized to {text!r}", bad("recategorized", category=text), "unknown_category", "/data/category"
        )
    for text in ("", "help" * 17):
        yield field(f"recategorized to {len(text)} characters", "/data/category", bad("recategorized", category=text))
    for text in ("2022-3-1", "2022-02-30", "2022-03-01T00:00:00", "2022/03/01", "昨天", ""):
        yield field(f"tally of {text!r}", "/data/date", tally(date=text))
    for text in ("9999-12-31", "0001-01-01"):
        yield Refused(f"tally of {text!r}", tally(date=text), "time_out_of_range", "/data/date")
    for number in (-1, 10**10):
        yield field(f"tally of {number} messages", "/data/received", tally(received=number))
    for member, pointer in (("title", "/data/title"), ("content", "/data/content"), ("category", "/data/category")):
        for what, char in (("a lone surrogate", SURROGATE), ("a NUL", "\x00")):
            yield Refused(f"{member} with {what}", bad("received", **{member: f"x{char}y"}), "invalid_text", pointer)
    for name, member in (
        ("replied", "content"),
        ("transferred", "to"),
        ("rejected", "note"),
        ("extended", "approved_by"),
    ):
        body = bad(name, **{member: f"x{SURROGATE}"})
        yield Refused(f"{member} of {name} with a lone surrogate", body, "invalid_text", f"/data/{member}")
    yield Refused("another platform's source", personal(source="/platforms/lincang"), "other_platform", "/source", 403)


def hostile_texts() -> Iterator[Refused]:
    """Lone surrogates where no text belongs, and in the names of members."""
    for name, body in (
        ("specversion", personal(specversion=SURROGATE)),
        ("interim", bad("replied", interim=SURROGATE)),
        ("date", tally(date=SURROGATE)),
        ("a member's name", personal(**{SURROGATE: 1})),
        ("a member's name in data", bad("replied", **{SURROGATE: 1})),
    ):
        yield Refused(f"{name} is a lone surrogate", body, "invalid_text", "")
    yield Refused(
        "the subject of a tally is a lone surrogate", tally() | {"subject": SURROGATE}, "invalid_field", "/subject"
    )


GOOD = json.dumps(personal()).encode()


def not_json() -> Iterator[Refused]:
    """Bodies that are no JSON value, or one that a lenient reader would change silently."""

    def body(name: str, content: bytes, reason: str = "invalid_json") -> Refused:
        return Refused(name, content, reason, "")

    def with_number(number: str) -> bytes:
        return GOOD[:-1] + b', "x": ' + number.encode() + b"}"

    yield body("an empty body", b"")
    yield body("blanks", b"  \n")
    yield body("no JSON", b"liuyan")
    yield body("half an event", GOOD[: len(GOOD) // 2])
    yield body("two events in a row", GOOD + GOOD)
    yield body("a comma too much", GOOD[:-1] + b",}")
    yield body("single quotes", GOOD.replace(b'"', b"'"))
    yield body("a control character in a text", GOOD.replace(b"1.0", b"1.\x010"))
    yield body("a byte order mark", b"\xef\xbb\xbf" + GOOD)
    yield body("deep nesting of arrays", b"[" * 200_000)
    yield body("deep nesting of objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    yield body("deep nesting in data", GOOD[:-1] + b', "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}")
    for number in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5000):
        yield body(f"the number {number[:9]}", with_number(number))
    yield body("GBK", GOOD.replace(b"1.0", "留言".encode("gbk")), "invalid_text")
    yield body("UTF-16", GOOD.decode().encode("utf-16"), "invalid_text")
    yield body("a surrogate in UTF-8", GOOD.replace(b"1.0", b"\xed\xa0\x80"), "invalid_text")
    yield body("a NUL in UTF-8 that is cut off", GOOD + b"\xe6\x95", "invalid_text")
    yield body("a member twice", b'{"id": "a", ' + GOOD[1:], "duplicate_member")
    yield body("a member twice in data", GOOD.replace(b'"title"', b'"content": "x", "title"'), "duplicate_member")
    yield body("a member twice in contact", GOOD.replace(b'"phone"', b'"name": "x", "phone"'), "duplicate_member")
    yield body(
        "a telephone number as member, twice",
        GOOD[:-1] + f', "{PHONE}": 1, "{PHONE}": 2}}'.encode(),
        "duplicate_member",
    )
    for value in ("null", "true", "5", '"text"', "[]"):
        yield Refused(f"the JSON value {value}", value.encode(), "invalid_field", "")
    yield Refused("a batch sent as one event", b"[" + GOOD + b"]", "invalid_field", "")


def too_large() -> Iterator[Refused]:
    yield Refused("a body of 10 MB", GOOD + b" " * 10_000_000, "too_large", "", 413)
    yield Refused("a text of 2 MB", personal(data={"content": "长" * 700_000}), "too_large", "", 413)


SETTLED_ALONE = [*wrong_types(), *missing_members(), *wrong_values(), *hostile_texts()]
REFUSED = [*SETTLED_ALONE, *not_json(), *too_large()]


# The service that they meet


class Door(NamedTuple):
    """A running service that knows one case, and its database file."""

    service: Served
    file: Path

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that is stored, once the engine has done what was due."""
        self.service.settle()
        return dump(self.file)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    file = tmp_path_factory.mktemp("push") / "push.db"
    with served(file) as service:
        service.push(event(category="help", title="已知的留言"), event("accepted", "t-2"), tally() | {"id": "t-3"})
        yield Door(service, file)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Door]:
    file = tmp_path / "push.db"
    with served(file) as service:
        yield Door(service, file)


def refusal(answer: httpx.Response, status: int, reason: str, pointer: str | None) -> Any:
    """The problem of a refusal, which must be of that kind, in one Chinese line, and repeat nothing personal."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), answer.text
    return assert_problem(answer.json(), status, reason, pointer)


def assert_problem(problem: Any, status: int, reason: str, pointer: str | None) -> Any:
    assert set(problem) <= {"type", "title", "status", "detail", "reason", "pointer"}
    assert (problem["status"], problem["reason"]) == (status, reason), problem
    if pointer is not None and pointer.endswith("/"):
        assert problem["pointer"].startswith(pointer)
    else:
        assert problem.get("pointer") == pointer, problem
    assert problem["type"] == f"urn:liuyan:problem:{reason}"
    for text in (problem["title"], problem["detail"]):
        assert text
        assert text.isprintable()
        assert any("\u4e00" <= char <= "\u9fff" for char in text)
    assert not [found for found in PERSONAL if found in json.dumps(problem, ensure_ascii=False)]
    return problem


# What is taken


def test_an_event_is_taken_once_and_the_same_again_is_a_duplicate_that_changes_nothing(fresh: Door) -> None:
    answer = fresh.service.post(event(category="help"))
    assert (answer.status_code, answer.json()) == (202, {"id": "t-1", "status": "accepted"})
    before = fresh.tables()
    answer = fresh.service.post(event(category="help"))
    assert (answer.status_code, answer.json()) == (202, {"id": "t-1", "status": "duplicate"})
    assert fresh.tables() == before


@pytest.mark.parametrize(
    "again",
    [
        event(category="help") | {"time": "2022-03-01T01:12:00Z"},
        event(category="help") | {"time": "2022-03-01T09:12:00.000+08:00"},
        event(category="help", contact=CONTACT),
        event(category="help", mood="furious"),
        event(category="help") | {"traceparent": "00-1", "datacontenttype": "application/json"},
        dict(reversed(event(category="help").items())),
    ],
    ids=["in UTC", "with a fraction", "with a contact", "with more data", "with extensions", "in another order"],
)
def test_the_same_event_written_otherwise_is_a_duplicate(door: Door, again: Json) -> None:
    door.service.push(event(category="help") | {"id": "again", "subject": "again"})
    before = door.tables()
    assert door.service.post(again | {"id": "again", "subject": "again"}).json()["status"] == "duplicate"
    assert door.tables() == before


def test_another_event_under_a_known_id_is_a_conflict_and_goes_to_the_dead_letters(fresh: Door) -> None:
    fresh.service.push(event(category="help", title="先到的"))
    before = fresh.tables()
    answer = fresh.service.post(event(category="help", title="后到的", content="请回电13800138000", contact=CONTACT))
    refusal(answer, 409, "conflict", "/id")
    after = fresh.tables()
    assert {name for name in after if after[name] != before[name]} == {"dead_letters"}
    (letter,) = ran("dead-letters", "--jsonl", "--db", fresh.file).jsonl()
    assert (letter["origin"], letter["reason"]) == ("push:zhenkang", "conflict")
    assert letter["event"]["data"] == {"category": "help", "title": "后到的", "content": "请回电[手机号]"}
    assert fresh.service.json("/v1/cases/zhenkang/t-001")["title"] == "先到的"
    assert 'liuyan_dead_letters_total{reason="conflict"} 1.0' in fresh.service.metrics()


def test_an_event_that_was_refused_does_not_occupy_its_id(fresh: Door) -> None:
    refusal(fresh.service.post(event() | {"time": "2022-03-01T09:12:00"}), 422, "time_without_offset", "/time")
    assert fresh.service.post(event()).json() == {"id": "t-1", "status": "accepted"}


def test_two_platforms_may_use_the_same_id_and_the_same_subject(fresh: Door) -> None:
    fresh.service.push(event(), event() | {"source": "/platforms/lincang"})
    keys = [case["key"] for case in fresh.service.json("/v1/cases")["cases"]]
    assert keys == ["lincang/t-001", "zhenkang/t-001"]


@pytest.mark.parametrize("subject", ["a", "A" * 64, "2022:03_01.a-b", ".", "..", "-", "0"])
def test_every_subject_of_the_contract_is_taken(door: Door, subject: str) -> None:
    door.service.push(event(subject=subject) | {"id": f"subject-{subject}"})


@pytest.mark.parametrize("identifier", ["x" * 128, "留言第1号", "a b", "'; DROP TABLE events; --", "😀", "/", '"'])
def test_every_printable_id_is_taken_and_given_back(door: Door, identifier: str) -> None:
    assert door.service.post(event(subject="ids") | {"id": identifier}).json() == {
        "id": identifier,
        "status": "accepted",
    }


@pytest.mark.parametrize(
    ("given", "category", "reason"),
    [
        (None, "complaint", "keyword:投诉"),
        ("", "complaint", "keyword:投诉"),
        ("求助", "help", "name"),
        ("没有这一类", "complaint", "keyword:投诉"),
    ],
)
def test_the_category_of_a_reception_is_settled_at_the_door_with_the_word_and_the_reason_kept(
    fresh: Door, given: str | None, category: str, reason: str
) -> None:
    fresh.service.push(event(category=given, title="投诉夜间施工"))
    (stored,) = fresh.service.json("/v1/cases/zhenkang/t-001")["events"]
    kept = {"category_given": given} if given else {}
    assert stored["data"] == {"category": category, "category_reason": reason, "title": "投诉夜间施工"} | kept


def test_what_a_portal_says_of_the_settling_itself_is_not_taken_over(fresh: Door) -> None:
    fresh.service.push(event(category="help", category_given="x", category_reason="y"))
    (stored,) = fresh.service.json("/v1/cases/zhenkang/t-001")["events"]
    assert stored["data"] == {"category": "help"}


@pytest.mark.parametrize("name", EVENTS)
def test_the_example_of_every_type_is_taken(fresh: Door, name: str) -> None:
    answer = fresh.service.post(EVENTS[name])
    assert (answer.status_code, answer.json()) == (202, {"id": EVENTS[name]["id"], "status": "accepted"})


def test_the_examples_one_after_the_other_tell_a_case(fresh: Door) -> None:
    assert fresh.service.push_batch(list(EVENTS.values())).status_code == 202
    case = fresh.service.json("/v1/cases/zhenkang/zk-000123")
    assert (case["status"], len(case["rounds"]), case["rating"]) == ("rejected", 2, 4)
    assert [ignored["reason"] for ignored in case["ignored"]] == ["already_closed"]
    assert len(case["events"]) == len(EVENTS) - 1


def test_the_example_of_a_batch_is_taken(fresh: Door) -> None:
    answer = fresh.service.push_batch(EXAMPLE_BATCH)
    assert answer.status_code == 202
    assert answer.json() == {
        "results": [{"status": 202, "id": sent["id"], "result": "accepted"} for sent in EXAMPLE_BATCH]
    }


@pytest.mark.parametrize("media_type", [SINGLE, f"{SINGLE}; charset=utf-8", SINGLE.upper(), f" {SINGLE} ;x=1"])
def test_parameters_and_case_of_the_media_type_do_not_matter(door: Door, media_type: str) -> None:
    assert door.service.post(event(category="help", title="已知的留言"), media_type=media_type).status_code == 202


# What is refused


@pytest.mark.parametrize("row", [row.parameter for row in REFUSED])
def test_a_bad_push_gets_its_clear_refusal_and_changes_nothing(door: Door, row: Refused) -> None:
    before = door.tables()
    refusal(door.service.post(row.content), row.status, row.reason, row.pointer)
    assert door.tables() == before


def pushed_among_neighbours(door: Door, rows: list[Refused]) -> None:
    """Push the rows in one batch, a known event between any two: each gets its refusal, and the others are taken."""
    neighbour = event(category="help", title="已知的留言")
    sent = [neighbour, *itertools.chain.from_iterable((row.body, neighbour) for row in rows)]
    before = door.tables()
    answer = door.service.post(json.dumps(sent).encode(), media_type=BATCH)
    assert (answer.status_code, answer.headers["content-type"]) == (207, "application/json"), answer.text[:500]
    results = answer.json()["results"]
    assert results[::2] == [{"status": 202, "id": "t-1", "result": "duplicate"}] * (len(rows) + 1)
    for row, refused in zip(rows, results[1::2], strict=True):
        assert set(refused) == {"status", "problem"}, row.name
        assert refused["status"] == row.status, row.name
        assert_problem(refused["problem"], row.status, row.reason, row.pointer)
    assert door.tables() == before


def test_in_a_batch_each_bad_event_gets_the_same_refusal_and_its_neighbours_are_taken(door: Door) -> None:
    assert len(SETTLED_ALONE) > 250
    pushed_among_neighbours(door, SETTLED_ALONE)


@pytest.mark.parametrize("row", [row.parameter for row in not_json() if row.reason != "invalid_field"])
def test_a_batch_that_is_not_json_is_refused_as_a_whole(door: Door, row: Refused) -> None:
    before = door.tables()
    refusal(door.service.post(row.content, media_type=BATCH), row.status, row.reason, row.pointer)
    assert door.tables() == before


def test_the_table_of_refusals_has_every_reason_that_the_door_knows() -> None:
    elsewhere = {"unauthorized", "unsupported_media_type", "too_many_events", "busy", "conflict"}
    assert {row.reason for row in REFUSED} | elsewhere == {reason.value for reason in RefusalReason}


@pytest.mark.parametrize(
    "body",
    [personal(**{SURROGATE: 1}), bad("replied", **{SURROGATE: 1}), bad("accepted", **{f"x{SURROGATE}": 1})],
    ids=["envelope", "data", "data of no meaning"],
)
def test_a_lone_surrogate_in_the_name_of_a_member_is_no_error_of_the_service(door: Door, body: Json) -> None:
    assert door.service.post(json.dumps(body).encode()).status_code in (202, 422)


def test_a_tally_with_an_impossible_subject_is_refused_and_the_service_stays_healthy(fresh: Door) -> None:
    answer = fresh.service.post(json.dumps(tally() | {"subject": SURROGATE}).encode())
    assert fresh.service.client.get("/livez").status_code == 200
    refusal(answer, 422, "invalid_field", "/subject")


# Keys


@pytest.mark.parametrize(
    "authorization",
    [
        "", "Bearer", "Bearer ", "Bearer lyk_00000000_wrong", "Bearer null", "Basic {basic}", "{key}", "Token {key}",
        "Bearer {key}x", "Bearer  x {key}", "Bearer {half}", "Bearer {key},{key}", "Bearer '{key}'", "Digest {key}",
    ],
)  # fmt: skip
def test_without_a_valid_key_nothing_is_read_and_the_answer_says_which_scheme(door: Door, authorization: str) -> None:
    key = door.service.keys["zhenkang"]
    header = authorization.format(key=key, half=key[:-1], basic="emhlbmthbmc6a2V5")
    before = door.tables()
    answer = door.service.post(b"not even JSON", Authorization=header)
    problem = refusal(answer, 401, "unauthorized", "")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert key not in json.dumps(problem)
    assert door.tables() == before


def test_no_authorization_header_at_all_is_refused_too(door: Door) -> None:
    answer = door.service.client.post("/v1/events", content=GOOD, headers={"Content-Type": SINGLE})
    refusal(answer, 401, "unauthorized", "")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_word_bearer_may_be_written_in_any_case(door: Door, scheme: str) -> None:
    key = door.service.keys["zhenkang"]
    known = event(category="help", title="已知的留言")
    assert door.service.post(known, Authorization=f"{scheme} {key}").status_code == 202


def test_a_new_key_works_at_once_a_revoked_one_no_longer_and_its_events_stay(fresh: Door) -> None:
    fresh.service.push(event())
    with fresh.service.database.writing() as connection:
        identifier, second = create_key(connection, "zhenkang", AS_OF)
    both = {"first": fresh.service.keys["zhenkang"], "second": second}

    def status(name: str) -> int:
        return fresh.service.post(event(), Authorization=f"Bearer {both[name]}").status_code

    assert {name: status(name) for name in both} == {"first": 202, "second": 202}
    with fresh.service.database.writing() as connection:
        assert revoke_key(connection, identifier, AS_OF)
    until(lambda: status("second") == 401, "the revoked key is refused", seconds=5)
    assert status("first") == 202
    assert len(fresh.service.json("/v1/cases")["cases"]) == 1


def test_keys_are_stored_hashed(fresh: Door) -> None:
    with fresh.service.database.reading() as connection:
        assert len(list_keys(connection)) == 10
    on_disk = raw_bytes(fresh.file)
    assert not [key for key in fresh.service.keys.values() if key.encode() in on_disk]


def test_a_key_writes_for_no_platform_but_its_own(door: Door) -> None:
    before = door.tables()
    for platform in ("lincang", "gongan", "yunxian"):
        answer = door.service.post(personal(), platform)
        problem = refusal(answer, 403, "other_platform", "/source")
        assert platform in problem["detail"]
    assert door.tables() == before


# Media types and batches


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "text/plain", "", "application/cloudevents", "application/cloudevents+xml", "*/*",
     "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"],
)  # fmt: skip
def test_another_media_type_is_refused_and_the_answer_names_the_two_that_are_right(door: Door, media_type: str) -> None:
    before = door.tables()
    problem = refusal(door.service.post(GOOD, media_type=media_type), 415, "unsupported_media_type", "")
    assert SINGLE in problem["detail"]
    assert BATCH in problem["detail"]
    assert door.tables() == before


def test_a_batch_is_answered_event_by_event_in_the_order_sent(fresh: Door) -> None:
    fresh.service.push(event(category="help"))
    sent = [
        event("accepted", "b-1"),
        event("rated", "b-2", score=9),
        event(category="help"),
        event(category="help", title="另一个") | {"id": "t-1"},
        "no event",
        event("accepted", "b-1"),
        event("completed", "b-3") | {"source": "/platforms/lincang"},
        event("completed", "b-3"),
    ]
    answer = fresh.service.push_batch(sent)
    assert answer.status_code == 207
    results = answer.json()["results"]
    assert [(found["status"], found.get("id"), found.get("result")) for found in results] == [
        (202, "b-1", "accepted"), (422, None, None), (202, "t-1", "duplicate"), (409, "t-1", None), (422, None, None),
        (202, "b-1", "duplicate"), (403, None, None), (202, "b-3", "accepted"),
    ]  # fmt: skip
    reasons = [found["problem"]["reason"] for found in results if "problem" in found]
    assert reasons == ["invalid_field", "conflict", "invalid_field", "other_platform"]
    assert fresh.service.json("/v1/cases/zhenkang/t-001")["status"] == "completed"


def test_a_batch_of_which_all_are_taken_is_202_and_of_which_none_is_422(fresh: Door) -> None:
    assert fresh.service.push_batch([event(), event("accepted", "t-2")]).status_code == 202
    before = fresh.tables()
    answer = fresh.service.push_batch([event("rated", "t-3", score=0), event("rated", "t-4")])
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/json")
    assert [found["problem"]["pointer"] for found in answer.json()["results"]] == ["/data/score", "/data/score"]
    assert fresh.tables() == before


def test_a_batch_of_conflicts_only_is_422_with_409_for_each(fresh: Door) -> None:
    fresh.service.push(event(category="help"))
    answer = fresh.service.push_batch([event(category="complaint")] * 2)
    assert answer.status_code == 422
    assert [found["status"] for found in answer.json()["results"]] == [409, 409]


def test_an_empty_batch_is_taken_and_changes_nothing(door: Door) -> None:
    before = door.tables()
    answer = door.service.push_batch([])
    assert (answer.status_code, answer.json()) == (202, {"results": []})
    assert door.tables() == before


def test_the_bytes_that_wait_for_an_answer_are_bounded(fresh: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_app, "MAX_IN_FLIGHT", 600)
    for number in range(5):  # what has its answer waits no longer
        fresh.service.push(event("accepted", f"n-{number}"))
    before = fresh.tables()
    busy = fresh.service.push_batch([event("accepted", f"m-{number}") for number in range(5)])
    refusal(busy, 503, "busy", "")
    assert busy.headers["retry-after"] == "5"
    assert fresh.tables() == before


def test_a_refusal_is_logged_once_a_minute_without_what_was_sent() -> None:
    minute = iter([0.0, 1.0, 2.0, 61.0])
    refusals = Refusals(CollectorRegistry(), ["zhenkang"], lambda: next(minute))
    with structlog.testing.capture_logs() as logged:
        for reason in (RefusalReason.BUSY, RefusalReason.BUSY, RefusalReason.TOO_LARGE, RefusalReason.BUSY):
            refusals.count("zhenkang", reason, "/id")
    assert [line["reason"] for line in logged] == ["busy", "too_large", "busy"]
    assert set(logged[0]) == {"event", "log_level", "action", "platform", "reason", "pointer"}


def test_the_largest_batch_is_taken_and_one_event_more_is_refused_as_a_whole(fresh: Door) -> None:
    events = [event("accepted", f"n-{number}") for number in range(MAX_BATCH + 1)]
    before = fresh.tables()
    problem = refusal(fresh.service.push_batch(events), 413, "too_many_events", "")
    assert "1000" in problem["detail"]
    assert fresh.tables() == before
    answer = fresh.service.push_batch(events[:MAX_BATCH])
    assert answer.status_code == 202
    assert [found["id"] for found in answer.json()["results"]] == [sent["id"] for sent in events[:MAX_BATCH]]


@pytest.mark.parametrize("body", [b"null", b"{}", GOOD, b'"x"', b"5", b"true"])
def test_a_batch_that_is_no_array_is_refused(door: Door, body: bytes) -> None:
    before = door.tables()
    refusal(door.service.post(body, media_type=BATCH), 422, "invalid_field", "")
    assert door.tables() == before


# Texts


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE cases; --",
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "{{ 7*7 }} {% raw %}",
        "%s %(x)s {0} $1 \\n",
        "=1+1, @SUM(A1)",
        "一行\n又一行\r\n\t制表",
        "\u202e逆\u202c 😀 é e\u0301 𠮷",
    ],
    ids=["sql", "script", "attribute", "template", "format", "formula", "lines", "unicode"],
)
def test_hostile_text_is_stored_and_comes_back_as_the_same_text_and_is_escaped_on_the_page(
    fresh: Door, text: str
) -> None:
    fresh.service.push(
        event(category="help", title=text, content=text), event("replied", "t-2", content=text, interim=True)
    )
    case = fresh.service.json("/v1/cases/zhenkang/t-001")
    assert [found["data"]["content"] for found in case["events"]] == [text, text]
    line = " ".join(text.split())  # a title is one line
    assert case["title"] == fresh.service.json("/v1/overdue")["cases"][0]["title"] == line
    page = fresh.service.get("/").text + fresh.service.get("/cases/zhenkang/t-001").text
    assert page.count("<script") == page.count('<script src="/static/') == 2, "the pages' own"
    assert "<img" not in page
    if "<" in text:
        assert text not in page
        assert html.escape(text, quote=False).replace('"', "&#34;") in page


def texts_of(service: Pusher) -> str:
    """Everything that the service says of the case of the tests, and its lists and its page."""
    addresses = ("/v1/cases/zhenkang/t-001", "/v1/cases", "/v1/overdue", "/", "/metrics", "/v1/rates")
    return "\n".join(service.get(address).text for address in addresses)


def test_contact_fields_appear_nowhere_and_numbers_in_the_texts_are_masked(tmp_path: Path) -> None:
    file = tmp_path / "push.db"
    texts = {
        "title": f"{NAME}反映噪声",
        "content": f"我是{NAME}，住{HOME}，电话{PHONE}，身份证{RESIDENT_ID}，卡号{CARD}，邮箱{MAIL}。",
    }
    with served(file) as service:
        service.push(
            event(category="help", contact=CONTACT | {"mail": MAIL, "age": 47}, **texts),
            event("replied", "t-2", content=f"已致电{PHONE}答复。"),
            event("rejected", "t-3", reason="duplicate", note=f"身份证 {RESIDENT_ID}"),
        )
        assert service.post(event(category="help", contact=CONTACT, content=f"又是{NAME}，{PHONE}")).status_code == 409
        first, replied, rejected = service.json("/v1/cases/zhenkang/t-001")["events"]
        assert first["data"]["title"] == "[姓名]反映噪声"
        assert first["data"]["content"] == (
            "我是[姓名]，住[联系方式]，电话[联系方式]，身份证[身份证号]，卡号[银行卡号]，邮箱[联系方式]。"
        )
        assert replied["data"]["content"] == "已致电[手机号]答复。"
        assert rejected["data"]["note"] == "身份证 [身份证号]"
        said = texts_of(service)
        while_running = raw_bytes(file)
    assert b"zhenkang/t-001" in while_running
    for bytes_found in (while_running, raw_bytes(file)):
        assert not [found for found in PERSONAL if found.encode() in bytes_found]
    assert not [found for found in PERSONAL if found in said]


def test_contact_values_are_masked_however_deep_and_too_short_ones_do_not_garble_the_text(fresh: Door) -> None:
    contact = {"person": [{"name": "王明", "addresses": [HOME, "南伞"]}]}
    fresh.service.push(event(category="help", contact=contact, title="南伞的路", content=f"王明，住{HOME}"))
    (found,) = fresh.service.json("/v1/cases/zhenkang/t-001")["events"]
    assert (found["data"]["title"], found["data"]["content"]) == ("南伞的路", "[姓名]，住[联系方式]")
    deep = event("received", "t-9", subject="t-009", contact={"a": [["x"] * 21]})
    refusal(fresh.service.post(deep), 422, "invalid_field", "/data/contact")


def test_a_name_that_stands_in_the_category_is_masked_too(fresh: Door) -> None:
    fresh.service.push(event(category=f"{NAME}的投诉", title="标题", contact=CONTACT))
    assert NAME.encode() not in raw_bytes(fresh.file)


def test_refused_pushes_leave_no_personal_data_on_the_disk(fresh: Door) -> None:
    for row in REFUSED:
        fresh.service.post(row.content)
    assert not [found for found in PERSONAL if found.encode() in raw_bytes(fresh.file)]


# When it cannot be made durable


def test_when_the_write_fails_the_answer_is_503_with_retry_after_and_the_same_push_succeeds_later(
    fresh: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("disk is full"))

    before = fresh.tables()
    with monkeypatch.context() as patched:
        patched.setattr(fresh.service.engine, "_write", broken)
        answer = fresh.service.post(personal())
        refusal(answer, 503, "busy", "")
        assert int(answer.headers["retry-after"]) > 0
        assert fresh.service.push_batch([personal()]).status_code == 503
        assert fresh.service.client.get("/livez").status_code == 503
    assert fresh.tables() == before
    assert fresh.service.post(personal()).json()["status"] == "accepted"
    assert fresh.service.client.get("/livez").status_code == 200


def test_when_the_engine_has_stopped_nothing_is_taken_and_health_says_so(fresh: Door) -> None:
    fresh.service.engine.stop()
    answer = fresh.service.post(event())
    refusal(answer, 503, "busy", "")
    assert int(answer.headers["retry-after"]) > 0
    for address in ("/livez", "/readyz"):
        health = fresh.service.client.get(address)
        assert (health.status_code, health.headers["content-type"]) == (503, "text/plain; charset=utf-8")
        assert "引擎" in health.text


@pytest.mark.parametrize(
    "style",
    [
        "json",
        "text",
    ],
)
def test_an_error_of_the_service_puts_no_key_and_nothing_personal_into_the_logs(
    fresh: Door, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], style: LogFormat
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(DoorItself, "settle", broken)
    configure_logs(style)
    try:
        refusal(fresh.service.post(personal()), 500, "internal", None)
    finally:
        structlog.reset_defaults()
    logged = capsys.readouterr().err
    assert "out of order" in logged
    plain = re.sub(r"\x1b\[[0-9;]*m", "", logged)
    assert not [found for found in (*PERSONAL, fresh.service.keys["zhenkang"]) if found in plain]


# A real process


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("process") / "push.db") as service:
        yield service


def of_lincang(name: str, identifier: str, **data: Any) -> Json:
    return event(name, identifier, **data) | {"source": "/platforms/lincang"}


@pytest.mark.slow
def test_the_key_that_the_process_prints_at_its_first_start_pushes(process: Running) -> None:
    process.push(of_lincang("received", "p-1", category="help"))
    assert process.json("/v1/cases/lincang/t-001")["category"] == "help"


@pytest.mark.slow
def test_many_pushes_at_once_are_all_taken_once(process: Running) -> None:
    def push(number: int) -> str:
        return str(process.post(of_lincang("received", f"many-{number // 2}"), "lincang").json()["status"])

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(push, range(200)))
    assert (answers.count("accepted"), answers.count("duplicate")) == (100, 100)


@pytest.mark.slow
@pytest.mark.parametrize("framed", ["with its length", "in chunks"])
def test_ten_megabytes_are_refused_and_the_process_goes_on(process: Running, framed: str) -> None:
    body: Any = b" " * 10_000_000 if framed == "with its length" else (b" " * 100_000 for _ in range(100))
    headers = {"Authorization": f"Bearer {process.keys['lincang']}", "Content-Type": SINGLE}
    refusal(process.client.post("/v1/events", content=body, headers=headers), 413, "too_large", "")
    assert process.get("/livez").text == "ok"


@pytest.mark.slow
def test_ten_megabytes_are_refused_also_where_the_client_closes_afterwards(process: Running) -> None:
    """As many old clients do, which see only a reset where the answer is not waited for."""
    headers = {"Authorization": f"Bearer {process.keys['lincang']}", "Content-Type": SINGLE, "Connection": "close"}
    asked = http.client.HTTPConnection(process.client.base_url.host, process.client.base_url.port or 80)
    with contextlib.closing(asked):
        asked.request("POST", "/v1/events", b" " * 10_000_000, headers)
        assert asked.getresponse().status == 413


@pytest.mark.slow
def test_what_was_accepted_is_there_after_sigterm_and_a_new_start(tmp_path: Path) -> None:
    file = tmp_path / "stop.db"
    with running(file) as service:
        keys = service.keys
        service.push(of_lincang("received", "s-1"))
        assert service.stop() == 0
        assert service.process.returncode == 0
    with running(file) as service:
        service.keys = keys
        assert service.post(of_lincang("received", "s-1"), "lincang").json()["status"] == "duplicate"
        assert [case["key"] for case in service.json("/v1/cases")["cases"]] == ["lincang/t-001"]


@pytest.mark.slow
def test_keys_made_and_revoked_by_a_command_hold_for_the_running_process(tmp_path: Path) -> None:
    file = tmp_path / "keys.db"
    with running(file) as service:
        service.push(of_lincang("received", "k-1"))
        service.keys["zhenkang"] = ran("keys", "create", "zhenkang", "--db", file).out.strip()
        service.push(event(identifier="k-2"))
        identifier = service.keys["zhenkang"].split("_")[1]
        ran("keys", "revoke", identifier, "--db", file)
        assert service.post(event(identifier="k-3")).status_code == 401
