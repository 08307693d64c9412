"""Prometheus and Alertmanager as real processes on the loopback address, and the receiver of their webhooks.

Their configurations are the committed ones; in the test's copy of them only addresses and the lengths of time are others.
"""

import json
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml

from tests.docs.markdown import ROOT
from tests.monitoring.programs import command
from tests.service import PATIENCE, until

RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
CONFIGURATION = ROOT / "deploy" / "prometheus" / "prometheus.yml"

Json = dict[str, Any]


class Told(NamedTuple):
    """One alert, as a receiver was told of it."""

    receiver: str
    status: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Receiver:
    """Where Alertmanager's webhooks arrive: all that was told, in order."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name = self.path.strip("/")
                told.extend(Told(name, a["status"], a["labels"], a["annotations"]) for a in body["alerts"])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Nothing: requests are not logged."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)

    def of(self, receiver: str, alert: str, status: str) -> list[Told]:
        return [
            each
            for each in list(self.told)
            if (each.receiver, each.labels["alertname"], each.status) == (receiver, alert, status)
        ]

    def hear(self, receiver: str, alert: str, status: str = "firing", more_than: int = 0) -> Told:
        """Wait until the receiver was told of the alert more often than that."""
        until(lambda: len(self.of(receiver, alert, status)) > more_than, f"{receiver} hears of {alert} {status}")
        return self.of(receiver, alert, status)[-1]


class Prometheus:
    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False)

    def query(self, expr: str) -> list[Json]:
        """The series that it gives now."""
        answer = self.client.get("/api/v1/query", params={"query": expr})
        assert answer.status_code == 200, f"{expr}: {answer.text}"
        found: list[Json] = answer.json()["data"]["result"]
        return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
        return port


@contextmanager
def _process(name: str, log: Path, url: str, *arguments: str) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen([*command(name), *arguments], stdout=output, stderr=output, cwd=log.parent)

    def ready() -> bool:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        try:
            return httpx.get(f"{url}/-/ready", trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    try:
        until(ready, f"{name} is ready")
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE)


def quick_rules(holding: str = "1s", firing: str = "6s") -> str:
    """The committed rules with other lengths of time. What outlives the program's end still does: see the head of that file."""
    found = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for rule in (rule for group in found["groups"] for rule in group["rules"]):
        rule |= {name: value for name, value in (("for", holding), ("keep_firing_for", firing)) if name in rule}
    return yaml.safe_dump(found, allow_unicode=True)


@contextmanager
def prometheus(folder: Path, targets: Sequence[str], alertmanager: str | None = None) -> Iterator[Prometheus]:
    """Scrapes the targets (host:port) every second under the committed job, with the committed rules."""
    found = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
    found["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    found["scrape_configs"][0]["static_configs"][0]["targets"] = list(targets)
    if alertmanager is None:
        del found["alerting"]
    else:
        found["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    folder.mkdir()
    (folder / "rules.yml").write_text(quick_rules(), encoding="utf-8")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(found), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    where = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"]
    where.append(
        "--rules.alert.resend-delay=1s"
    )  # what is sent before it knows of Alertmanager is lost, and sent again
    with _process("prometheus", folder / "log", f"http://{address}", *where):
        server = Prometheus(f"http://{address}")
        try:
            yield server
        finally:
            server.client.close()


@contextmanager
def alertmanager(folder: Path, configuration: Json) -> Iterator[str]:
    """With this configuration, only faster: its address (host:port)."""

    def hurry(route: Json) -> None:
        repeated = "1s" if route["receiver"] == "heartbeat" else "1h"
        route |= {"group_wait": "0s", "group_interval": "1s", "repeat_interval": repeated}
        for each in route.get("routes", []):
            hurry(each)

    hurry(configuration["route"])
    folder.mkdir()
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    where = ["--config.file=alertmanager.yml", "--storage.path=data", f"--web.listen-address={address}"]
    with _process("prometheus-alertmanager", folder / "log", f"http://{address}", *where, "--cluster.listen-address="):
        yield address
