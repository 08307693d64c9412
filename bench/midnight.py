"""100,000 cases whose deadlines fall in the same instant: how long until all are flagged (goal 5 s)."""

from datetime import datetime, timedelta

from bench.measure import folder, receptions, seconds
from services.alerts.sweep import next_wake
from services.standalone.apply import sweep_due, take_and_project
from services.standalone.database import Database, open_database
from shared.deployment import load_ruleset
from shared.events import Received
from shared.rules import Ruleset
from shared.times import SHANGHAI

CASES = 100_000
RECEIVED = datetime(2026, 3, 3, 9, tzinfo=SHANGHAI)


def load(database: Database, rules: Ruleset, events: list[Received], now: datetime) -> None:
    for start in range(0, len(events), 20_000):
        step = events[start : start + 20_000]
        with database.writing() as connection:
            take_and_project(connection, step, ["bench"] * len(step), rules, now)


def sweep_all(database: Database, rules: Ruleset, now: datetime) -> int:
    raised = 0
    while True:
        with database.reading() as connection:
            wake = next_wake(connection)
        if wake is None or wake > now:
            return raised
        with database.writing() as connection:
            raised += len(sweep_due(connection, rules, now))


def main() -> None:
    rules = load_ruleset()
    with folder() as where:
        database = open_database(where / "midnight.db", create=True)
        events = receptions(CASES, lambda i: RECEIVED + timedelta(seconds=i % 20_000), lambda i: "simple_inquiry")
        load(database, rules, events, RECEIVED + timedelta(hours=10))
        sweep_all(database, rules, datetime(2026, 3, 4, 9, tzinfo=SHANGHAI))
        raised: list[int] = []
        took = seconds(lambda: raised.append(sweep_all(database, rules, datetime(2026, 3, 5, tzinfo=SHANGHAI))))
        print(f"{took:.2f} s: {CASES:,} cases overdue, {raised[0]:,} alerts recorded (reply and complete each)")
        database.close()
