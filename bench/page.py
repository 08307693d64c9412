"""Each page of the duty officer with 1,000,000 cases in the database (goal: the first page <= 100 ms on the server)."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from litestar.testing import TestClient

from bench.measure import CATEGORIES, PLATFORMS, folder, median
from bench.midnight import sweep_all
from services.compose.clock import AcceleratedClock
from services.compose.people import everybody
from services.standalone.app import create_app, metrics_registry
from services.standalone.apply import take_and_project
from services.standalone.database import open_database
from services.standalone.engine import Engine
from shared.deployment import load_ruleset
from shared.events import Completed, Event, Received, ReceivedData, Transferred, TransferredData
from shared.times import SHANGHAI

NOW = datetime(2026, 3, 20, 12, tzinfo=SHANGHAI)
CASES = 1_000_000
OPEN = 10  # one of so many stays open; most of these are long overdue
PAGES = {
    "the first page": "/",
    "a county": "/?county=zhenkang",
    "a category": "/?category=complaint",
    "a holder": "/?holder=县住建局",
    "a number": "/?q=s-4711",
    "a title": "/?q=饮水",
    "a title that is nowhere": "/?q=没有这样的标题",
    "print": "/print",
    "statistics": "/statistics",
    "statistics of a year": "/statistics?period=2025",
    "calendar": "/calendar",
    "calculator": "/calendar?received=2026-02-13T17:00&category=help",
    "a case": "/cases/linxiang/s-1",
    "handing over": "/shifts",
    "notices": "/notices",
}


def events() -> Iterator[Event]:
    """Received over the fifteen months before, handled within three weeks or not at all; some held by a unit."""
    for i in range(CASES):
        source, subject = f"/platforms/{PLATFORMS[i % len(PLATFORMS)]}", f"s-{i}"
        at = NOW - timedelta(minutes=(i * 650_000) // CASES)
        own = {"specversion": "1.0", "source": source, "subject": subject}
        data = ReceivedData(category=CATEGORIES[i % len(CATEGORIES)], title=f"关于公路维修的咨询 {i % 977}")
        yield Received(id=f"r-{i}", time=at, data=data, **own)  # type: ignore[arg-type]
        if i % OPEN == 0:
            if i % 300 == 0:
                yield Transferred(id=f"t-{i}", time=at, data=TransferredData(to="县住建局"), **own)  # type: ignore[arg-type]
            continue
        yield Completed(id=f"c-{i}", time=min(NOW, at + timedelta(hours=7 * (i % 72))), **own)  # type: ignore[arg-type]


def main() -> None:
    rules = load_ruleset()
    with folder() as where:
        database = open_database(where / "page.db", create=True)
        step: list[Event] = []
        for event in events():
            step.append(event)
            if len(step) >= 20_000:
                with database.writing() as connection:
                    take_and_project(connection, step, ["bench"] * len(step), rules, NOW)
                step = []
        with database.writing() as connection:
            take_and_project(connection, step, ["bench"] * len(step), rules, NOW)
        sweep_all(database, rules, NOW)
        engine = Engine(database, rules, AcceleratedClock(NOW, 1e-9))
        registry, _ = metrics_registry(database, engine, rules)
        with TestClient(create_app(engine, registry, everybody(database, rules))) as client:
            for name, path in PAGES.items():
                times = []
                for _ in range(11):
                    begun = time.perf_counter()
                    answer = client.get(path)
                    times.append(time.perf_counter() - begun)
                    assert answer.status_code == 200, (path, answer.status_code)
                print(f"{median(times) * 1000:7.1f} ms  (most {max(times) * 1000:.1f})  {name}  {path}", flush=True)
        database.close()
