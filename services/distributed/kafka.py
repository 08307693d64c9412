"""kafka-python, as this form uses it: the admin client, with bounded waiting."""

from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, KafkaTimeoutError

from shared.kafka import await_listener, servers

__all__ = ["KafkaError", "KafkaTimeoutError", "admin_client"]


def admin_client(bootstrap: str, seconds: float = 10) -> Any:
    """A client of the cluster, to be used as a context manager.

    Raises ValueError for a wrong address, KafkaError when nobody answers in time.
    """
    addresses = servers(bootstrap)
    if not await_listener(addresses, seconds):
        raise KafkaTimeoutError(f"nobody listens on {bootstrap}")
    return KafkaAdminClient(
        bootstrap_servers=addresses,
        client_id="liuyan-admin",
        bootstrap_timeout_ms=round(seconds * 1000),
        request_timeout_ms=round(seconds * 1000),
        reconnect_backoff_max_ms=500,
    )
