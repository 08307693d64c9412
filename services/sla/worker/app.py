"""The Faust application of the SLA processor: one agent over raw bytes, a fetch of a partition at a time."""

from typing import Any, cast

import faust
from faust.tables.manager import TableManager

from services.sla.worker.batches import WAITING, Batch, BatchConsumer, BatchTransport
from services.sla.worker.health import Health
from services.sla.worker.ledger import Ledger, Place
from services.sla.worker.processor import Processor
from services.sla.worker.watchdog import Watchdog
from shared.rules import Ruleset
from shared.topics import CASES, MESSAGES, SLA_GROUP

MAX_RECORDS = 10_000  # of all partitions in one fetch
COMMIT_SECONDS = 0.5  # between two commits of what is done: alerts waits for them before anything is flagged
RAW: dict[str, Any] = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}


def make_app(
    bootstrap: str, instance: str, partitions: int, rules: Ruleset, watchdog: Watchdog, health: Health
) -> faust.App:
    """The application. `instance` names this process among its like, and stays the same over restarts."""
    app = faust.App(
        SLA_GROUP,
        broker=";".join(f"kafka://{server}" for server in bootstrap.split(",")),
        store="memory://",
        consumer_group_instance_id=instance,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=10.0,
        broker_heartbeat_interval=2.0,
        broker_rebalance_timeout=15.0,  # how long a member that died in a rebalance holds up the others
        broker_commit_interval=COMMIT_SECONDS,
        broker_max_poll_records=MAX_RECORDS,
        stream_buffer_maxsize=WAITING,
        table_standby_replicas=0,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
    )
    app.transport = BatchTransport(app.conf.broker_consumer, app)
    ledger = Ledger(
        app,
        name="cases",
        key_type=bytes,
        value_type=bytes,
        changelog_topic=app.topic(CASES.name, **RAW),
        partitions=partitions,
    )
    ledger.place = Place(bootstrap, SLA_GROUP)
    app.tables.add(ledger)

    def done(batch: Batch) -> None:
        cast(BatchConsumer, app.consumer).done(batch)  # there from the application's start on

    processor = Processor(ledger, partitions, rules, watchdog, health, done)
    ledger.on_taken = processor.take_over
    health.working = lambda: _working(app, ledger)
    health.member = lambda: _member(app)

    async def agent(stream: Any) -> None:
        async for event in stream.noack().events():
            await processor.take(event.message)

    app.agent(app.topic(MESSAGES.name, **RAW), name="sla", concurrency=1)(agent)
    return app


def held(app: faust.App) -> list[int]:
    """The partitions that are assigned at present; from any thread."""
    consumer = app._consumer  # noqa: SLF001 - the property would make one
    return list(cast(BatchConsumer, consumer).reached()) if consumer is not None else []


def _member(app: faust.App) -> bool:
    """Whether it is one of the group, and no partitions are being given away; from any thread. Faust makes its parts when they are asked
    for, with the loop of whoever asks: what a probe made would never come to work."""
    recovery = cast(TableManager, app.tables)._recovery  # noqa: SLF001 - the property would make one
    return recovery is not None and recovery.completed.is_set() and not app.rebalancing


def _working(app: faust.App, ledger: Ledger) -> str | None:
    if not _member(app):
        return "还没有加入消费组，或正在重新分配分区"
    unread = ledger.unread()
    return f"正在读回分区 {'、'.join(map(str, unread))}" if unread else None
