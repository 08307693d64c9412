"""Notices that arrived long ago are forgotten, on both databases: never what was not delivered, nor what somebody still has to be told."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from services.alerts.notices import pruning
from services.alerts.notices.pruning import Pruning, forget, old_notices
from services.alerts.notices.tables import acknowledgements, notices, told
from services.alerts.tables import alerts
from shared.rules import Ruleset
from tests.builders import at, event
from tests.enginekit import Deck, deck
from tests.noticekit import NIGHT, Told, channel, received

pytestmark = pytest.mark.usefixtures("each_database")
DAYS = 30
LATER = NIGHT + timedelta(days=DAYS, minutes=1)


@pytest.fixture
def city(rules: Ruleset) -> Iterator[Deck]:
    with deck(rules, at("03-31 12:00")) as found:
        yield found


def fallen_due(found: Deck, *subjects: str) -> Told:
    """Each of them was told of in a notice of its own, which arrived."""
    told_to = Told(found, channel("hook"))
    for number, subject in enumerate(subjects):
        found.push(received(subject))
        found.sweep(NIGHT + timedelta(seconds=number))
        assert len(told_to.tell()) == 1
        told_to.settle()
    return told_to


def answered(subject: str) -> Any:
    """What clears all its alerts."""
    return event(f"{subject}-c", "completed", "03-31 15:00", subject=subject)


def passes(found: Deck, now: datetime, days: int = DAYS) -> None:
    """A whole pass, and the beginning of none."""
    pruned = Pruning(found.database, days)
    for _ in range(50):
        pruned.step(lambda _: now)
    assert pruned._after == 0, "the pass is over"


def kept(found: Deck) -> list[str]:
    return sorted(row["state"] for row in found.read(notices))


def test_what_was_delivered_long_ago_is_forgotten_with_its_alerts_only(city: Deck) -> None:
    told_to = fallen_due(city, "a")
    with city.database.writing() as connection:
        row = {"alert": 1, "key": "zhenkang/a", "account": "z", "person": "张三", "note": "", "at": 1}
        connection.execute(insert(acknowledgements).values(row))
    city.push(answered("a"))
    assert told_to.tell(), "that it was answered, is told too"
    told_to.settle()
    journal = city.read(alerts)
    passes(city, NIGHT + timedelta(days=DAYS))
    assert kept(city) == ["sent", "sent"], "not yet"
    passes(city, LATER)
    assert (kept(city), city.read(told)) == ([], [])
    assert city.read(alerts) == journal
    assert len(city.read(acknowledgements)) == 1


def test_what_is_not_delivered_stays(city: Deck) -> None:
    told_to = fallen_due(city, "a", "b")
    for subject, state in (("a", "failed"), ("b", "pending")):
        city.push(answered(subject))
        assert told_to.tell()
        if state != "pending":
            told_to.settle(state)
    passes(city, LATER)
    assert kept(city) == ["failed", "pending"]
    assert city.read(told)


def test_who_was_told_of_an_alert_is_told_when_it_is_cleared_however_late(city: Deck) -> None:
    told_to = fallen_due(city, "a", "b")
    city.push(answered("b"))
    told_to.tell()
    told_to.settle()
    passes(city, LATER)
    (standing,) = city.read(notices)
    assert standing["alerts"] == 4
    city.push(answered("a"))
    passes(city, LATER)
    assert len(city.read(notices)) == 1, "nobody has routed the clearing yet"
    assert [parts for _, _, parts in told_to.tell()] == [[("cleared", 4)]]
    passes(city, LATER)
    assert kept(city) == ["pending"]


def test_a_pass_goes_on_behind_what_has_to_stay_and_takes_a_little_at_a_time(
    city: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "AT_ONCE", 2)
    subjects = [f"s{number}" for number in range(7)]
    told_to = fallen_due(city, *subjects)
    for subject in subjects[2:]:
        city.push(answered(subject))
    told_to.tell()
    told_to.settle("failed")
    numbers = sorted(row["id"] for row in city.read(notices) if row["state"] == "sent")
    with city.database.reading() as connection:
        assert old_notices(connection, 0, LATER) == (numbers[:2], []), "what stands is looked at once in a pass"
        assert old_notices(connection, numbers[1], LATER) == (numbers[2:4], numbers[2:4])
    passes(city, LATER)
    assert [row["id"] for row in city.read(notices) if row["state"] == "sent"] == numbers[:2]


def test_a_notice_of_many_alerts_goes_piece_by_piece(city: Deck) -> None:
    told_to = Told(city, channel("hook"))
    city.push(*(received(f"s{number}") for number in range(5)))
    city.sweep(NIGHT)
    assert len(told_to.tell()) == 1
    told_to.settle()
    city.push(*(answered(f"s{number}") for number in range(5)))
    told_to.tell()
    (number,) = (row["id"] for row in city.read(notices) if row["state"] == "sent")
    left = []
    for _ in range(20):
        with city.database.writing() as connection:
            done = forget(connection, [number], batch=3)
        left.append(sum(row["notice"] == number for row in city.read(told)))
        if done:
            break
    assert left == [17, 14, 11, 8, 5, 2, 0]
    assert number not in {row["id"] for row in city.read(notices)}


def test_after_a_pass_nothing_is_looked_at_for_a_while(city: Deck) -> None:
    pruned = Pruning(city.database, DAYS)
    pruned.step(lambda _: city.now)

    def unasked(_: object) -> datetime:
        raise AssertionError

    pruned.step(unasked)
