"""The duty page's data on both databases against the pure core, and its pages over HTTP: what each shows, and to whom."""

import asyncio
import html
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from litestar import Router
from litestar.di import Provide
from litestar.testing import TestClient

from services.alerts.duty import board as board_module
from services.alerts.duty import lists, live, reference
from services.alerts.duty.board import Rate, board, lamp, rate
from services.alerts.duty.calendar import MADE_UP, REST, year_of
from services.alerts.duty.charts import whole
from services.alerts.duty.lists import Wanted, holders, list_due, list_overdue, search
from services.alerts.duty.live import Pulse
from services.alerts.duty.pages import span, until
from services.alerts.duty.routes import duty_routes
from services.alerts.duty.statistics import months_until, statistics
from services.alerts.notices.acknowledging import acknowledge_case
from services.alerts.notices.shifts import hand_over
from services.alerts.people.viewer import Role, Viewer
from services.alerts.tables import alerts
from services.compose.api import application
from services.compose.people import everybody
from services.sla.rules import evaluate
from shared.case import Case, Outcome
from shared.config import parse_registry
from shared.events import CaseEvent
from shared.figures import count, standing
from shared.http import ProblemError
from shared.registry import Lamps
from shared.rules import Ruleset
from shared.times import isoformat
from tests.builders import at, event, shipped
from tests.enginekit import Deck, deck, grouped, tally
from tests.service import Json, Served, served

NOW = at("04-20 12:00")
PLATFORMS = ("lincang", "gongan", "zhenkang", "gengma")
CATEGORIES = ("simple_inquiry", "help", "complaint")
UNITS = ("gongan", "自来水公司", "县住建局", "100%_'单位'")


def history(chance: random.Random, platform: str, subject: str) -> Iterator[CaseEvent]:
    start = at(f"{chance.choice(['02', '03', '04'])}-{chance.randint(1, 18):02} {chance.randint(8, 17):02}:00")
    where = {"platform": platform, "subject": subject}
    title = f"关于{chance.choice(['公路', '饮水', '路灯'])}的咨询 {subject}"
    yield event(f"{subject}-r", "received", start, category=chance.choice(CATEGORIES), title=title, **where)
    for number in range(chance.randint(0, 3)):
        name = chance.choice(["replied", "completed", "suspended", "resumed", "transferred", "withdrawn", "reopened"])
        data = {"to": chance.choice(UNITS)} if name == "transferred" else {}
        time = start + timedelta(hours=chance.randint(1, 400))
        yield event(f"{subject}-{number}", name, time, sequence=number, **where, **data)


EVENTS = [
    happened
    for chance in [random.Random(20220420)]  # noqa: S311 - the same every time
    for platform in PLATFORMS
    if platform != "gongan"
    for number in range(40)
    for happened in history(chance, platform, f"{platform[:2]}-{number:03}")
]


@pytest.fixture
def full(each_database: str, rules: Ruleset) -> Iterator[Deck]:
    with deck(rules, NOW) as found:
        found.push(*EVENTS)
        found.push(tally("t", NOW, "2022-04-19", 0))
        found.sweep()
        yield found


def known(rules: Ruleset) -> list[Case]:
    cases = (evaluate(own, rules, NOW) for own in grouped(EVENTS, rules).values())
    return [case for case in cases if case is not None]


def viewed(rules: Ruleset, county: str | None) -> list[Any]:
    return [platform for platform in rules.registry if county in (None, platform.county)]


def read_all(found: Deck, read: Any, wanted: Wanted, limit: int) -> list[str]:
    keys: list[str] = []
    cursor = None
    while True:
        with found.database.reading() as connection:
            page = read(connection, wanted, NOW, limit, cursor)
        assert len(page.cases) <= limit
        keys += [case.key for case in page.cases]
        cursor = page.next
        if cursor is None:
            return keys


WANTED = [
    Wanted(PLATFORMS),
    Wanted(("zhenkang",)),
    Wanted(PLATFORMS, category="help"),
    Wanted(PLATFORMS, holder="自来水公司"),
    Wanted(("gengma", "zhenkang"), category="complaint", holder="100%_'单位'"),
    Wanted(PLATFORMS, category="nothing"),
    Wanted(()),
]


