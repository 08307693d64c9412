"""From a deadline to the webhook about it: one alert (goal 2 s), 100,000 deadlines in one instant (goal 10 s), and the page meanwhile."""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from bench.measure import folder, median, receptions
from bench.midnight import RECEIVED, load, sweep_all
from services.standalone.database import open_database
from shared.deployment import load_ruleset
from shared.times import SHANGHAI

DEADLINES = 100_000  # two of each case: to reply, and to complete
MORNING, MIDNIGHT = datetime(2026, 3, 4, 9, tzinfo=SHANGHAI), datetime(2026, 3, 5, tzinfo=SHANGHAI)
ROUNDS = 5
PATIENCE = 120.0


class Arrived(NamedTuple):
    at: float
    alerts: int


class Hook:
    """A receiver of webhooks that counts the alerts that it is told of."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body: Any = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()
                hook.arrived.append(Arrived(time.time(), sum(part["total"] for part in body["data"]["parts"])))

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"

    def wait(self, alerts: int) -> None:
        until = time.monotonic() + PATIENCE
        while sum(one.alerts for one in self.arrived) < alerts:
            if time.monotonic() > until:
                sys.exit(
                    f"after {PATIENCE:g} s only {sum(one.alerts for one in self.arrived):,} of {alerts:,} alerts were told"
                )
            time.sleep(0.01)


@contextmanager
def serving(file: Path, hook: Hook) -> Iterator[tuple[subprocess.Popen[str], str]]:
    arguments = [str(file), hook.url, (MORNING + timedelta(hours=1)).isoformat(), MIDNIGHT.isoformat()]
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "bench.noticeserver", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def at_midnight(process: "subprocess.Popen[str]") -> float:
    """Let it become midnight in a second: when that is."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    return datetime.fromisoformat(process.stdout.readline().strip()).timestamp()


def prepared(file: Path, cases: int) -> None:
    """So many cases whose two deadlines fall at midnight, warned of already."""
    rules, database = load_ruleset(), open_database(file, create=True)
    events = receptions(cases, lambda i: RECEIVED + timedelta(seconds=i % 20_000), lambda i: "simple_inquiry")
    load(database, rules, events, RECEIVED + timedelta(hours=10))
    sweep_all(database, rules, MORNING)
    database.close()


class Visitor:
    """Looks at the page and at a list, one after the other, as long as it is told to."""

    def __init__(self, url: str) -> None:
        self._paths = [f"{url}/", f"{url}/v1/overdue?limit=100"]
        self.took: list[float] = []
        self.refused = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Visitor":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ending.wait(0.05):
            for path in self._paths:
                begun = time.perf_counter()
                try:
                    with urllib.request.urlopen(path, timeout=PATIENCE) as answer:  # noqa: S310 - of our own making
                        answer.read()
                except OSError:
                    self.refused += 1
                self.took.append(time.perf_counter() - begun)


def one() -> None:
    delays = []
    for _ in range(ROUNDS):
        with folder() as where:
            prepared(where / "one.db", 1)
            hook = Hook()
            with serving(where / "one.db", hook) as (process, _):
                due = at_midnight(process)
                hook.wait(2)
                delays.append(hook.arrived[-1].at - due)
            hook.server.shutdown()
    print(
        f"one case: its webhook {median(delays):.2f} s after the deadline, at most {max(delays):.2f} s of {ROUNDS} (goal <= 2 s)",
        flush=True,
    )


def storm() -> None:
    with folder() as where:
        prepared(where / "storm.db", DEADLINES // 2)
        hook = Hook()
        with serving(where / "storm.db", hook) as (process, url), Visitor(url) as before:
            time.sleep(3)
            before.__exit__()
            with Visitor(url) as meanwhile:
                due = at_midnight(process)
                hook.wait(DEADLINES)
                took = hook.arrived[-1].at - due
        hook.server.shutdown()
    print(
        f"{DEADLINES:,} deadlines in one instant: all told {took:.2f} s after it, in {len(hook.arrived)} messages"
        f" (goal <= 10 s); the page and a list meanwhile: median {median(meanwhile.took):.2f} s, at most"
        f" {max(meanwhile.took):.2f} s of {len(meanwhile.took)} ({meanwhile.refused} refused); before it {median(before.took):.3f} s",
        flush=True,
    )


def main() -> None:
    one()
    storm()
