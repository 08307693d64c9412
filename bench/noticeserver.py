"""The service of the notices bench: `liuyan standalone` as it is composed, on a clock that is told when to come to midnight."""

import base64
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

from services.alerts.notices.routing import RUNGS, Channel, Notices, Secret, Web
from services.compose.notices import Messenger, Together
from services.compose.people import everybody
from services.compose.server import bind, serve
from services.standalone.app import create_app, metrics_registry
from services.standalone.database import open_database
from services.standalone.engine import Engine
from shared.deployment import load_ruleset
from shared.policy import OfficeHours
from shared.times import SHANGHAI, isoformat

SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()


class Clock:
    """Runs as time does; `set` moves it."""

    def __init__(self, start: datetime) -> None:
        self.set(start)

    def set(self, instant: datetime) -> None:
        self._ahead = instant - datetime.now(SHANGHAI)

    def now(self) -> datetime:
        return datetime.now(SHANGHAI) + self._ahead

    def seconds_until(self, instant: datetime) -> float:
        return min((instant - self.now()).total_seconds(), 0.05)  # the clock may be set meanwhile


def main() -> None:
    file, hook, start, midnight = Path(sys.argv[1]), sys.argv[2], *map(datetime.fromisoformat, sys.argv[3:5])
    rules, database, clock = load_ruleset(), open_database(file, write=True), Clock(start)
    engine = Engine(database, rules, clock)
    registry, _ = metrics_registry(database, engine, rules)
    channel = Channel("hook", "webhook", Web(Secret(hook), Secret(SECRET)), urgent=RUNGS, clearings="all")
    told = Notices((channel,), OfficeHours(((510, 1080),)))
    messenger = Messenger(database, rules, told, lambda _: clock.now(), registry)
    listener = bind("127.0.0.1", 0)

    def wait_for_word() -> None:
        for _ in sys.stdin:
            clock.set(midnight - timedelta(seconds=1))
            print(isoformat(datetime.now(SHANGHAI) + timedelta(seconds=1)), flush=True)

    threading.Thread(target=wait_for_word, daemon=True).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    engine.prepare()
    serve(
        create_app(engine, registry, everybody(database, rules)),
        Together(engine, messenger),
        listener,
        lambda: print(url, flush=True),
    )


if __name__ == "__main__":
    main()
