"""Where Kafka is, told from outside: whether anybody listens, and what nobody there means for a producer."""

import socket

import pytest

from services.ingest.producer import producer
from shared.kafka import await_listener, listens

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
