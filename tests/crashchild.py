"""A process that is killed: the real application and command line, ending by SIGKILL at the n-th passing of a named point.

Run as `python -m tests.crashchild`, it reads jobs (a JSON object a line) and does each in a fork of itself, so that hundreds of
starts cost the imports of one. A fork tells {"port"} when it serves, or 0 when it begins; when it has ended, {"status"} is told.
While it runs, {"signal"} sends it one; a job's "kill_after" kills it after so many seconds.

Points are what the engine's `step` names, and every statement that changes the database (`sql INSERT events`, `sql COMMIT`).
"""

import json
import os
import re
import select
import signal
import sys
import time
from collections import Counter
from datetime import datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event

from services.commands.cli import COMMANDS
from services.commands.cli import main as cli
from services.compose.people import everybody
from services.compose.server import bind, serve
from services.standalone import apply as apply_module
from services.standalone import engine as engine_module
from services.standalone import prepare as prepare_module
from services.standalone import replay as replay_module
from services.standalone.app import create_app, metrics_registry
from services.standalone.database import open_database
from services.standalone.engine import Engine
from shared.deployment import load_ruleset
from shared.rules import Ruleset
from tests.fakes import FakeClock

CHANGES = re.compile(r"\s*(INSERT|UPDATE|DELETE)\s+(?:INTO\s+|FROM\s+)?\"?(\w+)", re.IGNORECASE)


class Points:
    """Counts the points passed; ends the process where it is told to, at once and without a word."""

    def __init__(self, point: str | None, number: int, seen: Path | None) -> None:
        self._point, self._number, self._seen = point, number, seen
        self._passed: Counter[str] = Counter()

    def __call__(self, name: str) -> None:
        self._passed[name] += 1
        if name == self._point and self._passed[name] == self._number:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._seen is not None:
            self._seen.write_text(json.dumps(self._passed))

    def watch_sql(self) -> None:
        """Every statement of any connection of this process, before it is executed."""

        @event.listens_for(sqlalchemy.engine.Engine, "before_cursor_execute")
        def statement(connection: Any, cursor: Any, text: str, *_: Any) -> None:
            if match := CHANGES.match(text):
                self(f"sql {match[1].upper()} {match[2]}")

        @event.listens_for(sqlalchemy.engine.Engine, "commit")
        def commit(connection: Any) -> None:
            if self._passed:
                self("sql COMMIT")


def serve_until_killed(job: dict[str, Any], rules: Ruleset, points: Points, tell: Any) -> None:
    """The application as `liuyan standalone` composes it, on a clock that stands still."""
    clock = FakeClock(datetime.fromisoformat(job["now"]))
    database = open_database(Path(job["file"]), create=True)
    engine = Engine(database, rules, clock, step=points)
    registry, _ = metrics_registry(database, engine, rules)
    app = create_app(engine, registry, everybody(database, rules))
    points.watch_sql()
    engine.prepare()
    listener = bind("127.0.0.1", 0)
    serve(app, engine, listener, lambda: tell({"port": listener.getsockname()[1]}))
    listener.close()
    database.close()


def run_command(job: dict[str, Any], points: Points, tell: Any) -> None:
    """One command of the command line."""
    sys.argv = ["liuyan", *job["command"]]
    points.watch_sql()
    tell({"port": 0})
    cli()


def do(job: dict[str, Any], rules: Ruleset, tell: Any) -> None:
    """In the fork: the job with its smaller steps, so that there are many of them."""
    engine_module.sweep_due = partial(apply_module.sweep_due, batch=job.get("batch", 5_000))  # type: ignore[assignment]
    replay_module.LINES_A_STEP = job.get("lines", replay_module.LINES_A_STEP)
    apply_module.CASES_A_STEP = prepare_module.CASES_A_STEP = job.get("cases", apply_module.CASES_A_STEP)
    seen = Path(job["seen"]) if "seen" in job else None
    points = Points(job.get("point"), job.get("number", 1), seen)
    if "command" in job:
        run_command(job, points, tell)
    else:
        serve_until_killed(job, rules, points, tell)


def main() -> None:
    rules = load_ruleset()
    for module, _ in COMMANDS.values():  # imported before the first fork
        import_module(module)
    wire = os.dup(1)
    os.dup2(2, 1)  # what the application prints is not part of what is told

    def tell(what: dict[str, Any]) -> None:
        os.write(wire, json.dumps(what).encode() + b"\n")

    for line in sys.stdin:
        job = json.loads(line)
        if "signal" in job:  # for a fork that had ended by itself
            continue
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                do(job, rules, tell)
                code = 0
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
            except BaseException:  # noqa: BLE001 - a fork must not go on with its parent's work
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        tell({"status": wait_for(pid, job.get("kill_after"))})


def wait_for(pid: int, kill_after: float | None) -> int:
    """The exit status of the fork; meanwhile signals are sent to it as told. It cannot be another process by then."""
    begun = time.monotonic()
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if kill_after is not None and time.monotonic() - begun >= kill_after:
            os.kill(pid, signal.SIGKILL)
            kill_after = None
        if select.select([sys.stdin], [], [], 0.002)[0]:
            line = sys.stdin.readline()
            os.kill(pid, json.loads(line)["signal"] if line else signal.SIGKILL)


if __name__ == "__main__":
    main()
