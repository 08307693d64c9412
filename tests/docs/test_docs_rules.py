"""The rules as they are written: numbered like the code's, every reason explained, every worked example computed."""

import re
from datetime import datetime

import pytest

from services.sla import rules as code
from shared.case import Case, Reason, Target
from shared.rules import Ruleset
from shared.times import show
from tests.builders import at, case_of, event, ruleset
from tests.docs.markdown import blocks, headings, read, section, spans, tables

PAGES = ["docs/rules.md", "docs/rules.zh-CN.md"]
REASONS = {"docs/rules.md": "Ignored reasons", "docs/rules.zh-CN.md": "不计的原因"}
EXAMPLES = {"docs/rules.md": "Worked examples", "docs/rules.zh-CN.md": "算例"}
ARGUMENT = {"received": "category", "recategorized": "category", "extended": "working_days"}
END = datetime.fromisoformat("2049-01-01T00:00:00+08:00")


def history(text: str, rules: Ruleset) -> Case:
    """`received 02-21 09:35 help, suspended 02-24 09:30` -> the case in the end."""
    events = []
    for number, step in enumerate(text.split(", "), 1):
        name, day, hour, *rest = step.split()
        value = int(rest[0]) if rest and rest[0].isdigit() else rest[0] if rest else None
        data = {ARGUMENT[name]: value} if rest else {"reason": "other"} if name == "rejected" else {}
        events.append(event(str(number), name, f"{day} {hour}", **data))
    return case_of(events, rules, END)


def written(target: Target) -> str:
    if target.due_at is None:
        return "paused"
    return show(target.due_at, target.due_day) + (" provisional" if target.provisional else "")


@pytest.mark.parametrize("page", PAGES)
def test_rules_are_numbered_like_the_codes(page: str) -> None:
    numbers = [int(match[1]) for h in headings(read(page)) if (match := re.match(r"(\d+)\. ", h.text))]
    assert numbers == list(range(14))
    in_code = [int(number) for number in re.findall(r"^(\d+)\. ", code.__doc__ or "", re.MULTILINE)]
    assert in_code == numbers[: len(in_code)]


@pytest.mark.parametrize("page", PAGES)
def test_every_rule_has_its_source(page: str) -> None:
    for number in range(14):
        assert re.search(r"^(Source: |依据：)", section(read(page), f"{number}. "), re.MULTILINE), number


@pytest.mark.parametrize("page", PAGES)
def test_every_reason_is_explained(page: str) -> None:
    (rows,) = tables(section(read(page), REASONS[page]))
    assert [spans(row[0])[0] for row in rows] == [reason.value for reason in Reason]


@pytest.mark.parametrize("page", PAGES)
def test_deadlines_of_the_worked_examples(page: str, rules: Ruleset) -> None:
    receptions, _ = tables(section(read(page), EXAMPLES[page]))
    assert len(receptions) == 8
    for received, category, deadline, _ in receptions:
        case = case_of([event("1", "received", received, category=category)], rules, received)
        assert written(case.rounds[0].targets.complete) == deadline, received


@pytest.mark.parametrize("page", PAGES)
def test_histories_of_the_worked_examples(page: str, rules: Ruleset) -> None:
    _, histories = tables(section(read(page), EXAMPLES[page]))
    assert len(histories) == 7
    for text, reply, complete, why in histories:
        case = history(text, rules)
        targets = case.rounds[-1].targets
        found = [written(target).removeprefix("2022-") for target in (targets.reply, targets.complete)]
        assert found == [reply, complete], text
        reasons = [reason for reason in map(str, Reason) if f"`{reason}`" in why]
        assert [ignored.reason for ignored in case.ignored] == reasons
        assert (case.outcome == "late") == ("rejected" in text)


@pytest.mark.parametrize("page", PAGES)
def test_the_worked_example_of_working_hours(page: str) -> None:
    """With the policy that docs/city.md shows, from its second version's day on."""
    policy = next(b.text for b in blocks(read("docs/city.md"), "toml") if b.text.startswith("# policy.toml"))
    rules = ruleset(policy=policy.replace("effective_from = 2027-01-01", "effective_from = 2026-01-01"))
    text = section(read(page), EXAMPLES[page])
    assert all(word in text for word in ("17:00", "11:30"))
    case = case_of([event("1", "received", "2026-03-06 17:00", category="hotline")], rules, at("2026-03-06 17:00"))
    assert case.rounds[0].targets.complete.due_at == at("2026-03-09 11:30")
