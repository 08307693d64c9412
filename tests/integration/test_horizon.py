"""The horizon moves only when everything that had arrived went the whole way; nothing is flagged beyond it."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import count

import pytest

from services.alerts.intake import Step, advance, claim
from services.alerts.projection import project
from services.alerts.stream.apply import adopt_ruleset, database_now
from services.alerts.stream.horizon import LATE, Horizon, behind, horizon, set_horizon
from services.alerts.stream.sweeper import Sweeper
from services.alerts.sweep import Raised
from services.alerts.tables import alerts
from services.compose.cases import evaluated
from services.distributed.database import open_database
from shared.database import Postgres
from shared.rules import Ruleset
from shared.topics import CASES, MESSAGES
from tests.builders import at, event
from tests.postgres import Server

NUMBERS = count(1)


class Topics:
    """Where topics end and what was acknowledged, as the test says. Each question is remembered."""

    def __init__(self) -> None:
        self.ends = {MESSAGES.name: {0: 5, 1: 0}, CASES.name: {0: 3, 1: 0}}
        self.done: dict[int, int] = {}
        self.asked: list[str] = []

    def end_offsets(self, topic: str) -> Mapping[int, int]:
        self.asked.append(topic)
        return dict(self.ends[topic])

    def acknowledged(self, topic: str) -> Mapping[int, int]:
        assert topic == MESSAGES.name
        return self.done


@pytest.fixture
def database(postgres_server: Server, rules: Ruleset) -> Iterator[Postgres]:
    found = open_database(postgres_server.create(f"horizon{next(NUMBERS)}"))
    with found.writing() as connection:
        adopt_ruleset(connection, rules)  # as the service does when it starts
    yield found
    found.close()


def read(database: Postgres) -> datetime | None:
    with database.reading() as connection:
        return horizon(connection)


def project_up_to(database: Postgres, offset: int) -> None:
    """Records of partition 0 up to there are in the projections."""
    with database.writing() as connection:
        held = claim(connection, CASES.name, [0])
        advance(connection, [Step(CASES.name, 0, held.epoch, held.next_offsets[0], offset)])


def test_it_moves_when_the_events_are_acknowledged_and_their_records_projected(database: Postgres) -> None:
    topics = Topics()
    moved = Horizon(database, topics)
    with database.reading() as connection:
        before = database_now(connection)
    moved.step()
    with database.reading() as connection:
        begun = database_now(connection)
    topics.ends[MESSAGES.name] = {0: 9, 1: 4}  # what arrives later is for the next one
    for acknowledged in ({}, {0: 4}):
        topics.done = acknowledged
        moved.step()
    assert topics.asked == [MESSAGES.name], "where the records end is asked when all are written, not before"
    topics.done = {0: 5}
    moved.step()
    assert topics.asked == [MESSAGES.name, CASES.name]
    topics.ends[CASES.name] = {0: 8, 1: 2}
    project_up_to(database, 2)
    moved.step()
    assert read(database) is None
    project_up_to(database, 3)
    moved.step()
    found = read(database)
    assert found is not None
    assert before <= found <= begun, "the instant is that of the first question"
    moved.step()
    assert topics.asked[2:] == [MESSAGES.name], "and on to the next one"


def test_of_several_replicas_the_greatest_stands(database: Postgres) -> None:
    for instant in ("03-02 09:00", "03-01 09:00"):
        with database.writing() as connection:
            set_horizon(connection, at(instant))
    assert read(database) == at("03-02 09:00")


def test_one_that_a_clock_gone_wrong_has_set_ahead_does_not_stay(database: Postgres, rules: Ruleset) -> None:
    """Nobody knows what has arrived by tomorrow."""
    with database.writing() as connection:
        wrong = database_now(connection) + timedelta(days=1)
        set_horizon(connection, wrong)
    topics = Topics()
    topics.done = {0: 5}
    project_up_to(database, 3)
    Horizon(database, topics).step()
    found = read(database)
    assert found is not None
    assert found < wrong - timedelta(hours=23)


def test_nothing_is_flagged_beyond_it(database: Postgres, rules: Ruleset) -> None:
    """A case long overdue by the clock, its answer perhaps still on its way."""
    raised: list[Raised] = []
    sweeper = Sweeper(database, rules, lambda *_: [], lambda found, _: raised.extend(found))
    received = event("1", "received", "03-01 09:00", category="simple_inquiry")  # due 03-03 00:00
    with database.writing() as connection:
        adopt_ruleset(connection, rules)
        project(connection, [evaluated(received.key, [received], rules, at("03-01 10:00"))], rules, at("03-01 10:00"))
    while sweeper.step() == 0:
        pass
    assert raised == [], "there is none yet"
    for instant, rungs in (("03-02 23:59", {"due_today"}), ("03-03 00:00", {"due_today", "overdue"})):
        with database.writing() as connection:
            set_horizon(connection, at(instant))
        while sweeper.step() == 0:
            pass
        assert {alert.rung for alert in raised} == rungs
        with database.reading() as connection:
            assert {row.rung for row in connection.execute(alerts.select())} == rungs


def test_the_page_says_so_when_what_it_shows_may_still_change(database: Postgres, rules: Ruleset) -> None:
    def told(now: datetime) -> str | None:
        with database.reading() as connection:
            return behind(connection, now)

    begun = at("03-01 09:12")
    assert "正在读入" in str(told(begun))
    with database.writing() as connection:
        set_horizon(connection, begun)
    assert told(begun + LATE) is None
    late = str(told(begun + LATE + timedelta(seconds=1)))
    assert late.startswith("2022-03-01 09:12 之后收到的")
