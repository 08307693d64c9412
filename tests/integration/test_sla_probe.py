"""The worker's own HTTP face: alive, ready and measured, each with its reason, from a thread of its own."""

import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("faust")

from services.sla.worker.app import make_app
from services.sla.worker.health import Health
from services.sla.worker.lookout import Lookout
from services.sla.worker.probe import serve
from services.sla.worker.watchdog import Position, Watchdog
from shared.rules import Ruleset

Ask = Callable[[str], tuple[int, str]]


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def watchdog(clock: Seconds) -> Watchdog:
    return Watchdog(60.0, clock)


@pytest.fixture
def health(watchdog: Watchdog) -> Health:
    return Health(watchdog)


@pytest.fixture
def ask(health: Health) -> Iterator[Ask]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        stop = serve(listener, health)

        def asked(path: str) -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as refused:
                with refused:
                    return refused.code, refused.read().decode()

        yield asked
        stop()


def test_it_lives_until_it_is_stuck(ask: Ask, watchdog: Watchdog, clock: Seconds) -> None:
    assert ask("/livez") == (200, "ok")
    with watchdog.at_work():
        clock.now = 60.1
        assert ask("/livez") == (503, "手头的工作超过一分钟没有进展")
        assert ask("/readyz") == (503, "手头的工作超过一分钟没有进展")


def test_it_is_ready_when_nothing_is_in_the_way(ask: Ask, health: Health) -> None:
    reasons = []
    for settle in (
        lambda: setattr(health, "brokers", None),
        lambda: setattr(health, "topics", "liuyan.cases.v1：分区数应为 12，现为 3"),
        lambda: setattr(health, "topics", None),
        lambda: setattr(health, "working", lambda: None),
    ):
        status, reason = ask("/readyz")
        assert status == 503
        reasons.append(reason)
        settle()
    assert reasons == ["还没有问到 Kafka", "还没有问到 Kafka", "liuyan.cases.v1：分区数应为 12，现为 3", "还没有启动"]
    assert ask("/readyz") == (200, "ok")


def test_metrics(ask: Ask, health: Health) -> None:
    health.see({0: Position(10, 4), 1: Position(5, 5)})
    health.messages.inc(3)
    health.letters.labels("conflict").inc()
    status, text = ask("/metrics")
    assert status == 200
    for line in (
        'liuyan_consumer_lag_records{partition="0",service="sla",topic="liuyan.messages.v1"} 6.0',
        'liuyan_consumer_lag_records{partition="1",service="sla",topic="liuyan.messages.v1"} 0.0',
        "liuyan_sla_messages_total 3.0",
        'liuyan_sla_dead_letters_total{reason="conflict"} 1.0',
        "liuyan_sla_reevaluated_total 0.0",
    ):
        assert line in text.splitlines()
    assert "process_" in text or not hasattr(socket, "AF_UNIX")


def test_other_paths_are_not_found(ask: Ask) -> None:
    assert ask("/") == (404, "not found")


def test_a_check_of_the_topics_that_fails_is_a_reason(health: Health, watchdog: Watchdog) -> None:
    import asyncio

    def fail() -> str | None:
        raise OSError

    asyncio.run(Lookout("127.0.0.1:1", "g", watchdog, health, list, fail).check())
    assert health.topics == "主题未能核对：OSError"
    asyncio.run(Lookout("127.0.0.1:1", "g", watchdog, health, list, lambda: None).check())
    assert health.topics is None


def test_who_asks_before_the_application_runs_makes_nothing_of_it(
    ask: Ask, health: Health, watchdog: Watchdog, rules: Ruleset
) -> None:
    """Faust's parts belong to the loop of whoever asks for them first: made by a probe, they would hang, and the worker with them."""
    app = make_app("127.0.0.1:1", "here", 2, rules, watchdog, health)
    health.brokers = health.topics = None
    assert ask("/readyz") == (503, "还没有加入消费组，或正在重新分配分区")
    assert not health.member()
    assert app.tables._recovery is None
    assert app._consumer is None