@pytest.mark.parametrize("limit", [1, 7, 500])
@pytest.mark.parametrize("wanted", WANTED, ids=str)
def test_every_page_of_what_is_overdue_and_of_what_is_due_next(
    full: Deck, rules: Ruleset, wanted: Wanted, limit: int
) -> None:
    def expected(late: bool) -> list[str]:
        found = []
        for case in known(rules):
            due = case.rounds[-1].targets.complete.due_at
            fits = case.is_open and case.platform in wanted.platforms and due is not None and (due <= NOW) == late
            if fits and wanted.category in (None, case.category) and wanted.holder in (None, case.holder):
                found.append((due, case.key))
        return [key for _, key in sorted(found)]

    assert read_all(full, list_overdue, wanted, limit) == expected(True)
    assert read_all(full, list_due, wanted, limit) == expected(False)


def test_the_lists_are_not_empty(full: Deck) -> None:
    assert len(read_all(full, list_overdue, WANTED[0], 50)) > 20
    assert len(read_all(full, list_due, WANTED[0], 50)) > 3


def test_holders_are_those_of_open_cases_of_these_platforms(full: Deck, rules: Ruleset) -> None:
    with full.database.reading() as connection:
        for platforms in (PLATFORMS, ("zhenkang",), ("gongan",), ()):
            wanted = {case.holder for case in known(rules) if case.is_open and case.platform in platforms}
            assert set(holders(connection, platforms)) == wanted


def test_search_finds_numbers_by_their_beginning_and_titles_by_a_part(full: Deck, rules: Ruleset) -> None:
    def found(text: str, platforms: tuple[str, ...] = PLATFORMS) -> set[str]:
        with full.database.reading() as connection:
            return {case.key for case in search(connection, platforms, text, 500).cases}

    everything = known(rules)
    assert found("zh-00") == {c.key for c in everything if c.key.startswith("zhenkang/zh-00")} != set()
    assert found("ZH-003") == found("zhenkang/zh-003") == {"zhenkang/zh-003"}
    assert found("饮水") == {c.key for c in everything if "饮水" in str(c.title)} != set()
    assert found("饮水", ("gengma",)) == {
        c.key for c in everything if "饮水" in str(c.title) and c.platform == "gengma"
    }
    assert found("zh-003", ("gengma",)) == found("zhenkang/zh-003", ("gengma",)) == set()
    for nothing in ("%", "_", "没有", "'; DROP TABLE cases", "zh-0_0", "/", "zhenkang/x/y", "\x7f"):
        assert found(nothing) == set(), nothing


def test_a_search_reads_so_many_titles_at_most_and_says_so(full: Deck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "TITLES_READ", 20)
    with full.database.reading() as connection:
        short = search(connection, PLATFORMS, "关于", 500)
        few = search(connection, PLATFORMS, "关于", 5)
    assert 0 < len(short.cases) <= 20
    assert (short.more, short.cut) == (False, True)
    assert (len(few.cases), few.more) == (5, True)


@pytest.mark.parametrize("county", [None, "municipal", "zhenkang", "yunxian"])
def test_each_county_has_its_figures_and_its_lamp(full: Deck, rules: Ruleset, county: str | None) -> None:
    with full.database.reading() as connection:
        found = board(connection, rules.registry, viewed(rules, county), NOW)
    assert [row.slug for row in found.rows] == [c for c in rules.registry.county_names if county in (None, c)]
    for row in (*found.rows, found.total):
        own = [case for case in known(rules) if not row.slug or case.county == row.slug]
        own = [case for case in own if county in (None, case.county)]
        assert row.open == sum(case.is_open for case in own)
        assert row.overdue == sum(case.outcome is Outcome.OVERDUE for case in own)
        targets = [case.rounds[-1].targets.complete for case in own if case.is_open]
        assert row.due_today == sum(t.verdict == "running" and t.due_day == NOW.date() for t in targets)
        counts = count(Counter(standing(case) for case in own if standing(case).month in found.period.months))
        assert (row.received, row.completion.value) == (counts.received, counts.completion_rate)
        assert row.on_time.value == counts.on_time_rate
    lamps = {row.slug: row.lamp.colour for row in found.rows}
    assert lamps.items() <= {"municipal": "red", "zhenkang": "red", "gengma": "red", **dict.fromkeys(
        ("linxiang", "yunxian", "fengqing", "yongde", "cangyuan", "shuangjiang"), "grey")}.items()  # fmt: skip


