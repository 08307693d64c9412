"""The embedded demonstration: the first quarter of 2022 in a temporary database, and alerts told on an accelerated clock."""

from rich.console import Console

from services.alerts.sweep import Raised
from services.compose.clock import Clock
from services.compose.demo.quarter import AS_OF, quarter_events
from services.ingest.door import Door
from services.ingest.refusals import Refusal
from services.standalone.apply import take_and_project
from services.standalone.database import Database
from shared.rules import Ruleset
from shared.times import from_micros, show
from shared.zh import RUNGS, TARGETS

SPEED = 1800.0  # 48 seconds a day
BATCH = 37  # events at a time, as pushes would come


def fill(database: Database, rules: Ruleset) -> None:
    """Push the quarter's events through the door into the fresh database, as of 2022-04-11."""
    door = Door(rules)
    settled = [door.settle(event) for event in quarter_events()]
    events = [event for event in settled if not isinstance(event, Refusal)]
    assert len(events) == len(settled), "the demonstration's own events are valid"
    for start in range(0, len(events), BATCH):
        batch = events[start : start + BATCH]
        with database.writing() as connection:
            take_and_project(connection, batch, ["demo"] * len(batch), rules, AS_OF)


def announce(raised: tuple[Raised, ...], rules: Ruleset, clock: Clock, console: Console) -> None:
    """Tell the terminal what was flagged; what is only listed is not told."""
    for alert in raised:
        if alert.quiet or alert.target == "reply":  # with these targets reply and completion fall due together
            continue
        name = rules.registry[alert.platform].name
        due = show(from_micros(alert.due_at - 1))
        console.print(
            f"[{show(clock.now())}] 提醒 {RUNGS[alert.rung]}：{name} {alert.key} {TARGETS[alert.target]}截止 {due[:10]} 24:00",
            style="red" if alert.rung != "due_today" else "yellow", highlight=False, soft_wrap=True, markup=False,
        )  # fmt: skip
