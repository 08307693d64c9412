"""Small helpers for tests of the rules: events, instants and cases in short words."""

import random
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import msgspec

from services.sla.rules import evaluate
from shared.case import Case, encode_case
from shared.config import parse_calendar, parse_policy, parse_registry
from shared.deployment import load_ruleset
from shared.events import EVENT_TYPES, SOURCE_PREFIX, CaseEvent
from shared.rules import Ruleset
from shared.times import SHANGHAI

T = TypeVar("T")


def at(text: str, year: int = 2022) -> datetime:
    """A local instant: "03-01 09:12", "03-01 09:12:30.5" or, with a year of its own, "2026-12-28 09:00"."""
    day, _, clock = text.partition(" ")
    full = day if day.count("-") == 2 else f"{year}-{day}"
    return datetime.fromisoformat(f"{full} {clock or '00:00'}").replace(tzinfo=SHANGHAI)


def event(
    identifier: str,
    name: str,
    time: str | datetime,
    *,
    platform: str = "zhenkang",
    subject: str = "zk-000123",
    sequence: int = 0,
    **data: Any,
) -> CaseEvent:
    """A settled event of a case; `name` is the last part of its type (docs/api.md), the rest of the keywords its data."""
    kind: Any = EVENT_TYPES[f"liuyan.message.{name}.v1"]
    members: dict[str, Any] = {
        "specversion": "1.0",
        "id": identifier,
        "source": f"{SOURCE_PREFIX}{platform}",
        "subject": subject,
        "time": at(time) if isinstance(time, str) else time,
        "data": data,
    }
    if sequence:
        members["sequence"] = str(sequence)
    built: CaseEvent = msgspec.convert(members, kind)
    return built


def shuffled(items: Sequence[T], seed: int) -> list[T]:
    """The items in another order, the same for the same seed."""
    return random.Random(seed).sample(items, len(items))  # noqa: S311 - an order, not a secret


def case_of(events: Iterable[CaseEvent], rules: Ruleset, as_of: str | datetime) -> Case:
    """The case of the events, which must be known by then."""
    case = evaluate(events, rules, at(as_of) if isinstance(as_of, str) else as_of)
    assert case is not None, "nothing is known as of then"
    return case


def as_json(case: Case) -> Any:
    """The case as `liuyan case --json` prints it, read back."""
    return msgspec.json.decode(encode_case(case))


def ruleset(policy: str | None = None, calendar: str | None = None) -> Ruleset:
    """The shipped rules with the policy or the calendar (texts in TOML) replaced."""
    registry = parse_registry(shipped("platforms.toml"))
    policies = parse_policy(shipped("policy.toml") if policy is None else policy)
    calendars = parse_calendar(shipped("calendar.toml") if calendar is None else calendar, registry)
    return Ruleset(registry, policies, calendars)


@cache
def shipped_rules() -> Ruleset:
    """The shipped rules, read once for all tests: reading them takes longer than most tests."""
    return load_ruleset()


def shipped(name: str) -> str:
    """The text of a file that the package ships as a default."""
    return (files("shared") / "defaults" / name).read_text(encoding="utf-8")
