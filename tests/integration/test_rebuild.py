"""`liuyan rebuild` on a real Kafka and PostgreSQL: the same tables again, whatever happens meanwhile, and not one alert more or less."""

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from services.alerts.projection import Evaluated
from services.alerts.stream.apply import PROJECTING, READING, OtherRulesetError
from services.alerts.stream.horizon import horizon
from services.alerts.stream.rebuild import Rebuild, begin, rebuilding
from services.alerts.stream.records import histories
from services.alerts.tables import event_counts
from services.compose.cases import evaluate_keys
from services.distributed.rebuild import EmptyTopicError, rebuild
from services.distributed.reconcile import reconcile
from shared.rules import Ruleset
from shared.times import SHANGHAI
from shared.topics import CASES, DEAD_LETTERS
from tests import postgres
from tests.builders import event, ruleset, shipped
from tests.clusterkit import WEB, Process
from tests.kafkakit import create_topics, own_broker
from tests.service import SCRIPT, clean_environment, liuyan, until
from tests.streamkit import Base, Stream, base

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, postgres_server: postgres.Server, rules: Ruleset) -> Iterator[Base]:
    with base(tmp_path_factory.mktemp("kafka"), postgres_server, rules) as found:
        yield found


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory, postgres_server: postgres.Server, rules: Ruleset) -> Iterator[Base]:
    """To whose topics the test may add."""
    with base(tmp_path_factory.mktemp("kafka"), postgres_server, rules) as found:
        yield found


def nothing(what: str, done: int, total: int) -> None:
    """No progress is shown."""


def phase(found: Stream) -> str | None:
    with found.database.reading() as connection:
        return rebuilding(connection)


def start(found: Stream) -> None:
    """What the command does first."""
    with found.database.writing() as connection:
        begin(connection, found.rules, found.ends.end_offsets)


def finish(found: Stream) -> None:
    """What a service does: read, and sweep until the rebuild is at its end."""
    found.read()

    def whole() -> bool:
        found.sweeper.step()
        return phase(found) is None

    until(whole, "the rebuild is at its end")


def same(found: Stream, before: dict[str, Any]) -> None:
    after = found.tables()
    for name, rows in before.items():
        assert after[name] == rows, name


def last_times(found: Stream) -> list[Any]:
    """When events came last, of the types of which none is still to come."""
    with found.database.reading() as connection:
        return sorted(connection.execute(select(event_counts).where(event_counts.c.type != "received")).all())


