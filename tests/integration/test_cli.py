"""The command line: what every command says, how it ends, and that its answers are those of the rules and the service."""

import csv
import io
import json
import re
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from services.commands.cli import COMMANDS
from services.compose.client import Client, PushError
from services.compose.demo.quarter import AS_OF, QUARTER, quarter_events, story_cases
from services.standalone import live
from services.standalone.database import open_database
from shared.deployment import load_ruleset
from shared.times import isoformat
from tests.builders import shipped, shipped_rules
from tests.service import Finished, Json, dump, liuyan, liuyan_process, ran, running, served, tamper

DEADLINES = json.loads((Path(__file__).parents[1] / "acceptance" / "deadlines.json").read_text(encoding="utf-8"))
CHINESE = re.compile("[\u4e00-\u9fff]")
THEN = isoformat(AS_OF)
BY_DAYS = {1: "simple_inquiry", 3: "correction", 5: "inquiry"}
HELP = [
    [],
    *([name] for name in COMMANDS),
    *(["keys", name] for name in ("create", "list", "revoke")),
    *(["broker", name] for name in ("up", "down", "status")),
    *(["topics", name] for name in ("apply", "check")),
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the first quarter of 2022, to be copied."""
    file = tmp_path_factory.mktemp("filled") / "quarter.db"
    database = open_database(file, create=True)
    live.fill(database, shipped_rules())
    database.close()
    return file


@pytest.fixture(scope="module")
def quarter(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one quarter. Tests only read it."""
    return Path(shutil.copy(filled, tmp_path_factory.mktemp("quarter")))


@pytest.fixture
def own_quarter(filled: Path, tmp_path: Path) -> Path:
    """The same, for a test that changes it."""
    return Path(shutil.copy(filled, tmp_path))


def wrong(*arguments: object, environment: dict[str, str] | None = None) -> str:
    """The only line that a command says about its wrong usage."""
    return one_line(liuyan(*arguments, environment=environment), 2)


def failed(*arguments: object, environment: dict[str, str] | None = None) -> str:
    """The only line that a command says about its failure."""
    return one_line(liuyan(*arguments, environment=environment), 1)


def one_line(finished: Finished, code: int) -> str:
    assert (finished.code, finished.raw) == (code, b""), finished
    (line,) = finished.error.splitlines()
    assert line.startswith("liuyan：")
    assert CHINESE.search(line.removeprefix("liuyan："))
    assert "Traceback" not in line
    return line


def received(subject: str, time: str = "2022-03-01T09:12:00+08:00", platform: str = "zhenkang", **data: Any) -> Json:
    return {
        "specversion": "1.0", "id": f"{subject}-1", "source": f"/platforms/{platform}", "subject": subject, "time": time,
        "type": "liuyan.message.received.v1", "data": data,
    }  # fmt: skip


def written(file: Path, *lines: Json | str | bytes) -> Path:
    """A file of lines; values as JSON, texts and bytes as they are."""
    encoded = (
        line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
        for line in lines
    )
    file.write_bytes(b"".join(line + b"\n" for line in encoded))
    return file


# Help and exit codes


@pytest.mark.parametrize("words", HELP, ids=lambda words: " ".join(words) or "liuyan")
def test_every_command_explains_itself_in_chinese(words: list[str]) -> None:
    finished = ran(*words, "--help")
    assert ran(*words, "-h") == finished
    assert finished.error == ""
    assert f"用法：{' '.join(['liuyan', *words])}" in finished.out
    lines = [line.strip() for line in finished.out.splitlines() if line.strip()]
    assert CHINESE.search(lines[1])


@pytest.mark.parametrize("words", HELP[1:], ids=" ".join)
def test_every_option_is_explained(words: list[str]) -> None:
    options = re.findall(r"^  (?:-\w, )?(--[a-z-]+)(.*(?:\n {10,}.*)*)", ran(*words, "--help").out, re.MULTILINE)
    assert [name for name, _ in options if name == "--help"]
    assert [name for name, text in options if name != "--help" and not CHINESE.search(text)] == []


@pytest.mark.parametrize("words", HELP, ids=lambda words: " ".join(words) or "liuyan")
def test_the_help_says_nothing_in_the_words_of_its_library(words: list[str]) -> None:
    told = re.sub(r"\s+", " ", ran(*words, "--help").out)
    assert re.findall(r"required|default:|x[<>]=|<=x|RANGE|COMMAND|OPTIONS|选项:|命令:", told) == []


def test_the_help_says_what_is_required_what_the_default_is_and_what_is_possible() -> None:
    told = ran("simulate", "--help").out
    assert "如 http://127.0.0.1:8000  [必填]" in told
    assert "每分钟几件留言  [默认 6；0.1–6000]" in told
    assert "[不小于 1]" in told


@pytest.mark.parametrize("words", [["standalone"], ["replay"]], ids=" ".join)
def test_what_only_the_embedded_form_does_offers_no_other_database(words: list[str]) -> None:
    assert "postgresql" not in ran(*words, "--help").out
    assert "内嵌引擎只用 SQLite 文件" in failed(
        *words, *(["pyproject.toml"] if words == ["replay"] else []), "--db", "postgresql://h/d"
    )


def test_the_help_of_the_whole_lists_every_command() -> None:
    listed = re.findall(r"^  ([a-z-]+)  +\S", ran("--help").out.split("命令：")[1], re.MULTILINE)
    assert listed == list(COMMANDS)


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"liuyan \d+\.\d+\.\d+\n", ran("--version").out)


