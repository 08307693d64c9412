"""The documentation as a whole: generated pages are fresh, links lead somewhere, translations agree, nothing foreign is named."""

import re
from pathlib import Path

import pytest

from docs import generate
from tests.docs.markdown import (
    PAGES,
    PAIRS,
    ROOT,
    anchors,
    blocks,
    headings,
    links,
    name,
    prose,
    read,
    section,
    spans,
    tables,
)

HOSTS = {
    "127.0.0.1", "duty.example", "liuyan.example", "sso.example", "keepachangelog.com", "semver.org", "www.apache.org",
}  # fmt: skip
COMMITTED = [*PAGES, ROOT / "LICENSE", ROOT / "docs" / "generate.py", *sorted((ROOT / "tests" / "docs").glob("*.py"))]


@pytest.fixture(scope="module")
def fresh() -> dict[Path, str]:
    return generate.pages()


@pytest.mark.parametrize(
    "page", ["states.md", "settings.md", "metrics.md", "api.md", "monitoring.md", "monitoring.zh-CN.md"]
)
def test_generated_pages_are_fresh(fresh: dict[Path, str], page: str) -> None:
    assert read(f"docs/{page}") == fresh[ROOT / "docs" / page], "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        target, _, fragment = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{link} leads nowhere"
        if fragment:
            assert fragment in anchors(file.read_text(encoding="utf-8")), f"{link} leads to no heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        targets = (link.partition("#")[0] for link in links(page.read_text(encoding="utf-8")) if "://" not in link)
        ahead += [(page.parent / target).resolve() for target in targets if target]
    assert sorted(map(name, set(PAGES) - seen)) == []


@pytest.mark.parametrize(("page", "translation"), PAIRS, ids=name)
def test_translations_have_the_same_shape(page: Path, translation: Path) -> None:
    """Same headings, code blocks and tables; in the tables, the same code and numbers in the same rows."""
    english, chinese = page.read_text(encoding="utf-8"), translation.read_text(encoding="utf-8")
    assert [h.level for h in headings(english)] == [h.level for h in headings(chinese)]
    assert blocks(english) == blocks(chinese)
    shapes = [[[len(row) for row in table] for table in tables(text)] for text in (english, chinese)]
    assert shapes[0] == shapes[1]
    firsts = [[spans(row[0]) for table in tables(text) for row in table] for text in (english, chinese)]
    assert firsts[0] == firsts[1]


def test_the_readmes_and_the_pages_for_users_are_translated() -> None:
    assert [name(page) for page, _ in PAIRS] == [
        "README.md",
        "docs/city.md",
        "docs/distributed.md",
        "docs/duty-page.md",
        "docs/guarantees.md",
        "docs/kubernetes.md",
        "docs/monitoring.md",
        "docs/notices.md",
        "docs/operations.md",
        "docs/people.md",
        "docs/rules.md",
        "docs/runbooks.md",
        "docs/scaling.md",
    ]


@pytest.mark.parametrize("file", COMMITTED, ids=name)
def test_nothing_foreign_is_named(file: Path) -> None:
    """No host but those listed, and no path of somebody's machine."""
    text = file.read_text(encoding="utf-8")
    hosts = set(re.findall(r"https?://([\w.-]+)", text))
    assert hosts <= HOSTS
    domains = set(re.findall(r"\b[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|dev|cn)\b", text))
    assert domains <= HOSTS
    assert not re.search(r"(?<![\w.])/(?:home|root|tmp|Users|work|mnt)/", text)


def test_decisions_have_their_four_parts_and_are_listed() -> None:
    overview = read("ARCHITECTURE.md")
    decisions = sorted((ROOT / "docs" / "adr").glob("*.md"))
    for number, page in enumerate(decisions, 1):
        found = headings(page.read_text(encoding="utf-8"))
        assert page.name.startswith(f"{number:04}-")
        assert found[0].text.startswith(f"{number}. ")
        assert [h.text for h in found[1:]] == ["Context", "Decision", "Consequences", "Rejected"]
        assert f"docs/adr/{page.name}" in overview


def test_the_rooms_of_the_architecture_exist() -> None:
    rooms = section(read("ARCHITECTURE.md"), "Which room")
    files = {span for span in spans(rooms) if "/" in span}
    assert len(files) > 20
    for file in files:
        assert (ROOT / file).exists(), f"{file} is gone"


def test_figures_are_drawn_once_and_closed() -> None:
    for page, count in (("ARCHITECTURE.md", 2), ("docs/states.md", 1), ("docs/distributed.md", 1)):
        assert len(blocks(read(page), "mermaid")) == count


def test_log_actions_are_listed() -> None:
    code = "".join(
        file.read_text(encoding="utf-8") for folder in ("services", "shared") for file in (ROOT / folder).rglob("*.py")
    )
    actions = set(re.findall(r'action="(\w+)"', code))
    for page in ("docs/operations.md", "docs/operations.zh-CN.md"):
        listed = {spans(row[0])[0] for row in tables(read(page))[-1]}
        assert listed == actions


def test_prose_is_not_wider_than_a_screen() -> None:
    for page in PAGES:
        if page.name in ("settings.md", "metrics.md") or ".zh-CN" in page.name:  # Chinese paragraphs are one line each
            continue
        for line in prose(page.read_text(encoding="utf-8")).splitlines():
            assert line.startswith("|") or len(line) <= 140, f"{name(page)}: {line[:60]}…"
