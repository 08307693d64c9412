"""Reading the documentation: pages, headings, code blocks, links, tables."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PAIRS = [(page, page.with_suffix(".zh-CN.md")) for page in PAGES if page.with_suffix(".zh-CN.md").exists()]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")


class Block(NamedTuple):
    language: str
    text: str


class Heading(NamedTuple):
    level: int
    text: str


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def read(page: Path | str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str, language: str | None = None) -> list[Block]:
    found = [Block(*match.groups()) for match in _BLOCK.finditer(text)]
    return [block for block in found if language in (None, block.language)]


def prose(text: str) -> str:
    """The text without its code blocks."""
    return _BLOCK.sub("", text)


def headings(text: str) -> list[Heading]:
    return [Heading(len(match[1]), match[2]) for match in _HEADING.finditer(prose(text))]


def anchors(text: str) -> set[str]:
    """The fragments by which headings are linked."""
    plain = (re.sub(r"[`*]", "", heading.text).lower() for heading in headings(text))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def links(text: str) -> list[str]:
    return _LINK.findall(prose(text))


def spans(text: str) -> list[str]:
    """Code in running text."""
    return _SPAN.findall(prose(text))


def section(text: str, title: str) -> str:
    """What stands under the heading that begins with `title`, up to the next one of its level or above."""
    lines: list[str] = []
    level, inside, fenced = 0, False, False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        match = None if fenced else _HEADING.match(line)
        if match and inside and len(match[1]) <= level:
            break
        if match and match[2].startswith(title):
            level, inside = len(match[1]), True
        elif inside:
            lines.append(line)
    assert inside, f"no section {title!r}"
    return "\n".join(lines)


def tables(text: str) -> list[list[list[str]]]:
    """Every table as its rows of cells, without head and rule."""
    found: list[list[list[str]]] = []
    before = ""
    for line in prose(text).splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                found.append([])
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        before = line
    return [rows[2:] for rows in found]


def shell_lines(text: str) -> Iterator[list[str]]:
    """The commands of the `sh` blocks as words: continued lines joined, comments and here-documents left out."""
    for block in blocks(text, "sh"):
        whole = re.sub(r"<<'EOF'\n.*?^EOF$", "", block.text, flags=re.MULTILINE | re.DOTALL).replace("\\\n", " ")
        for line in whole.splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def pushed(text: str) -> list[str]:
    """The bodies that the page's curl commands send."""
    return [
        body
        for block in blocks(text, "sh")
        for body in re.findall(r"<<'EOF'\n(.*?)^EOF$", block.text, re.MULTILINE | re.DOTALL)
    ]
