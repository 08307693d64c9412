"""The page of guarantees names tests that exist, and every promise without one says so."""

import re

import pytest

from tests.docs.markdown import ROOT, read, section, spans, tables

PAGES = ("docs/guarantees.md", "docs/guarantees.zh-CN.md")
PARTS = {"docs/guarantees.md": "What is not promised", "docs/guarantees.zh-CN.md": "不保证什么"}


def defined() -> set[str]:
    code = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    return set(re.findall(r"^(?:async )?def (test_\w+)", code, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_the_tests_that_are_named_exist(page: str) -> None:
    named = {span for span in spans(read(page)) if span.startswith("test_")}
    assert len(named) > 30
    assert named <= defined()


@pytest.mark.parametrize("page", PAGES)
def test_every_promise_says_by_what_and_is_shown_or_open(page: str) -> None:
    rows = [row for table in tables(read(page)) for row in table]
    assert len(rows) == 22
    for promise, mechanism, shown in rows:
        assert promise.startswith("**")
        assert mechanism
        tests = spans(shown)
        assert shown == "—" or (tests and all(test.startswith("test_") for test in tests)), promise


@pytest.mark.parametrize("page", PAGES)
def test_what_is_not_promised_is_said(page: str) -> None:
    assert len(re.findall(r"^\* \*\*", section(read(page), PARTS[page]), re.MULTILINE)) == 11
