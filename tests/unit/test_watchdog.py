"""The watchdog bites a process that has work and does not come on, and no other."""

import threading

import pytest

from services.sla.worker.watchdog import (
    JOINING_SECONDS,
    ONE_BY_ONE_SECONDS,
    STOPPING_SECONDS,
    UNSEEN_SECONDS,
    Position,
    Watchdog,
    topic_reset,
)


class Seconds:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_work_that_takes_longer_than_the_patience_is_stuck() -> None:
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    assert dog.unhealthy() is None
    with dog.at_work():
        clock.now = 60.0
        assert dog.unhealthy() is None
        clock.now = 60.1
        assert dog.unhealthy() == "手头的工作超过一分钟没有进展"
    assert dog.unhealthy() is None


def test_one_piece_of_several_is_enough() -> None:
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    with dog.at_work():
        clock.now = 50.0
        with dog.at_work():
            clock.now = 61.0
        assert dog.unhealthy() is not None


def test_a_long_piece_that_comes_on_is_not_stuck() -> None:
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    with dog.at_work() as alive:
        clock.now = 50.0
        alive()
        clock.now = 110.0
        assert dog.unhealthy() is None
        clock.now = 110.1
        assert dog.unhealthy() is not None


def test_waiting_for_work_is_no_reason_however_long() -> None:
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    with dog.at_work():
        pass
    clock.now = 10_000.0
    assert dog.unhealthy() is None


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
        assert dog.unhealthy() is None


def looks(dog: Watchdog, clock: Seconds, until: float, committed: dict[int, int], held: set[int]) -> None:
    """The same sight every five seconds; partition 0 ends at 10, partition 1 at 20."""
    while clock.now < until:
        clock.now = min(until, clock.now + 5.0)
        dog.see({0: Position(10, committed[0]), 1: Position(20, committed[1])}, held, True)


def test_a_lag_that_does_not_shrink_is_stuck() -> None:
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    looks(dog, clock, 65.0, {0: 4, 1: 20}, {0, 1})
    assert dog.unhealthy() is None
    looks(dog, clock, 70.0, {0: 4, 1: 20}, {0, 1})
    assert dog.unhealthy() == "有积压而超过一分钟没有进展"
    looks(dog, clock, 75.0, {0: 5, 1: 20}, {0, 1})
    assert dog.unhealthy() is None


def test_no_lag_is_no_reason() -> None:
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    looks(dog, clock, 1000.0, {0: 10, 1: 20}, {0, 1})
    assert dog.unhealthy() is None


def test_what_others_hold_is_theirs_but_who_holds_nothing_answers_for_all() -> None:
    clock = Seconds()
    dog, spare = Watchdog(60.0, clock), Watchdog(60.0, clock)
    while clock.now < 100.0:
        clock.now += 5.0
        sight = {0: Position(10, 4), 1: Position(20, 20)}
        dog.see(sight, {1}, True)
        spare.see(sight, set(), True)
    assert dog.unhealthy() is None
    assert spare.unhealthy() is not None


def test_partitions_take_turns_but_not_for_ever() -> None:
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    moved = 0
    while clock.now < ONE_BY_ONE_SECONDS:
        moved += 1
        looks(dog, clock, clock.now + 5.0, {0: 4, 1: moved % 20}, {0, 1})
    assert dog.unhealthy() is None
    looks(dog, clock, clock.now + 5.0, {0: 4, 1: 0}, {0, 1})
    looks(dog, clock, clock.now + 5.0, {0: 4, 1: 1}, {0, 1})
    assert dog.unhealthy() == "有分区积压而超过五分钟没有进展"


def test_reading_back_for_long_excuses_the_lag() -> None:
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    with dog.at_work() as alive:
        while clock.now < 500.0:
            looks(dog, clock, clock.now + 30.0, {0: 4, 1: 5}, {0, 1})
            alive()
            assert dog.unhealthy() is None


def test_while_no_broker_can_be_asked_no_lag_is_known() -> None:
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    looks(dog, clock, 60.0, {0: 4, 1: 20}, {0, 1})
    clock.now += UNSEEN_SECONDS + 0.1
    assert dog.unhealthy() is None
    looks(dog, clock, clock.now + 60.0, {0: 4, 1: 20}, {0, 1})  # its time begins anew
    assert dog.unhealthy() is None
    looks(dog, clock, clock.now + 10.0, {0: 4, 1: 20}, {0, 1})
    assert dog.unhealthy() is not None


def test_stopping_has_its_time() -> None:
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    clock.now = 1_000.0
    dog.stopping()
    clock.now += STOPPING_SECONDS
    dog.stopping()
    assert dog.unhealthy() is None
    clock.now += 0.1
    assert dog.unhealthy() == "停止时没有在限定时间内结束"


def test_it_bites_by_itself() -> None:
    clock, bitten = Seconds(), threading.Event()
    dog = Watchdog(60.0, clock, bitten.set)
    with dog.at_work():
        clock.now = 61.0
        dog.start()
        assert bitten.wait(30)


def test_more_done_than_there_is_twice_in_a_row_is_another_topic() -> None:
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    dog.see({0: Position(10, 20), 1: Position(5, 5)}, {0, 1}, True)
    assert dog.reset()
    assert dog.unhealthy() is None
    dog.see({0: Position(20, 20), 1: Position(4, 5)}, {0, 1}, True)
    assert dog.unhealthy() is None
    dog.see({0: Position(20, 20), 1: Position(4, 5)}, {0, 1}, True)
    assert dog.unhealthy() == topic_reset(1)


def test_who_does_not_get_into_the_group_is_started_again_though_nothing_waits() -> None:
    """It was seen once, on a busy machine: a worker that hung on its way into the group, with nothing to do and nothing in its log."""
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    done = {0: Position(10, 10)}
    for clock.now in range(0, int(JOINING_SECONDS) + 5, 5):
        assert dog.unhealthy() is None
        dog.see(done, set(), False)
    clock.now = JOINING_SECONDS + 0.1
    assert dog.unhealthy() == "Kafka 有应答，而超过三分钟没有加入消费组"
    dog.see(done, {0}, True)
    assert dog.unhealthy() is None


def test_who_is_outside_the_group_while_no_broker_answers_is_not_to_blame() -> None:
    clock = Seconds()
    dog = Watchdog(60.0, clock)
    dog.see({0: Position(10, 10)}, set(), False)
    clock.now = 10 * JOINING_SECONDS
    assert dog.unhealthy() is None
    dog.see({0: Position(10, 10)}, set(), False)
    clock.now += 5.0
    assert dog.unhealthy() is None, "it has only just begun to join"
