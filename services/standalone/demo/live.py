"""The demonstration: the first quarter of 2022 in a temporary database, and a simulated portal on an accelerated clock."""

import threading

from rich.console import Console

from services.alerts import queries
from services.alerts.bulletin import bulletin
from services.alerts.exports import Report
from services.alerts.sweep import Raised
from services.compose.cases import recaller
from services.compose.clock import Clock
from services.compose.terminal import print_report
from services.ingest.door import Door
from services.ingest.refusals import Refusal
from services.standalone import log
from services.standalone.apply import take_and_project
from services.standalone.database import Database
from services.standalone.demo.quarter import AS_OF, QUARTER, quarter_events, story_cases
from services.standalone.simulate import Portal, PushError, run
from shared.figures import Period
from shared.rules import Ruleset
from shared.times import from_micros, show
from shared.zh import RUNGS, TARGETS

SPEED = 1800.0  # 48 seconds a day
PER_MINUTE = 6.0
PLATFORM = "yunxian"
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


def show_quarter(database: Database, rules: Ruleset, console: Console) -> None:
    """The table per platform and the bulletin's sentence, as of 2022-04-11."""
    period = Period.parse(QUARTER)
    with database.reading() as connection:
        figures = queries.figures_of(
            connection, recaller(log.histories, rules), rules.registry, period.months, AS_OF, AS_OF
        )
    print_report(Report(period, AS_OF, rules.hash, figures), console)
    console.print(bulletin(period, figures), soft_wrap=True)
    console.print("\n值得一看的办件（liuyan case 平台/留言编号 --db 数据库）：")
    for key, sentence in story_cases().items():
        console.print(f"  {key}  {sentence}", soft_wrap=True, highlight=False)


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


def push_live(url: str, key: str, clock: Clock, console: Console) -> threading.Event:
    """Start the simulated portal in a thread; set the returned event to stop it."""
    stop = threading.Event()
    portal = Portal(url, key, PLATFORM, clock.now, seed=49)

    def story() -> None:
        try:
            run(portal, PER_MINUTE, None, stop, lambda subject: console.print(
                f"[{show(clock.now())}] 推送 云县 {PLATFORM}/{subject}", highlight=False, markup=False
            ))  # fmt: skip
        except PushError as error:
            if not stop.is_set():
                console.print(f"模拟平台停下了：{error}", style="red", markup=False)

    threading.Thread(target=story, name="portal", daemon=True).start()
    return stop
