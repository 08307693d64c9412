"""A real single-node Kafka (KRaft) on this machine, for development and tests: not for operation, one copy of everything.

Its data, log, configuration and state stand in one folder that the caller names. It listens on the loopback address only.
"""

import base64
import contextlib
import os
import random
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec
from kafka.errors import KafkaError
from msgspec import Struct

from services.distributed.provision import FOLDER, HOST, BrokerError, jars, java, properties
from shared.kafka import admin_client, listens

UP_SECONDS, DOWN_SECONDS = 90.0, 30.0
HELD_SECONDS = 3.0  # as long may the threads of a broker that was just killed still hold its port
A_MOMENT = 0.05
PORTS = range(20_000, 32_768)  # below those that systems give to outgoing connections


class Broker(Struct, frozen=True):
    """A broker that answers, or did when this was written."""

    pid: int
    port: int

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"


def up(data: Path, port: int = 0, seconds: float = UP_SECONDS) -> Broker:
    """Start it and wait until it answers; port 0 takes a free one. One that runs already is left as it is.

    Raises BrokerError.
    """
    running = status(data)
    if running is not None:
        if port not in (0, running.port):
            raise BrokerError(f"{data} 的 Kafka 已在 {running.address} 运行；换端口请先 liuyan broker down")
        return running
    program, lib = java(), jars()
    data.mkdir(parents=True, exist_ok=True)
    chosen, controller = _two_ports(port)
    config = data.resolve() / "server.properties"
    config.write_text(properties(data.resolve(), chosen, controller), encoding="utf-8")
    command = [program, f"-Dlog4j2.configurationFile={FOLDER / 'log4j2.properties'}", "-cp", f"{lib}/*"]
    if not (data / "kafka" / "meta.properties").exists():
        _format(command, config)
    heap = ["-Xms128m", "-Xmx512m", "-XX:+ExitOnOutOfMemoryError"]
    broker = Broker(_spawn([*command, *heap, "kafka.Kafka", str(config)], data / "broker.log"), chosen)
    try:
        _state(data).write_bytes(msgspec.json.encode(broker))
        _wait(lambda: _answers(broker, data), seconds, f"Kafka 在 {seconds:g} 秒内没有就绪，见 {data / 'broker.log'}")
    except BaseException:
        _kill(broker, data, signal.SIGKILL)
        raise
    return broker


def down(data: Path, seconds: float = DOWN_SECONDS) -> bool:
    """Stop it in order, and by force when it takes too long. Whether it was running."""
    broker = status(data)
    if broker is None:
        _state(data).unlink(missing_ok=True)
        return False
    os.kill(broker.pid, signal.SIGTERM)
    try:
        _wait(lambda: not _is_it(broker.pid, data), seconds, "")
    except BrokerError:
        _kill(broker, data, signal.SIGKILL)
    _state(data).unlink(missing_ok=True)
    return True


def status(data: Path) -> Broker | None:
    """The broker of that folder when its process runs; a process that only has its number is not mistaken for it."""
    try:
        broker = msgspec.json.decode(_state(data).read_bytes(), type=Broker)
    except (OSError, msgspec.DecodeError):
        return None
    return broker if _is_it(broker.pid, data) else None


def _state(data: Path) -> Path:
    return data / "broker.json"


def _format(command: list[str], config: Path) -> None:
    """Give the empty folder its cluster id."""
    cluster = "L" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
    tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster, "-c", str(config)]
    done = subprocess.run([*command, *tool], capture_output=True, text=True, check=False, timeout=UP_SECONDS)  # noqa: S603
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["没有说明原因"]
        raise BrokerError(f"Kafka 的数据文件夹未能建立：{said[-1][:300]}")


def _spawn(command: list[str], log: Path) -> int:
    """A process that outlives this one; its output goes to the log."""
    with log.open("ab") as out:
        actions = [(os.POSIX_SPAWN_DUP2, out.fileno(), 1), (os.POSIX_SPAWN_DUP2, out.fileno(), 2)]
        return os.posix_spawnp(command[0], command, os.environ, file_actions=actions, setsid=True)


def _answers(broker: Broker, data: Path) -> bool:
    """Whether it serves clients, which it does a while after it listens."""
    if not _alive(broker.pid):
        raise BrokerError(f"Kafka 没有起来，见 {data / 'broker.log'}")
    if not listens(broker.address):
        return False
    try:
        with admin_client(broker.address, seconds=2) as admin:
            return any(not node.get("is_fenced") for node in admin.describe_cluster()["brokers"])
    except KafkaError:
        return False


def _alive(pid: int) -> bool:
    """Whether there is such a process; a child of ours that has ended is buried."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _is_it(pid: int, data: Path) -> bool:
    """Whether that process is the broker of this folder."""
    if not _alive(pid):
        return False
    config = str(data.resolve() / "server.properties")
    proc = Path("/proc")
    try:
        if (proc / "self" / "cmdline").exists():
            return config in (proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        told = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)  # noqa: S603, S607
        return config in told.stdout.decode(errors="replace")
    except OSError:
        return False


def _kill(broker: Broker, data: Path, how: signal.Signals) -> None:
    if _is_it(broker.pid, data):
        os.kill(broker.pid, how)
        _wait(lambda: not _is_it(broker.pid, data), DOWN_SECONDS, f"进程 {broker.pid} 停不下来")


def _wait(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise BrokerError(otherwise)
        threading.Event().wait(A_MOMENT)


def _two_ports(wanted: int) -> tuple[int, int]:
    """For clients, `_free_port`; and another one for the controller, which nobody listens on yet either."""
    if wanted:
        with contextlib.suppress(BrokerError):  # told below, with the reason
            _wait(lambda: _refusal(wanted) is None, HELD_SECONDS, "")
    chosen = _free_port(wanted)
    return chosen, _free_port(0, other_than=chosen)


def _refusal(port: int) -> OSError | None:
    """Why nobody can listen on the port; None when somebody can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error
    return None


def _free_port(wanted: int, other_than: int = 0) -> int:
    """The port if it is free; for 0 some free one of those that no outgoing connection is given, so that it stays free in an outage."""
    tried = [wanted] if wanted else [port for port in random.sample(PORTS, min(100, len(PORTS))) if port != other_than]
    for port in tried:
        problem = _refusal(port)
        if problem is None:
            return port
    assert problem is not None
    raise BrokerError(f"端口 {wanted} 不能监听（{problem.strerror}），请用 --port 换一个，0 表示自动选择") from problem
