"""The topics of the distributed form (contract: streams): the one table that creation, checks and services read."""

from typing import Literal

from msgspec import Struct

from shared.events import Event
from shared.records import record_key

Cleanup = Literal["delete", "compact"]

REPLICATION = 3
MIN_ISR = 2
"""What production needs of every topic: an acknowledged event stands in two places and outlives one of them."""

SLA_GROUP = "liuyan-sla"
"""The group of the SLA processor: what it has acknowledged of the events is in the records."""

FOREVER = -1
DAY = 86_400_000
MIB = 1024 * 1024


class Topic(Struct, frozen=True):
    """`partitions` never changes once there are events: the key decides the partition. `max_bytes` bounds one record."""

    name: str
    key: str
    partitions: int
    cleanup: Cleanup
    retention_ms: int
    max_bytes: int

    def configs(self, min_isr: int) -> dict[str, str]:
        """The topic's own configuration, as Kafka writes it; nothing of it is left to the brokers' defaults."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "retention.bytes": str(FOREVER),
            "min.insync.replicas": str(min_isr),
            "unclean.leader.election.enable": "false",
            "max.message.bytes": str(self.max_bytes),
            "compression.type": "producer",
        }


READABLE = ("producer", "gzip", "uncompressed")
"""How the brokers may compress. Of the others the services have no libraries: a record once written so could never be read."""

MESSAGES = Topic("liuyan.messages.v1", "platform/subject", 12, "delete", FOREVER, 2 * MIB)
CASES = Topic("liuyan.cases.v1", "platform/subject", 12, "compact", FOREVER, 16 * MIB)
LARGEST_HISTORY = CASES.max_bytes // 2
"""Bytes of all events of a key together; what they mean has the other half of the record."""
ALERTS = Topic("liuyan.alerts.v1", "platform/subject", 12, "delete", 400 * DAY, 1 * MIB)
RATES = Topic("liuyan.rates.v1", "platform", 1, "compact", FOREVER, 1 * MIB)
DEAD_LETTERS = Topic("liuyan.dead-letters.v1", "as came", 1, "delete", FOREVER, 4 * MIB)

TOPICS = (MESSAGES, CASES, ALERTS, RATES, DEAD_LETTERS)
"""The log of accepted events is kept for ever, as in the embedded form: everything else can be made anew from it."""


def message_key(event: Event) -> bytes:
    """The key in `liuyan.messages.v1`: all events of a case stand in one partition, in their order; so do a platform's tallies."""
    return record_key(event).encode()
