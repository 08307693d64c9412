"""Every fault in turn under load, then all of them in a random order: the figures, the dead letters and the alerts come out right.

`make test` runs a bounded part: short outages, and a schedule of a few faults. `make test-chaos` (CHAOS_LONG=1) takes the broker
away for 90 seconds and runs a long schedule. The seed is printed; CHAOS_SEED=… runs the same schedule again.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.rules import Ruleset
from tests.chaos.faults import FAULTS, Scene
from tests.chaos.load import Load, rules_by_the_minute
from tests.chaos.proxy import Proxy
from tests.chaos.truth import check
from tests.clusterkit import cluster

pytestmark = pytest.mark.slow

LONG = bool(os.environ.get("CHAOS_LONG"))
SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))  # noqa: S311
OUTAGE = 90.0 if LONG else 8.0
SCHEDULE = 40 if LONG else 5
SERVICES = (("ingest", "ingest"), ("sla", "sla-1"), ("sla", "sla-2"), ("alerts", "alerts-1"), ("alerts", "alerts-2"))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[tuple[Scene, Ruleset]]:
    """Two processors and two replicas of alerts, which reach the database through a proxy, under load."""
    rules, environ = rules_by_the_minute(tmp_path)
    with cluster(rules) as found:
        proxy = Proxy(found.server.folder / "s" / ".s.PGSQL.5432")
        found.environ = environ | {"LIUYAN_DB": proxy.url("liuyan")}
        for kind, name in SERVICES:
            found.start(kind, name)
        found.ready("ingest", "alerts-1")
        load = Load(found, rules, seed=SEED).start()
        load.first_round()
        yield Scene(found, load, proxy, random.Random(SEED), OUTAGE), rules  # noqa: S311
        found.stop()
        proxy.close()


def settled(scene: Scene, rules: Ruleset) -> list[str]:
    scene.load.end()
    scene.cluster.settle()
    scene.cluster.published()
    return check(scene.cluster, scene.load.acknowledged, rules)


def test_every_fault_in_turn(scene: tuple[Scene, Ruleset]) -> None:
    at, rules = scene
    print(f"CHAOS_SEED={SEED}")
    for name, fault in FAULTS.items():
        print(name, flush=True)
        fault(at)
        at.load.goes_on(name)
    assert settled(at, rules) == [], f"CHAOS_SEED={SEED}"


def test_faults_at_random(scene: tuple[Scene, Ruleset]) -> None:
    at, rules = scene
    plan = at.chance.choices(list(FAULTS), k=SCHEDULE)
    print(f"CHAOS_SEED={SEED}: {', '.join(plan)}", flush=True)
    for name in plan:
        FAULTS[name](at)
    at.load.goes_on(plan[-1])
    assert settled(at, rules) == [], f"CHAOS_SEED={SEED}: {plan}"
