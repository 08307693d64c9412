"""The edition of the code that evaluates: what was computed before a change of it must be recognised as outdated."""

import hashlib
import random
from datetime import datetime, timedelta
from typing import Any

from services.sla.rules import evaluate
from shared.case import encode_case
from shared.events import CaseEvent
from shared.rules import EDITION, Ruleset
from tests.builders import at, event

NAMES = ("accepted", "transferred", "recategorized", "extended", "suspended", "resumed", "replied", "completed", "reopened",
         "rated", "rejected", "withdrawn", "received")  # fmt: skip
CATEGORIES = ("simple_inquiry", "correction", "inquiry", "suggestion", "help", "complaint")
ANSWERS = {1: "88bdf5bd86a8d134"}
"""What each edition answers. Where this test fails, the answers have changed: raise EDITION and put the new line in the old one's
place; where only the shipped rules have, the edition stays. A new one has every case computed anew, everywhere."""


def _history(rnd: random.Random, number: int) -> list[CaseEvent]:
    begin = at("01-01 00:00") + timedelta(minutes=rnd.randrange(400_000))

    def data(name: str) -> dict[str, Any]:
        return {
            "received": {"category": rnd.choice(CATEGORIES)},
            "transferred": {"to": rnd.choice(("gongan", "县住建局"))},
            "recategorized": {"category": rnd.choice(CATEGORIES)},
            "extended": {"working_days": rnd.randrange(1, 13)},
            "replied": {"interim": rnd.random() < 0.3},
            "rated": {"score": rnd.randrange(1, 6)},
            "rejected": {"reason": "out_of_scope"},
        }.get(name, {})

    names = ["received", *(rnd.choice(NAMES) for _ in range(rnd.randrange(8)))]
    times = [begin, *(begin + timedelta(minutes=rnd.randrange(40_000)) for _ in names[1:])]
    return [
        event(f"e{i}", name, when, subject=f"s{number}", **data(name))
        for i, (name, when) in enumerate(zip(names, times, strict=True))
    ]


def test_equal_events_get_the_answers_of_this_edition(rules: Ruleset) -> None:
    rnd = random.Random(49)  # noqa: S311 - the same histories always
    digest = hashlib.sha256()
    for number in range(2_000):
        history = _history(rnd, number)
        as_of: datetime = history[0].time + timedelta(minutes=rnd.randrange(60_000))
        case = evaluate(history, rules, as_of)
        assert case is not None
        digest.update(encode_case(case).replace(rules.hash.encode(), b""))
    assert {EDITION: digest.hexdigest()[:16]} == ANSWERS
