"""Processes that are killed at a named point: many of them forks of one, so that hundreds of starts cost the imports of one.

`Points`, in the process that dies, counts what it passes and ends it by SIGKILL at the n-th passing of a point. `do_in_forks` is the
main loop of a module that does jobs in forks of itself; `crashing` starts such a module, and `Crashes` gives it jobs.

It reads jobs (a JSON object a line), one at a time. A fork tells what it likes, e.g. {"port"} when it serves; when it has ended,
{"status"} is told. While it runs, {"signal"} sends it one; a job's "kill_after" kills it after so many seconds.
"""

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import event

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0
LONG = 300.0  # for all jobs of a module
CHANGES = re.compile(r"\s*(INSERT|UPDATE|DELETE)\s+(?:INTO\s+|FROM\s+)?\"?(\w+)", re.IGNORECASE)

Job = dict[str, Any]
Tell = Callable[[dict[str, Any]], None]


# In the process that is killed


class Points:
    """Counts the points passed; ends the process where it is told to, at once and without a word.

    Points are what the code names, and every statement that changes the database (`sql INSERT events`, `sql COMMIT`).
    """

    def __init__(self, job: Job) -> None:
        """`job`: the `point` at whose `number`-th passing it is killed, if at any; a file `seen` for the counts, if they are asked."""
        self._point, self._number = job.get("point"), job.get("number", 1)
        self._seen = Path(job["seen"]) if "seen" in job else None
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


def do_in_forks(do: Callable[[Job, Tell], None]) -> None:
    """Does each job of standard input in a fork, until there are no more. What a job uses is imported before."""
    wire = os.dup(1)
    os.dup2(2, 1)  # what a job prints is not part of what is told

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
                do(job, tell)
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
        tell({"status": _wait_for(pid, job.get("kill_after"))})


def _wait_for(pid: int, kill_after: float | None) -> int:
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


# In the test


class Crashes:
    """The process whose forks are killed. One job at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def begin(self, **job: Any) -> dict[str, Any]:
        """What the fork told first, or its status when it ended before."""
        self._tell(job)
        return self._told()

    def end(self, started: dict[str, Any], signum: int | None = None) -> int:
        """The exit status of the fork (negative: the signal), sending it a signal first if told so."""
        if "status" not in started:
            if signum is not None:
                self.send(signum)
            started = self._told()
        return int(started["status"])

    def run(self, **job: Any) -> int:
        """The exit status of a fork that does the job and ends."""
        return self.end(self.begin(**job))

    def send(self, signum: int) -> None:
        self._tell({"signal": signum})

    def _tell(self, what: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def _told(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process of the forks has ended"
        told: dict[str, Any] = json.loads(line)
        return told


@contextmanager
def crashing(module: str, folder: Path) -> Iterator[Crashes]:
    """A process of the module, which does jobs in forks; what they say is in a file in the folder."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIUYAN_")}
    with (folder / "said.txt").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=clean,
        )  # fmt: skip
        guard = threading.Timer(LONG, process.kill)
        guard.start()
        try:
            yield Crashes(process)
        finally:
            guard.cancel()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
                process.stdout.close()
