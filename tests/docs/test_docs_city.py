"""The reference of a city's files: every key that the reader accepts is explained, and the examples are taken."""

import re
from collections.abc import Callable
from datetime import date

import pytest

from shared.calendars import Notice
from shared.config import ConfigError, parse_calendar, parse_policy, parse_registry
from shared.registry import Platform, Registry
from tests.docs.markdown import blocks, read, section, spans, tables

PAGES = ["docs/city.md", "docs/city.zh-CN.md"]
TITLES = {"docs/city.md": ("Platforms", "Policy", "Calendar"), "docs/city.zh-CN.md": ("平台", "时限规则", "日历")}
PLACES = {
    "platforms.toml": ("", "[lamps]"),
    "policy.toml": ("", "[[policy]]", "[policy.alerts]", "[policy.categories.inquiry]"),
    "calendar.toml": ("", "[[local]]"),
}


"""The heads of the tables in each file; empty: the top level."""


def files(page: str) -> dict[str, str]:
    found = [block.text for block in blocks(read(page), "toml")]
    return {text.split("\n", 1)[0].removeprefix("# "): text for text in found}


def accepted(file: str, registry: Registry, example: str) -> set[str]:
    """The keys that the reader names when it refuses an unknown one, at each place of the file."""
    parse: Callable[[str], object] = {
        "platforms.toml": parse_registry,
        "policy.toml": parse_policy,
        "calendar.toml": lambda text: parse_calendar(text, registry),
    }[file]
    keys: set[str] = set()
    for place in PLACES[file]:
        text = example.replace(place, f"{place}\nnothing = 1", 1) if place else f"nothing = 1\n{example}"
        with pytest.raises(ConfigError, match="nothing") as refused:
            parse(text)
        keys |= set(str(refused.value).partition("可用的是 ")[2].split("、"))
    return keys


@pytest.mark.parametrize("page", PAGES)
def test_examples_are_taken(page: str) -> None:
    texts = files(page)
    registry = parse_registry(texts["platforms.toml"])
    policies = parse_policy(texts["policy.toml"])
    calendar = parse_calendar(texts["calendar.toml"], registry).of("dongxian")
    assert policies.on(date(2027, 1, 1)).category("hotline").reply.unit == "hours"
    assert policies.on(date(2026, 12, 31)).category("hotline").slug == "inquiry"
    assert not calendar.is_working(date(2027, 4, 15))
    assert calendar.is_working(date(2027, 4, 17))
    assert calendar.is_confirmed(date(2027, 1, 1))


@pytest.mark.parametrize("page", PAGES)
def test_every_key_is_explained_and_no_other(page: str) -> None:
    texts = files(page)
    registry = parse_registry(texts["platforms.toml"])
    structs = {"platforms.toml": Platform, "calendar.toml": Notice}
    for title, file in zip(TITLES[page], PLACES, strict=True):
        keys = accepted(file, registry, texts[file])
        keys |= set(structs[file].__struct_fields__) if file in structs else set()
        (rows,) = tables(section(read(page), title))
        assert {span for row in rows for span in spans(row[0])} == keys


@pytest.mark.parametrize("page", PAGES)
def test_the_example_shows_most_keys(page: str) -> None:
    """A key that no example uses is hard to write: only those with a plain default may be left out."""
    texts = files(page)
    registry = parse_registry(texts["platforms.toml"])
    for file, text in texts.items():
        used = set(re.findall(r"^(\w+) =", text, re.MULTILINE)) | set(re.findall(r"\[+(?:\w+\.)*(\w+)", text))
        assert accepted(file, registry, text) - used - {"categories"} == set()
