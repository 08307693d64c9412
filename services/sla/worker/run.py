"""Runs the SLA processor in this process until SIGTERM or SIGINT."""

import signal
import socket
import threading
from collections.abc import Callable

import faust

from services.sla.worker.app import held, make_app
from services.sla.worker.health import Health
from services.sla.worker.libraries import quiet_libraries
from services.sla.worker.lookout import Lookout
from services.sla.worker.probe import serve
from services.sla.worker.watchdog import Watchdog
from shared.cycles import search_seldom
from shared.rules import Ruleset
from shared.topics import SLA_GROUP

LOOK_SECONDS = 0.2


def run(
    bootstrap: str,
    instance: str,
    partitions: int,
    rules: Ruleset,
    listener: socket.socket | None = None,
    check_topics: Callable[[], str | None] = lambda: None,
) -> None:
    """Blocks until a signal. On a failure it ends the process with one of the codes of `shared.exits`.

    Where no broker answers, or the topics are not there, it waits: Faust would end, or have nothing to do for ever.

    On `listener`, which is bound, `/livez`, `/readyz` and `/metrics` are answered. `check_topics` says what is wrong with the
    topics (Chinese, one line), or raises when nobody answers; it is called now and then, in another thread.
    """
    quiet_libraries()
    search_seldom()
    watchdog = Watchdog()
    health = Health(watchdog)
    app = make_app(bootstrap, instance, partitions, rules, watchdog, health)
    watchdog.start(stopping=lambda: app.should_stop)
    lookout = Lookout(bootstrap, SLA_GROUP, watchdog, health, lambda: held(app), check_topics)
    lookout.start()
    if listener is not None:
        serve(listener, health)
    if not _awaited(lookout.seen):
        return
    worker = faust.Worker(app, quiet=True, override_logging=False, redirect_stdouts=False)
    worker.spinner = None
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        if ended.code:
            raise


def _awaited(seen: threading.Event) -> bool:
    """Whether it was set before somebody told the process to stop."""
    told = threading.Event()
    before = {number: signal.signal(number, lambda *_: told.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        while not seen.wait(LOOK_SECONDS) and not told.is_set():
            pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return not told.is_set()