@pytest.mark.usefixtures("each_database")
def test_what_fell_due_a_moment_ago_is_overdue_before_the_sweep_comes_to_it(rules: Ruleset) -> None:
    kinds = (
        ("simple_inquiry", "04-12 09:00"),
        ("correction", "04-08 09:00"),
        ("inquiry", "04-06 09:00"),
        ("help", "04-12 10:00"),
    )
    with deck(rules, at("04-12 11:00")) as found:
        for number, (category, time) in enumerate(kinds):
            found.push(event(f"{number}", "received", time, subject=f"s{number}", category=category))
        found.sweep()
        for later, overdue in ((at("04-13 23:59"), 0), (at("04-14 00:00"), 3), (at("04-14 12:00"), 3)):
            with found.database.reading() as connection:
                before = board(connection, rules.registry, list(rules.registry), later)
            assert before.total.overdue == overdue, later
        found.sweep(later)
        with found.database.reading() as connection:
            assert board(connection, rules.registry, list(rules.registry), later) == before


def test_the_statistics_are_those_of_the_cases(full: Deck, rules: Ruleset) -> None:
    months = ("2022-02", "2022-03", "2022-04")
    with full.database.reading() as connection:
        found = statistics(connection, rules, viewed(rules, None), None, months, months)
        helped = statistics(connection, rules, viewed(rules, "zhenkang"), "help", ("2022-03",), months)
    everything = known(rules)

    def counted(cases: list[Case]) -> Any:
        return count(Counter(map(standing, cases)))

    def days(cases: list[Case]) -> list[int]:
        took = []
        for case in cases:
            if case.outcome in (Outcome.ON_TIME, Outcome.LATE) and case.received_at and case.closed_at:
                calendar = rules.calendar_of(case.platform)
                day, worked = case.received_at.date(), 0
                while day < case.closed_at.date():
                    day += timedelta(days=1)
                    worked += calendar.is_working(day)
                took.append(worked)
        return sorted(took)

    assert found.total.counts == counted(everything)
    for line in found.months:
        assert line.counts == counted([case for case in everything if standing(case).month == line.slug])
    for lines, name in ((found.categories, "category"), (found.counties, "county"), ((found.total,), None)):
        for line in lines:
            own = [case for case in everything if name is None or getattr(case, name) == line.slug]
            assert line.counts == counted(own)
            took = days(own)
            assert line.handling is not None
            assert line.handling.cases == len(took) == sum(line.handling.groups)
            assert line.handling.longest == (took[-1] if took else None)
            assert line.handling.median == (took[(len(took) - 1) // 2] if took else None)
            assert list(line.handling.groups[:21]) == [took.count(day) for day in range(21)]
    mine = [
        c for c in everything if c.platform == "zhenkang" and c.category == "help" and standing(c).month == "2022-03"
    ]
    assert helped.total.counts == counted(mine)
    assert [line.slug for line in helped.categories] == ["help"]


def test_a_stream_is_told_of_its_own_platforms_only(full: Deck) -> None:
    pulse = Pulse(full.database.reading, lambda: NOW, lambda: False)
    before = pulse.read()
    full.push(event("new", "received", NOW, platform="gengma", subject="new"))
    after = pulse.read()
    assert before.of({"zhenkang"}, "zhenkang") == after.of({"zhenkang"}, "zhenkang")
    assert before.of({"gengma"}, "gengma") != after.of({"gengma"}, "gengma")
    full.sweep(NOW + timedelta(days=30))
    assert pulse.read().of({"zhenkang"}, "zhenkang") != after.of({"zhenkang"}, "zhenkang"), (
        "what falls due is a change as well"
    )
    fallen = pulse.read()
    with full.database.writing() as connection:
        officer = Viewer("z", "张三", Role.COUNTY, "zhenkang")
        key = next(
            str(row["key"]) for row in full.read(alerts) if row["platform"] == "zhenkang" and not row["cleared_at"]
        )
        assert acknowledge_case(connection, full.rules.registry, officer, key, "", NOW)
    assert pulse.read().of({"zhenkang"}, "zhenkang") != fallen.of({"zhenkang"}, "zhenkang"), (
        "an alert that somebody acknowledges"
    )
    assert pulse.read().of({"gengma"}, "gengma") == fallen.of({"gengma"}, "gengma")
    tomorrow = Pulse(full.database.reading, lambda: NOW + timedelta(days=1), lambda: False)
    assert tomorrow.read().of((), "zhenkang") != before.of((), "zhenkang"), "so is another day"


# Small values


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ((0, 0), (1, 2), Rate(None, None, "50.00")),
        ((1, 2), (0, 0), Rate("50.00", None, None)),
        ((1, 2), (1, 2), Rate("50.00", "0.00", "50.00")),
        ((1, 3), (1, 2), Rate("33.33", "−16.67", "50.00")),
        ((2, 3), (1, 2), Rate("66.67", "+16.67", "50.00")),
        ((10_000, 10_001), (10_001, 10_002), Rate("99.99", "0.00", "99.99")),
    ],
)
def test_a_rate_is_compared_with_the_last_quarter_in_points(now: Any, before: Any, expected: Rate) -> None:
    assert rate(now, before) == expected


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(0, "不到 1 分钟"), (1, "1 分钟"), (59, "59 分钟"), (60, "1 小时"), (61, "1 小时 1 分钟"), (1440, "1 天"),
     (1500, "1 天 1 小时"), (43_200 + 60, "30 天")],
)  # fmt: skip
def test_time_left_is_said_in_two_units(minutes: int, text: str) -> None:
    assert span(timedelta(minutes=minutes)) == text
    assert until(NOW + timedelta(minutes=minutes, seconds=30), NOW) == f"还剩 {text}"
    assert until(NOW, NOW + timedelta(minutes=minutes)) == f"已逾期 {text}"


