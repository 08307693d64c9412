"""The rules by example: every scenario of tests/scenarios/*.json, by every engine.

A file holds {"about", "rulesets": {name: {"policy": [lines of TOML], "calendar": [lines of TOML]}}, "scenarios": […]}; a
scenario {"name", "why" (the rule, as numbered in docs/rules.md), "ruleset"? (else the shipped rules), "events" (settled CloudEvents, in the
order in which they arrive), "expect": [{"as_of", "case"}]}. "case" is a part of the JSON of the only case: objects are
compared on the members named, arrays in full; null says that no case is listed. Where a scenario is about several cases,
"cases" has them all, in the order in which they are listed. Engines know nothing of one another: a further one is a line in
ENGINES.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from services.sla.processing import Message, process
from services.sla.rules import evaluate
from shared.case import Outcome, Reason, Stage, Status, Verdict
from shared.events import CASE_EVENTS, CaseEvent, decode_event, encode_event
from shared.records import CaseRecord, decode_record, encode_record
from shared.rules import Ruleset
from shared.times import SHANGHAI
from tests.builders import as_json, ruleset
from tests.enginekit import run_embedded

DIRECTORY = Path(__file__).parent / "scenarios"


class Expectation(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is listed as of an instant: one case, none, or several."""

    as_of: str
    case: dict[str, Any] | None = None
    cases: list[dict[str, Any]] | None = None


class Scenario(msgspec.Struct, forbid_unknown_fields=True):
    """Events and what they mean."""

    name: str
    why: str
    events: list[msgspec.Raw]
    expect: list[Expectation]
    ruleset: str | None = None


class Texts(msgspec.Struct, forbid_unknown_fields=True):
    """The files of a deployment, as lines of TOML."""

    policy: list[str] | None = None
    calendar: list[str] | None = None


class ScenarioFile(msgspec.Struct, forbid_unknown_fields=True):
    """One file of scenarios."""

    about: str
    scenarios: list[Scenario]
    rulesets: dict[str, Texts] = {}


class Engine(NamedTuple):
    """`cases` gives the JSON of every case known as of an instant, in the order in which they are listed."""

    name: str
    cases: Callable[[Sequence[CaseEvent], Ruleset, datetime], list[Any]]


def pure_fold(events: Sequence[CaseEvent], rules: Ruleset, as_of: datetime) -> list[Any]:
    """The function itself, without a log, a database or a clock."""
    histories: dict[tuple[int, str], list[CaseEvent]] = {}
    for event in events:
        histories.setdefault((rules.registry.slugs.index(event.platform), event.subject), []).append(event)
    cases = [evaluate(histories[key], rules, as_of) for key in sorted(histories)]
    return [as_json(case) for case in cases if case is not None]


def stream(events: Sequence[CaseEvent], rules: Ruleset, as_of: datetime) -> list[Any]:
    """The stream's processing, a message at a time, each record through its bytes."""
    records: dict[str, CaseRecord] = {}
    for number, event in enumerate(events):
        done = process(records, [Message(event.key.encode(), encode_event(event), f"t/0/{number}")], rules)
        records |= {record.key: decode_record(encode_record(record)) for record in done.records}
    return pure_fold([event for record in records.values() for event in record.events], rules, as_of)  # type: ignore[misc]


ENGINES = [
    Engine("fold", pure_fold),
    Engine("stream", stream),
    Engine("embedded", run_embedded),
]

FILES = {
    path.stem: msgspec.json.decode(path.read_bytes(), type=ScenarioFile) for path in sorted(DIRECTORY.glob("*.json"))
}


def scenarios() -> Iterator[tuple[str, Scenario]]:
    """Every scenario, with the name of its file."""
    for stem, file in FILES.items():
        for scenario in file.scenarios:
            yield stem, scenario


