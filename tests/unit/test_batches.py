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

from services.sla.worker.batches import Batch, BatchConsumer, BatchTransport, QuickThread, TopicResetError
from shared.topics import MESSAGES

FIRST, OTHER = TP(MESSAGES.name, 0), TP(MESSAGES.name, 1)


def consumer(sent: dict[TP, int]) -> BatchConsumer:
    """One that stands at these offsets, without an application."""
    found = BatchConsumer.__new__(BatchConsumer)
    found._sent, found._reached, found._holes = dict(sent), dict(sent), {}
    found._unacked_messages, found._n_acked, found._dropped = cast(Any, set()), 0, False
    return found


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


def test_a_hole_is_passed_over_only_when_it_is_there_again() -> None:
    found = consumer({FIRST: 10})
    assert found._follows(FIRST, 10)
    assert found._follows(FIRST, 7)  # what was handed on already is left out
    assert not found._follows(FIRST, 12)
    assert found._follows(FIRST, 12)
    assert not found._follows(FIRST, 13)


def test_a_fetch_of_what_is_done_long_ago_is_of_another_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    found = consumer({FIRST: 10})

    async def fetch(self: BatchConsumer, timeout: float) -> Any:
        return {FIRST: [SimpleNamespace(offset=offset) for offset in range(3)]}, {FIRST}

    async def once() -> list[Any]:
        return [piece async for piece in found.getmany(1.0)]

    found.app = cast(Any, SimpleNamespace(consumer_generation_id=1))
    monkeypatch.setattr(BatchConsumer, "_wait_next_records", fetch)
    with pytest.raises(TopicResetError, match=r"liuyan\.messages\.v1 的分区 0 比已处理到的位置短"):
        asyncio.run(once())


def test_what_is_read_again_while_it_is_worked_on_is_of_the_same_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read again from what is committed, while batches from before are being done: these were told as another topic's, and ended
    the process; and what was cut otherwise the second time was never acknowledged."""
    found = consumer({FIRST: 10})
    log = [SimpleNamespace(offset=offset) for offset in range(10, 13)]
    earlier = batch(FIRST, 10, 15)

    async def fetch(self: BatchConsumer, timeout: float) -> Any:
        return {FIRST: log}, {FIRST}

    async def room(self: BatchConsumer, tp: TP) -> bool:
        return True

    async def once() -> list[Any]:
        return [piece async for _, piece in found.getmany(1.0)]

    found.app = cast(Any, SimpleNamespace(consumer_generation_id=1))
    monkeypatch.setattr(BatchConsumer, "_wait_next_records", fetch)
    monkeypatch.setattr(BatchConsumer, "_room", room)
    found.done(earlier)
    assert found.reached() == {0: 15}
    (again,) = asyncio.run(once())
    found.done(again)
    assert found.reached() == {0: 15}
    found.done(batch(FIRST, 13, 20))
    assert found.reached() == {0: 20}


def test_what_was_fetched_and_not_handed_on_is_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch may come back before the position is known, at the start say: what it brought must not be passed over."""
    found = consumer({})
    log = [SimpleNamespace(offset=offset) for offset in range(10, 13)]

    async def fetch(self: BatchConsumer, timeout: float) -> Any:
        return {FIRST: log}, {FIRST}

    async def seek(self: BatchConsumer) -> None:
        self._sent = {FIRST: 10}

    async def room(self: BatchConsumer, tp: TP) -> bool:
        return True

    async def three_times() -> list[list[tuple[int, int]]]:
        return [[(piece.begin, piece.end) async for _, piece in found.getmany(1.0)] for _ in range(3)]

    found.app = cast(Any, SimpleNamespace(consumer_generation_id=1))
    monkeypatch.setattr(BatchConsumer, "_wait_next_records", fetch)
    monkeypatch.setattr(BatchConsumer, "perform_seek", seek)
    monkeypatch.setattr(BatchConsumer, "_room", room)
    monkeypatch.setattr(BatchConsumer, "assignment", lambda self: {FIRST})
    assert asyncio.run(three_times()) == [[], [], [(10, 13)]]


def test_the_versions_are_the_ones_it_was_written_for() -> None:
    assert (version("faust-streaming"), version("aiokafka")) == ("0.15.3", "0.14.0")


@pytest.mark.parametrize(
    ("ours", "theirs"), [(BatchConsumer, driver.Consumer), (QuickThread, driver.AIOKafkaConsumerThread)]
)
def test_what_is_replaced_is_there_and_called_alike(ours: type, theirs: type) -> None:
    added = {"done", "reached", "_follows", "_room", "_reread"}
    for name, method in inspect.getmembers(ours, inspect.isfunction):
        if name in vars(ours) and name not in added and name != "__init__":
            assert list(inspect.signature(method).parameters) == list(
                inspect.signature(getattr(theirs, name)).parameters
            ), name


def test_the_transport_makes_this_consumer() -> None:
    assert BatchTransport.Consumer is BatchConsumer
