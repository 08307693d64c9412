"""Runs the SLA processor in this process until SIGTERM or SIGINT."""

import faust

from services.sla.worker.app import make_app
from services.sla.worker.watchdog import Watchdog
from shared.rules import Ruleset


def run(bootstrap: str, instance: str, partitions: int, rules: Ruleset) -> None:
    """Blocks. Ends the process with its own exit code: 0 after a signal, `app.EXIT` or `watchdog.EXIT` on a failure."""
    watchdog = Watchdog()
    app = make_app(bootstrap, instance, partitions, rules, watchdog)
    watchdog.start()
    faust.Worker(app, quiet=True, loglevel="WARNING", redirect_stdouts=False).execute_from_commandline()
