"""A process that is killed: the real application and command line, ending by SIGKILL at the n-th passing of a named point.

Run as `python -m tests.crashchild` by tests/crashkit.py. A fork tells {"port"} when it serves, or 0 when it begins a command.
"""

import sys
from datetime import datetime
from functools import partial
from importlib import import_module
from pathlib import Path

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
from tests.crashkit import Job, Points, Tell, do_in_forks
from tests.fakes import FakeClock


def serve_until_killed(job: Job, rules: Ruleset, points: Points, tell: Tell) -> None:
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


def run_command(job: Job, points: Points, tell: Tell) -> None:
    """One command of the command line."""
    sys.argv = ["liuyan", *job["command"]]
    points.watch_sql()
    tell({"port": 0})
    cli()


def do(rules: Ruleset, job: Job, tell: Tell) -> None:
    """In the fork: the job with its smaller steps, so that there are many of them."""
    engine_module.sweep_due = partial(apply_module.sweep_due, batch=job.get("batch", 5_000))  # type: ignore[assignment]
    replay_module.LINES_A_STEP = job.get("lines", replay_module.LINES_A_STEP)
    replay_module.TURN_SECONDS = job.get("turn", replay_module.TURN_SECONDS)
    apply_module.CASES_A_STEP = prepare_module.CASES_A_STEP = job.get("cases", apply_module.CASES_A_STEP)
    points = Points(job)
    if "command" in job:
        run_command(job, points, tell)
    else:
        serve_until_killed(job, rules, points, tell)


if __name__ == "__main__":
    for module, _ in COMMANDS.values():  # imported before the first fork
        import_module(module)
    do_in_forks(partial(do, load_ruleset()))