@pytest.mark.parametrize("words", [[], ["keys"], ["broker"], ["topics"]], ids=["liuyan", "keys", "broker", "topics"])
def test_without_a_command_the_help_is_shown_as_wrong_usage(words: list[str]) -> None:
    finished = liuyan(*words)
    assert (finished.code, finished.raw) == (2, b"")
    assert "--help" in finished.error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nope"], "没有命令 'nope'"), (["--nope"], "没有选项 --nope"), (["case"], "缺少 平台/留言编号"),
        (["case", "a/b", "c"], "多余的参数"), (["cases", "--as-of"], "--as-of 需要一个值"), (["cases", "--nope"], "--nope"),
        (["cases", "--as-of", "yesterday"], "不是 RFC 3339 时间"), (["cases", "--as-of", "2022-04-11"], "缺少时区"),
        (["cases", "--platform", "nowhere"], "已登记的有 lincang"), (["deadline"], "缺少 --category"),
        (["journal", "--platform", "nowhere"], "已登记的有 lincang"), (["journal", "--county", "nowhere"], "已登记的有 municipal"),
        (["journal", "--rung", "late"], "due_today"), (["journal", "--limit", "0"], "不在范围内"),
        (["deadline", "--category", "help"], "缺少 --received"),
        (["deadline", "--category", "nope", "--received", THEN], "可用的有 complaint"),
        (["deadline", "--category", "help", "--received", "9999-01-01T00:00:00Z"], "2001 至 2049"),
        (["deadline", "--category", "help", "--received", THEN, "--platform", "nowhere"], "没有平台 nowhere"),
        (["calendar"], "缺少 年份"), (["calendar", "2000"], "不在范围内"), (["calendar", "2050"], "不在范围内"),
        (["calendar", "last"], "不是整数"), (["calendar", "2022", "--county", "nowhere"], "没有县区 nowhere"),
        (["export"], "缺少 统计期"), (["export", "2022Q5"], "不是统计期"), (["export", QUARTER, "--format", "pdf"], "json"),
        (["export", QUARTER, "--out", "."], "是文件夹"), (["replay"], "缺少 文件.jsonl"), (["replay", "nothing"], "不存在"),
        (["replay", "."], "是文件夹"), (["keys", "nope"], "没有命令 'nope'"), (["keys", "create"], "缺少 平台"),
        (["keys", "create", "nowhere"], "没有平台 nowhere"), (["keys", "revoke"], "缺少 密钥编号"),
        (["keys", "list", "x"], "多余的参数"), (["standalone", "--demo", "--db", "x"], "--demo"),
        (["standalone", "--port", "70000"], "不在范围内"), (["standalone", "--port", "http"], "不是整数"),
        (["reconcile", "x"], "多余的参数"), (["dead-letters", "x"], "多余的参数"), (["simulate"], "缺少 --url"),
        (["simulate", "--url", "x", "--key", "k", "--platform", "p", "--count", "0"], "--count"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_wrong_usage_is_one_line_that_says_what_is_right_and_exit_code_2(words: list[str], said: str) -> None:
    line = wrong(*words)
    assert said in line
    assert re.search(r"（用法见 liuyan[a-z -]* --help）$", line)


@pytest.mark.parametrize("words", [["calendar", "last"], ["standalone", "--port", "http"]], ids=" ".join)
def test_a_number_that_is_none_is_told_in_chinese(words: list[str]) -> None:
    assert "range" not in wrong(*words)


@pytest.mark.parametrize(
    "command",
    [
        "case zhenkang/x",
        "cases",
        "journal",
        f"export {QUARTER}",
        "reconcile",
        "dead-letters",
        "keys list",
        "keys revoke x",
    ],
)
def test_a_reading_command_makes_no_database_where_there_is_none(tmp_path: Path, command: str) -> None:
    file = tmp_path / "none.db"
    assert str(file) in failed(*command.split(), "--db", file)
    assert not file.exists()


@pytest.mark.parametrize("command", ["cases", "replay {lines}", "keys create lincang", "standalone --port 0"])
def test_a_file_that_is_no_database_of_ours_is_a_failure(tmp_path: Path, command: str) -> None:
    file = written(tmp_path / "text.db", "这不是数据库" * 500)
    lines = written(tmp_path / "lines.jsonl", received("a"))
    before = file.read_bytes()
    assert "打不开数据库" in failed(*command.format(lines=lines).split(), "--db", file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("db", "said"),
    [
        ("postgresql://127.0.0.1:1/y", "打不开数据库 127.0.0.1:1/y"),
        ("mysql://x/y", "只用 SQLite"),
        ("sqlite:///:memory:", "只用 SQLite"),
        ("sqlite://", "只用 SQLite"),
        ("://", ""),
    ],
)
def test_a_database_that_is_no_file_is_a_failure(db: str, said: str) -> None:
    assert said in failed("cases", "--db", db)


@pytest.mark.parametrize("command", ["replay {lines}", "keys create lincang", "standalone --port 0"])
def test_a_folder_that_is_not_there_is_a_failure(tmp_path: Path, command: str) -> None:
    lines = written(tmp_path / "lines.jsonl", received("a"))
    line = failed(*command.format(lines=lines).split(), "--db", tmp_path / "nowhere" / "x.db")
    assert "没有文件夹" in line


def test_a_database_of_a_newer_version_is_a_failure_and_stays_as_it_is(own_quarter: Path) -> None:
    tamper(own_quarter, "UPDATE schema_alerts SET version_num = '9999'")
    before = dump(own_quarter)
    assert "更新版本" in failed("cases", "--db", own_quarter)
    assert dump(own_quarter) == before


def test_a_url_names_the_same_file_as_its_path(quarter: Path) -> None:
    assert ran("cases", "--db", f"sqlite:///{quarter}").raw == ran("cases", "--db", quarter).raw


# One case, all cases


def test_a_case_is_told_as_over_http(quarter: Path) -> None:
    with served(quarter, AS_OF) as service:
        for key in story_cases():
            told = ran("case", key, "--as-of", THEN, "--json", "--db", quarter).json()
            assert told == service.json(f"/v1/cases/{key}", as_of=THEN)


def test_a_case_is_told_to_people_with_its_deadlines_day_by_day(quarter: Path) -> None:
    told = ran("case", "zhenkang/zk-2022-0008", "--db", quarter).out
    for line in (
        "标题  社保卡丢失怎样补办", "类别  简单咨询", "状态  已办结", "结果  按时办结", "接到  2022-01-30 10:12",
        "第1轮办结  截止 2022-02-07 24:00  按时（2022-02-07 16:48）", "  → 2022-02-07 24:00 到期",
    ):  # fmt: skip
        assert f"{line}\n" in told
    assert re.search(r"2022-01-30 周日  .*调休上班.*第0日", told)
    assert re.search(r"2022-02-07 周一  工作日  第1个工作日", told)


def test_a_case_is_told_as_of_the_past(quarter: Path) -> None:
    def outcome(as_of: str) -> Any:
        return ran("case", "zhenkang/zk-2022-0015", "--as-of", as_of, "--json", "--db", quarter).json()["outcome"]

    assert outcome("2022-03-25T23:59:59+08:00") == "pending"
    assert outcome("2022-03-26T00:00:00+08:00") == "overdue"


@pytest.mark.parametrize(
    "key", ["zhenkang/nothing", "nowhere/x", "zhenkang", "zhenkang/", "/", "", "zhenkang/a/b", "'; DROP"]
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_an_unknown_key_is_a_failure(quarter: Path, key: str, form: list[str]) -> None:
    assert "没有办件" in failed("case", key, *form, "--db", quarter)


def test_an_instant_before_the_case_is_a_failure(quarter: Path) -> None:
    line = failed("case", "zhenkang/zk-2022-0015", "--as-of", "2022-01-01T00:00:00+08:00", "--db", quarter)
    assert "2022-01-01 00:00" in line


def test_every_case_is_a_line_in_the_order_of_the_registry_then_the_subject(quarter: Path) -> None:
    listed = ran("cases", "--as-of", THEN, "--jsonl", "--db", quarter).jsonl()
    slugs = load_ruleset().registry.slugs
    keys = [case["key"] for case in listed]
    assert len(keys) == len(set(keys)) == 114
    assert keys == sorted(keys, key=lambda key: (slugs.index(key.partition("/")[0]), key))
    for case in listed[::20]:
        told = ran("case", case["key"], "--as-of", THEN, "--json", "--db", quarter).json()
        assert {name: told[name] for name in case} == case


def test_the_cases_of_one_platform_are_listed_alone(quarter: Path) -> None:
    listed = ran("cases", "--platform", "cangyuan", "--jsonl", "--db", quarter).jsonl()
    assert len(listed) == 14
    assert {case["platform"] for case in listed} == {"cangyuan"}
    assert ran("cases", "--platform", "gongan", "--db", quarter).raw == b""


def test_the_cases_as_of_the_past_are_those_known_then(quarter: Path) -> None:
    listed = ran(
        "cases", "--as-of", "2022-01-31T24:00:00+08:00".replace("31T24", "31T23"), "--jsonl", "--db", quarter
    ).jsonl()
    assert listed
    assert max(case["received_at"] for case in listed if case["received_at"]) < "2022-02"
    assert len(listed) < 114


def test_the_cases_for_people_are_a_line_each(quarter: Path) -> None:
    lines = ran("cases", "--db", quarter).out.splitlines()
    assert len(lines) == 114
    assert {line.count("\t") for line in lines} == {3}
    assert "zhenkang/zk-2022-0015\t在办\t逾期未办结\t" in "\n".join(lines)


def test_a_title_with_line_breaks_or_control_characters_stays_on_its_line(tmp_path: Path) -> None:
    file = tmp_path / "hostile.db"
    moved = received("a", to="县\u202e局\u2066") | {"id": "a-2", "type": "liuyan.message.transferred.v1"}
    lines = written(tmp_path / "lines.jsonl", received("a", title="一\n二\t三\x1b[2J四\u202e五"), moved)
    ran("replay", lines, "--db", file)
    assert "县\ufffd局" in ran("case", "zhenkang/a", "--db", file).out
    for command in (["cases"], ["case", "zhenkang/a"]):
        told = ran(*command, "--db", file).out
        assert "四" in told
        assert not {"\x1b", "\u202e", "\u2066"} & set(told)
        assert "一\n" not in told
        assert [line for line in told.splitlines() if line != line.rstrip()] == []


# Alerts


@pytest.fixture
def alerted(own_quarter: Path) -> Path:
    """The quarter after the sweep."""
    with served(own_quarter, AS_OF) as service:
        service.settle()
    return own_quarter


def test_the_alerts_are_told_as_over_http(alerted: Path) -> None:
    with served(alerted, AS_OF) as service:
        for words, query in (
            ([], {}), (["--platform", "zhenkang"], {"platform": "zhenkang"}), (["--county", "municipal"], {"county": "municipal"}),
            (["--rung", "overdue", "--standing"], {"rung": "overdue", "standing": True}), (["--cleared"], {"standing": False}),
            (["--limit", "3"], {"limit": 3}),
        ):  # fmt: skip
            told = ran("journal", *words, "--jsonl", "--db", alerted).jsonl()
            assert told == service.json("/v1/alerts", **({"limit": 500} | query))["alerts"]
    assert len(ran("journal", "--db", alerted).out.splitlines()) > 3


def test_the_alerts_are_told_to_people_a_line_each(alerted: Path) -> None:
    key = "zhenkang/zk-2022-0015"
    tamper(alerted, "UPDATE alerts SET cleared_at = raised_at, clear_reason = 'late_evidence' WHERE key LIKE '%-0015'")
    lines = [line for line in ran("journal", "--db", alerted).out.splitlines() if line.startswith(key)]
    assert lines
    for line in lines:
        assert re.fullmatch(r"\S+\t第1轮(答复|办结)  \S+（\S+ 24:00）  \S+ \S+ 提出\S*  \S+ \S+ 迟到证据解除", line), (
            line
        )
    assert f"提醒  {lines[0].partition(chr(9))[2]}\n" in ran("case", key, "--db", alerted).out


def test_more_alerts_than_a_page_are_all_told(alerted: Path) -> None:
    tamper(
        alerted,
        "INSERT INTO alerts WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1100) "
        "SELECT i + 100000, 'lincang/x', 'lincang', i, 'reply', 'overdue', 1, 0, i % 7, NULL, NULL FROM n",
    )
    told = ran("journal", "--platform", "lincang", "--jsonl", "--db", alerted).jsonl()
    found = [alert["round"] for alert in told if alert["key"] == "lincang/x"]
    assert len(found) == len(set(found)) == 1100
    assert len(ran("journal", "--limit", "700", "--db", alerted).out.splitlines()) == 700


# Deadlines and the calendar


@pytest.mark.parametrize(
    "worked", [case for case in DEADLINES["cases"] if case["days"] in BY_DAYS], ids=lambda case: str(case["received"])
)
def test_the_deadlines_are_those_of_the_worked_dates(worked: Json) -> None:
    command = ("deadline", "--category", BY_DAYS[worked["days"]], "--received", worked["received"])
    told = ran(*command, "--json").json()
    assert told["due_day"] == worked["due_day"], worked["why"]
    assert told["due_at"] > f"{worked['due_day']}T"
    assert told["due_at"].endswith("T00:00:00+08:00")
    assert told["provisional"] is False
    days = told["explanation"]
    assert (days[0]["counted"], days[-1]["date"]) == (False, worked["due_day"])
    assert sum(day["counted"] for day in days) == worked["days"]
    assert f"{worked['due_day']} 24:00" in ran(*command).out


@pytest.mark.parametrize("guessed", DEADLINES["provisional"], ids=lambda case: str(case["received"]))
def test_a_deadline_that_rests_on_a_guess_is_marked_provisional(guessed: Json) -> None:
    command = ("deadline", "--category", BY_DAYS[guessed["days"]], "--received", guessed["received"])
    assert ran(*command, "--json").json()["provisional"] is True, guessed["why"]
    assert "暂定" in ran(*command).out


def test_a_day_of_this_year_that_the_next_notice_may_still_change_is_not_said_to_be_without_a_notice_of_its_year() -> (
    None
):
    """The notice of 2026 is there; its last days are unconfirmed because that of 2027 is not."""
    told = ran("deadline", "--category", "inquiry", "--received", "2026-12-22T09:00:00+08:00").out
    days = {line.split()[0]: line for line in told.splitlines() if line.startswith("  2026-12-")}
    assert "暂定：尚无通知确认" in days["2026-12-28"]
    assert "当年" not in days["2026-12-28"]
    assert "暂定" not in days["2026-12-24"]


def test_both_targets_of_a_category_are_told() -> None:
    told = ran("deadline", "--category", "complaint", "--received", "2022-03-01T09:00:00+08:00", "--json").json()
    assert {name: target["due_day"] for name, target in told["targets"].items()} == {
        "reply": "2022-03-08", "complete": "2022-03-22",
    }  # fmt: skip
    assert (told["due_day"], told["platform"], told["category"]) == ("2022-03-22", "lincang", "complaint")
    assert told["ruleset"] == load_ruleset().hash


def test_the_calendar_of_a_year_is_told_day_by_day() -> None:
    told = ran("calendar", "2022", "--json").json()
    days = {day["date"]: day for day in told["days"]}
    assert (told["year"], len(days)) == (2022, 365)
    assert told["working_days"] == sum(day["working"] for day in days.values()) == 249
    assert (days["2022-01-29"]["working"], days["2022-01-29"]["reason"]) == (True, "调休上班")
    assert (days["2022-02-01"]["working"], days["2022-02-01"]["reason"]) == (False, "春节")
    assert all(day["confirmed"] for day in days.values())


def test_a_year_without_its_notice_is_told_as_unconfirmed() -> None:
    days = ran("calendar", "2040", "--json").json()["days"]
    assert not [day for day in days if day["confirmed"]]
    assert "尚无通知确认" in ran("calendar", "2040").out
    assert "尚无通知确认" not in ran("calendar", "2022").out


def test_the_calendar_for_people_has_twelve_months_and_names_the_notice() -> None:
    told = ran("calendar", "2022").out
    assert told.startswith("2022 年，工作日 249 天\n")
    assert re.findall(r"^(\d+)月$", told, re.MULTILINE) == [str(month) for month in range(1, 13)]
    assert "2022-01-29 周六  上班  调休上班  依据：" in told


# Exports


def test_an_export_is_printed_or_written_to_a_file_the_same(quarter: Path, tmp_path: Path) -> None:
    for kind in ("json", "csv", "text"):
        command = ("export", QUARTER, "--as-of", THEN, "--format", kind, "--db", quarter)
        file = tmp_path / f"export.{kind}"
        printed = ran(*command)
        assert printed.error == ""
        to_file = ran(*command, "--out", file)
        assert (to_file.raw, file.read_bytes()) == (b"", printed.raw)
        assert str(file) in to_file.error


def test_an_export_says_the_sentence_unless_told_otherwise(quarter: Path) -> None:
    told = ran("export", QUARTER, "--db", quarter).out
    assert told.startswith("全市开设网民留言平台的政府网站和专栏共10个，2022年第一季度共接到网民留言114条，")
    assert told.endswith("条，办结率为95.61%。\n")


@pytest.mark.parametrize(
    ("as_of", "ending"),
    [
        ("2022-03-24T00:00:00+08:00", "通过监测，无逾期未办结留言，办结率为"),
        ("2022-03-15T00:00:00+08:00", "通过监测，凤庆县逾期未办结留言1条，办结率为"),
        ("2022-02-07T00:00:00+08:00", "通过监测，临翔区逾期未办结留言1条，办结率为"),
        ("2021-12-31T00:00:00+08:00", "通过监测，无应办留言。\n"),
    ],
)
def test_the_sentence_is_correct_chinese_also_with_nothing_overdue_or_nothing_at_all(
    quarter: Path, as_of: str, ending: str
) -> None:
    assert ending in ran("export", QUARTER, "--as-of", as_of, "--format", "text", "--db", quarter).out


def test_several_platforms_with_something_overdue_are_joined_and_the_others_left_out(tmp_path: Path) -> None:
    file = tmp_path / "two.db"
    lines = written(
        tmp_path / "lines.jsonl",
        received("a", platform="gengma"),
        received("b"),
        received("c"),
        received("d", platform="yunxian"),
    )
    ran("replay", lines, "--db", file)
    told = ran("export", "2022-03", "--db", file).out
    assert told.endswith(
        "。通过监测，云县逾期未办结留言1条、镇康县逾期未办结留言2条、耿马自治县逾期未办结留言1条，办结率为0.00%。\n"
    )


def test_an_export_without_an_instant_is_as_of_now(quarter: Path) -> None:
    now = ran("export", QUARTER, "--format", "json", "--db", quarter).json()
    assert now["as_of"] > "2026"
    assert now["as_of"].endswith("+08:00")
    assert now["total"]["overdue"] == 5


def test_the_csv_is_what_excel_opens(quarter: Path) -> None:
    raw = ran("export", QUARTER, "--format", "csv", "--db", quarter).raw
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    assert (rows[0][:3], rows[11][:3]) == (["平台", "县区", "接到留言"], ["合计", "", "114"])


def test_an_export_that_cannot_be_written_is_a_failure(quarter: Path, tmp_path: Path) -> None:
    assert "写不进" in failed("export", QUARTER, "--out", tmp_path / "nowhere" / "x", "--db", quarter)


# Replay and dead letters


BAD_LINES: list[tuple[Json | str | bytes, str]] = [
    ("这不是 JSON", "invalid_json"),
    (b"\xff\xfe", "invalid_text"),
    (received("a") | {"time": "2022-03-01T09:12:00"}, "time_without_offset"),
    (received("a") | {"source": "/platforms/nowhere"}, "unknown_platform"),
    (received("a") | {"type": "liuyan.message.lost.v1"}, "unknown_type"),
    (received("a") | {"subject": "a/b"}, "invalid_field"),
    ('{"id": 1, "id": 2}', "duplicate_member"),
    ("null", "invalid_field"),
    ("[" * 100_000, "invalid_json"),
]


def test_bad_lines_go_to_the_dead_letters_with_their_number_and_the_good_ones_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "replay.db"
    conflicting = received("good", title="另一个")
    lines = written(
        tmp_path / "lines.jsonl",
        received("good"),
        "",
        *(line for line, _ in BAD_LINES),
        "  ",
        conflicting,
        received("last"),
    )
    finished = ran("replay", lines, "--db", file)
    assert (
        finished.out == f"读入 {len(BAD_LINES) + 5} 行：新事件 2，重复 0，冲突 1，不合要求 {len(BAD_LINES)}，空行 2\n"
    )
    assert "死信" in finished.error
    letters = ran("dead-letters", "--jsonl", "--db", file).jsonl()
    assert {(letter["origin"], letter["reason"]) for letter in letters} == {
        *((f"lines.jsonl:{number}", reason) for number, (_, reason) in enumerate(BAD_LINES, 3)),
        (f"lines.jsonl:{len(BAD_LINES) + 4}", "conflict"),
    }
    assert all(letter["at"].endswith("+08:00") and CHINESE.search(letter["detail"]) for letter in letters)
    assert len(ran("dead-letters", "--db", file).out.splitlines()) == len(letters)
    assert [case["key"] for case in ran("cases", "--jsonl", "--db", file).jsonl()] == ["zhenkang/good", "zhenkang/last"]


def test_the_dead_letters_hold_no_personal_data_of_what_was_refused(tmp_path: Path) -> None:
    file = tmp_path / "personal.db"
    secret = received("a", title="欧阳测试 13912345678", contact={"name": "欧阳测试", "phone": "13912345678"})
    lines = written(
        tmp_path / "lines.jsonl", secret | {"time": "昨天"}, secret, received("a", title="13912345678 另一个")
    )
    assert "冲突 1，不合要求 1" in ran("replay", lines, "--db", file).out
    for form in ([], ["--jsonl"]):
        told = ran("dead-letters", *form, "--db", file).out
        assert "欧阳" not in told
        assert "13912345678" not in told


def test_a_dead_letter_is_one_line_whatever_its_file_is_called(tmp_path: Path) -> None:
    lines = written(tmp_path / "two\nlines\x1b[2J\u202e.jsonl", "{", received("a"))
    ran("replay", lines, "--db", tmp_path / "x.db")
    (line,) = ran("dead-letters", "--db", tmp_path / "x.db").out.split("\n")[:-1]
    assert "two\ufffdlines\ufffd[2J\ufffd.jsonl:1" in line
    (letter,) = ran("dead-letters", "--jsonl", "--db", tmp_path / "x.db").jsonl()
    assert letter["origin"] == "two\nlines\x1b[2J\u202e.jsonl:1"


def test_a_lone_surrogate_in_a_line_does_not_end_the_replay(tmp_path: Path) -> None:
    line = json.dumps(received("a") | {"specversion": "\ud800"})
    assert (
        "不合要求 1"
        in ran("replay", written(tmp_path / "lines.jsonl", line, received("b")), "--db", tmp_path / "x.db").out
    )


def test_a_second_replay_finds_duplicates_only_and_changes_no_case(tmp_path: Path) -> None:
    file = tmp_path / "twice.db"
    lines = written(tmp_path / "lines.jsonl", *quarter_events())
    first = ran("replay", lines, "--db", file).out
    cases = ran("cases", "--as-of", THEN, "--jsonl", "--db", file).raw
    number = len(quarter_events())
    assert re.fullmatch(rf"读入 {number} 行：新事件 \d+，重复 \d+，冲突 0，不合要求 0，空行 0\n", first)
    before = dump(file)
    assert (
        ran("replay", lines, "--db", file).out
        == f"读入 {number} 行：新事件 0，重复 {number}，冲突 0，不合要求 0，空行 0\n"
    )
    assert dump(file) == before
    assert ran("cases", "--as-of", THEN, "--jsonl", "--db", file).raw == cases


def test_after_a_replay_nothing_is_left_to_be_brought_up_to_date(tmp_path: Path) -> None:
    file = tmp_path / "left.db"
    ran("replay", written(tmp_path / "lines.jsonl", received("a")), "--db", file)
    assert ran("reconcile", "--db", file).out == "核对完毕，没有差异\n"


def test_a_file_without_a_line_is_replayed_too(tmp_path: Path) -> None:
    told = ran("replay", written(tmp_path / "lines.jsonl"), "--db", tmp_path / "x.db").out
    assert told == "读入 0 行：新事件 0，重复 0，冲突 0，不合要求 0，空行 0\n"


def test_a_last_line_without_its_end_and_lines_ended_by_windows_are_read(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_bytes(b"\r\n".join(json.dumps(received(name)).encode() for name in "abc"))
    assert "新事件 3" in ran("replay", file, "--db", tmp_path / "x.db").out


def test_loading_history_lists_what_is_long_overdue_and_sends_no_alert(tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    ran("replay", written(tmp_path / "lines.jsonl", *quarter_events()), "--db", file)
    with served(file, AS_OF) as service:
        service.settle()
        assert service.raised
        assert all(alert.quiet for alert in service.raised)


# Reconciliation


TAMPERINGS: list[tuple[str, str, str]] = [
    ("UPDATE figures SET cases = cases + 1 WHERE platform = 'zhenkang' AND outcome = 'overdue'", "统计", "zhenkang"),
    ("DELETE FROM figures WHERE platform = 'yunxian'", "统计", "yunxian"),
    ("DELETE FROM cases WHERE key = 'zhenkang/zk-2022-0015'", "却没有办件行", "zhenkang/zk-2022-0015"),
    ("UPDATE cases SET outcome = 'on_time' WHERE key = 'zhenkang/zk-2022-0015'", "outcome", "zhenkang/zk-2022-0015"),
    ("UPDATE cases SET holder = 'lincang' WHERE key = 'cangyuan/cy-2022-0007'", "holder", "cangyuan/cy-2022-0007"),
    ("UPDATE cases SET due_at = due_at + 1 WHERE key = 'yunxian/yx-2022-0001'", "due_at", "yunxian/yx-2022-0001"),
    ("UPDATE cases SET key = 'gongan/x' WHERE key = 'yunxian/yx-2022-0001'", "却没有它的事件", "gongan/x"),
    ("DELETE FROM targets WHERE key = 'zhenkang/zk-2022-0015'", "时限", "zhenkang/zk-2022-0015"),
    ("UPDATE days SET received = received + 1 WHERE day = '2022-03-01'", "每日接到", "2022-03-01"),
    ("UPDATE tallies SET received = 99 WHERE platform = 'lincang'", "平台自报数", "lincang"),
    ("UPDATE tallies SET time = time + 1 WHERE platform = 'lincang'", "平台自报数", "lincang"),
    ("DELETE FROM tallies WHERE platform = 'lincang'", "平台自报数", "lincang"),
    ("UPDATE event_counts SET events = events - 1 WHERE platform = 'gengma' AND type = 'received'", "事件数", "gengma"),
    ("INSERT INTO due_days VALUES ('2022-05-01', 'lincang', 'help', 1)", "到期日", "2022-05-01"),
    ("INSERT INTO handled VALUES ('2022-03-01', '2022-03-02', 'lincang', 'none', 1)", "办理时间", "lincang/none"),
    ("UPDATE targets SET next_at = next_at + 1 WHERE key = 'zhenkang/zk-2022-0015'", "next_at", "zhenkang/zk-2022-0015"),
    ("UPDATE targets SET next_rung = 'suspended-long' WHERE key = 'zhenkang/zk-2022-0015'", "没有提醒级别", "zk-2022-0015"),
    ("UPDATE targets SET next_rung = NULL, next_at = NULL WHERE key = 'zhenkang/zk-2022-0015'", "却没有提醒", "zk-2022-0015"),
    ("UPDATE targets SET next_rung = NULL WHERE key = 'zhenkang/zk-2022-0015'", "next_at", "zhenkang/zk-2022-0015"),
    ("UPDATE targets SET escalate_1_at = 1 WHERE key = 'zhenkang/zk-2022-0015'", "escalate_1_at", "zk-2022-0015"),
    ("UPDATE targets SET escalate_2_at = NULL WHERE key = 'zhenkang/zk-2022-0015'", "escalate_2_at", "zk-2022-0015"),
    ("UPDATE targets SET key = 'gongan/x' WHERE id = (SELECT min(id) FROM targets)", "却没有它的事件", "gongan/x"),
    ("UPDATE events SET ident = 'yunxian/other' WHERE ident = 'yunxian/yx-2022-0001-3'", "登记为", "yunxian/other"),
    ("UPDATE events SET key = 'yunxian/other' WHERE ident = 'yunxian/yx-2022-0001-3'", "登记为", "yunxian/other"),
    ("UPDATE events SET key = '' WHERE ident = 'yunxian/yx-2022-0001-3'", "登记为", "yunxian/yx-2022-0001-3"),
    ("UPDATE events SET key = 'yunxian/other' WHERE key = 'yunxian/yx-2022-0001'", "登记为", "yunxian/other"),
    ("DELETE FROM events WHERE ident = 'yunxian/yx-2022-0001-3'", "yunxian/yx-2022-0001", "表中为"),
]  # fmt: skip


def test_a_recount_of_what_the_system_did_finds_no_difference(quarter: Path) -> None:
    assert ran("reconcile", "--db", quarter)[:2] == (0, "核对完毕，没有差异\n".encode())


@pytest.mark.parametrize(("statement", "what", "where"), TAMPERINGS, ids=[row[0][:60] for row in TAMPERINGS])
def test_a_recount_finds_what_was_tampered_with(own_quarter: Path, statement: str, what: str, where: str) -> None:
    tamper(own_quarter, statement)
    finished = liuyan("reconcile", "--db", own_quarter)
    assert finished.code == 1
    lines = finished.out.splitlines()
    assert [line for line in lines if what in line and where in line], lines
    assert finished.error == f"liuyan：有 {len(lines)} 处差异\n"


def test_a_recount_changes_nothing(own_quarter: Path) -> None:
    tamper(own_quarter, "UPDATE figures SET cases = cases + 1 WHERE platform = 'zhenkang'")
    before = dump(own_quarter)
    liuyan("reconcile", "--db", own_quarter)
    assert dump(own_quarter) == before


# Keys


def test_a_key_is_created_listed_and_revoked(tmp_path: Path) -> None:
    file = tmp_path / "keys.db"
    created = ran("keys", "create", "zhenkang", "--db", file)
    key = created.out.strip()
    identifier = key.split("_")[1]
    assert re.fullmatch(r"lyk_[0-9a-f]{8}_[\w-]{43}", key)
    assert identifier in created.error
    assert "只显示这一次" in created.error
    ran("keys", "create", "zhenkang", "--db", file)
    ran("keys", "create", "lincang", "--db", file)
    rows = [line.split("\t") for line in ran("keys", "list", "--db", file).out.splitlines()]
    assert [row[1] for row in rows] == ["lincang", "zhenkang", "zhenkang"]
    assert {row[3] for row in rows} == {"有效"}
    assert identifier in {row[0] for row in rows}
    assert key not in ran("keys", "list", "--db", file).out
    assert ran("keys", "revoke", identifier, "--db", file).out == f"密钥 {identifier} 已作废\n"
    states = {
        row[0]: row[3] for row in (line.split("\t") for line in ran("keys", "list", "--db", file).out.splitlines())
    }
    assert "作废" in states.pop(identifier)
    assert set(states.values()) == {"有效"}


def test_a_key_that_is_not_there_cannot_be_revoked(quarter: Path) -> None:
    assert "没有编号为 00000000 的密钥" in failed("keys", "revoke", "00000000", "--db", quarter)


# Settings


def test_settings_come_from_the_environment(quarter: Path) -> None:
    assert ran("cases", environment={"LIUYAN_DB": str(quarter)}).raw == ran("cases", "--db", quarter).raw


def test_settings_come_from_a_file_the_environment_wins_and_the_option_before_all(
    quarter: Path, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere.db"
    right = written(tmp_path / "right.toml", f'db = "{quarter}"')
    wrong_db = written(tmp_path / "wrong.toml", f'db = "{nowhere}"')
    expected = ran("cases", "--db", quarter).raw
    assert ran("cases", environment={"LIUYAN_CONFIG": str(right)}).raw == expected
    assert ran("cases", environment={"LIUYAN_CONFIG": str(wrong_db), "LIUYAN_DB": str(quarter)}).raw == expected
    assert ran("cases", "--db", quarter, environment={"LIUYAN_DB": str(nowhere)}).raw == expected
    assert str(nowhere) in failed("cases", environment={"LIUYAN_CONFIG": str(wrong_db)})


def test_all_problems_of_the_settings_are_told_at_once_a_line_each(tmp_path: Path) -> None:
    assert_all_told(written(tmp_path / "liuyan.toml", 'port = "http"\nhost = 5'), "port", "host")


def test_an_unknown_name_in_the_settings_file_is_told_together_with_all_other_problems(tmp_path: Path) -> None:
    assert_all_told(
        written(tmp_path / "liuyan.toml", 'port = "http"\nhost = 5\ncolour = "red"'), "port", "host", "colour"
    )


def assert_all_told(config: Path, *names: str) -> None:
    """The command names each of these settings of the file, and two of the environment, on a line of its own."""
    finished = liuyan("cases", environment={"LIUYAN_CONFIG": str(config), "LIUYAN_LOG": "xml", "LIUYAN_PROT": "1"})
    assert (finished.code, finished.raw) == (1, b"")
    lines = finished.error.splitlines()
    assert len(lines) == len(names) + 2
    for name in (*names, "log", "LIUYAN_PROT"):
        assert [line for line in lines if name in line and line.startswith("liuyan：") and CHINESE.search(line)], name


@pytest.mark.parametrize("text", ["port = = 1", "\ufeff\x00"], ids=["toml", "text"])
def test_a_settings_file_that_cannot_be_read_is_told(tmp_path: Path, text: str) -> None:
    assert "liuyan.toml" in failed("cases", environment={"LIUYAN_CONFIG": str(written(tmp_path / "liuyan.toml", text))})
    assert "none.toml" in failed("cases", environment={"LIUYAN_CONFIG": str(tmp_path / "none.toml")})


def test_the_problems_of_all_the_deployments_files_are_told_at_once(tmp_path: Path) -> None:
    files = {
        "LIUYAN_PLATFORMS": shipped("platforms.toml").replace('"gongan"', '"lincang"'),
        "LIUYAN_POLICY": shipped("policy.toml").replace('cutoff = "24:00"', 'cutoff = "25:00"'),
    }
    environment = {name: str(written(tmp_path / f"{name}.toml", text)) for name, text in files.items()}
    finished = liuyan("calendar", "2022", environment=environment)
    assert finished.code == 1
    assert [line.split("：")[1] for line in finished.error.splitlines()] == list(environment.values())


def test_a_missing_calendar_is_told_together_with_a_missing_registry(tmp_path: Path) -> None:
    environment = {"LIUYAN_PLATFORMS": str(tmp_path / "p"), "LIUYAN_CALENDAR": str(tmp_path / "c")}
    assert len(liuyan("calendar", "2022", environment=environment).error.splitlines()) == 2


def test_the_key_of_the_simulator_in_the_environment_disturbs_no_other_command(quarter: Path) -> None:
    assert liuyan("cases", "--db", quarter, environment={"LIUYAN_SIMULATE_KEY": "x"}).code == 0


# Another city


CITY = {
    "platforms": """
city = "示例市"
[[platform]]
slug = "shi"
name = "示例市政府"
county = "municipal"
county_name = "市本级"
[[platform]]
slug = "xian"
name = "样本县"
county = "xian"
county_name = "样本县"
""",
    "policy": """
[[policy]]
source = "示例市办法"
cutoff = "17:30"
default_category = "letter"
[policy.categories.letter]
name = "来信"
reply = 2
complete = 2
source = "示例市办法第3条"
""",
    "calendar": """
[[local]]
county = "xian"
date = "2022-03-02"
rest = true
name = "样本节"
source = "样本县通知"
""",
}


@pytest.fixture
def city(tmp_path: Path) -> dict[str, str]:
    """The environment of a city with its own platforms, rules and days."""
    files = {name: written(tmp_path / f"{name}.toml", text) for name, text in CITY.items()}
    config = "\n".join(f'{name} = "{file}"' for name, file in files.items()) + f'\ndb = "{tmp_path / "city.db"}"'
    return {"LIUYAN_CONFIG": str(written(tmp_path / "liuyan.toml", config))}


def test_another_city_has_its_own_platforms_targets_and_days(city: dict[str, str], tmp_path: Path) -> None:
    def due(platform: str) -> Any:
        command = (
            "deadline",
            "--category",
            "letter",
            "--received",
            "2022-03-01T09:00:00+08:00",
            "--platform",
            platform,
        )
        return ran(*command, "--json", environment=city).json()["due_at"]

    assert (due("shi"), due("xian")) == ("2022-03-03T17:30:00+08:00", "2022-03-04T17:30:00+08:00")
    assert "没有类别 help" in wrong("deadline", "--category", "help", "--received", THEN, environment=city)
    assert "样本节" in ran("calendar", "2022", "--county", "xian", environment=city).out
    lines = written(tmp_path / "lines.jsonl", received("a", platform="xian"), received("b", platform="lincang"))
    assert "新事件 1，重复 0，冲突 0，不合要求 1" in ran("replay", lines, environment=city).out
    told = ran("export", "2022-03", environment=city).out
    assert told == (
        "全市开设网民留言平台的政府网站和专栏共2个，2022年3月共接到网民留言1条，其中：示例市政府0条、样本县1条。"
        "通过监测，样本县逾期未办结留言1条，办结率为0.00%。\n"
    )
    assert ran("reconcile", environment=city).code == 0


def test_a_database_is_not_mixed_with_another_citys_rules(city: dict[str, str], own_quarter: Path) -> None:
    before = dump(own_quarter)
    line = failed("export", QUARTER, "--db", own_quarter, environment=city)
    assert "另一套规则" in line
    lines = written(own_quarter.with_name("more.jsonl"), received("a", platform="xian"))
    assert "lincang" in failed("replay", lines, "--db", own_quarter, environment=city)
    assert "lincang" in failed("standalone", "--port", "0", "--db", own_quarter, environment=city)
    assert dump(own_quarter) == before


def test_a_changed_policy_is_not_applied_by_a_reading_command(own_quarter: Path, tmp_path: Path) -> None:
    policy = shipped("policy.toml").replace("complete = 1\n", "complete = 2\n").replace("reply = 1\n", "reply = 2\n")
    environment = {"LIUYAN_POLICY": str(written(tmp_path / "policy.toml", policy))}
    before = dump(own_quarter)
    assert "另一套规则" in failed("cases", "--db", own_quarter, environment=environment)
    assert dump(own_quarter) == before


# Real processes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code"),
    [(["--version"], 0), (["nope"], 2), (["calendar", "2000"], 2), (["cases", "--db", "/nowhere/x.db"], 1)],
    ids=str,
)
def test_the_installed_script_ends_with_the_same_codes(words: list[str], code: int) -> None:
    here, there = liuyan(*words), liuyan_process(*words)
    assert (there.code, there.raw, there.error) == (code, here.raw, here.error)


@pytest.mark.slow
@pytest.mark.parametrize("language", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "LANG": "C"}], ids=str)
def test_chinese_is_printed_also_where_the_locale_knows_none(language: dict[str, str]) -> None:
    finished = liuyan_process("export", "2022Q5", environment=language)
    assert (finished.code, "不是统计期" in finished.error) == (2, True)
    assert liuyan_process("calendar", "2022", environment=language).out.startswith("2022 年")


@pytest.mark.slow
def test_two_simulated_messages_arrive_at_a_running_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path / "simulate.db") as service:
        key = service.keys["lincang"]
        command = ("simulate", "--url", service.url, "--platform", "lincang", "--count", "2", "--per-minute", "6000")
        told = ran(*command, "--key", key).out
        assert len(re.findall(r"^已推送 lincang/sim-", told, re.MULTILINE)) == 2
        cases = service.json("/v1/cases")["cases"]
        assert [f"已推送 {case['key']}" for case in cases] == sorted(told.splitlines())
        assert "401" in failed(*command, "--key", f"{key}x")
        assert "403" in failed(*command[:4], "zhenkang", *command[5:], "--key", key)
        service.stop()
    monkeypatch.setattr("services.compose.client.RETRIES", 2)
    assert "连不上" in failed(*command, "--key", key)


def test_the_demonstrations_portal_goes_on_when_the_service_is_back_and_ends_when_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has nobody who would start it again."""
    stop, answers = threading.Event(), iter([*[(503, b"{}")] * 40, (202, b"{}"), (503, b"{}"), (503, b"{}")])

    def answered(*_: Any) -> tuple[int, bytes]:
        status, body = next(answers)
        if status == 202:
            told.append(status)
        elif told:
            stop.set()
        return status, body

    told: list[int] = []
    monkeypatch.setattr("services.compose.client.RETRY_SECONDS", 0)
    monkeypatch.setattr("services.compose.client.Client.ask", answered)
    client = Client("http://127.0.0.1:9")
    client.push("k", b"{}", stop=stop)
    assert told == [202]
    with pytest.raises(PushError, match="503"):
        client.push("k", b"{}", stop=stop)


def test_a_simulated_portal_tells_that_somebody_else_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([(404, b"<html>"), (200, b"[]"), (400, b'{"detail": "x"}')])
    monkeypatch.setattr("services.compose.client.Client.ask", lambda *_: next(answers))
    for said in ("404 对方的答复不是本系统的格式", "200 对方的答复不是本系统的格式", "400 x"):
        line = failed("simulate", "--url", "http://127.0.0.1:9", "--platform", "lincang", "--key", "k", "--count", "1")
        assert said in line


@pytest.mark.slow
def test_a_port_that_is_taken_is_a_failure(tmp_path: Path) -> None:
    with running(tmp_path / "one.db") as service:
        port = service.url.rpartition(":")[2]
        line = failed("standalone", "--port", port, "--db", tmp_path / "two.db")
    assert f"127.0.0.1:{port}" in line
    assert "--port" in line


@pytest.mark.slow
def test_the_command_line_reads_while_the_process_writes(tmp_path: Path) -> None:
    file = tmp_path / "both.db"
    with running(file) as service:
        service.push(received("a", platform="lincang"))
        assert [case["key"] for case in ran("cases", "--jsonl", "--db", file).jsonl()] == ["lincang/a"]
        assert ran("reconcile", "--db", file).out == "核对完毕，没有差异\n"
        ran("replay", written(tmp_path / "lines.jsonl", received("b")), "--db", file)
        service.push(received("c", platform="lincang"))
        assert len(service.json("/v1/cases")["cases"]) == 3
        assert ran("reconcile", "--db", file).out == "核对完毕，没有差异\n"
