"""Records of cases into PostgreSQL by the alerts service, against a loop that only decodes them, and against writing row by row; then all of
them again, by `liuyan rebuild`."""

import contextlib
import random
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import CoordinatorNotAvailableError
from sqlalchemy import func, select, text

from bench.measure import CATEGORIES, PLATFORMS, TEXT, event, one_core, pin, used
from bench.stage import on_disk, stage
from services.alerts.stream.consumer import GROUP
from services.alerts.tables import consumer_positions
from services.distributed.rebuild import rebuild
from services.sla.processing import Message, process
from shared.cycles import search_seldom
from shared.kafka import admin_client, client
from shared.records import CaseRecord, decode_record, encode_record
from shared.times import SHANGHAI
from shared.topics import CASES, MIB
from tests.clusterkit import Cluster, Process

CASE_COUNT = 100_000
ROUNDS = 2
REPLICAS = 2  # as the documentation advises
SINGLE_CASES = 3_000
PATIENCE = 300.0
LOOK_SECONDS = 0.1  # between two looks, which take from what is measured


def events(cases: int, run: int) -> Iterator[dict[str, Any]]:
    """Five events each at most, over the last ninety days: of the newest cases the later ones have not come yet."""
    rnd, now = random.Random(run), datetime.now(SHANGHAI)  # noqa: S311
    for i in range(cases):
        subject, platform = f"a{run}-{i}", rnd.choice(PLATFORMS)
        at = now - timedelta(seconds=rnd.randrange(86_400 * 90))
        steps: tuple[tuple[str, float, dict[str, Any]], ...] = (
            ("received", 0.0, {"category": rnd.choice(CATEGORIES), "title": "关于公路维修的咨询", "content": TEXT}),
            ("accepted", 2.0, {}),
            ("replied", rnd.choice((20, 50, 200)), {"content": f"您反映的问题已核实。{TEXT}"}),
            ("completed", rnd.choice((210, 300)), {}),
            ("rated", 320.0, {"score": rnd.randrange(1, 6)}),
        )
        for number, (name, hours, data) in enumerate(steps):
            moment = at + timedelta(hours=hours)
            if moment <= now:
                yield event(subject, number, name, platform, moment, **data)


def _records(found: Cluster, cases: int, run: int) -> list[CaseRecord]:
    messages = (
        Message(f"{e['source'][len('/platforms/') :]}/{e['subject']}".encode(), msgspec.json.encode(e), "bench")
        for e in events(cases, run)
    )
    return process({}, messages, found.rules).records


