"""Histories of cases by the thousand, the same for the same seed: what a province's portals would send in some months."""

import random
from datetime import date, datetime, timedelta

from shared.events import CaseEvent, Event
from shared.rules import Ruleset
from shared.times import SHANGHAI
from tests.builders import event
from tests.enginekit import tally

BEGIN = datetime(2026, 1, 1, tzinfo=SHANGHAI)
CATEGORIES = ("simple_inquiry", "consultation", "complaint", "help", "suggestion")


def season(rules: Ruleset, cases: int, seed: int, run: str = "s", days: int = 100) -> list[Event]:
    """Some five events a case, and a tally of each platform for each of the days; not in the order of time."""
    chance = random.Random(seed)  # noqa: S311
    events: list[Event] = []
    slugs = rules.registry.slugs
    known = [c for c in CATEGORIES if c in rules.policies.known_categories] or list(rules.policies.known_categories)
    for number in range(cases):
        events += _history(chance, f"{run}{number}", chance.choice(slugs), known)
    for slug in slugs:
        events += [
            tally(f"{run}-t{day}", BEGIN + timedelta(days=day + 1), f"{date(2026, 1, 1) + timedelta(days=day)}", chance.randrange(30), slug)
            for day in range(days)
        ]  # fmt: skip
    chance.shuffle(events)
    return events


def _history(chance: random.Random, subject: str, platform: str, known: list[str]) -> list[CaseEvent]:
    time = BEGIN + timedelta(minutes=chance.randrange(100 * 24 * 60))
    plan: list[tuple[str, dict[str, object]]] = [
        ("received", {"category": chance.choice(known), "title": f"留言 {subject}"})
    ]
    plan.append(("accepted", {}))
    if chance.random() < 0.1:
        plan += [("suspended", {"reason": "待补充材料"}), ("resumed", {})]
    if chance.random() < 0.1:
        plan.append(("transferred", {"to": "市人力资源和社会保障局"}))
    if chance.random() < 0.05:
        plan.append(("rejected", {"reason": "duplicate"}))
    elif chance.random() < 0.85:
        plan += [("replied", {}), ("completed", {})]
        if chance.random() < 0.1:
            plan += [("reopened", {}), ("completed", {})]
        if chance.random() < 0.3:
            plan.append(("rated", {"score": chance.randint(1, 5)}))
    if chance.random() < 0.02:
        plan = plan[1:]  # its reception never comes
    found = []
    for step, (name, data) in enumerate(plan):
        found.append(event(f"{subject}-{step}", name, time, platform=platform, subject=subject, sequence=step, **data))
        time += timedelta(minutes=chance.choice((0, 20, 300, 1_000, 4_000)))
    return found
