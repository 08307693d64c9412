"""Where Kafka is: the brokers' addresses, whether anybody listens there, and clients that close what they opened."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 5.0  # for somebody who listens to answer as a broker does
_SERVER = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}", re.ASCII)


def servers(text: str) -> list[str]:
    """The brokers' addresses: `host:port`, separated by commas. Raises ValueError, whose message is one line."""
    found = [server.strip() for server in text.split(",")]
    if not all(_SERVER.fullmatch(server) for server in found):
        raise ValueError(f"Kafka 的地址 {text} 不能用：应写成 主机:端口，多个用逗号分开")
    return found


def made(kind: Callable[..., T], bootstrap: str, seconds: float, **settings: Any) -> T:
    """A producer, consumer or admin client of kafka-python. Whoever listens within the seconds has as many again, and five more, to
    answer as a broker does.

    Raises ValueError for a wrong address, KafkaError when nobody answers in time; nothing is left open then, where the library
    would leave its sockets and its thread.
    """
    clients: list[Any] = []

    def remembered(**configs: Any) -> Any:
        clients.append(client(**configs))
        return clients[-1]

    common = {
        "bootstrap_servers": reachable(bootstrap, seconds),
        "bootstrap_timeout_ms": round((seconds + ANSWER_SECONDS) * 1000),
        "reconnect_backoff_max_ms": 1000,
        "kafka_client": remembered,
    }
    try:
        return kind(**(common | settings))
    except BaseException:
        for unused in clients:  # nobody else has a hold of it
            with contextlib.suppress(Exception):
                unused.close()
        raise


def kafka_consumer(bootstrap: str, isolation: str = "read_committed", **settings: Any) -> Any:
    """kafka-python's consumer, of committed records unless told otherwise. Raises as `made` does."""
    from kafka import KafkaConsumer

    own = {
        "isolation_level": isolation,
        "enable_auto_commit": False,
        "allow_auto_create_topics": False,
        "auto_offset_reset": "earliest",
    }
    return made(KafkaConsumer, bootstrap, CONNECT_SECONDS, **(own | settings))


def know_partitions(consumer: Any) -> None:
    """Wait until a consumer that has subscribed knows the partitions of its topics, of those that there are; before its first poll.

    Whoever leads a group and does not know them yet gives them to nobody, and looks again minutes later. Raises KafkaError.
    """
    cluster = consumer._cluster  # noqa: SLF001 - what is public waits without end
    for _ in range(2):  # the first answer may be to what was asked before it subscribed
        if all(cluster.partitions_for_topic(topic) for topic in consumer.subscription()):
            return
        wait, seconds = consumer._manager.wait_for, CONNECT_SECONDS  # noqa: SLF001
        consumer._net.run(wait, cluster.request_update(), round(seconds * 1000))  # noqa: SLF001


def admin_client(bootstrap: str, seconds: float = 10, name: str = "liuyan-admin") -> Any:
    """A client of the cluster, to be used as a context manager. Raises as `made` does."""
    from kafka import KafkaAdminClient

    return made(KafkaAdminClient, bootstrap, seconds, client_id=name, request_timeout_ms=round(seconds * 1000))


def listens(address: str) -> bool:
    """Whether somebody takes connections there."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=1):
            return True
    except (OSError, OverflowError):
        return False


def reachable(bootstrap: str, seconds: float) -> list[str]:
    """The brokers' addresses, when one of them takes connections within the time.

    Raises ValueError for a wrong address, KafkaTimeoutError when nobody listens.
    """
    from kafka.errors import KafkaTimeoutError

    addresses = servers(bootstrap)
    if not await_listener(addresses, seconds):
        raise KafkaTimeoutError(f"nobody listens on {bootstrap}")
    return addresses


def await_listener(addresses: list[str], seconds: float) -> bool:
    """Whether one of them takes connections within the time.

    To be asked before a client of kafka-python is made, which would leave a socket behind for each failed attempt.
    """
    end = time.monotonic() + seconds
    while not any(map(listens, addresses)):
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.1)
    return True


def client(**configs: Any) -> Any:
    """The network client for kafka-python's producers, consumers and admin clients (their `kafka_client`).

    The library's own (3.0.12), when it is closed, leaves a connection open on which a request still waits to be written, and
    one that is just being made. Whatever waits then is waited for in its selector, and is closed here.
    """
    from kafka.net.compat import KafkaNetClient

    class Client(KafkaNetClient):  # type: ignore[misc]
        def close(self, node_id: Any = None) -> None:
            net, left = self._net, []
            if node_id is None and not net._closed:  # noqa: SLF001 - there is no other way to them
                self._manager.close()
                net.stop()
                net.drain()  # from here on, every socket that is open is one that somebody waits for
                left = [key.fileobj for key in net._selector.get_map().values()]  # noqa: SLF001
            super().close(node_id)
            for waited_for in left:
                waited_for.close()

    return Client(**configs)


def dispose(producer: Any) -> None:
    """Close it at once: what the brokers have not acknowledged fails.

    `close` alone would wait for what a stuck producer never sends, and then leave it as it is.
    """
    with contextlib.suppress(Exception):
        producer._sender.force_close()  # noqa: SLF001 - there is no other way to end a stuck one
        producer._sender.join(5)  # noqa: SLF001
        producer.close(timeout=1)
