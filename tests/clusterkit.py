"""The distributed form for tests: real processes on a real Kafka and PostgreSQL, started, killed, stopped and continued by name.

A supervisor starts again what ends, as an operator's would; `settle` waits until everything that was pushed has gone the whole way.
"""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import httpx
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from services.alerts.queries import all_keys
from services.alerts.stream.horizon import horizon
from services.alerts.stream.records import buried, histories
from services.alerts.stream.tables import outbox
from services.alerts.sweep import next_wake
from services.compose.cases import recaller
from services.distributed.broker import status
from services.distributed.database import open_database
from services.distributed.postgres import Server
from services.ingest.keys import create_key
from shared.case import encode_case
from shared.events import Event, encode_event
from shared.rules import Ruleset
from shared.times import SHANGHAI
from tests import postgres
from tests.enginekit import Deck
from tests.kafkakit import create_topics, own_broker
from tests.service import BATCH, PATIENCE, SCRIPT, until

ROOT = Path(__file__).parents[1]
LONG = 3 * PATIENCE
A_MOMENT = 0.05
WEB = httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
"""A connection for each request, as of a stranger, but not the certificates read anew: that is 20 ms of work, while services start."""


class Process:
    """One service. It is started again when it ends, until it is stopped."""

    def __init__(
        self, kind: str, name: str, environ: Mapping[str, str], folder: Path, first: Sequence[Sequence[str]] = ()
    ) -> None:
        """`first`: what is started the first times, instead of the command itself."""
        self.kind, self.name, self.log = kind, name, folder / f"{name}.log"
        self._first = first
        self._environ = {**os.environ, **environ, "LIUYAN_INSTANCE": name, "LIUYAN_LOG": "json", "LIUYAN_PORT": "0"}
        self._wanted = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self.starts = 0
        self.codes: list[int] = []
        """How each start ended."""

    def start(self) -> None:
        self._wanted = True
        self._thread.start()

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            until(lambda: self._process, f"{self.name} runs").send_signal(number)

    @property
    def pid(self) -> int:
        """Of the last start."""
        return int(until(lambda: self._process, f"{self.name} runs").pid)

    def stop(self) -> int:
        """In order; by force after a while."""
        self._wanted = False
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        process = self._process
        assert process is not None
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        self._thread.join(PATIENCE)
        return code

    def url(self) -> str:
        """Where it listens, since its last start."""

        def told() -> str | None:
            text = self.log.read_text(errors="replace").rpartition("-- start")[2] if self.log.exists() else ""
            found = re.findall(r'"url": "(http://[^"]+)"', text)
            return found[-1] if found else None

        return str(until(told, f"{self.name} listens: {self.tail()}"))

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2_000:] if self.log.exists() else ""

    def _supervise(self) -> None:
        while self._wanted:
            with self.log.open("ab") as out:
                out.write(b"-- start\n")
                out.flush()
                command = self._first[self.starts] if self.starts < len(self._first) else [SCRIPT, self.kind]
                self._process = subprocess.Popen(command, env=self._environ, stdout=out, stderr=out, cwd=ROOT)
            self.starts += 1
            self.codes.append(self._process.wait())
            if self._wanted:
                time.sleep(A_MOMENT)  # as a supervisor's pause