@cache
def rules_of(stem: str, name: str | None) -> Ruleset:
    """The rules of that name in that file; the shipped ones when there is none."""
    if name is None:
        return ruleset()
    texts = FILES[stem].rulesets[name]
    policy, calendar = (None if lines is None else "\n".join(lines) for lines in (texts.policy, texts.calendar))
    return ruleset(policy, calendar)


def differences(expected: Any, actual: Any, place: str = "") -> list[str]:
    """Where `actual` is not as expected: objects by the members that are named, arrays in full."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return [
            line
            for member, value in expected.items()
            for line in (
                differences(value, actual[member], f"{place}/{member}")
                if member in actual
                else [f"{place}/{member} is missing"]
            )
        ]
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        return [
            line
            for index, (one, other) in enumerate(zip(expected, actual, strict=True))
            for line in differences(one, other, f"{place}/{index}")
        ]
    return [] if expected == actual else [f"{place or '/'} should be {expected!r}, is {actual!r}"]


@pytest.mark.parametrize(
    "engine",
    [pytest.param(e, id=e.name, marks=pytest.mark.slow if e.name == "embedded" else ()) for e in ENGINES],
)
@pytest.mark.parametrize(
    ("stem", "scenario"), [pytest.param(stem, found, id=f"{stem}: {found.name}") for stem, found in scenarios()]
)
def test_scenario(stem: str, scenario: Scenario, engine: Engine) -> None:
    events: list[Any] = [decode_event(bytes(raw)) for raw in scenario.events]
    rules = rules_of(stem, scenario.ruleset)
    found = []
    for expectation in scenario.expect:
        as_of = datetime.fromisoformat(expectation.as_of).astimezone(SHANGHAI)
        listed = engine.cases(events, rules, as_of)
        one = [] if expectation.case is None else [expectation.case]
        wanted = one if expectation.cases is None else expectation.cases
        found += [f"as of {expectation.as_of}: {line}" for line in differences(wanted, listed)]
    assert not found, f"{scenario.why}\n" + "\n".join(found)


# The files themselves


def test_there_are_at_least_ninety_scenarios_and_no_two_have_a_name_in_common() -> None:
    names = [scenario.name for _, scenario in scenarios()]
    assert len(names) >= 90
    assert sorted(names) == sorted(set(names))


def test_no_member_of_an_event_is_misspelt_or_changed_when_it_is_stored() -> None:
    for _, scenario in scenarios():
        for raw in scenario.events:
            stored = encode_event(decode_event(bytes(raw)))
            assert not differences(json.loads(bytes(raw)), json.loads(stored)), scenario.name


def test_every_expectation_says_something() -> None:
    for _, scenario in scenarios():
        assert scenario.why
        assert scenario.expect
        for expectation in scenario.expect:
            assert expectation.case is None or expectation.cases is None, scenario.name
            assert expectation.case != {}, scenario.name
            assert expectation.cases is None or all(expectation.cases), scenario.name


@pytest.mark.parametrize(
    ("words", "members"),
    [
        (Status, {"status"}), (Stage, {"stage"}), (Outcome, {"outcome"}), (Verdict, {"verdict"}), (Reason, {"reason"}),
    ],
    ids=["status", "stage", "outcome", "verdict", "reason"],
)  # fmt: skip
def test_the_scenarios_expect_every_word_of_the_contract(words: Any, members: set[str]) -> None:
    def said(value: Any) -> Iterator[Any]:
        for member, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(inner, (dict, list)):
                yield from said(inner)
            elif member in members:
                yield inner

    expected = {
        word
        for _, scenario in scenarios()
        for expectation in scenario.expect
        for word in said([*(expectation.cases or []), expectation.case or {}])
    }
    assert {str(word) for word in words} <= expected


def test_the_scenarios_have_every_type_of_event() -> None:
    types = {type(decode_event(bytes(raw))) for _, scenario in scenarios() for raw in scenario.events}
    assert types == set(CASE_EVENTS)
