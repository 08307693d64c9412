"""The consumer's transaction on both databases: a zombie's batch is refused, a repeat changes nothing, a gap is noticed."""

import contextlib
import threading

import pytest
from sqlalchemy import select

from services.alerts.intake import FencedError, GapError, Step, advance, claim
from services.alerts.projection import Evaluated, project
from services.alerts.tables import cases, consumer_positions, metadata
from services.sla.rules import evaluate
from shared.case import Case
from shared.events import CaseEvent
from shared.rules import Ruleset
from tests.builders import at, event
from tests.enginekit import Deck, deck

TOPIC = "liuyan.cases.v1"
NOW = at("03-31 12:00")

pytestmark = pytest.mark.usefixtures("each_database")


def received(number: int) -> CaseEvent:
    return event(f"r{number}", "received", "03-31 10:00", subject=f"s{number}", category="help")


def evaluated(number: int, rules: Ruleset) -> Evaluated:
    case = evaluate([received(number)], rules, NOW)
    assert isinstance(case, Case)
    return Evaluated(f"zhenkang/s{number}", case, case.next_deadline, False)


def apply(found: Deck, epoch: int, first: int, records: dict[int, int], partition: int = 0) -> list[int]:
    """A consumer's transaction: records (offset -> case) that were read from `first` on; the offsets that were applied."""
    with found.database.writing() as connection:
        (new,) = advance(connection, [Step(TOPIC, partition, epoch, first, max(records) + 1)])
        fresh = {offset: number for offset, number in records.items() if offset >= new}
        project(connection, [evaluated(number, found.rules) for number in fresh.values()], found.rules, NOW)
    return list(fresh)


def claimed(found: Deck, *partitions: int) -> tuple[int, dict[int, int]]:
    with found.database.writing() as connection:
        return claim(connection, TOPIC, partitions)


def keys(found: Deck) -> list[str]:
    return [row["subject"] for row in found.read_cases()]


def test_a_batch_is_applied_once_however_often_it_comes(rules: Ruleset) -> None:
    with deck(rules, NOW) as found:
        epoch, offsets = claimed(found, 0)
        assert offsets == {0: 0}
        assert apply(found, epoch, 0, {0: 1, 1: 2}) == [0, 1]
        before = [found.read(table) for table in metadata.sorted_tables]
        for _ in range(2):
            assert apply(found, epoch, 0, {0: 1, 1: 2}) == []
        assert [found.read(table) for table in metadata.sorted_tables] == before
        assert apply(found, epoch, 0, {0: 1, 1: 2, 2: 3}) == [2], "a batch that was cut elsewhere"
        assert keys(found) == ["s1", "s2", "s3"]
        assert claimed(found, 0) == (epoch + 1, {0: 3})


def test_a_zombie_is_refused_and_leaves_nothing(rules: Ruleset) -> None:
    with deck(rules, NOW) as found:
        zombie, _ = claimed(found, 0, 1)
        apply(found, zombie, 0, {0: 1})
        owner, offsets = claimed(found, 0)
        assert offsets == {0: 1}
        with pytest.raises(FencedError, match="分区 0"):
            apply(found, zombie, 1, {1: 2})
        with pytest.raises(FencedError):
            apply(found, zombie, 0, {0: 1})
        assert keys(found) == ["s1"]
        assert apply(found, zombie, 0, {0: 5}, partition=1) == [0], "what was not taken away it may still write"
        assert apply(found, owner, 1, {1: 2}) == [1]
        assert keys(found) == ["s1", "s2", "s5"]


def test_who_never_had_the_partition_is_refused(rules: Ruleset) -> None:
    with deck(rules, NOW) as found, pytest.raises(FencedError):
        apply(found, 1, 0, {0: 1})


def test_a_gap_is_refused_and_holes_of_compaction_are_none(rules: Ruleset) -> None:
    with deck(rules, NOW) as found:
        epoch, _ = claimed(found, 0)
        assert apply(found, epoch, 0, {4: 1, 9: 2}) == [4, 9], "read from 0 on, compacted"
        with pytest.raises(GapError) as refused:
            apply(found, epoch, 11, {11: 3})
        assert (refused.value.expected, refused.value.came) == (10, 11)
        assert keys(found) == ["s1", "s2"]
        assert apply(found, epoch, 10, {12: 3}) == [12]


def test_a_batch_that_fails_leaves_the_position_where_it_was(rules: Ruleset) -> None:
    with deck(rules, NOW) as found:
        epoch, _ = claimed(found, 0)
        with contextlib.suppress(ZeroDivisionError), found.database.writing() as connection:
            advance(connection, [Step(TOPIC, 0, epoch, 0, 1)])
            project(connection, [evaluated(1, rules)], rules, NOW)
            raise ZeroDivisionError
        assert (keys(found), claimed(found, 0)[1]) == ([], {0: 0})


def test_each_assignment_gets_a_greater_epoch_and_topics_are_apart(rules: Ruleset) -> None:
    with deck(rules, NOW) as found:
        epochs = [claimed(found, *partitions)[0] for partitions in ([0, 1], [1], [1, 2], [0, 2, 2], [])]
        assert epochs[:4] == [1, 2, 3, 4]
        with found.database.writing() as connection:
            assert claim(connection, "another", [0]) == (1, {0: 0})
        rows = {(row["topic"], row["partition"]): row["epoch"] for row in found.read(consumer_positions)}
        assert rows == {(TOPIC, 0): 4, (TOPIC, 1): 3, (TOPIC, 2): 4, ("another", 0): 1}


def test_a_claim_waits_for_the_batch_that_is_being_applied(rules: Ruleset) -> None:
    """Whoever takes over reads on from where the other's last batch ended, never from before it."""
    with deck(rules, NOW) as found:
        epoch, _ = claimed(found, 0)
        taken: list[tuple[int, dict[int, int]]] = []
        with found.database.writing() as connection:
            advance(connection, [Step(TOPIC, 0, epoch, 0, 7)])
            other = threading.Thread(target=lambda: taken.append(claimed(found, 0)))
            other.start()
            other.join(0.2)
            assert taken == []
        other.join(10)
        assert taken == [(epoch + 1, {0: 7})]


def test_claims_and_zombies_at_once_lose_and_repeat_nothing(rules: Ruleset) -> None:
    """Two consumers take the partition from each other while they apply it: each record is applied once."""
    applied: list[int] = []
    with deck(rules, NOW) as found:
        done = threading.Event()

        def consume() -> None:
            epoch, offsets = claimed(found, 0)
            at_offset = offsets[0]
            while not done.is_set():
                if at_offset >= 60:
                    done.set()
                    return
                try:
                    mine = apply(found, epoch, at_offset, {at_offset + i: at_offset + i for i in range(3)})
                    applied.extend(mine)
                    at_offset += 3
                    if at_offset % 5 == 0:
                        epoch, offsets = claimed(found, 0)
                        at_offset = offsets[0]
                except FencedError:
                    epoch, offsets = claimed(found, 0)
                    at_offset = offsets[0]

        threads = [threading.Thread(target=consume) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(applied) == list(range(len(applied)))
        assert len(applied) >= 60
        with found.database.reading() as connection:
            assert len(connection.execute(select(cases.c.key)).all()) == len(applied)
        assert sum(found.figures().values()) == len(applied)
