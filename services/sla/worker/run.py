"""Runs the SLA processor in this process until SIGTERM or SIGINT."""

import gc
import socket
from collections.abc import Callable

import faust

from services.sla.worker.app import held, make_app
from services.sla.worker.health import Health
from services.sla.worker.libraries import quiet_libraries
from services.sla.worker.lookout import Lookout
from services.sla.worker.probe import serve
from services.sla.worker.watchdog import Watchdog
from shared.rules import Ruleset
from shared.topics import SLA_GROUP

COLLECT_AFTER = (50_000, 20, 100)
"""Objects of a batch live for milliseconds and form no cycles: looking for some all the time took a quarter of the rate."""


def run(
    bootstrap: str,
    instance: str,
    partitions: int,
    rules: Ruleset,
    listener: socket.socket | None = None,
    check_topics: Callable[[], str | None] = lambda: None,
) -> None:
    """Blocks. Ends the process with its own exit code: 0 after a signal, `processor.EXIT` or `watchdog.EXIT` on a failure.

    On `listener`, which is bound, `/livez`, `/readyz` and `/metrics` are answered. `check_topics` says what is wrong with the
    topics (Chinese, one line); it is called now and then, in another thread.
    """
    quiet_libraries()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    watchdog = Watchdog()
    health = Health(watchdog)
    app = make_app(bootstrap, instance, partitions, rules, watchdog, health)
    watchdog.start(stopping=lambda: app.should_stop)
    Lookout(bootstrap, SLA_GROUP, watchdog, health, lambda: held(app), check_topics).start()
    if listener is not None:
        serve(listener, health)
    worker = faust.Worker(app, quiet=True, override_logging=False, redirect_stdouts=False)
    worker.spinner = None
    worker.execute_from_commandline()
