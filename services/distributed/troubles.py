"""What goes wrong outside, and by itself right again."""

from kafka.errors import KafkaError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

TRANSIENT: tuple[type[Exception], ...] = (KafkaError, OSError, DBAPIError, PoolTimeoutError)
"""Kafka or the database does not answer, or has broken off: the same is tried again."""
