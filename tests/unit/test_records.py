"""What others have written into the topic of records neither ends who reads it nor takes a record's place."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

pytest.importorskip("faust")

from services.sla.partitions import partition_of
from services.sla.processing import Message, process
from services.sla.worker.ledger import own
from services.sla.worker.processor import Processor
from shared.events import encode_event
from shared.records import encode_record
from tests.builders import event
from tests.properties.test_engine_laws import CHANGED, RULES

FIRST, SECOND = event("a", "received", "03-01 09:00"), event("b", "accepted", "03-01 10:00")
KEY = FIRST.key.encode()
PARTITION = partition_of(KEY, 12)
(RECORD,) = process({}, [Message(KEY, encode_event(FIRST), "t/0/0")], RULES).records
WRITTEN = encode_record(RECORD)


def changed(**members: Any) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(WRITTEN) | members)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (KEY, None), (KEY, b""), (KEY, b"{"), (KEY, b"\xff"), (KEY, b'{"x":' * 50_000), (KEY, b"[]"),
        (None, WRITTEN), (b"zhenkang/other", WRITTEN), (KEY, changed(revision=2**62 + 1)), (KEY, changed(revision=0)),
    ],
)  # fmt: skip
def test_what_is_no_record_leaves_the_one_that_stands_there(key: bytes | None, value: bytes | None) -> None:
    read = [SimpleNamespace(key=KEY, value=WRITTEN), SimpleNamespace(key=key, value=value)]
    assert own(read) == [(KEY, WRITTEN)]


@pytest.mark.parametrize(
    "events",
    [
        1, [1], [msgspec.json.decode(encode_event(FIRST)) | {"time": "2022-03-01T09:00:00"}],
        [msgspec.json.decode(encode_event(FIRST)) | {"subject": "other"}],
    ],
)  # fmt: skip
def test_events_that_nobody_of_us_wrote_are_left_out_and_the_revision_goes_on(events: Any) -> None:
    value = changed(events=events, revision=7, ruleset="x")
    values: Mapping[bytes, bytes] = {KEY: value}
    assert own([SimpleNamespace(key=KEY, value=value)]) == [(KEY, value)]
    processor = Processor(*cast(Any, [None, 12, RULES, None, None, None]))
    assert processor._anew([KEY], values).records == []
    (record,) = processor._process(PARTITION, [Message(KEY, encode_event(SECOND), "t/0/1")], values).records
    assert (record.revision, record.events) == (8, (SECOND,))


def test_a_sound_record_is_taken_as_it_is() -> None:
    processor = Processor(*cast(Any, [None, 12, CHANGED, None, None, None]))
    (record,) = processor._anew([KEY], {KEY: WRITTEN}).records
    assert (record.revision, record.events) == (2, (FIRST,))
