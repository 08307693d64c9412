"""The distributed form for benches: a broker, and a PostgreSQL on the disk that flushes every commit."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from services.distributed import postgres
from shared.deployment import load_ruleset
from tests.clusterkit import Cluster
from tests.kafkakit import create_topics, own_broker

DURABLE = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "1GB", "max_wal_size": "4GB"}
"""Of PostgreSQL; everything else is as it comes. `synchronous_commit` is on, as the services ask for it."""


@contextmanager
def stage() -> Iterator[Cluster]:
    """A broker with the topics and a database with the tables; no service runs yet."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="liuyan-bench-")))
        broker = stack.enter_context(own_broker(folder / "kafka"))
        create_topics(broker.address)
        server = postgres.Server(Path(tempfile.mkdtemp(prefix="liuyan-pg-")), settings=DURABLE)
        stack.callback(server.remove)
        server.start()
        found = Cluster(folder, broker.address, server, load_ruleset())
        stack.callback(found.database.close)
        stack.callback(found.stop)
        yield found


def on_disk(found: Cluster, topic: str) -> int:
    """Bytes of the topic's records, one copy."""
    logs = (found.folder / "kafka").glob(f"**/{topic}-*/*.log")
    return sum(file.stat().st_size for file in logs)