@contextmanager
def commanded(found: Stream) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process of its own."""
    arguments = ["rebuild", "--db", found.url, "--bootstrap", found.kafka]
    started = subprocess.Popen([SCRIPT, *arguments], env=clean_environment(), stderr=subprocess.DEVNULL)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def test_all_tables_are_the_same_again_and_again(told: Base) -> None:
    with told.stream() as found:
        before, last = found.tables(), last_times(found)
        assert len(before["cases"]) == 43
        done = liuyan("rebuild", "--db", found.url, "--bootstrap", found.kafka)
        assert (done.code, done.out[:10]) == (0, "重建完毕：43 件，"), done.error
        assert done.out.endswith(" 件/秒\n")
        same(found, before)
        assert rebuild(found.database, found.kafka, found.rules, nothing).cases == 43
        same(found, before)
        assert last_times(found) == last
        found.settle()
        assert found.raised == 0
        same(found, before)


def test_what_was_damaged_is_whole_again(told: Base) -> None:
    with told.stream() as found:
        before = found.tables()
        found.run(
            "DELETE FROM cases WHERE key < 'zhenkang/n2'",
            "UPDATE cases SET title = '' WHERE key = 'zhenkang/n5'",
            "UPDATE figures SET cases = cases + 5",
            "UPDATE due_days SET cases = cases + 5",
            "UPDATE handled SET cases = cases + 5",
            "UPDATE days SET received = 0",
            "DELETE FROM tallies",
            "UPDATE event_counts SET events = 0",
            "UPDATE targets SET escalate_2_at = 1 WHERE target = 'complete'",
            "INSERT INTO targets (key, platform, round, target, due_at, quiet)"
            " SELECT 'zhenkang/gone', platform, round, target, due_at, quiet FROM targets LIMIT 1",
            "UPDATE records SET events = '[]', revision = 99, refused = NULL",
            "DELETE FROM letters WHERE origin NOT LIKE '%#%' OR origin LIKE '%other#%'",
        )
        assert reconcile(found.database, found.kafka, found.rules)
        rebuild(found.database, found.kafka, found.rules, nothing)
        after = found.tables()
        for rows in (before, after):
            rows["letters"] = [(origin, *rest) for origin, _, *rest in rows["letters"]]  # whenever it was buried
        assert after == before
        assert reconcile(found.database, found.kafka, found.rules) == []


@pytest.mark.parametrize("at", [READING, PROJECTING])
def test_killed_in_the_middle_it_can_be_run_again(told: Base, at: str) -> None:
    with told.stream() as found:
        before = found.tables()
        start(found)
        if at == PROJECTING:
            found.read()
            found.sweeper.step()
        assert phase(found) == at
        found.reader.close()
        assert rebuild(found.database, found.kafka, found.rules, nothing).cases == 43
        same(found, before)


def test_killed_in_the_middle_the_services_carry_on(told: Base) -> None:
    with told.stream() as found:
        before = found.tables()
        with commanded(found) as command:
            until(lambda: phase(found) is not None, "the rebuild has begun")
            command.send_signal(signal.SIGKILL)
        finish(found)
        same(found, before)
        found.settle()
        same(found, before)


def test_who_joins_the_group_knows_the_partitions_before(told: Base) -> None:
    """Into a group that is there already, it comes at once, and may lead it: of topics that it did not know it gave nobody anything."""
    with told.stream() as found, closing(found.reader._subscribed()) as consumer:
        assert {
            topic: len(consumer._cluster.partitions_for_topic(topic) or ()) for topic in consumer.subscription()
        } == {
            CASES.name: CASES.partitions,
            DEAD_LETTERS.name: DEAD_LETTERS.partitions,
        }


def test_a_reader_that_has_nothing_to_read_notices(told: Base) -> None:
    """Nobody joins its group, and nothing is written: only the database says that it has to begin again."""
    with told.stream() as found:
        found.settle()
        before = found.tables()
        start(found)
        finish(found)
        same(found, before)


def test_nothing_is_due_before_everything_is_read_and_projected(told: Base) -> None:
    """Targets whose next rung has come, and earlier records of the same cases: no alert is raised, and none cleared."""
    with told.stream() as found:
        found.settle()
        found.run("UPDATE targets SET next_at = 1 WHERE next_rung IS NOT NULL")
        before = found.tables()["alerts"]
        start(found)
        found.horizon.step()
        found.sweeper.step()
        found.read()
        for _ in range(3):
            found.horizon.step()
            with found.database.reading() as connection:
                assert horizon(connection) is None
        assert phase(found) == READING
        assert found.tables()["alerts"] == before
        done = liuyan("cases", "--db", found.url)
        assert (done.code, "正在重建" in done.error) == (1, True)
        finish(found)
        assert found.tables()["alerts"] == before
        assert found.raised == 0
        assert liuyan("cases", "--db", found.url).code == 0


def test_what_happens_meanwhile_clears_its_alerts_once(own: Base) -> None:
    now = datetime.now(SHANGHAI)
    with own.stream() as found:
        found.settle()
        standing = {row for row in found.tables()["alerts"] if row[1] == "zhenkang/n2" and row[9] is None}
        assert standing
        before = found.tables()["outbox"]
        start(found)
        own.processor.feed([event("n2-9", "completed", now - timedelta(hours=1), subject="n2")])
        own.processor.work()
        finish(found)
        cleared = [row for row in found.tables()["alerts"] if row[1] == "zhenkang/n2" and row[9] is not None]
        assert {row[10] for row in cleared} == {"completed"}
        assert len(cleared) == len(standing)
        assert len(found.tables()["outbox"]) == len(before) + len(standing)
        found.settle()
        assert reconcile(found.database, found.kafka, found.rules) == []


def test_while_services_run_and_events_come(own: Base, tmp_path: Path) -> None:
    now = datetime.now(SHANGHAI)
    with own.stream() as found:
        environ = {"LIUYAN_KAFKA": found.kafka, "LIUYAN_DB": found.url}
        services = [Process("alerts", f"alerts-{number}", environ, tmp_path) for number in (1, 2)]
        for service in services:
            service.start()
        try:
            for service in services:
                service.url()
            before = found.tables()["alerts"]
            found.run(  # as if one had begun that cannot end
                "UPDATE stream_state SET rebuilding = 'reading', read_to = '{\"liuyan.cases.v1\": {\"0\": 999999}}'"
            )
            until(lambda: "正在重建" in WEB.get(f"{services[0].url()}/readyz").text, "nobody is sent there")
            with commanded(found) as command:
                for number in range(30):
                    new = event(f"w{number}", "received", now, subject=f"w{number}", category="help")
                    own.processor.feed([new, event(f"n{number}-77", "accepted", now, subject=f"n{number}")])
                    own.processor.work()
                assert command.wait(60) == 0

            def all_there() -> bool:
                return len(found.tables()["cases"]) == 43 + 30 and reconciled(found)

            until(all_there, "everything is there")
            assert found.tables()["alerts"] == before
            until(lambda: WEB.get(f"{services[0].url()}/readyz").status_code == 200, "it is sent requests again")
        finally:
            codes = [service.stop() for service in services]
        assert codes == [0, 0], [service.tail() for service in services]


def reconciled(found: Stream) -> bool:
    return reconcile(found.database, found.kafka, found.rules) == []


def test_a_record_that_cannot_be_projected_is_buried_alone(told: Base) -> None:
    with told.stream() as found:
        before = {row[0] for row in found.tables()["cases"]}
        start(found)
        found.read()

        def choking(connection: Connection, keys: Sequence[str], at: datetime) -> list[Evaluated]:
            if "zhenkang/n5" in keys:
                raise ValueError
            return evaluate_keys(histories, connection, keys, found.rules, at)

        work = Rebuild(found.database, found.rules, choking)

        def whole() -> bool:
            work.step()
            return phase(found) is None

        until(whole, "the rebuild is at its end")
        after = found.tables()
        assert before - {row[0] for row in after["cases"]} == {"zhenkang/n5"}
        assert [row[0] for row in after["letters"] if row[2] == "unusable"] == [f"{CASES.name}/zhenkang/n5"]


def test_what_it_refuses(told: Base, tmp_path: Path, rules: Ruleset) -> None:
    with told.stream() as found:
        before = found.tables()
        other = ruleset(policy=shipped("policy.toml").replace("09:00", "08:30"))
        with pytest.raises(OtherRulesetError):
            rebuild(found.database, found.kafka, other, nothing)
        with own_broker(tmp_path / "other") as empty:
            create_topics(empty.address)
            with pytest.raises(EmptyTopicError):
                rebuild(found.database, empty.address, rules, nothing)
            done = liuyan("rebuild", "--db", found.url, "--bootstrap", empty.address)
            assert (done.code, done.error.count("\n"), "是空的" in done.error) == (1, 1, True)
        done = liuyan("rebuild", "--db", found.url, "--bootstrap", empty.address)
        assert (done.code, "没有回答" in done.error) == (1, True)
        done = liuyan("rebuild", "--db", "some.db", "--bootstrap", empty.address)
        assert (done.code, "postgresql://" in done.error) == (1, True)
        same(found, before)
