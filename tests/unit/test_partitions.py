"""The partition of a key is the one that the clients choose."""

import random
from types import SimpleNamespace

import pytest

from services.sla.partitions import murmur2, partition_of


def test_known_values() -> None:
    """Those of Kafka's own tests (UtilsTest.testMurmur2), as unsigned numbers."""
    known = {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }
    assert {data: murmur2(data) for data in known} == {data: value & 0xFFFFFFFF for data, value in known.items()}


def test_it_agrees_with_the_clients() -> None:
    aiokafka = pytest.importorskip("aiokafka.partitioner")
    kafka = pytest.importorskip("kafka.partitioner.default")
    cluster = SimpleNamespace(
        topics=lambda: {"t"},
        partitions_for_topic=lambda topic: set(everyone),
        available_partitions_for_topic=lambda topic: set(everyone),
    )
    chance = random.Random(1)  # noqa: S311
    everyone = list(range(12))
    for _ in range(2_000):
        key = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 40)))
        ours = partition_of(key, 12)
        assert ours == aiokafka.DefaultPartitioner()(key, everyone, everyone)
        assert ours == kafka.DefaultPartitioner().partition("t", key, key, None, None, cluster)
