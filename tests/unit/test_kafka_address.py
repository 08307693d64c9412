"""Where Kafka is, told from outside: whether anybody listens, and what nobody there means for a producer."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.ingest.producer import producer
from shared import kafka
from shared.kafka import await_listener, listens
from tests.service import until

NOBODY = "127.0.0.1:1"


def test_it_is_seen_whether_anybody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert listens(address)
        assert await_listener([NOBODY, address], 0)
    assert not listens(address)


@pytest.mark.parametrize("address", [NOBODY, "127.0.0.1:99999"])
def test_nobody_is_waited_for_no_longer_than_said(address: str) -> None:
    assert not await_listener([address], 0.05)


def test_a_producer_for_nobody_is_refused_in_time() -> None:
    errors = pytest.importorskip("kafka.errors")
    with pytest.raises(errors.KafkaTimeoutError):
        producer(NOBODY, patience=0)
    with pytest.raises(ValueError, match="主机:端口"):
        producer("nowhere")


@pytest.mark.parametrize("kind", ["producer", "consumer", "admin"])
def test_a_client_for_who_listens_and_never_answers_leaves_nothing_open(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = pytest.importorskip("kafka.errors")
    monkeypatch.setattr(kafka, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(kafka, "CONNECT_SECONDS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        makers: dict[str, Callable[[], Any]] = {
            "producer": lambda: producer(address, patience=0),
            "consumer": lambda: kafka.kafka_consumer(address, group_id=None),
            "admin": lambda: kafka.admin_client(address, 0),
        }
        opened, running = _opened(), threading.active_count()
        with pytest.raises(errors.KafkaError):
            makers[kind]()
        until(lambda: _opened() == opened and threading.active_count() == running, "nothing is left open", 5)


def _opened() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
