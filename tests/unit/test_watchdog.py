"""The watchdog bites a process that has work and does not come on, and no other."""

import threading

import pytest

from services.sla.worker.watchdog import Watchdog


class Seconds:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_work_that_takes_longer_than_the_patience_is_stuck() -> None:
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    assert not dog.stuck()
    with dog.at_work():
        clock.now = 60.0
        assert not dog.stuck()
        clock.now = 60.1
        assert dog.stuck()
    assert not dog.stuck()


def test_waiting_for_work_is_no_reason_however_long() -> None:
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    with dog.at_work():
        pass
    clock.now = 10_000.0
    assert not dog.stuck()


def fail(dog: Watchdog) -> None:
    with dog.at_work():
        raise RuntimeError


def test_each_piece_of_work_has_its_own_time_also_after_one_that_failed() -> None:
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    with pytest.raises(RuntimeError):
        fail(dog)
    clock.now = 50.0
    with dog.at_work():
        clock.now = 100.0
        assert not dog.stuck()


def test_it_bites_by_itself() -> None:
    clock, bitten = Seconds(), threading.Event()
    dog = Watchdog(60.0, clock, bitten.set)
    with dog.at_work():
        clock.now = 61.0
        dog.start()
        assert bitten.wait(30)