def test_lamps_say_the_citys_words() -> None:
    words = Lamps(green="好", yellow="将到", red="过了", grey="无")
    assert [lamp(words, *of) for of in ((1, 1, True), (0, 1, True), (0, 0, True), (0, 0, False))] == [
        board_module.Lamp("red", "过了"), board_module.Lamp("yellow", "将到"),
        board_module.Lamp("green", "好"), board_module.Lamp("grey", "无"),
    ]  # fmt: skip


def test_yellow_may_come_days_before(rules: Ruleset) -> None:
    text = shipped("platforms.toml").replace("yellow_days = 0", "yellow_days = 3")
    with deck(rules, at("2022-04-11 09:00")) as found:
        found.push(event("a", "received", "04-11 09:00", platform="zhenkang", category="correction"))  # due on the 14th
        for registry, colour in ((parse_registry(text), "yellow"), (rules.registry, "green")):
            with found.database.reading() as connection:
                rows = board(connection, registry, list(registry), at("2022-04-11 12:00")).rows
            assert {row.slug: row.lamp.colour for row in rows}["zhenkang"] == colour


def test_a_platform_that_is_silent_for_long_is_named(rules: Ruleset) -> None:
    with deck(rules, at("2022-04-11 09:00")) as found:
        found.push(tally("t", at("2022-04-11 09:00"), "2022-04-10", 0))
        for now, silent in (("2022-04-18 08:59", ()), ("2022-04-18 09:00", ("镇康县",))):
            with found.database.reading() as connection:
                rows = board(connection, rules.registry, list(rules.registry), at(now)).rows
            assert {row.slug: row.silent for row in rows}["zhenkang"] == silent


def test_months_run_over_the_turn_of_the_year() -> None:
    assert months_until("2022-02", 4) == ("2021-11", "2021-12", "2022-01", "2022-02")


