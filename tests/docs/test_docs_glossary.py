"""The glossary: every word of the code that people meet stands in it, and means the same in Chinese everywhere."""

from enum import StrEnum

import pytest

from services.alerts.clearing import clear_reason
from services.alerts.exports import HEADERS
from services.alerts.notices.listing import STATES
from services.alerts.rungs import NEXT_RUNG
from services.ingest.port import Taken
from shared import zh
from shared.case import Outcome, Reason, Stage, Status, Verdict
from shared.events import ALL_EVENTS
from shared.figures import COUNTS, RATES
from tests.docs.markdown import read, section, spans, tables

GLOSSARY = read("docs/glossary.md")


def words(title: str) -> dict[str, str]:
    """Code word -> Chinese word of a section."""
    (rows,) = tables(section(GLOSSARY, title))
    return {spans(row[1])[0]: row[0] for row in rows}


@pytest.mark.parametrize("kind", [Status, Stage, Outcome, Verdict, Reason], ids=lambda kind: kind.__name__)
def test_every_member_has_its_row(kind: type[StrEnum]) -> None:
    assert set(words(kind.__name__)) == {member.value for member in kind}


@pytest.mark.parametrize(
    ("title", "dictionary"),
    [
        ("Status", zh.STATUSES),
        ("Stage", zh.STAGES),
        ("Outcome", zh.OUTCOMES),
        ("Verdict", zh.VERDICTS),
        ("Reason", zh.REASONS),
    ],
)
def test_programs_and_glossary_use_the_same_chinese_words(title: str, dictionary: dict[StrEnum, str]) -> None:
    assert words(title) == {member.value: word for member, word in dictionary.items()}


def test_rungs_and_figures_too() -> None:
    alerts, figures = words("Alerts"), words("Figures")
    assert {rung: alerts[rung] for rung in NEXT_RUNG} == zh.RUNGS
    assert {state: alerts[state] for state in STATES} == zh.NOTICE_STATES
    assert {name: figures[name] for name in (*COUNTS, *RATES, "provisional")} == HEADERS


def test_events_and_answers_have_their_rows() -> None:
    assert words("Events") == {kind.name: zh.EVENTS[kind.name] for kind in ALL_EVENTS}
    assert {Taken.DUPLICATE.value, Taken.CONFLICT.value} <= set(words("Machinery"))


def test_reasons_of_clearing_have_their_rows() -> None:
    listed = words("Alerts")
    code = set(clear_reason.__code__.co_consts) - {None, "reply"}
    reasons = {word for word in code if isinstance(word, str) and word.replace("_", "").isalpha() and len(word) > 5}
    assert reasons | {"recomputed"} <= set(listed)
    assert {reason: listed[reason] for reason in reasons | {"recomputed"}} == zh.CLEARED


def test_no_chinese_word_of_a_section_is_used_twice() -> None:
    for table in tables(GLOSSARY):
        chinese = [row[0] for row in table]
        assert len(set(chinese)) == len(chinese)
