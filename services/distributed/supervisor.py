"""Starts the parts of the distributed form on this machine, starts again what ends by itself, and stops everything in order.

For demonstrations: in operation a real supervisor (systemd, Kubernetes) does this for each service.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from services.distributed import broker
from services.distributed.postgres import PostgresError, dying_with_parent
from services.distributed.provision import BrokerError

STOP_SECONDS = 40.0  # a service takes 20 at most, and what works behind it some more
DEATHS, WITHIN_SECONDS = 3, 60.0


class GaveUpError(Exception):
    """A part ends again and again; the message is one line."""


class Part(Protocol):
    """Something that runs. `log`: the file in which it says why it ended."""

    @property
    def name(self) -> str: ...

    @property
    def log(self) -> Path: ...

    def start(self) -> None:
        """Start it, also again. Raises BrokerError, PostgresError or OSError."""

    def alive(self) -> bool: ...

    def stop(self) -> None:
        """Blocks until it has ended; nothing is left of it, whatever state it was in."""


class Kafka:
    """The broker of the folder, on the same port at every start."""

    name = "Kafka"

    def __init__(self, data: Path) -> None:
        self._data, self.address, self._port = data, "", 0
        self.log = data / "broker.log"

    def start(self) -> None:
        running = broker.up(self._data, self._port)
        self.address, self._port = running.address, running.port

    def alive(self) -> bool:
        return broker.status(self._data) is not None

    def stop(self) -> None:
        broker.down(self._data)


class Service:
    """A command in a session of its own: Ctrl-C reaches the supervisor only."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name, self.log = name, log
        self._command, self._environment = list(command), dict(environment)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=dying_with_parent(signal.SIGTERM),  # noqa: PLW1509
            )  # fmt: skip

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Supervisor:
    """`add` in the order in which they need one another; `tell` is given a line for every part that ended. One thread: a child
    ends with the thread that started it."""

    def __init__(self, tell: Callable[[str], None], seconds: Callable[[], float] = time.monotonic) -> None:
        self._tell, self._seconds = tell, seconds
        self._parts: list[Part] = []
        self._deaths: dict[str, list[float]] = {}

    def add(self, part: Part) -> None:
        """Start it, and look after it from now on. Raises what its start raises."""
        self._parts.append(part)
        part.start()

    def check(self) -> None:
        """Start again what has ended. Raises GaveUpError."""
        for part in self._parts:
            if not part.alive():
                self._restart(part)

    def _restart(self, part: Part) -> None:
        said = last_line(part.log)
        now = self._seconds()
        deaths = [at for at in self._deaths.get(part.name, []) if now - at < WITHIN_SECONDS]
        self._deaths[part.name] = [*deaths, now]
        if len(deaths) + 1 >= DEATHS:
            raise GaveUpError(f"{part.name} 一分钟内退出了 {DEATHS} 次，不再重启；它最后说：{said}")
        self._tell(f"{part.name} 退出了，重新启动；它最后说：{said}")
        with suppress(BrokerError, PostgresError, OSError):  # still not alive: that is told at the next look
            part.start()

    def stop(self) -> None:
        """In the reverse order of `add`: whoever needs another part ends before it."""
        while self._parts:
            self._parts.pop().stop()


def last_line(log: Path) -> str:
    """What stands at the end of a log, cut to one line that can be read."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return "（没有日志）"
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:300] if said else "（日志是空的）"


def service_command(name: str, *arguments: str) -> list[str]:
    """This installation's command of that name."""
    return [sys.executable, "-m", "services.commands.cli", name, *arguments]