class Cluster:
    """Broker, database and services. Use `cluster()`."""

    def __init__(self, folder: Path, kafka: str, server: Server, rules: Ruleset) -> None:
        self.folder, self.kafka, self.server, self.rules = folder, kafka, server, rules
        self.url = url = server.create("liuyan")
        self.database = open_database(url)
        self.processes: dict[str, Process] = {}
        self.keys: dict[str, str] = {}
        self.environ: dict[str, str] = {}
        with self.database.writing() as connection:
            for slug in rules.registry.slugs:
                _, self.keys[slug] = create_key(connection, slug, datetime.now(SHANGHAI))

    def start(self, kind: str, name: str, first: Sequence[Sequence[str]] = (), **environ: str) -> Process:
        own = {"LIUYAN_KAFKA": self.kafka, "LIUYAN_DB": self.url, "LIUYAN_SIGN_IN": "off"}
        settings = {**own, **self.environ, **environ}
        process = Process(kind, name, settings, self.folder, first)
        self.processes[name] = process
        process.start()
        return process

    def kill_broker(self, pid: int) -> None:
        """As a power failure of its machine would, but for what the system had not written yet."""
        os.kill(pid, signal.SIGKILL)
        until(lambda: status(self.folder / "kafka") is None, "the broker is dead")

    def stop(self) -> None:
        for process in self.processes.values():
            process.stop()
        self.processes.clear()

    def ready(self, *names: str) -> None:
        for name in names:
            process = self.processes[name]
            try:
                until(lambda p=process: _answers(f"{p.url()}/readyz"), f"{name} is ready: {process.tail()}", LONG)  # type: ignore[misc]
            except AssertionError as error:
                reasons = {path: WEB.get(f"{process.url()}{path}").text for path in ("/readyz", "/livez")}
                raise AssertionError(f"{reasons}; {process.tail()}") from error

    def push(self, events: Sequence[Event], to: str = "ingest", size: int = 250, patience: float = LONG) -> None:
        """As portals do: in batches of their own platform, each again and again until taken."""
        by_platform: dict[str, list[Event]] = {}
        for event in events:
            by_platform.setdefault(event.platform, []).append(event)
        for platform, own in by_platform.items():
            for start in range(0, len(own), size):
                self.push_batch(platform, own[start : start + size], to, patience)

    def push_batch(self, platform: str, events: Sequence[Event], to: str = "ingest", patience: float = LONG) -> int:
        """How many attempts it took until all of them were acknowledged."""
        body = b"[" + b",".join(map(encode_event, events)) + b"]"
        headers = {"Authorization": f"Bearer {self.keys[platform]}", "Content-Type": BATCH}
        attempts = 0
        end = time.monotonic() + patience
        while True:
            attempts += 1
            with contextlib.suppress(httpx.HTTPError):
                answer = WEB.post(f"{self.processes[to].url()}/v1/events", content=body, headers=headers, timeout=30)
                if answer.status_code == 202:
                    return attempts
                assert answer.status_code == 503, answer.text
            assert time.monotonic() < end, f"not taken: {self.processes[to].tail()}"
            time.sleep(A_MOMENT)

    def settle(self, seconds: float = LONG) -> None:
        """Waits until everything that had arrived is in the projections, and what was due by then is flagged."""
        after = self._now()

        def settled() -> bool:
            with contextlib.suppress(SQLAlchemyError), self.database.reading() as connection:
                at, wake = horizon(connection), next_wake(connection)
                return at is not None and at >= after and (wake is None or wake > at)
            return False

        until(settled, f"everything has gone the whole way: {self.tails()}", seconds)

    def published(self) -> None:
        """Waits until the outbox is empty."""

        def empty() -> bool:
            with contextlib.suppress(SQLAlchemyError), self.database.reading() as connection:
                return connection.execute(select(outbox.c.id).limit(1)).first() is None
            return False

        until(empty, f"what is to be told is told: {self.tails()}")

    def _now(self) -> datetime:
        def asked() -> datetime | None:
            with contextlib.suppress(SQLAlchemyError), self.database.reading() as connection:
                return connection.execute(select(func.clock_timestamp())).scalar_one()  # type: ignore[no-any-return]
            return None

        found: datetime = until(asked, "the database answers")
        return found

    def tails(self) -> str:
        return "\n".join(f"== {process.name}\n{process.tail()[-600:]}" for process in self.processes.values())

    def deck(self, now: datetime) -> "StreamDeck":
        return StreamDeck(self.url, self.rules, now)

    def letters(self) -> set[tuple[str, str]]:
        """(origin, reason) of the dead letters."""
        with self.database.reading() as connection:
            return {(letter.origin, letter.reason) for _, letter in buried(connection)}


class StreamDeck(Deck):
    """The projections of the distributed form, as `Deck` looks at those of the embedded one."""

    def encoded(self, as_of: datetime | None = None) -> list[bytes]:
        with self.database.reading() as connection:
            keys = all_keys(connection, self.rules.registry)
            recall = recaller(histories, self.rules)
            return [encode_case(case) for case in recall(connection, keys, as_of or self.now)]


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return WEB.get(url, timeout=5).status_code == 200
    return False


@contextmanager
def cluster(rules: Ruleset, settings: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """A broker with the topics and a database of the test's own; no service runs yet."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="liuyan-cluster-")))
        broker = stack.enter_context(own_broker(folder / "kafka"))
        create_topics(broker.address)
        server = postgres.Server(dict(settings or {}))
        stack.callback(server.remove)
        server.start()
        found = Cluster(folder, broker.address, server, rules)
        stack.callback(found.database.close)
        stack.callback(found.stop)
        yield found
