"""The whole system for tests: `liuyan standalone` as a real process, or its application in this process under a fake clock.

`running` starts a process and reads URL and key from what it prints, as a person would. `served` builds the same application
over a database file, with a clock that the test sets. `liuyan` runs one command of the command line in this process, with what
`main` does about errors; `liuyan_process` runs the installed script.
"""

import contextlib
import io
import json
import os
import queue
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import httpx
from litestar import Litestar
from litestar.testing import TestClient

from services.alerts.people.guard import People
from services.alerts.sweep import Raised, next_wake
from services.commands.cli import main
from services.compose.people import everybody
from services.ingest.keys import create_key
from services.standalone.app import create_app, metrics_registry
from services.standalone.database import Database, open_database
from services.standalone.engine import Engine
from shared.rules import Ruleset
from shared.times import SHANGHAI
from tests.builders import shipped_rules
from tests.enginekit import fresh_file
from tests.fakes import FakeClock

SCRIPT = Path(sys.executable).with_name("liuyan")
SINGLE, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
AS_OF = datetime(2022, 4, 11, tzinfo=SHANGHAI)
PATIENCE = 60.0  # seconds; a bound for what normally takes a moment, also on a busy machine
A_MOMENT, A_WHILE = 0.02, 0.2

Json = dict[str, Any]


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """The first true value of the condition, looked at again and again, the longer the less often; fails after so many seconds."""
    begun = time.monotonic()
    while not (value := condition()):
        waited = time.monotonic() - begun
        assert waited < seconds, f"not within {seconds:g} s: {what}"
        threading.Event().wait(min(max(A_MOMENT, waited / 20), A_WHILE))
    return value


# HTTP


class Pusher:
    """Pushes events and reads answers; what both kinds of service can do."""

    client: httpx.Client
    keys: dict[str, str]

    def post(self, body: Any, platform: str = "zhenkang", media_type: str = SINGLE, **headers: str) -> httpx.Response:
        """POST /v1/events with the platform's key; a body that is not bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        sent = {"Authorization": f"Bearer {self.keys[platform]}", "Content-Type": media_type} | headers
        return self.client.post("/v1/events", content=content, headers=sent)

    def push(self, *events: Json) -> None:
        """Push events, each with its platform's key, that must be taken."""
        for event in events:
            answer = self.post(event, platform_of(event))
            assert answer.status_code == 202, answer.text

    def push_batch(self, events: Sequence[Json], platform: str = "zhenkang") -> httpx.Response:
        return self.post(list(events), platform, BATCH)

    def get(self, path: str, **query: Any) -> httpx.Response:
        """What is there, which must be there."""
        answer = self.client.get(path, params=query or None)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer

    def json(self, path: str, **query: Any) -> Any:
        return self.get(path, **query).json()

    def metrics(self) -> str:
        return self.get("/metrics").text


def platform_of(event: Json) -> str:
    return str(event["source"]).rpartition("/")[2]


# In this process


class Served(Pusher):
    """The application in this process, its engine running, its clock in the test's hand."""

    def __init__(self, app: Litestar, database: Database, engine: Engine, clock: FakeClock) -> None:
        self.app, self.database, self.engine, self.clock = app, database, engine, clock
        self.keys: dict[str, str] = {}
        self.raised: list[Raised] = []

    def push(self, *events: Json) -> None:
        """Push events, each with its platform's key, that must be taken, and wait until the engine is at rest."""
        super().push(*events)
        self.settle()

    def set_clock(self, instant: datetime) -> None:
        """Set the clock and wait until the engine has done what is due by then."""
        self.clock.set(instant)
        self.settle()

    def settle(self) -> None:
        until(self._at_rest, "the sweep has done what is due")

    def _at_rest(self) -> bool:
        with self.database.reading() as connection:
            wake = next_wake(connection)
        return wake is None or wake > self.clock.now()


@contextmanager
def assembled(
    file: Path,
    now: datetime = AS_OF,
    rules: Ruleset | None = None,
    people_of: Callable[[Database, Ruleset], People] = everybody,
) -> Iterator[Served]:
    """The application over the database file, at work but without a client, with a key for every platform. Nobody has to sign in,
    unless `people_of` says otherwise."""
    rules = rules or shipped_rules()
    clock = FakeClock(now)
    if not file.exists():
        fresh_file(file.parent, file.name)
    database = open_database(file, write=True)

    def on_raised(alerts: tuple[Raised, ...]) -> None:
        delay.observe(alerts, clock.now())
        service.raised.extend(alerts)

    engine = Engine(database, rules, clock, on_raised=on_raised)
    registry, delay = metrics_registry(database, engine, rules)
    service = Served(create_app(engine, registry, people_of(database, rules)), database, engine, clock)
    engine.prepare()
    engine.start()
    try:
        with database.writing() as connection:
            service.keys = {slug: create_key(connection, slug, now)[1] for slug in rules.registry.slugs}
        service.settle()
        yield service
    finally:
        engine.stop()
        database.close()


