"""The page of the distributed form is done as it stands there: every command, on a real Kafka and PostgreSQL, with what it shows."""

import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.compose.people import everybody
from services.distributed import broker, provision
from services.distributed.alerts import AlertsService
from services.distributed.ingest import IngestService
from shared.rules import Ruleset
from shared.settings import SETTINGS
from shared.topics import TOPICS
from tests.clusterkit import ROOT
from tests.docs.markdown import blocks, pushed, read, section, shell_lines, spans, tables
from tests.kafkakit import demanded
from tests.postgres import Server
from tests.service import PATIENCE, SCRIPT, SINGLE, clean_environment, until

PAGE = read("docs/distributed.md")
STEPS = section(PAGE, "Step by step")
BODIES = pushed(STEPS)


def free_ports(number: int) -> list[str]:
    with_sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [str(each.getsockname()[1]) for each in with_sockets]
    for each in with_sockets:
        each.close()
    return ports


class Terminals:
    """Runs the page's lines as somebody would who has these ports free, this folder, and this database."""

    def __init__(self, folder: Path, database: str) -> None:
        ports = dict(zip(("9092", "8000", "8001", "8002"), free_ports(4), strict=True))
        self._said = {f":{number}": f":{port}" for number, port in ports.items()} | ports
        self._said["kafka-data"] = str(folder / "kafka-data")
        self._said["postgresql://liuyan:PASSWORD@127.0.0.1:5432/liuyan"] = database
        self._environment = clean_environment({"LIUYAN_SIGN_IN": "required"})
        self._services: list[subprocess.Popen[bytes]] = []
        self._folder, self.out, self.key, self.token = folder, "", "", ""

    def do(self, words: list[str]) -> None:
        words = [self._mine(word) for word in words]
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self._environment[name] = value
        elif words[:2] in (["liuyan", "ingest"], ["liuyan", "sla"], ["liuyan", "alerts"]):
            log = (self._folder / f"{words[1]}.log").open("wb")
            with log:
                self._services.append(
                    subprocess.Popen([SCRIPT, *words[1:]], env=self._environment, stdout=log, stderr=log, cwd=ROOT)
                )
        elif words[0] == "liuyan":
            self._run(words[1:])
        elif words[0] == "curl":
            self._ask(words)
        else:
            assert words[0] in ("sudo", ".", "KEY=lyk_…", "TOKEN=lyr_…"), f"what is this: {words}"

    def _mine(self, word: str) -> str:
        if word in self._said:
            return self._said[word]
        name, sign, value = word.partition("=")
        if sign and value in self._said:
            return f"{name}={self._said[value]}"
        return re.sub(r":(9092|8000|8001|8002)\b", lambda found: self._said[found[0]], word)

    def _run(self, words: list[str]) -> None:
        done = subprocess.run(
            [SCRIPT, *words],
            check=False,
            env=self._environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
        )
        assert done.returncode == 0, (words, done.stderr)
        self.out = done.stdout
        if words[:2] == ["keys", "create"]:
            self.key = done.stdout.strip()
        if words[:2] == ["accounts", "token"]:
            self.token = done.stdout.strip()

    def _ask(self, words: list[str]) -> None:
        (url,) = (word for word in words if word.startswith("http://"))

        def answered() -> httpx.Response | None:
            try:
                found = self._send(url) if "--data-binary" in words else self._get(url)
            except httpx.HTTPError:
                return None
            return found if found.status_code in (200, 202) else None

        answer = until(answered, f"{url}: {self._logs()}", 3 * PATIENCE)
        if "--data-binary" in words:
            assert answer.status_code == 202

    def _get(self, url: str) -> httpx.Response:
        return httpx.get(url, headers={"Authorization": f"Bearer {self.token}"}, trust_env=False)

    def _send(self, url: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": SINGLE}
        return httpx.post(url, content=BODIES[0].encode(), headers=headers, trust_env=False, timeout=PATIENCE)

    def _logs(self) -> str:
        return "\n".join(log.read_text(errors="replace")[-500:] for log in self._folder.glob("*.log"))

    def end(self) -> list[int]:
        """Ctrl-C in every terminal: the exit codes."""
        for service in self._services:
            service.terminate()
        stopped = [threading.Thread(target=service.wait, args=(PATIENCE,)) for service in self._services]
        for each in stopped:
            each.start()
        for each in stopped:
            each.join()
        for service in self._services:
            if service.poll() is None:
                service.kill()
                service.wait()
        return [service.returncode for service in self._services]


@pytest.fixture
def terminals(tmp_path: Path, postgres_server: Server) -> Iterator[Terminals]:
    demanded(provision.java)
    demanded(provision.jars)
    found = Terminals(tmp_path, postgres_server.create(f"docs{os.getpid()}"))
    try:
        yield found
    finally:
        found.end()
        broker.down(tmp_path / "kafka-data")


@pytest.mark.slow
def test_step_by_step(terminals: Terminals) -> None:
    """Each command succeeds, the message goes the whole way, and the case is the one that stands there."""
    for words in shell_lines(STEPS):
        terminals.do(words)
    (shown,) = (block.text for block in blocks(STEPS, "text"))
    lines = iter(terminals.out.splitlines())
    for line in shown.splitlines():
        assert line in lines, f"not shown, or not in this order: {line}\n{terminals.out}"
    assert terminals.end() == [0, 0, 0]


def test_the_steps_are_one_push_and_three_services() -> None:
    assert len(BODIES) == 1
    started = {words[1] for words in shell_lines(STEPS) if words[0] == "liuyan"}
    assert started >= {"broker", "topics", "keys", "ingest", "sla", "alerts", "case"}


def test_the_topics_are_those_of_the_table() -> None:
    listed = {spans(row[0])[0]: row[2] for row in tables(section(PAGE, "Topics"))[0]}
    assert listed == {topic.name: str(topic.partitions) for topic in TOPICS}


def test_the_settings_exist() -> None:
    services, settings = tables(section(PAGE, "Services"))
    assert [spans(row[0])[0] for row in services] == ["liuyan ingest", "liuyan sla", "liuyan alerts"]
    named = {span for row in settings for span in spans(row[0])}
    assert named <= {setting.name for setting in SETTINGS}
    assert {"kafka", "db", "instance", "environment"} <= named


class _NoDatabase:
    """What the applications are built over here is never asked."""

    def reading(self) -> None:
        raise AssertionError

    writing = reading


def test_the_metrics_of_each_service_are_those_of_the_page(rules: Ruleset) -> None:
    listed = {spans(row[0])[0]: {s for s in spans(row[1]) if s.startswith("liuyan_")} for row in _metrics()}
    generated = {spans(row[0])[0] for row in tables(read("docs/metrics.md"))[0]}
    of_ingest = {name for name in generated if "refused" in name}
    assert listed["liuyan ingest"] == of_ingest
    assert listed["liuyan alerts"] == {"liuyan_consumer_lag_records", "liuyan_horizon_timestamp_seconds"}
    worker = (ROOT / "services" / "sla" / "worker" / "health.py").read_text(encoding="utf-8")
    assert {spans(row[0])[0] for row in tables(section(PAGE, "Metrics"))[1]} == set(
        re.findall(r'"(liuyan_\w+)"', worker)
    )


def _metrics() -> list[list[str]]:
    return tables(section(PAGE, "Metrics"))[0]


def test_every_endpoint_of_the_page_is_served(rules: Ruleset) -> None:
    database: object = _NoDatabase()
    address = "127.0.0.1:9"
    ingest = IngestService(database, address, "development", rules)  # type: ignore[arg-type]
    alerts = AlertsService(database, address, "one", "development", rules, everybody(database, rules))  # type: ignore[arg-type]
    for service, wanted in ((ingest, {"/v1/events"}), (alerts, {"/", "/v1/cases", "/v1/overdue", "/v1/rates"})):
        served = {route.path for route in service.app.routes}
        assert served >= wanted | {"/schema/openapi.json", "/livez", "/readyz", "/metrics"}
    assert "/v1/events" not in {route.path for route in alerts.app.routes}
