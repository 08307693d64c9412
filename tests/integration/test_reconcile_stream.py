"""`liuyan reconcile` of the distributed form, on a real Kafka and PostgreSQL: nothing to report where all is well, and no tampering missed."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from kafka import KafkaProducer

from services.distributed.reconcile import NotComparableError, Progress, reconcile
from shared.events import encode_event
from shared.kafka import client
from shared.rules import Ruleset
from shared.times import SHANGHAI
from shared.topics import MESSAGES
from tests import postgres
from tests.builders import event, ruleset, shipped
from tests.service import liuyan
from tests.streamkit import Base, Stream, base

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, postgres_server: postgres.Server, rules: Ruleset) -> Iterator[Base]:
    """Nothing may be added to its topics: its copies are not read on."""
    with base(tmp_path_factory.mktemp("kafka"), postgres_server, rules) as found:
        yield found


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory, postgres_server: postgres.Server, rules: Ruleset) -> Iterator[Base]:
    with base(tmp_path_factory.mktemp("kafka"), postgres_server, rules) as found:
        yield found


def differences(found: Stream, progress: Progress = lambda what, done, total: None, patience: float = 30) -> list[str]:
    return reconcile(found.database, found.kafka, found.rules, progress, patience)


def test_nothing_differs_where_all_is_well(told: Base) -> None:
    with told.stream() as found:
        kept = {name: len(rows) for name, rows in found.tables().items()}
        assert kept["letters"] == 7
        assert kept["alerts"] > 20
        assert kept["due_days"] > 0
        assert differences(found) == []
        done = liuyan("reconcile", "--db", found.url, "--bootstrap", found.kafka)
        assert (done.code, done.out) == (0, "核对完毕，没有差异\n"), done.error


@pytest.mark.parametrize(
    ("statement", "where", "what"),
    [
        ("UPDATE cases SET title = '' WHERE key = 'zhenkang/n5'", "zhenkang/n5", "title 表中为"),
        ("DELETE FROM cases WHERE key = 'zhenkang/n5'", "zhenkang/n5", "没有办件行"),
        ("INSERT INTO cases SELECT 'zhenkang/x', platform, 'x', county, status, stage, category, title, outcome, breached,"
         " suspended, provisional, month, received_at, received_day, closed_at, holder, rounds, first_reply,"
         " first_reply_due_at, complete, due_at, due_day, ruleset, wake_at, events_ahead FROM cases"
         " WHERE key = 'zhenkang/n5'", "zhenkang/x", "有办件行"),
        ("UPDATE figures SET cases = cases + 1 WHERE month = (SELECT max(month) FROM figures)", "统计", "重新计数为"),
        ("UPDATE due_days SET cases = cases + 1 WHERE due_day = (SELECT max(due_day) FROM due_days)", "到期日", "重新计数为"),
        ("UPDATE handled SET cases = cases + 1 WHERE closed_day = (SELECT max(closed_day) FROM handled)", "办理时间", "重新计数为"),
        ("UPDATE days SET received = received - 1 WHERE day = (SELECT max(day) FROM days)", "每日接到", "重新计数为"),
        ("UPDATE event_counts SET events = events + 1 WHERE type = 'completed'", "事件数", "completed"),
        ("DELETE FROM tallies WHERE id = 't2'", "平台自报数", "2026-01-03"),
        ("DELETE FROM targets WHERE key = 'zhenkang/n2'", "zhenkang/n2", "待办时限表不符"),
        ("UPDATE targets SET escalate_2_at = 1 WHERE key = 'zhenkang/n2'", "zhenkang/n2", "escalate_2_at"),
        ("DELETE FROM alerts WHERE key = 'zhenkang/n2' AND rung = 'overdue'", "zhenkang/n2", "却没有提醒"),
        ("DELETE FROM records WHERE key = 'zhenkang/n5'", "zhenkang/n5", "主题中有事件 n5-0，它的记录中没有"),
        ("UPDATE records SET events = '[]' WHERE key = 'zhenkang/n5'", "zhenkang/n5", "主题中有事件 n5-1，它的记录中没有"),
        ("UPDATE records SET events = replace(events, '路灯', '路面') WHERE key = 'zhenkang/n5'", "zhenkang/n5", "事件 n5-0 与主题中的内容不同"),
        ("UPDATE records SET events = replace(events, '\"t3\"', '\"t9\"') WHERE key = 'zhenkang'", "zhenkang", "记录中有事件 t9"),
        ("INSERT INTO records SELECT 'zhenkang/x', 1, events, NULL FROM records WHERE key = 'zhenkang/n5'", "zhenkang/x", "有记录，主题中却没有"),
        ("UPDATE records SET refused = NULL WHERE key = 'zhenkang/other'", "zhenkang/other", "n4-0 记为未拒收"),
        ("UPDATE records SET refused = '[\"n5-0\"]' WHERE key = 'zhenkang/n5'", "zhenkang/n5", "n5-0 记为拒收"),
        ("DELETE FROM identities WHERE ident = 'zhenkang/n5-1'", "zhenkang/n5", "事件 n5-1 没有登记"),
        ("UPDATE identities SET key = 'zhenkang/n6' WHERE ident = 'zhenkang/n5-1'", "zhenkang/n5", "登记在 zhenkang/n6 之下"),
        ("INSERT INTO identities VALUES ('zhenkang/x-1', 'zhenkang/n5')", "zhenkang/n5", "登记了事件 x-1"),
        ("DELETE FROM letters WHERE reason = 'undecodable'", "死信", "没有保存"),
        ("DELETE FROM letters WHERE origin = 'liuyan.cases.v1/zhenkang/other#n4-0'", "zhenkang/other#n4-0", "没有保存"),
        ("UPDATE letters SET reason = 'conflict' WHERE reason = 'wrong_key'", "死信", "应为 wrong_key"),
        ("INSERT INTO letters VALUES ('liuyan.messages.v1/0/0', 1, 'conflict', '', NULL)", "死信", "可以使用"),
        ("INSERT INTO letters VALUES ('liuyan.cases.v1/zhenkang/n5#n5-0', 1, 'conflict', '', NULL)", "死信", "可以使用"),
    ],
)  # fmt: skip
def test_no_tampering_is_missed(told: Base, statement: str, where: str, what: str) -> None:
    with told.stream() as found:
        found.run(statement)
        lines = differences(found)
        assert [line for line in lines if where in line and what in line], lines


def test_differences_are_listed_and_the_exit_code_is_1(told: Base) -> None:
    with told.stream() as found:
        found.run("UPDATE cases SET title = '' WHERE key = 'zhenkang/n5'")
        done = liuyan("reconcile", "--db", found.url, "--bootstrap", found.kafka)
        assert (done.code, done.out) == (1, "zhenkang/n5：title 表中为 ''，重新计算为 '路灯 5'\n")
        assert "1 处差异" in done.error


def test_it_says_what_it_cannot_compare(told: Base) -> None:
    with told.stream() as found:
        other = ruleset(policy=shipped("policy.toml").replace("09:00", "08:30"))
        with pytest.raises(NotComparableError, match="另一套规则"):
            reconcile(found.database, found.kafka, other)
        found.run("UPDATE stream_state SET rebuilding = 'projecting'")
        with pytest.raises(NotComparableError, match="正在重建"):
            differences(found)
        found.run("UPDATE consumer_positions SET next_offset = next_offset - 1 WHERE topic = 'liuyan.cases.v1'")
        with pytest.raises(NotComparableError, match="liuyan alerts"):
            differences(found, patience=0)


def test_events_that_come_meanwhile_are_no_difference_wherever_they_have_got_to(own: Base) -> None:
    now = datetime.now(SHANGHAI)
    through = [
        event("late-1", "received", now - timedelta(hours=2), subject="late", category="complaint"),
        event("n7-9", "replied", now - timedelta(hours=2), subject="n7"),
    ]
    on_their_way = [
        event("late-2", "accepted", now - timedelta(hours=1), subject="late"),
        event("later-1", "received", now - timedelta(hours=1), subject="later", category="help"),
        event("n8-0", "withdrawn", now, subject="n8"),  # a conflict
    ]
    with own.stream() as found:
        come: list[str] = []

        def meanwhile(what: str, done: int, total: int) -> None:
            if what == "等待处理" and not come:  # the topic was read, the snapshot is still to be taken
                come.append(what)
                own.processor.feed(through)
                own.processor.work()
                found.read()
                own.processor.feed(on_their_way)

        own.processor.feed([event("before-1", "received", now, subject="before", category="help")])
        own.processor.work()
        assert differences(found, meanwhile) == []
        assert come
        with pytest.raises(NotComparableError, match="liuyan sla"):
            differences(found, patience=0)
        own.processor.work()
        found.settle()
        assert differences(found) == []
        assert "zhenkang/later" in {row[0] for row in found.tables()["cases"]}


def test_of_the_events_that_came_meanwhile_none_may_be_left_out(own: Base) -> None:
    now = datetime.now(SHANGHAI)
    late = [
        event(f"late-{number}", name, now - timedelta(hours=9 - number), subject="late")
        for number, name in enumerate(("received", "accepted", "replied"))
    ]
    with own.stream() as found:
        come: list[str] = []

        def meanwhile(what: str, done: int, total: int) -> None:
            if what == "等待处理" and not come:
                come.append(what)
                own.processor.feed(late)
                own.processor.work()
                found.read()
                found.run(  # the middle one is lost
                    "UPDATE records SET events = jsonb_path_query_array(events::jsonb, '$[*] ? (@.id != \"late-1\")')"
                    " WHERE key = 'zhenkang/late'"
                )

        own.processor.feed([event("before-1", "received", now, subject="before", category="help")])
        own.processor.work()
        assert "zhenkang/late：主题中有事件 late-1，它的记录中没有" in differences(found, meanwhile)


def test_what_a_stranger_wrote_and_took_back_has_been_counted_and_is_no_difference(own: Base) -> None:
    """The processor waits for nobody's transaction: one that hangs would hold up every message behind it."""
    taken_back = event("back-1", "received", datetime.now(SHANGHAI), subject="back", category="help")
    stranger = KafkaProducer(bootstrap_servers=own.kafka, acks="all", transactional_id="stranger", kafka_client=client)
    try:
        stranger.init_transactions()
        stranger.begin_transaction()
        stranger.send(MESSAGES.name, encode_event(taken_back), b"zhenkang/back").get(timeout=30)
        stranger.abort_transaction()
    finally:
        stranger.close()
    own.processor.work()
    with own.stream() as found:
        found.settle()
        assert "zhenkang/back" in {row[0] for row in found.tables()["cases"]}
        assert differences(found) == []
