"""The batch channel counts as done only what was said to be done, in the order of the log; and Faust is the one it was written for."""

import asyncio
import inspect
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("faust")

from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from services.sla.worker.batches import (
    Batch,
    BatchConsumer,
    BatchTransport,
    Fetched,
    QuickThread,
    TopicResetError,
)
from shared.topics import MESSAGES

FIRST, OTHER = TP(MESSAGES.name, 0), TP(MESSAGES.name, 1)


def consumer(sent: dict[TP, int]) -> BatchConsumer:
    """One that stands at these offsets, without an application."""
    found = BatchConsumer.__new__(BatchConsumer)
    found._sent, found._reached, found._sought, found._holes = dict(sent), dict(sent), dict(sent), {}
    found._unacked_messages, found._n_acked, found._dropped, found._seeks = cast(Any, set()), 0, False, 0
    found.app = cast(Any, SimpleNamespace(consumer_generation_id=1))
    return found


def read(begin: int, *offsets: int, end: int | None = None, tp: TP = FIRST) -> Fetched:
    """What a fetch from an offset on brought."""
    last = offsets[-1] + 1 if offsets else begin
    records = [SimpleNamespace(offset=offset) for offset in offsets]
    return Fetched({tp: records} if records else {}, {tp: begin}, {tp: last if end is None else end})


def handed_on(
    monkeypatch: pytest.MonkeyPatch, found: BatchConsumer, *fetches: Any, committed: int = 10
) -> list[list[tuple[int, int]]]:
    """The batches of one call after another, while the log gives these fetches; after a seek reading begins at `committed`."""
    waiting = list(fetches)

    async def fetch(self: BatchConsumer, timeout: float) -> Any:
        came = waiting.pop(0)
        if callable(came):
            came = came()
        return came, {FIRST}

    async def seek(self: BatchConsumer) -> None:
        self._sent, self._reached, self._sought = {FIRST: committed}, {FIRST: committed}, {FIRST: committed}
        self._holes, self._seeks = {}, self._seeks + 2

    async def room(self: BatchConsumer, tp: TP) -> bool:
        return True

    async def all_of_them() -> list[list[tuple[int, int]]]:
        calls = []
        while waiting or found._dropped:
            calls.append([(piece.begin, piece.end) async for _, piece in found.getmany(1.0)])
        return calls

    monkeypatch.setattr(BatchConsumer, "_wait_next_records", fetch)
    monkeypatch.setattr(BatchConsumer, "perform_seek", seek)
    monkeypatch.setattr(BatchConsumer, "_room", room)
    monkeypatch.setattr(BatchConsumer, "assignment", lambda self: {FIRST})
    found.flow_active = True
    return asyncio.run(all_of_them())


def batch(tp: TP, begin: int, end: int) -> Batch:
    return Batch(tp, [SimpleNamespace(offset=offset) for offset in range(begin, end)], begin, 1)


def test_what_is_done_in_order_may_be_committed() -> None:
    found = consumer({FIRST: 10, OTHER: 5})
    for piece in (batch(FIRST, 10, 12), batch(FIRST, 12, 20)):
        found.done(piece)
    assert found.reached() == {0: 20, 1: 5}
    assert found._new_offset(FIRST) == 20
    assert set(found._filter_tps_with_pending_acks()) == {FIRST, OTHER}
    assert found._n_acked == 10


def test_nothing_is_committed_past_a_batch_that_was_dropped() -> None:
    found = consumer({FIRST: 10})
    found.done(batch(FIRST, 12, 20))
    assert found.reached() == {0: 10}
    found.done(batch(FIRST, 10, 12))
    assert found.reached() == {0: 12}


def test_a_batch_of_a_partition_that_is_not_held_counts_for_nothing() -> None:
    found = consumer({FIRST: 10})
    found.done(batch(OTHER, 0, 3))
    assert found.reached() == {0: 10}


