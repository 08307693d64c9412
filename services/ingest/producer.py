"""kafka-python's producer as ingest needs it.

A producer that has failed to deliver has to be replaced: in kafka-python 3.0.12 an idempotent one never sends again once a batch
that it had tried has expired (it drops its producer id and asks for no new one), and the events given to it later never fail.
"""

from typing import Any

from shared.kafka import made
from shared.topics import MESSAGES, MIB

DELIVERY_SECONDS = 10.0  # for the brokers' acknowledgement, all attempts together


def producer(bootstrap: str, delivery: float = DELIVERY_SECONDS, patience: float = 1.0) -> Any:
    """kafka-python's producer: idempotent, acknowledged by all replicas in sync.

    Raises ValueError for a wrong address, KafkaError when nobody answers within the patience.
    """
    from kafka import KafkaProducer

    return made(
        KafkaProducer,
        bootstrap,
        patience,
        client_id="liuyan-ingest",
        enable_idempotence=True,
        acks="all",
        allow_auto_create_topics=False,
        delivery_timeout_ms=round(delivery * 1000),
        request_timeout_ms=round(delivery * 500),
        max_block_ms=round(delivery * 1000),
        max_request_size=MESSAGES.max_bytes,
        batch_size=MIB // 8,
    )
