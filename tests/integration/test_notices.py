"""From an alert to a notice on both databases: nothing that is raised or cleared is forgotten, told twice, or told to the wrong one."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import select

from services.alerts.notices.gathering import decode_digest, set_up
from services.alerts.notices.tables import notices, tellings, told, waiting
from services.alerts.tables import alerts
from services.standalone.apply import sweep_due
from shared.rules import Ruleset
from tests.builders import at, event
from tests.enginekit import Deck, deck
from tests.noticekit import MORNING, NIGHT, Told, channel, received

pytestmark = pytest.mark.usefixtures("each_database")


@pytest.fixture
def city(rules: Ruleset) -> Iterator[Deck]:
    with deck(rules, at("03-31 12:00")) as found:
        yield found


def test_what_is_raised_and_cleared_is_kept_to_be_told_in_the_same_transaction(city: Deck) -> None:
    Told(city, channel("hook"))
    city.push(received("a"))
    city.sweep(NIGHT)
    ids = {row["id"]: row["rung"] for row in city.read(alerts)}
    kept = sorted(city.read(tellings), key=lambda row: int(row["id"]))
    assert [(ids[row["alert"]], row["what"]) for row in kept] == [
        ("due_today", "raised"), ("due_today", "raised"), ("overdue", "raised"), ("overdue", "raised"),
    ]  # fmt: skip
    city.push(event("a-c", "completed", "03-31 15:00", subject="a"))
    assert Counter(row["what"] for row in city.read(tellings)) == {"raised": 4, "cleared": 4}


def test_a_transaction_that_fails_leaves_nothing_to_be_told(city: Deck) -> None:
    Told(city, channel("hook"))
    city.push(received("a"))
    city.clock.set(NIGHT)

    def broken() -> None:
        with city.database.writing() as connection:
            assert sweep_due(connection, city.rules, city.now)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert city.read(tellings) == []


def test_without_channels_nothing_is_kept_and_what_was_kept_is_forgotten(city: Deck) -> None:
    city.push(received("a"))
    city.sweep(NIGHT)
    assert city.read(tellings) == []
    told_to = Told(city, channel("hook"))
    city.push(received("b"))
    city.sweep(city.now + timedelta(minutes=1))
    assert city.read(tellings)
    assert told_to.tell()
    city.push(received("c"))
    city.sweep(city.now + timedelta(minutes=1))
    with city.database.writing() as connection:
        set_up(connection, [])
    assert (city.read(tellings), city.read(waiting)) == ([], [])
    assert {row["state"] for row in city.read(notices)} == {"failed"}


def test_history_is_not_told(city: Deck) -> None:
    """What is only listed, because it was long overdue when it was first seen, reaches nobody: neither raised nor cleared."""
    told_to = Told(city, channel("hook"))
    city.push(received("old", time="03-01 10:00"))
    city.sweep()
    assert city.read(alerts)
    city.push(event("old-c", "completed", "03-01 15:00", subject="old"))
    assert told_to.tell() == []


def test_many_alerts_are_one_notice_for_each_channel_and_county(city: Deck) -> None:
    told_to = Told(city, channel("all"), channel("gengma", counties={"gengma"}), channel("late", rungs={"overdue"}))
    for number in range(7):
        city.push(received(f"z{number}"), received(f"g{number}", "gengma"))
    city.sweep(at("04-01 09:00"))
    assert sorted(told_to.tell()) == [
        ("all", "gengma", [("raised", 14)]),  # reply and complete
        ("all", "zhenkang", [("raised", 14)]),
        ("gengma", "gengma", [("raised", 14)]),
    ]
    assert len(city.read(told)) == 42
    told_to.settle()
    city.sweep(NIGHT)
    assert [row[0] for row in told_to.tell()].count("late") == 2
    assert told_to.tell() == [], "each once"


def test_who_hears_of_a_holder_hears_of_the_cases_that_it_has(city: Deck) -> None:
    told_to = Told(city, channel("roads", holders={"交通局"}), channel("own", holders={"zhenkang"}))
    city.push(received("a"), received("b"))
    city.push(event("a-t", "transferred", "03-31 11:00", subject="a", to="交通局"))
    city.sweep(at("04-01 09:00"))
    assert sorted(told_to.tell()) == [("own", "zhenkang", [("raised", 2)]), ("roads", "zhenkang", [("raised", 2)])]


def test_at_night_only_what_is_urgent_is_told_and_the_rest_in_the_morning(city: Deck) -> None:
    told_to = Told(city, channel("calm", urgent=frozenset()), channel("awake"))
    city.push(received("a"))
    city.sweep(at("04-01 09:00"))
    told_to.tell()
    told_to.settle()
    city.sweep(NIGHT)
    assert told_to.tell() == [("awake", "zhenkang", [("raised", 2)])]
    city.clock.set(MORNING - timedelta(seconds=1))
    assert told_to.tell() == []
    city.clock.set(MORNING)
    assert told_to.tell() == [("calm", "zhenkang", [("raised", 2)])]


def test_what_is_answered_before_anybody_was_told_is_not_told(city: Deck) -> None:
    told_to = Told(city, channel("calm", urgent=frozenset()))
    city.push(received("a"))
    city.sweep(NIGHT)
    assert told_to.tell() == []
    city.push(event("a-c", "completed", "04-01 15:00", subject="a"))
    city.clock.set(MORNING)
    assert told_to.tell() == []
    assert city.read(waiting) == []


@pytest.mark.parametrize(("clearings", "told_of"), [("all", 2), ("corrections", 1)])
def test_late_evidence_is_told_as_a_correction_to_whoever_was_told(clearings: str, told_of: int, city: Deck) -> None:
    told_to = Told(city, channel("hook", clearings=clearings, rungs={"overdue"}), channel("other", counties={"gengma"}))
    city.push(received("late"), received("answered"))
    city.sweep(NIGHT)
    assert told_to.tell() == [("hook", "zhenkang", [("raised", 4)])]
    city.push(event("1", "completed", "04-01 15:00", subject="late"))
    city.clock.set(NIGHT + timedelta(hours=1))
    city.push(event("2", "completed", "04-02 00:30", subject="answered"))
    assert told_to.tell() == [], "one after the other: the first is still on its way"
    told_to.settle()
    assert told_to.tell() == [("hook", "zhenkang", [("cleared", 2 * told_of)])]
    (found,) = [decode_digest(row["content"]) for row in city.read(notices) if '"cleared"' in row["content"]]
    assert found.parts[0].reasons["late_evidence"] == 2


def test_what_never_arrived_needs_no_correction(city: Deck) -> None:
    told_to = Told(city, channel("hook"))
    city.push(received("a"))
    city.sweep(NIGHT)
    told_to.tell()
    told_to.settle("failed")
    city.push(event("a-c", "completed", "04-01 15:00", subject="a"))
    assert told_to.tell() == []


def test_while_a_channel_is_away_what_comes_gathers_into_one_notice(city: Deck) -> None:
    told_to = Told(city, channel("hook"))
    for number in range(5):
        city.push(received(f"s{number}"))
        city.sweep(at("04-01 09:00") + timedelta(minutes=number))
        told_to.tell()
    assert len(city.read(notices)) == 1
    told_to.settle()
    assert told_to.tell() == [("hook", "zhenkang", [("raised", 8)])]


def test_a_notice_waits_for_others_as_long_as_the_channel_says(city: Deck) -> None:
    told_to = Told(city, channel("hook", digest_seconds=60))
    city.push(received("a"))
    city.sweep(at("04-01 09:00"))
    assert told_to.tell() == []
    city.push(received("b"))
    city.sweep(at("04-01 09:00:59"))
    assert told_to.tell() == []
    city.clock.set(at("04-01 09:01"))
    assert told_to.tell() == [("hook", "zhenkang", [("raised", 4)])]


def test_a_digest_counts_and_names_the_oldest_and_nothing_that_a_citizen_wrote(city: Deck) -> None:
    told_to = Told(city, channel("hook"))
    for number in range(12):
        city.push(
            event(f"r{number}", "received", f"03-{15 + number % 3} 10:00", subject=f"s{number}", category="complaint",
                  title="我家的电话13800000000", content="身份证")
        )  # fmt: skip
    city.sweep(at("03-31 12:00"))
    city.sweep(at("04-09 12:00"))
    told_to.tell()
    (row,) = city.read(notices)
    digest = decode_digest(row["content"])
    raised = digest.parts[0]
    assert (raised.what, raised.total, len(raised.oldest)) == ("raised", row["alerts"], 10)
    assert sum(raised.rungs.values()) == raised.total
    assert [entry.due_at for entry in raised.oldest] == sorted(entry.due_at for entry in raised.oldest)
    assert digest.standing.keys() == raised.rungs.keys()
    assert "我家" not in row["content"]
    assert "身份证" not in row["content"]
    assert msgspec.json.decode(row["content"])["county_name"] == "镇康县"
    with city.database.reading() as connection:
        assert connection.execute(select(waiting)).all() == []
