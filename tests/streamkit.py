"""The services behind the topics in a test's hand: what the SLA processor writes, and what one replica of alerts does, step by step.

The topics and the database are real; the processes are not: `Stream` takes each of their steps when the test says so.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text

from services.alerts.stream.apply import Projector, adopt_ruleset
from services.alerts.stream.consumer import Reader
from services.alerts.stream.horizon import Horizon, horizon, projected, reached
from services.alerts.stream.outlet import KafkaEnds
from services.alerts.stream.records import histories
from services.alerts.stream.sweeper import Sweeper
from services.alerts.stream.tables import identities, letters, outbox, records, state
from services.alerts.sweep import next_wake
from services.alerts.tables import alerts, cases, days, due_days, event_counts, figures, handled, tallies, targets
from services.compose.cases import evaluate_keys, evaluated
from services.distributed.database import open_database
from services.sla.partitions import partition_of
from services.sla.processing import Message, process
from shared.events import Event, encode_event
from shared.kafka import client
from shared.records import CaseRecord, encode_letter, encode_record
from shared.rules import Ruleset
from shared.times import SHANGHAI
from shared.topics import CASES, DEAD_LETTERS, MESSAGES, SLA_GROUP, message_key
from tests.builders import event
from tests.enginekit import tally
from tests.kafkakit import create_topics, ends, own_broker
from tests.kafkakit import records as records_of
from tests.postgres import Server
from tests.service import until

TABLES = (
    cases, figures, due_days, handled, days, tallies, event_counts, targets, alerts, outbox, records, identities,
    letters, state,
)  # fmt: skip
COUNTS = {"figures": "cases", "days": "received"}
"""Where a row that counts nothing may stand or not."""

Raw = tuple[bytes | None, bytes, int | None]
"""Key, value, and the partition where it is not the key's own."""


def _message(found: Event) -> Raw:
    return message_key(found), encode_event(found), None


def _home(key: str) -> int:
    return partition_of(key.encode(), MESSAGES.partitions)


class Processor:
    """What the SLA processor does, by its own rules: raw messages in; records and dead letters out, in transactions."""

    def __init__(self, kafka: str, rules: Ruleset) -> None:
        from kafka import KafkaProducer

        self.kafka, self.rules = kafka, rules
        self.known: dict[str, CaseRecord] = {}
        self.done: dict[int, int] = {}
        self.plain = KafkaProducer(bootstrap_servers=kafka, acks="all", kafka_client=client)
        self.producer = KafkaProducer(
            bootstrap_servers=kafka, acks="all", transactional_id="test-sla", kafka_client=client
        )
        self.producer.init_transactions()

    def close(self) -> None:
        self.plain.close()
        self.producer.close()

    def feed(self, events: Iterable[Event]) -> None:
        self.send(_message(event) for event in events)

    def send(self, messages: Iterable[Raw]) -> None:
        """Into the raw topic, as they are."""
        sent = [self.plain.send(MESSAGES.name, value, key, partition=number) for key, value, number in messages]
        self.plain.flush()
        for future in sent:
            future.get(timeout=0)

    def work(self, batch: int = 100) -> None:
        """Everything that came since, in small batches, so that keys have several records."""
        found = records_of(self.kafka, MESSAGES.name, self.done, "read_uncommitted")  # as Faust reads
        for start in range(0, len(found), batch):
            some = found[start : start + batch]
            self.producer.begin_transaction()
            for partition in {record.partition for record in some}:
                own = [record for record in some if record.partition == partition]
                self._process(partition, own)
            self.producer.commit_transaction()
        self.done = ends(self.kafka, MESSAGES.name)  # the marks of transactions stand there, too
        self._acknowledge()

    def _process(self, partition: int, own: Sequence[Any]) -> None:
        messages = [Message(r.key, r.value, f"{r.topic}/{r.partition}/{r.offset}") for r in own]
        known = {key: record for key, record in self.known.items() if _home(key) == partition}
        done = process(known, messages, self.rules, lambda key: _home(key) == partition)
        for record in done.records:
            self.known[record.key] = record
            self.producer.send(CASES.name, encode_record(record), record.key.encode(), partition=partition)
        for letter in done.letters:
            self.producer.send(DEAD_LETTERS.name, encode_letter(letter))
        self.done[partition] = own[-1].offset + 1

    def _acknowledge(self) -> None:
        from kafka import KafkaConsumer, TopicPartition
        from kafka.structs import OffsetAndMetadata

        consumer = KafkaConsumer(
            bootstrap_servers=self.kafka, group_id=SLA_GROUP, enable_auto_commit=False, kafka_client=client
        )
        try:
            consumer.commit(
                {
                    TopicPartition(MESSAGES.name, partition): OffsetAndMetadata(offset, "", -1)
                    for partition, offset in self.done.items()
                }
            )
        finally:
            consumer.close()