def test_a_year_has_its_days_its_reasons_and_what_is_not_confirmed(rules: Ruleset) -> None:
    year = year_of(rules.calendars.national, 2026)
    cells = {cell.date: cell for month in year.months for week in month.weeks for cell in week if cell}
    assert len(cells) == 365
    assert all(len(week) == 7 for month in year.months for week in month.weeks)
    assert (cells[date(2026, 2, 14)].kind, cells[date(2026, 2, 17)].kind) == (MADE_UP, REST)
    assert (
        sum(month.working for month in year.months)
        == year.working
        == sum(c.word in ("工作日", "调休上班") for c in cells.values())
    )
    assert any(s.first <= date(2026, 2, 17) <= s.last and s.kind == REST and "2026" in s.source for s in year.spans)
    assert year.unconfirmed == ((date(2026, 12, 25), date(2026, 12, 31)),)
    assert not year_of(rules.calendars.national, 2022).unconfirmed
    assert year_of(rules.calendars.national, 2040).unconfirmed == ((date(2040, 1, 1), date(2040, 12, 31)),)


# Over HTTP

HOSTILE = """<script>alert(1)</script><img src=x onerror="x">'&{{ 7*7 }}</title></textarea><svg onload=x>"""


def told(key: str, name: str, time: str, identifier: str = "", **data: Any) -> Json:
    platform, subject = key.split("/")
    return {
        "specversion": "1.0", "id": identifier or f"{subject}-{name}", "source": f"/platforms/{platform}",
        "type": f"liuyan.message.{name}.v1", "subject": subject, "time": isoformat(at(time)), "data": data,
    }  # fmt: skip


STORY = [
    told(
        "zhenkang/late", "received", "04-01 09:00", category="simple_inquiry", title="路灯不亮", content="南伞镇的路灯"
    ),
    told("zhenkang/late", "transferred", "04-01 10:00", to="县住建局", reason="属住建"),
    told("gengma/soon", "received", "04-19 09:00", category="simple_inquiry", title="今天到期的"),
    told("gengma/again", "received", "04-01 09:00", category="help", title="两轮的"),
    told("gengma/again", "suspended", "04-02 09:00", reason="补材料"),
    told("gengma/again", "suspended", "04-02 10:00", "twice", reason="又补"),
    told("gengma/again", "resumed", "04-06 09:00"),
    told("gengma/again", "extended", "04-06 10:00", working_days=3, approved_by="李主任", reason="情况复杂"),
    told("gengma/again", "replied", "04-07 10:00", content="已修好", interim=True),
    told("gengma/again", "completed", "04-08 10:00"),
    told("gengma/again", "reopened", "04-11 10:00", reason="又坏了"),
    told("gengma/again", "rated", "04-11 11:00", score=2),
    told("lincang/waits", "accepted", "04-11 09:00"),
    told("lincang/done", "received", "04-11 09:00", category="help", title="办好的"),
    told("lincang/done", "completed", "04-12 09:00"),
]
HOSTILE_STORY = [
    told("zhenkang/evil", "received", "04-01 09:00", "r", category=HOSTILE[:60], title=HOSTILE, content=HOSTILE),
    told("zhenkang/evil", "transferred", "04-01 10:00", HOSTILE[:100], to=HOSTILE[:64], reason=HOSTILE),
    told("zhenkang/evil", "suspended", "04-01 11:00", "s", reason=HOSTILE),
    told("zhenkang/evil", "suspended", "04-01 12:00", f"{HOSTILE[:90]}2", reason=HOSTILE),
    told("zhenkang/evil", "resumed", "04-01 13:00", "m"),
    told("zhenkang/evil", "extended", "04-01 14:00", "e", working_days=1, approved_by=HOSTILE, reason=HOSTILE),
    told("zhenkang/evil", "replied", "04-01 15:00", "p", content=HOSTILE, interim=True),
    told("zhenkang/evil", "rejected", "04-19 16:00", "j", reason=HOSTILE[:64], note=HOSTILE),
    told("zhenkang/evil", "reopened", "04-19 17:00", "o", reason=HOSTILE),
]
PAGES = (
    "/", "/print", "/statistics", "/calendar", "/cases/zhenkang/late", "/cases/gengma/again", "/cases/lincang/waits",
    "/cases/lincang/done", "/calendar?year=2026&received=2026-02-13T17:00&category=help&platform=zhenkang",
    "/statistics?period=2022-04&county=zhenkang&category=help", "/?q=late&county=zhenkang&category=simple_inquiry",
    "/?holder=县住建局", "/calendar?year=2040&county=gengma",
)  # fmt: skip


@pytest.fixture(scope="module")
def duty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("duty") / "duty.db", NOW) as service:
        service.push(*STORY)
        yield service


