"""Portals that go on pushing whatever happens, and remember what was acknowledged; and cases that fall due while they do."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from shared.events import Event
from shared.rules import Ruleset
from shared.times import SHANGHAI
from tests.builders import event, ruleset, shuffled
from tests.chaos.truth import URGENT
from tests.clusterkit import LONG, Cluster
from tests.service import until
from tests.stories import season

OUTAGES = 900.0  # seconds, one after the other: a portal sends for as long as it takes
ROUND_SECONDS = 0.5  # 360 events a second: a load, and not more and more that waits on a machine that is busy
HALF_AN_HOUR = timedelta(minutes=30)
POLICY = """
[[policy]]
source = "test"
default_category = "help"
office_hours = ["00:00-24:00"]
categories.help = {name = "求助", reply = 5, complete = 10, source = "test"}
categories.simple_inquiry = {name = "简单咨询", reply = 1, complete = 1, source = "test"}
categories.urgent = {name = "紧急", reply_hours = 0.5, complete_hours = 0.5, source = "test"}
"""


def rules_by_the_minute(folder: Path) -> tuple[Ruleset, dict[str, str]]:
    """Rules under which every hour of these days is an office hour, and the settings that name their files."""
    today = datetime.now(SHANGHAI).date()
    days = [today + timedelta(days=n) for n in range(-3, 4)]
    calendar = "\n".join(
        f'[[local]]\ncounty = "zhenkang"\ndate = {day}\nwork = true\nname = "上班"\nsource = "test"' for day in days
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.toml").write_text(POLICY, encoding="utf-8")
    (folder / "calendar.toml").write_text(calendar, encoding="utf-8")
    environ = {f"LIUYAN_{name.upper()}": str(folder / f"{name}.toml") for name in ("policy", "calendar")}
    return ruleset(POLICY, calendar), environ


def urgent(name: str, number: int, due: datetime) -> Iterator[tuple[list[Event], list[Event]]]:
    """Cases that fall due at an instant: (what comes in time, what comes only after the deadline).

    Of every three, one is answered in time, one never, and the answer of one comes late, though it was given in time.
    """
    for n in range(number):
        subject = f"{URGENT}-{name}-{n}"
        begun = due - HALF_AN_HOUR
        reception = event(f"{subject}-r", "received", begun, subject=subject, category="urgent")
        answer = event(f"{subject}-c", "completed", begun + timedelta(minutes=5), subject=subject)
        yield [([reception, answer], []), ([reception], []), ([reception], [answer])][n % 3]  # type: ignore[misc]


class Load:
    """A thread that pushes cases by the dozen, some events twice, again and again until it is told to end."""

    def __init__(self, cluster: Cluster, rules: Ruleset, seed: int, to: Sequence[str] = ("ingest",)) -> None:
        self._cluster, self._rules, self._seed, self._to = cluster, rules, seed, itertools.cycle(to)
        self.acknowledged: set[str] = set()
        self.problem: BaseException | None = None
        self._late: list[tuple[datetime, list[Event]]] = []
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.rounds = 0
        self.pushed: list[Event] = []

    def start(self) -> "Load":
        self._thread.start()
        return self

    def push(self, events: Sequence[Event]) -> None:
        """Until all are acknowledged."""
        self._cluster.push(events, next(self._to), patience=OUTAGES)
        with self._lock:
            self.acknowledged |= {f"{found.platform}/{found.id}" for found in events}
            self.pushed += events

    def push_conflicts(self, events: Sequence[Event]) -> None:
        """Events of which another one has the id already: taken at the door, and buried behind it."""
        self._cluster.push(events, next(self._to), patience=OUTAGES)

    def first_round(self) -> None:
        self.goes_on("the start")

    def goes_on(self, after: str) -> None:
        """Waits until a whole round was taken that began after now."""
        rounds = self.rounds
        until(
            lambda: self.rounds > rounds + 1 or self.problem,
            f"portals go on after {after}: {self._cluster.tails()}",
            LONG,
        )
        assert self.problem is None, self.problem

    def end(self) -> None:
        """Returns when the last deadline has passed, what was due is flagged, and what comes late for it was pushed."""
        self._ending.set()
        self._thread.join()
        last = max((due for due, _ in self._late), default=datetime.now(SHANGHAI))
        time.sleep(max(0.0, (last - datetime.now(SHANGHAI)).total_seconds() + 2.0))  # until it is late
        self._cluster.settle()
        self.push([late for _, events in self._late for late in events])
        if self.problem is not None:
            raise self.problem

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                begun = time.monotonic()
                self._round()
                self.rounds += 1
                self._ending.wait(begun + ROUND_SECONDS - time.monotonic())
        except BaseException as problem:  # noqa: BLE001 - told by `end`
            self.problem = problem

    def _round(self) -> None:
        name = f"c{self._seed}x{self.rounds}"
        events = season(self._rules, 20, self._seed + self.rounds, name, days=5)
        due = datetime.now(SHANGHAI) + timedelta(seconds=8)
        cases = list(urgent(name, 6, due))
        in_time = [found for early, _ in cases for found in early]
        self._late.append((due, [found for _, late in cases for found in late]))
        self.push(shuffled([*events, *events[:30], *in_time], self._seed))
        for past, late in [entry for entry in self._late if entry[0] + timedelta(seconds=2) < datetime.now(SHANGHAI)]:
            self._late.remove((past, late))
            self.push(late)
