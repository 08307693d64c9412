"""Every command that the documentation shows exists, with its options and with arguments that it takes."""

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from services.commands.cli import liuyan
from tests.docs.markdown import PAGES, ROOT, name, read, section, shell_lines, spans, tables

TARGETS = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))


def leaf(words: list[str]) -> tuple[click.Command, str, list[str]]:
    """The command that the words after `liuyan` name, its path, and the words that are left."""
    command: click.Command = liuyan
    path = "liuyan"
    words = list(words)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        path = f"{path} {words[0]}"
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, f"no command {path}"
        command = found
    return command, path, words


def leaves(command: click.Command = liuyan, path: str = "liuyan") -> list[str]:
    if not isinstance(command, click.Group):
        return [path]
    context = click.Context(command)
    found = [(sub, command.get_command(context, sub)) for sub in command.list_commands(context)]
    return [each for sub, child in found if child is not None for each in leaves(child, f"{path} {sub}")]


def options(command: click.Command) -> set[str]:
    return {"--help", "-h", *(name for parameter in command.params for name in parameter.opts)}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_in_blocks_are_right_usage(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsed as the program parses them; nothing is run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events.jsonl").touch()
    for words in shell_lines(page.read_text(encoding="utf-8")):
        if words[0] == "kubectl" and "--" in words:  # what is run in a pod
            words = words[words.index("--") + 1 :]  # noqa: PLW2901
        if words[0] == "make":
            assert set(words[1:]) <= TARGETS
        if words[0] == "liuyan":
            command, path, rest = leaf(words[1:])
            command.make_context(path, rest)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_in_the_text_exist_with_their_options(page: Path) -> None:
    for span in spans(page.read_text(encoding="utf-8")):
        words = span.split()
        if words[0] == "make" and len(words) > 1:
            assert words[1] in TARGETS, span
        if words[0] == "liuyan" and len(words) > 1:
            command, _, rest = leaf(words[1:])
            assert {word for word in rest if word.startswith("--")} <= options(command), span


@pytest.mark.parametrize(("page", "title"), [("README.md", "Commands"), ("README.zh-CN.md", "命令一览")])
def test_every_command_is_listed(page: str, title: str) -> None:
    (rows,) = tables(section(read(page), title))
    assert sorted(command for row in rows for command in spans(row[0])) == sorted(leaves())


@pytest.mark.parametrize("path", leaves())
def test_every_command_has_help(path: str) -> None:
    result = CliRunner().invoke(liuyan, [*path.split()[1:], "--help"])
    assert result.exit_code == 0
    assert path.rpartition(" ")[2] in result.output


def test_every_target_of_the_makefile_that_is_for_people_is_named() -> None:
    shown = {
        words[1] for page in PAGES for words in shell_lines(page.read_text(encoding="utf-8")) if words[0] == "make"
    }
    assert {"run", "test", "check", "bench", "docs"} <= shown


def test_the_help_points_to_a_page_that_exists() -> None:
    output = CliRunner().invoke(liuyan, ["--help"]).output
    for page in re.findall(r"docs/\w+\.md", output):
        assert (ROOT / page).exists()
