"""Where Kafka is: the brokers' addresses, and whether anybody listens there."""

import re
import socket
import threading
import time

_SERVER = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}", re.ASCII)


def servers(text: str) -> list[str]:
    """The brokers' addresses: `host:port`, separated by commas. Raises ValueError, whose message is one line."""
    found = [server.strip() for server in text.split(",")]
    if not all(_SERVER.fullmatch(server) for server in found):
        raise ValueError(f"Kafka 的地址 {text} 不能用：应写成 主机:端口，多个用逗号分开")
    return found


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