class Stream:
    """One replica of alerts on a database of its own."""

    def __init__(self, kafka: str, url: str, rules: Ruleset, name: str | None = None) -> None:
        self.kafka, self.url, self.rules = kafka, url, rules
        self.database = open_database(url)
        with self.database.writing() as connection:
            adopt_ruleset(connection, rules)
        self.reader = Reader(kafka, name, self.database, Projector(self.database, rules, evaluated))
        self.ends = KafkaEnds(kafka, SLA_GROUP)
        self.horizon = Horizon(self.database, self.ends)
        self.raised = 0
        self.sweeper = Sweeper(
            self.database,
            rules,
            lambda connection, keys, at: evaluate_keys(histories, connection, keys, rules, at),
            self._count,
        )

    def close(self) -> None:
        self.reader.close()
        self.ends.close()
        self.database.close()

    def read(self) -> None:
        """Up to where the topics end now."""
        wanted = {topic: ends(self.kafka, topic) for topic in (CASES.name, DEAD_LETTERS.name)}

        def there() -> bool:
            self.reader.step()
            with self.database.reading() as connection:
                return all(reached(own, projected(connection, topic)) for topic, own in wanted.items())

        until(there, "everything is read")

    def settle(self) -> None:
        """Read, and flag what is due as of an instant after the beginning of this."""
        with self.database.reading() as connection:
            after = connection.execute(select(func.clock_timestamp())).scalar_one()
        self.read()

        def flagged() -> bool:
            self.horizon.step()
            self.sweeper.step()
            with self.database.reading() as connection:
                at, wake = horizon(connection), next_wake(connection)
                return at is not None and at >= after and (wake is None or wake > at)

        until(flagged, "what is due is flagged")

    def run(self, *statements: str) -> None:
        with self.database.writing() as connection:
            for statement in statements:
                assert connection.execute(text(statement)).rowcount, statement

    def _count(self, raised: Sequence[Any], now: Any) -> None:
        self.raised += len(raised)

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all tables, in order, without ids that count up, without what counts nothing, and without when an event
        of a type came last: one of the future came when it was read."""
        found = {}
        with self.database.reading() as connection:
            for table in TABLES:
                left_out = {"targets": "id", "event_counts": "last_time"}.get(table.name)
                statement = select(*(column for column in table.c if column.name != left_out))
                counting = COUNTS.get(table.name)
                statement = statement if counting is None else statement.where(table.c[counting] != 0)
                found[table.name] = sorted(map(tuple, connection.execute(statement)), key=repr)
        return found


# A story with everything in it


def story(now: datetime) -> list[Event]:
    """Cases that run, are overdue (long ago, and just now), were done in time and late, reopened; tallies; duplicates."""
    events: list[Event] = []
    for number in range(40):
        subject, start = f"n{number}", now - timedelta(days=60 - number)
        plan = ["received", "accepted"]
        plan += ["replied", "completed"] if number % 3 == 0 else []
        plan += ["reopened"] if number % 6 == 0 else []
        plan += ["suspended"] if number % 7 == 1 else []
        for step, name in enumerate(plan):
            data = {"category": "complaint", "title": f"路灯 {number}"} if name == "received" else {}
            time = start + timedelta(hours=30 * step)
            events.append(event(f"{subject}-{step}", name, time, subject=subject, sequence=step, **data))
    events.append(event("ahead", "received", now + timedelta(days=9), subject="ahead", category="complaint"))
    events += [tally(f"t{day}", now - timedelta(days=day), f"2026-01-{day + 1:02}", day) for day in range(5)]
    return [*events, *events[:30]]


def odd(now: datetime) -> list[Raw]:
    """Messages that become dead letters, each for another reason, and two that are good."""
    good = event("odd-1", "received", now, subject="odd", category="help")
    other = event("n3-0", "accepted", now, subject="n3")  # the id stands already, with another content
    elsewhere = event("n4-0", "received", now, subject="other", category="help")  # and this one under another key
    alone = event("n5-0", "received", now, subject="alone", category="help")
    beside = event("other-1", "received", now, subject="other", category="help")
    foreign = encode_event(good).replace(b"/zhenkang", b"/nowhere")
    return [
        *map(_message, (good, other, elsewhere, alone, beside)),
        (b"nowhere/odd", foreign, None),
        (b"elsewhere", encode_event(good), None),
        (message_key(good), encode_event(good), (_home("zhenkang/odd") + 1) % MESSAGES.partitions),
        (None, b"{", None),
    ]


_numbers = count(1)


class Base:
    """A broker with the story in its topics, and a database that has all of it: `stream` is on a copy of that."""

    def __init__(self, kafka: str, server: Server, processor: Processor, rules: Ruleset) -> None:
        self.kafka, self.server, self.processor, self.rules = kafka, server, processor, rules
        self._template = f"base{next(_numbers)}"
        server.create(self._template)
        now = datetime.now(SHANGHAI)
        processor.feed(story(now))
        processor.work(20)
        first = Stream(kafka, server.url(self._template), rules)
        first.settle()
        processor.send(odd(now))
        processor.work(20)
        first.settle()
        first.run(  # as of those that were seen before they were due
            "UPDATE targets SET quiet = false WHERE key IN ('zhenkang/n2', 'zhenkang/n25')",
            "UPDATE alerts SET quiet = false WHERE key IN ('zhenkang/n2', 'zhenkang/n25')",
        )
        first.close()

    def copy(self) -> str:
        """The address of a new copy of the database."""
        return self.server.create(f"copy{next(_numbers)}", template=self._template)

    @contextmanager
    def stream(self, url: str | None = None) -> Iterator[Stream]:
        found = Stream(self.kafka, url or self.copy(), self.rules)
        try:
            yield found
        finally:
            found.close()


@contextmanager
def base(folder: Path, server: Server, rules: Ruleset) -> Iterator[Base]:
    with own_broker(folder / "kafka") as broker:
        create_topics(broker.address)
        processor = Processor(broker.address, rules)
        try:
            yield Base(broker.address, server, processor, rules)
        finally:
            processor.close()
