"""Single pushes over HTTP, 256 connections of nine portals, each acknowledged by Kafka before its 202, against bare FastAPI with aiokafka."""

from urllib.parse import urlsplit

from bench.flood import SECONDS, WARM_SECONDS, flood, server
from bench.measure import PLATFORMS, median, one_core, pin, used
from bench.rivals import interpreter
from bench.stage import on_disk
from shared.deployment import load_ruleset
from shared.topics import MESSAGES
from tests.clusterkit import Cluster, cluster
from tests.kafkakit import ends

CONNECTIONS = 256  # with fewer both wait for the broker, and what is measured is its latency
ROUNDS = 5


def _rates(keys: dict[str, str], port: int, pid: int, run: int) -> tuple[float, float]:
    """Events a second, and the share of its processor that the server had."""
    before = used(pid)
    rate = flood(keys, port, run, CONNECTIONS)
    return rate, (used(pid) - before) / (WARM_SECONDS + SECONDS)


def _ours(found: Cluster, run: int) -> tuple[float, float]:
    name = f"ingest-{run}"
    with one_core(0):
        process = found.start("ingest", name)
    found.ready(name)
    port = urlsplit(process.url()).port
    assert port is not None
    assert process._process is not None  # noqa: SLF001
    try:
        keys = {slug: found.keys[slug] for slug in PLATFORMS}
        return _rates(keys, port, process._process.pid, run)  # noqa: SLF001
    finally:
        process.stop()


def _bare(found: Cluster, run: int) -> tuple[float, float]:
    with server(interpreter(), "bench/bareserver.py", found.kafka, MESSAGES.name) as (port, key, pid):
        return _rates(dict.fromkeys(PLATFORMS, key), port, pid, run)


def main() -> None:
    interpreter()
    pin(1)  # the load, the broker and the database; what is measured has processor 0 for itself
    with cluster(load_ruleset()) as found:
        first = _ours(found, 0)
        size = on_disk(found, MESSAGES.name) / sum(ends(found.kafka, MESSAGES.name).values())
        runs = [(*first, *_bare(found, 0))]
        runs += [(*_ours(found, run), *_bare(found, run)) for run in range(1, ROUNDS)]
    ours, our_share, bare, bare_share = (median([run[i] for run in runs]) for i in range(4))
    ratio = median([ours / bare for ours, _, bare, _ in runs])
    work = median([(ours / share) / (bare / bare_share) for ours, share, bare, bare_share in runs])
    print(
        f"ratio {ratio:.2f} (goal >= 0.7): {ours:,.0f} acknowledged events/s with {our_share:.0%} of a processor against"
        f" {bare:,.0f} bare with {bare_share:.0%}; per second of processor time {work:.2f}"
    )
    print(f"GB for a million receptions: {MESSAGES.name} {size / 1000:.2f}")