def test_what_was_lost_between_two_fetches_is_read_again_however_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust lets a fetch go that has brought something, twice at the same place even: once it was then taken for a hole."""
    lost = read(15, 15, 16)  # what stood from 10 to 15 was read, and never came
    calls = handed_on(monkeypatch, consumer({FIRST: 10}), lost, lost, lost, read(10, *range(10, 17)))
    assert calls == [[], [], [], [], [], [], [(10, 17)]]


def test_a_hole_of_the_log_is_passed_over_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert handed_on(monkeypatch, consumer({FIRST: 10}), read(10, 12, 13), read(14, 14)) == [[(10, 14)], [(14, 15)]]


def test_a_mark_without_records_is_done_when_what_stands_before_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark of somebody's transaction at the end: without it everything would never be done."""
    found = consumer({FIRST: 10})
    assert handed_on(monkeypatch, found, read(10, end=11), read(11, end=12)) == [[], []]
    assert found.reached() == {0: 12}
    calls = handed_on(monkeypatch, found, read(12, 12, 13), read(14, end=15), read(15, 15), read(16, end=17))
    assert calls == [[(12, 14)], [], [(15, 16)], []]
    assert found.reached() == {0: 12}
    found.done(batch(FIRST, 12, 14))
    assert found.reached() == {0: 15}
    found.done(batch(FIRST, 15, 16))
    assert found.reached() == {0: 17}


@pytest.mark.parametrize("came", [read(0, 0, 1, 2), read(10, 0, 1, 2)])
def test_a_fetch_from_before_what_is_committed_is_of_another_topic(
    monkeypatch: pytest.MonkeyPatch, came: Fetched
) -> None:
    with pytest.raises(TopicResetError, match=r"liuyan\.messages\.v1 的分区 0 比已处理到的位置短"):
        handed_on(monkeypatch, consumer({FIRST: 10}), came)


def test_what_came_while_somebody_sought_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = consumer({FIRST: 10})

    def meanwhile() -> Fetched:
        found._seeks += 2
        return read(10, 10, 11)

    other = read(10, 10)
    other.whole = False  # or while the partitions were assigned anew
    calls = handed_on(monkeypatch, found, meanwhile, other, read(10, 10, 11))
    assert calls == [[], [], [], [], [(10, 12)]]


def test_what_is_read_again_while_it_is_worked_on_is_of_the_same_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read again from what is committed, while batches from before are being done: these were told as another topic's, and ended
    the process; and what was cut otherwise the second time was never acknowledged."""
    found = consumer({FIRST: 10})
    found.done(batch(FIRST, 10, 15))
    assert found.reached() == {0: 15}
    found._sent = {FIRST: 10}
    assert handed_on(monkeypatch, found, read(10, 10, 11, 12)) == [[(10, 13)]]
    found.done(batch(FIRST, 10, 13))
    assert found.reached() == {0: 15}
    found.done(batch(FIRST, 13, 20))
    assert found.reached() == {0: 20}


def test_what_was_fetched_and_not_handed_on_is_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch may come back before the position is known, at the start say: what it brought must not be passed over."""
    assert handed_on(monkeypatch, consumer({}), read(10, 10, 11, 12), read(10, 10, 11, 12)) == [[], [], [(10, 13)]]


def test_the_versions_are_the_ones_it_was_written_for() -> None:
    assert (version("faust-streaming"), version("aiokafka")) == ("0.15.3", "0.14.0")


@pytest.mark.parametrize(
    ("ours", "theirs"), [(BatchConsumer, driver.Consumer), (QuickThread, driver.AIOKafkaConsumerThread)]
)
def test_what_is_replaced_is_there_and_called_alike(ours: type, theirs: type) -> None:
    added = {"done", "reached", "_reach", "_pass_over", "_room", "_reread"}
    for name, method in inspect.getmembers(ours, inspect.isfunction):
        if name in vars(ours) and name not in added and name != "__init__":
            assert list(inspect.signature(method).parameters) == list(
                inspect.signature(getattr(theirs, name)).parameters
            ), name


def test_the_transport_makes_this_consumer() -> None:
    assert BatchTransport.Consumer is BatchConsumer
