"""kafka-python, as this form uses it: the admin client, with bounded waiting."""

from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, KafkaTimeoutError

from shared.kafka import client, reachable

__all__ = ["KafkaError", "KafkaTimeoutError", "admin_client"]


def admin_client(bootstrap: str, seconds: float = 10) -> Any:
    """A client of the cluster, to be used as a context manager.

    Raises ValueError for a wrong address, KafkaError when nobody answers in time.
    """
    return KafkaAdminClient(
        bootstrap_servers=reachable(bootstrap, seconds),
        client_id="liuyan-admin",
        bootstrap_timeout_ms=round(seconds * 1000),
        request_timeout_ms=round(seconds * 1000),
        reconnect_backoff_max_ms=500,
        kafka_client=client,
    )
