"""Single pushes over HTTP, 64 connections of nine portals, each acknowledged by Kafka before its 202, against bare FastAPI with aiokafka."""

from urllib.parse import urlsplit

from bench.flood import flood, server
from bench.measure import PLATFORMS, median, one_core, pin
from shared.deployment import load_ruleset
from tests.clusterkit import Cluster, cluster

ROUNDS = 5


def _ours(found: Cluster, run: int) -> float:
    name = f"ingest-{run}"
    with one_core(0):
        process = found.start("ingest", name)
    found.ready(name)
    port = urlsplit(process.url()).port
    assert port is not None
    try:
        return flood({slug: found.keys[slug] for slug in PLATFORMS}, port, run)
    finally:
        process.stop()


def _bare(found: Cluster, run: int) -> float:
    with server("bench.bareserver", found.kafka) as (port, key):
        return flood(dict.fromkeys(PLATFORMS, key), port, run)


def main() -> None:
    pin(1)  # the load, the broker and the database; what is measured has processor 0 for itself
    ratios, rates = [], []
    with cluster(load_ruleset()) as found:
        for run in range(ROUNDS):
            ours, bare = _ours(found, run), _bare(found, run)
            ratios.append(ours / bare)
            rates.append((ours, bare))
            print(f"  {ours:,.0f} {bare:,.0f}", flush=True)
    ours, bare = (median([rate[i] for rate in rates]) for i in (0, 1))
    print(f"ratio {median(ratios):.2f} (goal >= 0.7): {ours:,.0f} acknowledged events/s against {bare:,.0f} bare")
