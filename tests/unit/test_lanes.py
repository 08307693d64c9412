"""A lane applies what it is given, one transaction after the other, while the reader reads on."""

import threading
from collections.abc import Iterator, Sequence

import pytest

from services.alerts.stream.apply import Batch
from services.alerts.stream.lanes import AT_MOST, Lane
from tests.service import PATIENCE, until


def batch(number: int) -> Batch:
    return Batch("cases", 0, 1, number, number + 1, [])


class Projector:
    """Waits to be let on before each transaction, and fails at those named."""

    def __init__(self) -> None:
        self.room = threading.Semaphore(0)
        self.failing: set[int] = set()
        self.begun: list[int] = []

    def apply(self, batches: Sequence[Batch]) -> int:
        assert self.room.acquire(timeout=PATIENCE)
        first = batches[0].first_offset
        self.begun.append(first)
        if first in self.failing:
            raise OSError
        return len(batches)


@pytest.fixture
def projector() -> Projector:
    return Projector()


@pytest.fixture
def lane(projector: Projector) -> Iterator[Lane]:
    found = Lane(projector.apply)
    yield found
    projector.room.release(AT_MOST)
    found.close()


def test_whoever_gives_goes_on_at_once_and_is_told_later_what_is_applied(projector: Projector, lane: Lane) -> None:
    assert lane.give([batch(0)]) == lane.give([batch(1)]) == lane.applied() == []
    projector.room.release(2)
    told: list[Batch] = []
    until(lambda: told.extend(lane.applied()) or len(told) == 2, "both are applied")
    assert told == [batch(0), batch(1)]
    assert projector.begun == [0, 1]


def test_with_too_much_under_way_it_waits(projector: Projector, lane: Lane) -> None:
    for number in range(AT_MOST):
        lane.give([batch(number)])
    projector.room.release()
    assert lane.give([batch(AT_MOST)]) == [batch(0)], "there was room only when the first one was done"


def test_what_is_behind_a_failure_is_not_begun_until_all_is_forgotten(projector: Projector, lane: Lane) -> None:
    projector.failing.add(0)
    lane.give([batch(0)])
    lane.give([batch(1)])
    projector.room.release(2)
    with pytest.raises(OSError):  # noqa: PT011 - raised by the test itself
        lane.give([batch(2)])
    lane.forget()
    assert projector.begun == [0]
    assert lane.applied() == []
    lane.give([batch(3)])
    assert until(lane.applied, "it goes on") == [batch(3)]
    assert projector.begun == [0, 3]
