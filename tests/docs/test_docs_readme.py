"""What the README promises is what happens: its pushes are taken, its outputs come out, its limits hold."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from services.commands.cli import liuyan
from services.compose.demo import story
from services.compose.demo.quarter import AS_OF
from services.compose.server import GRACE_SECONDS
from services.ingest.app import MAX_BATCH
from services.ingest.door import Door
from services.ingest.refusals import Refusal
from services.ingest.strictjson import MAX_BODY
from services.standalone import live, log
from services.standalone.database import open_database
from shared.config import parse_calendar, parse_policy, parse_registry
from shared.rules import Ruleset
from shared.times import FIRST_YEAR, LAST_YEAR
from tests.docs.markdown import blocks, pushed, read, shell_lines

README = read("README.md")
BODIES = pushed(README)
LATER = "2026-03-01T00:00:00+08:00"


def run(*words: str, env: dict[str, str] | None = None) -> str:
    result = CliRunner().invoke(liuyan, list(words), env=env, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def replayed(folder: Path, bodies: list[str]) -> str:
    """A database into which the bodies were sent."""
    lines = folder / "pushed.jsonl"
    lines.write_text("\n".join(json.dumps(json.loads(body)) for body in bodies), encoding="utf-8")
    run("replay", str(lines), "--db", str(folder / "readme.db"))
    return str(folder / "readme.db")


def assert_shown(expected: str, output: str) -> None:
    """Every line of the README's block is a line of the output, in order."""
    lines = iter(line.rstrip() for line in output.splitlines())
    for line in expected.splitlines():
        assert line in lines, f"not shown, or not in this order: {line}"


def test_there_are_two_pushes_and_the_door_takes_them(rules: Ruleset) -> None:
    assert len(BODIES) == 2
    for body in BODIES:
        settled = Door(rules).settle(json.loads(body), "lincang")
        assert not isinstance(settled, Refusal), settled
        assert "13800000000" not in msgspec.json.encode(settled).decode()


def test_the_first_case_is_overdue_and_the_late_evidence_disproves_it(tmp_path: Path) -> None:
    shown = [block.text for block in blocks(README, "text")]
    db = replayed(tmp_path, BODIES[:1])
    assert_shown(shown[1], run("case", "lincang/lc-000001", "--db", db, "--as-of", LATER))
    db = replayed(tmp_path, BODIES)
    assert_shown(shown[2], run("case", "lincang/lc-000001", "--db", db, "--as-of", LATER))
    assert run("export", "2026Q1", "--db", db, "--as-of", LATER) == shown[3]
    assert "没有差异" in run("reconcile", "--db", db)


def test_the_demonstration_shows_the_table_and_the_sentence(tmp_path: Path, rules: Ruleset) -> None:
    database = open_database(tmp_path / "demo.db", create=True)
    try:
        live.fill(database, rules)
        console = Console(record=True, width=80, file=(tmp_path / "screen").open("w", encoding="utf-8"))
        story.show_quarter(database, log.histories, rules, console)
        console.file.close()
    finally:
        database.close()
    assert AS_OF.date() == date(2022, 4, 11)
    output = console.export_text().replace("┃", "│")
    assert_shown(blocks(README, "text")[0].text, output)


def test_a_day_of_the_demonstration_is_48_seconds() -> None:
    assert 86_400 / live.SPEED == 48


def city() -> dict[str, str]:
    found = {}
    for block in blocks(README, "toml"):
        found[block.text.split("\n", 1)[0].removeprefix("# ")] = block.text
    return found


def test_the_citys_three_files_are_taken() -> None:
    files = city()
    registry = parse_registry(files["platforms.toml"])
    assert parse_policy(files["policy.toml"]).known_categories == {"simple_inquiry", "inquiry"}
    assert not parse_calendar(files["calendar.toml"], registry).of("dongxian").is_working(date(2026, 4, 15))


def test_the_citys_commands_run_and_its_local_day_counts(tmp_path: Path) -> None:
    env = {}
    for file, text in city().items():
        (tmp_path / file).write_text(text, encoding="utf-8")
        env[f"LIUYAN_{file.removesuffix('.toml').upper()}"] = str(tmp_path / file)
    assert "泼水节" in run("calendar", "2026", "--county", "dongxian", env=env)
    (deadline,) = (words[1:] for words in shell_lines(README) if words[:2] == ["liuyan", "deadline"])
    answer: Any = json.loads(run(*deadline, "--json", env=env))
    assert answer["due_day"] == "2026-04-16"


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("README.md", ("24 December 2026", "the end of 2026", "notice of 2027")),
        ("README.zh-CN.md", ("2026 年 12 月 24 日", "到 2026 年底", "2027 年的通知")),
    ],
)
def test_the_limits_are_those_of_the_code(page: str, words: tuple[str, ...], rules: Ruleset) -> None:
    """When the library learns the next year's notice, the README has to say so."""
    text = read(page).replace("\n  ", " ")
    national = rules.calendars.national
    assert national.confirmed_until(date(2026, 1, 1)) == date(2026, 12, 24)
    assert not national.is_confirmed(date(2027, 1, 1))
    assert all(word in text for word in words)
    assert f"{FIRST_YEAR}–{LAST_YEAR}" in text
    assert str(GRACE_SECONDS) in text


def test_the_reference_names_the_limits_of_a_push() -> None:
    api = read("docs/api.md")
    assert f"up to {MAX_BATCH:,} events" in api
    assert MAX_BODY == 1024 * 1024
    assert "up to 1 MiB" in api
