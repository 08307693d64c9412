"""kill -9 of each service at each step of its loop, under load; after each, everything is there once, and nothing is left undone."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from signal import SIGKILL, SIGTERM
from typing import NamedTuple

import pytest

from services.alerts.tables import alerts
from shared.rules import Ruleset
from shared.times import SHANGHAI
from tests.chaos.load import Load, rules_by_the_minute
from tests.chaos.truth import check
from tests.clusterkit import Cluster, Process, cluster
from tests.service import PATIENCE, until

pytestmark = pytest.mark.slow


class Step(NamedTuple):
    """`number`: of the call before (after) which the process kills itself."""

    kind: str
    place: str
    when: str
    number: int = 3


STEPS = [
    Step("ingest", "services.ingest.kafka:KafkaIngest._send", "before"),
    Step("ingest", "services.ingest.kafka:KafkaIngest._send", "after"),
    Step("ingest", "services.ingest.kafka:KafkaIngest._report", "before", 40),
    Step("ingest", "services.ingest.kafka:KafkaIngest._tell", "before"),
    Step("sla", "services.sla.worker.ledger:Ledger._take_over", "after", 6),
    Step("sla", "services.sla.worker.ledger:Ledger._read_back", "after", 6),
    Step("sla", "services.sla.worker.processor:Processor.take", "before"),
    Step("sla", "services.sla.worker.ledger:Ledger._send", "after"),
    Step("sla", "services.sla.worker.ledger:Ledger.put", "before"),
    Step("sla", "services.sla.worker.ledger:Ledger.put", "after"),
    Step("sla", "services.sla.worker.batches:BatchConsumer.done", "before"),
    Step("sla", "services.sla.worker.batches:BatchConsumer.done", "after"),
    Step("alerts", "services.alerts.stream.consumer:Reader._claim", "before", 1),
    Step("alerts", "services.alerts.stream.consumer:Reader._claim", "after", 1),
    Step("alerts", "services.alerts.stream.apply:advance", "after", 5),
    Step("alerts", "services.alerts.stream.apply:take", "after"),
    Step("alerts", "services.alerts.stream.apply:project_cases", "after"),
    Step("alerts", "services.alerts.stream.apply:record_arrivals", "after"),
    Step("alerts", "services.alerts.stream.apply:Projector.apply", "after"),
    Step("alerts", "services.alerts.stream.horizon:set_horizon", "before", 1),
    Step("alerts", "services.alerts.stream.sweeper:sweep", "before", 2),
    Step("alerts", "services.alerts.stream.sweeper:sweep", "after", 2),
    Step("alerts", "services.alerts.stream.outlet:KafkaOutlet.take_over", "after", 1),
    Step("alerts", "services.alerts.stream.outlet:KafkaOutlet.send", "before", 2),
    Step("alerts", "services.alerts.stream.outlet:KafkaOutlet.send", "after", 2),
    Step("alerts", "services.alerts.stream.publish:Publisher.step", "after", 3),
]


@pytest.fixture(scope="module")
def at_work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Load, Ruleset]]:
    """A cluster with a processor and two replicas of alerts, under load until the last of these tests."""
    rules, environ = rules_by_the_minute(tmp_path_factory.mktemp("rules"))
    with cluster(rules) as found:
        found.environ = environ
        for kind, name in (("ingest", "ingest"), ("sla", "sla"), ("alerts", "alerts"), ("alerts", "alerts-2")):
            found.start(kind, name)
        found.ready("ingest", "alerts")
        load = Load(found, rules, seed=1).start()
        yield found, load, rules


@pytest.fixture(scope="module")
def doomed(at_work: tuple[Cluster, Load, Ruleset]) -> Callable[[str], Process]:
    """The service of a kind: from now on each start ends at one of its steps, in their order, before it stays."""
    found, _, _ = at_work

    @cache
    def of(kind: str) -> Process:
        assert found.processes[kind].stop() in (0, -SIGTERM), found.processes[kind].tail()
        command = [sys.executable, "-m", "tests.chaos.child", kind]
        return found.start(kind, kind, [[*command, s.place, s.when, str(s.number)] for s in STEPS if s.kind == kind])

    return of


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.kind}: {step.when} {step.place.rpartition(':')[2]}")
def test_killed_at_a_step_it_goes_on(
    at_work: tuple[Cluster, Load, Ruleset], doomed: Callable[[str], Process], step: Step
) -> None:
    """Started again, it takes over what was left, and goes on to the next step at which it is killed."""
    process, load = doomed(step.kind), at_work[1]
    number = [other for other in STEPS if other.kind == step.kind].index(step)
    until(lambda: process.starts > number + 1 or load.problem, f"it kills itself: {process.tail()}", 2 * PATIENCE)
    assert load.problem is None, load.problem
    assert process.codes[number] == -SIGKILL, process.tail()


def test_after_all_of_it_everything_is_there_once(at_work: tuple[Cluster, Load, Ruleset]) -> None:
    found, load, rules = at_work
    load.end()
    found.settle()
    found.published()
    assert check(found, load.acknowledged, rules) == []
    looked = found.deck(datetime.now(SHANGHAI))
    cleared = Counter(row["clear_reason"] for row in looked.read(alerts) if not row["quiet"])
    looked.close()
    assert cleared[None] > 0, "cases fell due while it went on"
    assert cleared["late_evidence"] > 0, "answers came late"
    assert load.rounds > len(STEPS)
