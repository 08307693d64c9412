"""What can go wrong, one function each: it makes the trouble, and ends it. Durations are seconds."""

import contextlib
import random
import signal
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from services.distributed import broker
from shared.events import CaseEvent, encode_event
from shared.topics import MESSAGES
from tests.builders import event
from tests.chaos.load import Load
from tests.chaos.proxy import Cut, Proxy
from tests.clusterkit import Cluster
from tests.service import until

SESSION_SECONDS = 10.0  # after which the broker takes a silent member for dead


class Scene(NamedTuple):
    """`outage`: how long the broker or the database is away."""

    cluster: Cluster
    load: Load
    proxy: Proxy
    chance: random.Random
    outage: float


def killed(kind: str) -> Callable[[Scene], None]:
    def fault(scene: Scene) -> None:
        name = scene.chance.choice([name for name, p in scene.cluster.processes.items() if p.kind == kind])
        process = scene.cluster.processes[name]
        before = process.starts
        process.signal(signal.SIGKILL)
        until(lambda: process.starts > before, f"{name} is started again")

    return fault


def broker_away(scene: Scene) -> None:
    data = scene.cluster.folder / "kafka"
    running = broker.status(data)
    assert running is not None
    broker.down(data)
    time.sleep(scene.outage)
    broker.up(data, running.port)


def broker_killed(scene: Scene) -> None:
    data = scene.cluster.folder / "kafka"
    running = broker.status(data)
    assert running is not None
    scene.cluster.kill_broker(running.pid)
    broker.up(data, running.port)


def database_away(scene: Scene) -> None:
    scene.cluster.server.stop(scene.chance.choice([signal.SIGINT, signal.SIGQUIT]))
    time.sleep(scene.outage / 2)
    scene.cluster.server.start()


def cut_at_commit(when: Cut) -> Callable[[Scene], None]:
    """Connections end at COMMIT: nobody is told whether it happened."""

    def fault(scene: Scene) -> None:
        before = scene.proxy.cuts
        scene.proxy.cut = when
        try:
            until(lambda: scene.proxy.cuts >= before + 5, "commits were cut")
        finally:
            scene.proxy.cut = "never"

    return fault


def connections_cut(scene: Scene) -> None:
    for _ in range(3):
        scene.proxy.cut_all()
        time.sleep(0.5)


def worker_joins_and_leaves(scene: Scene) -> None:
    scene.cluster.start("sla", "sla-guest")
    time.sleep(scene.chance.uniform(2, 8))
    code = scene.cluster.processes.pop("sla-guest").stop()
    assert code in (0, -signal.SIGTERM), code


def stopped(kind: str) -> Callable[[Scene], None]:
    """A process that is thought dead, and comes back as a zombie."""

    def fault(scene: Scene) -> None:
        name = scene.chance.choice([name for name, p in scene.cluster.processes.items() if p.kind == kind])
        scene.cluster.processes[name].signal(signal.SIGSTOP)
        time.sleep(SESSION_SECONDS + 4)
        scene.cluster.processes[name].signal(signal.SIGCONT)

    return fault


def everything_twice(scene: Scene) -> None:
    scene.load.push(scene.load.pushed[-500:])


def poison(scene: Scene) -> None:
    """Rubbish, a wrong key, another event under a known id, and one id for two messages."""
    from kafka import KafkaProducer

    number = scene.chance.randrange(10**9)
    stray = event(f"stray{number}", "received", "03-01 09:12", subject=f"stray{number}")
    known = next(found for found in scene.load.pushed if isinstance(found, CaseEvent))
    with contextlib.closing(KafkaProducer(bootstrap_servers=scene.cluster.kafka, acks="all")) as producer:
        for value in (b"{", b"", b"null", b'{"type":"liuyan.message.received.v1"}', b"\xff\xfe"):
            producer.send(MESSAGES.name, value, b"zhenkang/poison")
        producer.send(MESSAGES.name, encode_event(stray), b"zhenkang/another")
        producer.flush(30)
    other = event(known.id, "rated", "05-01 09:00", platform=known.platform, subject=known.subject, score=1)
    scene.load.push_conflicts([other])


FAULTS: Mapping[str, Callable[[Scene], None]] = {
    "ingest killed": killed("ingest"),
    "sla killed": killed("sla"),
    "alerts killed": killed("alerts"),
    "broker away": broker_away,
    "broker killed": broker_killed,
    "database away": database_away,
    "cut before the commit": cut_at_commit("before"),
    "cut after the commit": cut_at_commit("after"),
    "connections cut": connections_cut,
    "a worker joins and leaves": worker_joins_and_leaves,
    "sla a zombie": stopped("sla"),
    "alerts a zombie": stopped("alerts"),
    "everything twice": everything_twice,
    "poison": poison,
}