def _fill(found: Cluster, records: list[CaseRecord]) -> None:
    producer = KafkaProducer(bootstrap_servers=found.kafka, linger_ms=20, batch_size=MIB // 4, kafka_client=client)
    for record in records:
        producer.send(CASES.name, encode_record(record), record.key.encode())
    producer.flush()
    producer.close()


def _projected(found: Cluster) -> int:
    """How many records of cases are in the projections: offsets count from 0, with none between them."""
    positions = consumer_positions.c
    with found.database.reading() as connection:
        total = select(func.coalesce(func.sum(positions.next_offset), 0)).where(positions.topic == CASES.name)
        return int(connection.execute(total).scalar_one())


class Rate(NamedTuple):
    """Cases a second, from when every replica reads its share to the last of them, and of the second half of these alone; how many
    processors the replicas used."""

    all: float
    later: float
    share: float


def _ours(found: Cluster, run: int, before: int, until: int, replicas: int) -> Rate:
    with one_core(0) if replicas == 1 else contextlib.nullcontext():
        started = [found.start("alerts", f"alerts-{run}-{number}") for number in range(replicas)]
    end = time.monotonic() + PATIENCE
    with admin_client(found.kafka) as admin:
        while not (_shared_out(admin, replicas) and _projected(found) > before):
            assert time.monotonic() < end, started[0].tail()
            time.sleep(LOOK_SECONDS)
    busy, seen = _used(started), [(_projected(found), time.perf_counter())]
    while (done := seen[-1][0]) < until:
        assert time.monotonic() < end, f"{done} of {until} records: {started[0].tail()}"
        time.sleep(LOOK_SECONDS)
        seen.append((_projected(found), time.perf_counter()))
    (first, begun), (_, ended) = seen[0], seen[-1]
    half, then = next(look for look in seen if look[0] >= (first + until) / 2)
    share = (_used(started) - busy) / (ended - begun)
    for each in started:
        each.stop()
    return Rate((until - first) / (ended - begun), (until - half) / (ended - then), share)


def _shared_out(admin: Any, replicas: int) -> bool:
    try:
        group = admin.describe_groups([GROUP])[GROUP]
    except CoordinatorNotAvailableError:  # nobody has joined it yet
        return False
    return group["group_state"] == "Stable" and len(group["members"]) == replicas


def _used(processes: Iterable[Process]) -> float:
    return sum(used(each.pid) for each in processes)


def _decoding(found: Cluster, since: dict[int, int], total: int) -> float:
    """Records a second of a loop that only reads and decodes them."""
    consumer = KafkaConsumer(
        bootstrap_servers=found.kafka,
        group_id=None,
        enable_auto_commit=False,
        max_poll_records=2_000,
        max_partition_fetch_bytes=CASES.max_bytes,
        fetch_max_bytes=4 * CASES.max_bytes,
        receive_buffer_bytes=MIB,
        kafka_client=client,
    )
    consumer.assign([TopicPartition(CASES.name, number) for number in since])
    for number, offset in since.items():
        consumer.seek(TopicPartition(CASES.name, number), offset)
    seen, first, begun = 0, 0, 0.0
    while seen < total:
        for records in consumer.poll(timeout_ms=1000).values():
            for record in records:
                decode_record(record.value)
            seen += len(records)
        if not first and seen:
            first, begun = seen, time.perf_counter()
    rate = (seen - first) / (time.perf_counter() - begun)
    consumer.close()
    return rate


def _single(found: Cluster) -> float:
    """Cases a second when the same rows are written one by one, and each case is committed."""
    tables = ("records", "cases", "identities", "targets")
    with found.database.writing() as connection:
        for table in tables:
            connection.execute(text(f"CREATE TABLE IF NOT EXISTS single_{table} (LIKE {table} INCLUDING ALL)"))
            connection.execute(text(f"TRUNCATE single_{table}"))
        keys = list(connection.execute(text(f"SELECT key FROM cases ORDER BY key LIMIT {SINGLE_CASES}")).scalars())  # noqa: S608
        statements: dict[str, list[tuple[str, dict[str, Any]]]] = {key: [] for key in keys}
        for table in tables:
            rows = connection.execute(text(f"SELECT * FROM {table} WHERE key = ANY(:keys)"), {"keys": keys})  # noqa: S608
            for row in map(dict, rows.mappings()):
                names = ", ".join(row)
                values = ", ".join(f":{name}" for name in row)
                statement = f"INSERT INTO single_{table} ({names}) VALUES ({values}) ON CONFLICT DO NOTHING"  # noqa: S608
                statements[row["key"]].append((statement, row))
    prepared = {statement: text(statement) for of_case in statements.values() for statement, _ in of_case}
    begun = time.perf_counter()
    for of_case in statements.values():
        with found.database.writing() as connection:
            for statement, row in of_case:
                connection.execute(prepared[statement], row)
    return SINGLE_CASES / (time.perf_counter() - begun)


def main() -> None:
    _beside()
    _alone()


def _beside() -> None:
    """As they run: replicas, broker and database share all of the machine."""
    with stage() as found:
        records = _records(found, ROUNDS * CASE_COUNT, 0)
        _fill(found, records)
        rate = _ours(found, 0, 0, len(records), REPLICAS)
        print(
            f"{rate.all:,.0f} cases/s (goal 10,000) by {REPLICAS} replicas with {rate.share:.2f} processors, into empty tables;"
            f" {rate.later:,.0f} in the second half of {len(records):,}",
            flush=True,
        )


def _alone() -> None:
    """One replica, which has a processor for itself."""
    pin(1)  # the broker, the database and whoever looks on
    with stage() as found:
        before = 0
        for run in range(ROUNDS):
            ends = _ends(found)
            records = _records(found, CASE_COUNT, run)
            _fill(found, records)
            rate, _, share = _ours(found, run, before, before + len(records), replicas=1)
            before += len(records)
            with one_core(0):
                decoding, single = _decoding(found, ends, len(records)), _single(found)
            print(
                f"{rate:,.0f} cases/s by one with {share:.0%} of a processor, {rate / share:,.0f} per second of its time;"
                f" {decoding:,.0f}/s only decoded: ratio {rate / decoding:.2f};"
                f" {single:,.0f} cases/s row by row: {rate / single:.1f} x",
                flush=True,
            )
        print(_sizes(found), flush=True)
        search_seldom()
        with one_core(0):
            done = rebuild(found.database, found.kafka, found.rules, lambda *_: None)
        print(
            f"rebuild, by the command alone: {done.cases:,} cases in {done.seconds:.0f} s, {done.cases / done.seconds:,.0f}/s"
        )


def _sizes(found: Cluster) -> str:
    """What a million such cases take."""
    with found.database.writing() as connection:
        cases = connection.execute(text("SELECT count(*) FROM cases")).scalar_one()
        rows = connection.execute(
            text(
                "SELECT relname, pg_table_size(oid) AS rows, pg_indexes_size(oid) AS indexes FROM pg_class"
                " WHERE relkind = 'r' AND relname IN ('records', 'identities', 'cases', 'targets') ORDER BY 2 DESC"
            )
        ).all()
    parts = (
        f"{row.relname} {row.rows / cases / 1000:.2f} + {row.indexes / cases / 1000:.2f} of indexes" for row in rows
    )
    topic = on_disk(found, CASES.name) / sum(_ends(found).values()) / 1000
    return f"GB for a million cases: PostgreSQL {', '.join(parts)}; {CASES.name} {topic:.2f}"


def _ends(found: Cluster) -> dict[int, int]:
    consumer = KafkaConsumer(bootstrap_servers=found.kafka, group_id=None, kafka_client=client)
    try:
        ends = consumer.end_offsets([TopicPartition(CASES.name, number) for number in range(CASES.partitions)])
        return {tp.partition: end for tp, end in ends.items()}
    finally:
        consumer.close()
