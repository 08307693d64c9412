"""kafka-python's producer as ingest needs it.

A producer that has failed to deliver has to be replaced: in kafka-python 3.0.12 an idempotent one never sends again once a batch
that it had tried has expired (it drops its producer id and asks for no new one), and the events given to it later never fail.
"""

from typing import Any

from shared.kafka import client, reachable
from shared.topics import MESSAGES, MIB

DELIVERY_SECONDS = 10.0  # for the brokers' acknowledgement, all attempts together
ANSWER_SECONDS = 5.0  # for somebody who listens to answer as a broker does


def producer(bootstrap: str, delivery: float = DELIVERY_SECONDS, patience: float = 1.0) -> Any:
    """kafka-python's producer: idempotent, acknowledged by all replicas in sync.

    Raises ValueError for a wrong address, KafkaError when nobody answers within the patience.
    """
    from kafka import KafkaProducer

    clients: list[Any] = []

    def remembered(**configs: Any) -> Any:
        clients.append(client(**configs))
        return clients[-1]

    try:
        return KafkaProducer(
            bootstrap_servers=reachable(bootstrap, patience),
            client_id="liuyan-ingest",
            enable_idempotence=True,
            acks="all",
            allow_auto_create_topics=False,
            delivery_timeout_ms=round(delivery * 1000),
            request_timeout_ms=round(delivery * 500),
            max_block_ms=round(delivery * 1000),
            max_request_size=MESSAGES.max_bytes,
            batch_size=MIB // 8,
            reconnect_backoff_max_ms=1000,
            bootstrap_timeout_ms=round((patience + ANSWER_SECONDS) * 1000),
            kafka_client=remembered,
        )
    except Exception:
        for unused in clients:  # nobody else has a hold of it
            unused.close()
        raise
