"""Creates the topics that are missing and compares those that exist with the table in `shared/topics.py`. Changes no existing one."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import structlog
from kafka.admin import ConfigResource
from kafka.errors import KafkaError, TopicAlreadyExistsError
from msgspec import Struct

from shared.kafka import admin_client
from shared.settings import Environment
from shared.topics import MIN_ISR, READABLE, REPLICATION, TOPICS, Topic

logger = structlog.get_logger("topics")

AGAIN_SECONDS, FAILED_SECONDS = 30.0, 2.0


class Existing(Struct, frozen=True):
    """A topic as the cluster has it; the smallest replication of its partitions."""

    partitions: int
    replication: int
    configs: dict[str, str]


class Finding(Struct, frozen=True):
    """What is not as it should be. A `warning` is tolerated in development."""

    topic: str
    text: str
    severity: Literal["error", "warning"]


def observe(admin: Any, topics: Iterable[Topic] = TOPICS) -> dict[str, Existing]:
    """Those of the topics that exist, with the configuration in effect, the brokers' defaults included."""
    described = admin.describe_topics([topic.name for topic in topics])
    there = {topic["name"]: topic["partitions"] for topic in described if topic["error_code"] == 0}
    if not there:
        return {}
    asked = [ConfigResource("TOPIC", name) for name in there]
    configs = admin.describe_configs(asked, config_filter="all")["topic"]
    return {
        name: Existing(
            len(partitions),
            min(len(partition["replica_nodes"]) for partition in partitions),
            {key: config["value"] for key, config in configs[name].items()},
        )
        for name, partitions in there.items()
    }


def create_missing(admin: Any, environment: Environment, topics: Iterable[Topic] = TOPICS) -> list[str]:
    """The names of the topics that were created. In development a small cluster gets as many copies as it has brokers."""
    brokers = len(admin.describe_cluster()["brokers"])
    replication = REPLICATION if environment == "production" else min(REPLICATION, brokers)
    min_isr = min(MIN_ISR, replication)
    existing = observe(admin, topics)
    missing = [topic for topic in topics if topic.name not in existing]
    created = []
    for topic in missing:
        wanted = {
            "num_partitions": topic.partitions,
            "replication_factor": replication,
            "configs": topic.configs(min_isr),
        }
        try:
            admin.create_topics({topic.name: wanted})
        except TopicAlreadyExistsError:  # somebody else was quicker
            continue
        created.append(topic.name)
    admin.wait_for_topics([topic.name for topic in missing])
    return created


def differences(
    existing: Mapping[str, Existing], environment: Environment, topics: Iterable[Topic] = TOPICS
) -> list[Finding]:
    """Every difference from the table, in its order."""
    return [finding for topic in topics for finding in _compare(topic, existing.get(topic.name), environment)]


def _compare(topic: Topic, found: Existing | None, environment: Environment) -> Iterable[Finding]:
    if found is None:
        yield Finding(topic.name, "还没有建立", "error")
        return
    if found.partitions != topic.partitions:
        yield Finding(topic.name, f"分区数应为 {topic.partitions}，现为 {found.partitions}", "error")
    tolerated: Literal["error", "warning"] = "error" if environment == "production" else "warning"
    if found.replication < REPLICATION:
        text = f"副本数至少应为 {REPLICATION}，现为 {found.replication}：坏一台机器就可能丢失已收下的留言"
        yield Finding(topic.name, text, tolerated)
    for key, wanted in topic.configs(MIN_ISR).items():
        value = found.configs.get(key, "")
        if key == "min.insync.replicas":
            if int(value or 0) < MIN_ISR:
                text = f"{key} 至少应为 {MIN_ISR}，现为 {value}：确认时可能只有一份"
                yield Finding(topic.name, text, tolerated)
        elif key == "unclean.leader.election.enable":
            if value != wanted:
                text = f"{key} 应为 {wanted}，现为 {value}：落后的副本当选会丢失已确认的留言"
                yield Finding(topic.name, text, tolerated)
        elif not _good(key, wanted, value):
            yield Finding(topic.name, f"{key} 应为 {wanted}，现为 {value or '没有'}", "error")


def _good(key: str, wanted: str, value: str) -> bool:
    """Longer retention and larger records than asked for are no fault, nor is a compression that the services can read."""
    if key == "compression.type":
        return value in READABLE
    if key in ("retention.ms", "retention.bytes", "max.message.bytes") and wanted != "-1":
        return value == "-1" or int(value or 0) >= int(wanted)
    return value == wanted


def mismatch(bootstrap: str, environment: Environment) -> str | None:
    """Why no service should run on this cluster (Chinese, one line); None when the topics are as they should be."""
    try:
        return wrong(bootstrap, environment)
    except KafkaError as error:
        return _away(bootstrap, error)


def wrong(bootstrap: str, environment: Environment) -> str | None:
    """What is wrong with the topics (Chinese, one line), None when nothing is. Raises KafkaError when nobody answers."""
    return _first(_errors(bootstrap, environment))


def _errors(bootstrap: str, environment: Environment) -> list[Finding]:
    with admin_client(bootstrap, seconds=5) as admin:
        found = differences(observe(admin), environment)
    return [finding for finding in found if finding.severity == "error"]


def _first(errors: list[Finding]) -> str | None:
    return f"主题 {errors[0].topic}：{errors[0].text}（liuyan topics check 可列出全部）" if errors else None


def _away(bootstrap: str, error: Exception) -> str:
    return f"Kafka {bootstrap} 没有回答（{type(error).__name__}）"


class TopicsCheck:
    """Whether the topics are as they should be, looked at again and again; `step` is for a loop."""

    def __init__(self, bootstrap: str, environment: Environment) -> None:
        self._bootstrap, self._environment = bootstrap, environment
        self._wrong: frozenset[str] | None = None
        self.mismatch: str | None = "主题尚未核对"

    def fit(self, topic: Topic) -> bool:
        """Whether the topic was as it should be when it was last seen. A cluster that does not answer says nothing new."""
        return self._wrong is not None and topic.name not in self._wrong

    def step(self) -> float:
        try:
            errors = _errors(self._bootstrap, self._environment)
        except (KafkaError, OSError, LookupError) as error:  # the library's own, of a broker that is just leaving
            self.mismatch = _away(self._bootstrap, error)
            return FAILED_SECONDS
        told = _first(errors)
        if told is not None and told != self.mismatch:
            logger.warning("主题与规定不符，请运行 liuyan topics check", action="topics_differ", detail=told)
        self._wrong, self.mismatch = frozenset(finding.topic for finding in errors), told
        return AGAIN_SECONDS if told is None else FAILED_SECONDS
