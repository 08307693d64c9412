"""A scrape of /metrics with 1,000,000 cases against one with 10,000 (goals: ratio <= 1.5, <= 50 ms)."""

import time
from datetime import datetime, timedelta

from litestar.testing import TestClient

from bench.measure import CATEGORIES, folder, median, receptions
from bench.midnight import load
from services.compose.clock import AcceleratedClock
from services.compose.people import everybody
from services.standalone.app import create_app, metrics_registry
from services.standalone.database import open_database
from services.standalone.engine import Engine
from shared.deployment import load_ruleset
from shared.events import Received
from shared.times import SHANGHAI

NOW = datetime(2026, 3, 20, 12, tzinfo=SHANGHAI)


def _receptions(cases: int) -> list[Received]:
    """Received over the fifteen months before: most long overdue, many due within days."""
    return receptions(
        cases, lambda i: NOW - timedelta(minutes=(i * 650_000) // cases), lambda i: CATEGORIES[i % len(CATEGORIES)]
    )


def main() -> None:
    rules = load_ruleset()
    times: dict[int, list[float]] = {10_000: [], 1_000_000: []}
    with folder() as where:
        clients = {}
        for cases in times:
            database = open_database(where / f"{cases}.db", create=True)
            load(database, rules, _receptions(cases), NOW)
            engine = Engine(database, rules, AcceleratedClock(NOW, 1e-9))
            registry, _ = metrics_registry(database, engine, rules)
            clients[cases] = TestClient(create_app(engine, registry, everybody(database, rules)))
        for _ in range(30):
            for cases, client in clients.items():
                begun = time.perf_counter()
                assert client.get("/metrics").status_code == 200
                times[cases].append(time.perf_counter() - begun)
    small, large = median(times[10_000]), median(times[1_000_000])
    print(f"ratio {large / small:.2f} (goal <= 1.5); {large * 1000:.1f} ms with 1,000,000 cases (goal <= 50), "
          f"{small * 1000:.1f} ms with 10,000")  # fmt: skip