def text_of(answer: Any) -> str:
    """What a person reads."""
    return re.sub(
        r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<style.*?</style>", "", answer.text, flags=re.S)))
    )


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_strict_and_its_addresses_lead_somewhere(duty: Served, path: str) -> None:
    answer = duty.get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    nonces = set(re.findall(r'nonce="([^"]+)"', answer.text))
    assert nonces <= {policy["style-src"].partition("'nonce-")[2].rstrip("'")}
    assert not re.findall(r"<script(?! src=\"/static/)|\sstyle=|\son\w+=|<iframe|javascript:", answer.text)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', answer.text)
    assert all("nonce=" in tag for tag in re.findall(r"<style[^>]*>", answer.text))
    for address in set(re.findall(r'(?:href|src)="([^"#]+)', answer.text)):
        assert duty.client.get(html.unescape(address)).status_code == 200, address


def test_the_board_says_how_each_county_stands(duty: Served) -> None:
    page = text_of(duty.get("/"))
    for text in ("镇康县 逾期 1 0 1", "耿马自治县 今日到期 0 1 2", "沧源自治县 未收到数据", "市本级 正常", "从未收到：市公安局",
                 "已逾期 17 天 12 小时", "2022-04-02 24:00", "还剩 12 小时", "县住建局", "路灯不亮"):  # fmt: skip
        assert text in page, text


def test_a_page_without_any_data_does_not_look_well(tmp_path: Path) -> None:
    with served(tmp_path / "empty.db", NOW) as service:
        page = service.get("/").text
    assert "还没有收到任何平台的数据" in page
    assert page.count("未收到数据</span>") == 10
    assert 'class="green"' not in page
    assert "lamp green" not in page


def test_a_case_says_why_it_is_late_day_by_day(duty: Served) -> None:
    page = text_of(duty.get("/cases/zhenkang/late"))
    assert "逾期未办结：2022-04-02 24:00 到期，已逾期 17 天 12 小时" in page
    assert "2022-04-02 周六 调休上班 第 1 个工作日 → 24:00 到期" in page
    assert "国务院办公厅关于2022年部分节假日安排的通知" in page
    assert "转给 县住建局" in page
    assert "属住建" in page
    assert re.search(r"县住建局 2022-04-01 10:00 现在 19 天 2 小时", page)


def test_a_case_shows_its_rounds_its_suspensions_and_what_does_not_count(duty: Served) -> None:
    page = text_of(duty.get("/cases/gengma/again"))
    for text in ("第 2 轮", "第 1 轮", "2022-04-02 09:00 至 2022-04-06 09:00", "不计：已中止", "延长 3 个工作日", "批准：李主任",
                 "本轮办结时限已延长 3 个工作日", "阶段性答复", "又坏了", "2 分", "中止（不计）"):  # fmt: skip
        assert text in page, text
    assert "还没有收到这件留言的接到登记" in text_of(duty.get("/cases/lincang/waits"))
    assert "按时办结，2022-04-12 09:00" in text_of(duty.get("/cases/lincang/done"))


def test_the_calculator_says_when_and_why(duty: Served) -> None:
    page = text_of(duty.get("/calendar?year=2026&received=2026-02-13T17:00&category=simple_inquiry&platform=zhenkang"))
    assert "2026-02-14 周六 调休上班 第 1 个工作日 → 24:00 到期" in page
    assert "办结 2026-02-14 24:00 到期" in page
    assert "暂定" in text_of(duty.get("/calendar?year=2040&received=2040-02-13T17:00"))


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/?county=nowhere", 400, "没有这个县区"),
        ("/?category=none", 400, "没有这个类别"),
        ("/?nothing=1", 400, "没有查询参数 nothing"),
        ("/?q=1&q=2", 400, "写了不止一次"),
        ("/?overdue=%00", 400, "overdue 中有空字符"),
        ("/?holder=a%00", 400, "holder 中有空字符"),
        ("/?q=%00", 400, "q 中有空字符"),
        ("/?due=MSBhAGI", 400, "没有这一页"),
        ("/?q=" + "长" * 101, 400, "请求有误"),
        ("/calendar?year=1999", 400, "年份须在"),
        ("/calendar?year=abcd", 400, "年份须在"),
        ("/calendar?received=yesterday", 400, "接到时间有误"),
        ("/calendar?received=2022-02-30T10:00", 400, "接到时间有误"),
        ("/calendar?platform=nowhere&received=2022-02-03T10:00", 400, "没有这个平台"),
        ("/statistics?period=2022Q5", 400, "没有这个统计期"),
        ("/cases/zhenkang/nothing", 404, "没有这件留言"),
        ("/cases/nowhere/late", 404, "没有这件留言"),
        ("/cases/zhenkang/%00", 404, "没有这件留言"),
        ("/static/0/duty.css", 404, "没有这个文件"),
        ("/static/0/..%2Fpages.py", 404, ""),
    ],
)
def test_what_is_wrong_is_a_page_that_says_so(duty: Served, path: str, status: int, text: str) -> None:
    answer = duty.client.get(path)
    assert answer.status_code == status, answer.text
    assert text in text_of(answer)


BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Sec-Fetch-Dest": "document"}


def test_a_browser_is_told_on_a_page_of_what_is_nowhere_and_a_program_as_ever(duty: Served) -> None:
    answer = duty.client.get("/nothing", headers=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "没有找到 没有 /nothing 这个地址。 回到值班页" in text_of(answer)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    answer = duty.client.delete("/shifts", headers=BROWSER)
    assert (answer.status_code, "这个地址不支持 DELETE" in text_of(answer)) == (405, True)
    for path, headers in (
        ("/nothing", {}),
        ("/nothing", {**BROWSER, "Sec-Fetch-Dest": "empty"}),
        ("/v1/nothing", BROWSER),
    ):
        answer = duty.client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_a_browser_is_told_on_a_page_that_something_broke(duty: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("<b>boom</b>")

    monkeypatch.setattr(reference, "statistics", broken)
    answer = duty.client.get("/statistics", headers=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert "服务内部错误，已记入日志。" in text_of(answer)
    assert "boom" not in answer.text


def test_our_files_are_kept_for_ever_and_change_their_address(duty: Served) -> None:
    (address,) = set(re.findall(r"/static/\w+/duty\.css", duty.get("/").text))
    answer = duty.get(address)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"].startswith("text/css")


def elements(page: str) -> tuple[Counter[str], set[str]]:
    """How many elements of each kind a browser finds on the page, and the names of all attributes."""
    tags: Counter[str] = Counter()
    attributes: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags[tag] += 1
            attributes.update(name for name, _ in attrs)

    Reader().feed(page)
    return tags, attributes


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("hostile") / "hostile.db", NOW) as service:
        service.push(*HOSTILE_STORY)
        yield service


@pytest.mark.parametrize(
    "path",
    ["/", "/print", "/statistics", "/calendar", "/cases/zhenkang/evil", f"/?q={HOSTILE[:90]}", "/?q=script",
     f"/?holder={HOSTILE[:64]}", f"/?county={HOSTILE[:60]}", f"/calendar?received={HOSTILE[:40]}", f"/cases/zhenkang/{HOSTILE[:7]}",
     f"/?{HOSTILE[:20]}=1", f"/statistics?period={HOSTILE[:20]}"],
)  # fmt: skip
def test_hostile_text_is_text_on_every_page(hostile: Served, path: str) -> None:
    answer = hostile.client.get(path)
    assert answer.status_code in (200, 400, 404)
    tags, attributes = elements(answer.text)
    assert not tags.keys() & {"img", "iframe", "object", "embed", "b"}
    assert tags["script"] == 1, "the page's own"
    assert not [name for name in attributes if name.startswith("on") or name in ("style", "srcdoc")]
    if path == "/cases/zhenkang/evil":
        assert (
            answer.text.count(html.escape(HOSTILE, quote=True).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"))
            > 6
        )


# Who looks


@pytest.fixture(params=["zhenkang", "gengma"])
def limited(duty: Served, request: pytest.FixtureRequest) -> Iterator[tuple[str, TestClient[Any]]]:
    """The pages as an officer of one county sees them."""
    reader = duty_reader(duty)

    def viewer() -> Viewer:
        return Viewer("a", "王值班", Role.COUNTY, request.param)

    def lasting() -> Callable[[], bool]:
        return lambda: True

    def csrf() -> str:
        return ""

    given = {
        name: Provide(each, sync_to_thread=False)
        for name, each in (("viewer", viewer), ("lasting", lasting), ("csrf", csrf))
    }
    routes = duty_routes(reader, everybody(duty.database, reader.rules))
    pages = Router("/", route_handlers=routes, dependencies=given)
    with TestClient(application([pages]), raise_server_exceptions=False) as client:
        yield request.param, client


def duty_reader(service: Served) -> Any:
    from services.standalone.app import make_reader, metrics_registry

    registry, _ = metrics_registry(service.database, service.engine, service.engine.rules)
    return make_reader(service.engine, registry)


def test_an_officer_of_a_county_sees_nothing_of_another(limited: tuple[str, TestClient[Any]]) -> None:
    county, client = limited
    other, theirs = {"zhenkang": ("gengma", ("耿马", "今天到期的", "两轮的", "gengma/")),
                     "gengma": ("zhenkang", ("镇康", "路灯不亮", "县住建局", "zhenkang/"))}[county]  # fmt: skip
    for path in ("/", "/print", "/statistics", "/calendar", "/?q=a", "/?q=的", f"/?q={other}/", "/?q=路灯"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert "王值班" in answer.text
        for word in theirs:
            assert word not in text_of(answer).replace(f"“{other}/”", ""), (path, word)
    for path in (f"/cases/{other}/late", f"/cases/{other}/soon", f"/cases/{other}/again"):
        assert client.get(path).status_code == 404
    for path in (f"/?county={other}", f"/print?county={other}", f"/statistics?county={other}", f"/calendar?county={other}",
                 f"/calendar?platform={other}&received=2022-03-01T10:00"):  # fmt: skip
        assert client.get(path).status_code == 400


def test_too_many_streams_are_refused_and_the_page_works(duty: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_STREAMS", 0)
    answer = duty.client.get("/live")
    assert (answer.status_code, "定时更新" in answer.text) == (503, True)
    duty.get("/")
    with pytest.raises(ProblemError):
        Pulse(duty.database.reading, lambda: NOW, lambda: False).require_room()


def test_a_stream_is_told_of_the_hand_overs_that_its_viewer_sees(full: Deck) -> None:
    pulse, registry = Pulse(full.database.reading, lambda: NOW, lambda: False), full.rules.registry
    counties = (None, "zhenkang", "gengma")
    viewers = {
        county: Viewer("a", "张三", Role.COUNTY, county) if county else Viewer("c", "李四", Role.CITY)
        for county in counties
    }
    for handed, concerned in ((None, {None}), ("zhenkang", {None, "zhenkang"}), ("gengma", {None, "gengma"})):
        before = pulse.read()
        with full.database.writing() as connection:
            hand_over(connection, registry, viewers[handed], "赵六", "", NOW)
        after = pulse.read()
        heard = {county for county in counties if before.of((), county) != after.of((), county)}
        assert heard == concerned, handed


def test_a_stream_ends_when_the_service_stops(tmp_path: Path) -> None:
    with served(tmp_path / "stream.db", NOW) as service:
        service.engine.ending.set()
        answer = service.get("/live")
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.text == "retry: 5000\n\n"


def test_a_stream_tells_nothing_more_to_whom_may_not_look_any_more(
    duty: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(live, "BEAT_SECONDS", 0.0)
    answers = iter([True, False])

    async def told() -> list[str]:
        pulse = Pulse(duty.database.reading, lambda: NOW, lambda: False)
        return [text async for text in pulse.stream({"zhenkang"}, "zhenkang", lambda: next(answers))]

    assert asyncio.run(told()) == ["retry: 5000\n\n", ": \n\n"]


@pytest.mark.parametrize(
    ("numbers", "marks"),
    [([], [0, 1]), ([2], [0, 1, 2]), ([7, 3], [0, 2, 4, 6, 8]), ([50], [0, 10, 20, 30, 40, 50]),
     ([26_001], [0, 10_000, 20_000, 30_000])],
)  # fmt: skip
def test_an_axis_of_what_is_counted_has_few_marks_and_no_fractions(numbers: list[int], marks: list[int]) -> None:
    assert whole(numbers) == marks