@contextmanager
def served(
    file: Path,
    now: datetime = AS_OF,
    rules: Ruleset | None = None,
    people_of: Callable[[Database, Ruleset], People] = everybody,
) -> Iterator[Served]:
    """The application over the database file, with a client that asks it without a network."""
    with (
        assembled(file, now, rules, people_of) as service,
        TestClient(service.app, raise_server_exceptions=False) as client,
    ):
        service.client = client
        yield service


# As a process


class Running(Pusher):
    """A `liuyan standalone` process. `lines` is what it has printed so far."""

    def __init__(self, process: "subprocess.Popen[str]", lines: list[str], database: Path | None) -> None:
        self.process, self.lines = process, lines
        self.url = _found(r"推送到\s+(http://\S+)/v1/events", lines)
        self.database = database or Path(_found(r"数据在\s+(\S+?)（", lines))
        self.keys = dict(re.findall(r"推送密钥（\S+ (\w+)(?:，只显示这一次)?）\s+(lyk_\S+)", "\n".join(lines)))
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


def _found(pattern: str, lines: list[str]) -> str:
    match = re.search(pattern, "\n".join(lines))
    assert match, f"no {pattern} in what it printed: {lines}"
    return match[1]


@contextmanager
def running(database: Path | None, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    """`liuyan standalone --port 0` on the database file (None: with --demo), ready for requests."""
    where = ["--demo"] if database is None else ["--db", str(database)]
    process = subprocess.Popen(
        [SCRIPT, "standalone", "--port", "0", *where, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        env=clean_environment(environment),
    )
    lines: list[str] = []
    fresh: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process, lines, fresh), daemon=True)
    reader.start()
    service = None
    try:
        while (line := fresh.get(timeout=PATIENCE)) != "按 Ctrl-C 停止":
            assert line is not None, f"it did not start: {lines}"
        service = Running(process, lines, database)
        yield service
    finally:
        if service is not None:
            service.client.close()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(PATIENCE)
        reader.join(PATIENCE)
        assert process.stdout is not None
        process.stdout.close()


def _read(process: "subprocess.Popen[str]", lines: list[str], fresh: "queue.Queue[str | None]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        fresh.put(lines[-1])
    fresh.put(None)


# The command line


class Finished(NamedTuple):
    """What a command gave."""

    code: int
    raw: bytes
    error: str

    @property
    def out(self) -> str:
        return self.raw.decode("utf-8")

    def json(self) -> Any:
        return json.loads(self.raw)

    def jsonl(self) -> list[Any]:
        return [json.loads(line) for line in self.raw.splitlines()]


def clean_environment(further: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without the settings of whoever runs the tests. Nobody has to sign in: where that is what a test
    is about, it says so."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LIUYAN_")}
    return kept | {"LIUYAN_SIGN_IN": "off"} | dict(further or {})


def liuyan(*arguments: object, environment: Mapping[str, str] | None = None) -> Finished:
    """A command in this process, just as the installed script runs it."""
    out, error = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    code: Any = None
    with (
        patch.object(sys, "argv", ["liuyan", *map(str, arguments)]),
        patch.dict(os.environ, clean_environment(environment), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
    ):
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code
    raw, told = (stream.buffer.getvalue() for stream in (out, error))  # type: ignore[attr-defined]
    return Finished(code, raw, told.decode("utf-8"))


def ran(*arguments: object, environment: Mapping[str, str] | None = None) -> Finished:
    """A command that must succeed."""
    finished = liuyan(*arguments, environment=environment)
    assert finished.code == 0, finished.error
    return finished


def liuyan_process(*arguments: object, environment: Mapping[str, str] | None = None) -> Finished:
    """A command as a process of its own, by the installed script."""
    done = subprocess.run(
        [SCRIPT, *map(str, arguments)],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
        env=clean_environment(environment),
    )
    return Finished(done.returncode, done.stdout, done.stderr.decode("utf-8"))


# The database, seen from outside


def dump(file: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every table of the file with all its rows, in order."""
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        return {name: sorted(connection.execute(f'SELECT * FROM "{name}"'), key=repr) for name in names}  # noqa: S608


def tamper(file: Path, statement: str) -> None:
    """Change the database behind the system's back; at least one row."""
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        assert connection.execute(statement).rowcount > 0


def raw_bytes(file: Path) -> bytes:
    """All that is on the disk of the database: the file, and the write-ahead log while there is one."""
    files = [file.with_name(file.name + ending) for ending in ("", "-wal")]
    return b"".join(found.read_bytes() for found in files if found.exists())
