"""Replay of a file of events into a fresh database with everything kept (log, cases, figures), one core."""

from bench.measure import folder, lives, median, one_core, seconds, write_lines
from services.compose.clock import SystemClock
from services.ingest.door import Door
from services.standalone.database import Database, open_database
from services.standalone.engine import Engine
from services.standalone.replay import replay
from shared.deployment import load_ruleset

CASES = 25_000


def main() -> None:
    rules = load_ruleset()
    rates = []
    with folder() as where, one_core():
        lines = where / "events.jsonl"
        write_lines(lines, lives(CASES))
        for run in range(3):
            database = open_database(where / f"{run}.db", create=True)

            def whole(database: Database = database) -> None:
                clock = SystemClock()
                result = replay(lines, database, Door(rules), clock.now, lambda number: None)
                assert result.accepted == 4 * CASES
                Engine(database, rules, clock).prepare()

            rates.append(4 * CASES / seconds(whole))
            database.close()
    print(
        f"{median(rates):,.0f} events/s (goal 20,000): {4 * CASES:,} events of {CASES:,} cases, median of {len(rates)} runs"
    )
