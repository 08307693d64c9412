"""What a duty officer does, in a real browser: find, read why, filter, print, calculate, be told; with a keyboard, without script."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from litestar.testing import TestClient
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import insert

from services.alerts.notices.digests import make_digest, make_part
from services.alerts.notices.gathering import encode_digest, set_up
from services.alerts.notices.shifts import hand_over
from services.alerts.notices.tables import notices
from services.alerts.people.accounts import end_sessions
from services.alerts.people.guard import EVERYBODY, People
from services.alerts.people.viewer import Role, Viewer
from services.compose.demo.quarter import AS_OF, quarter_events
from services.standalone.database import Database
from shared.rules import Ruleset
from shared.times import to_micros
from tests.pages.browserkit import WIDTHS, browser, listening, page_of
from tests.peoplekit import PASSWORD, QUICK, Hands, account, add
from tests.service import PATIENCE, Served, assembled, platform_of

pytestmark = pytest.mark.slow

HOSTILE = """<img src=x onerror=alert(1)><script>alert(2)</script>'"&</title><svg onload=alert(3)>"""
PAGES = {
    "board": "/",
    "print": "/print",
    "statistics": "/statistics?period=2022Q1",
    "calendar": "/calendar?year=2022",
    "calculator": "/calendar?year=2026&received=2026-02-13T17:00&category=simple_inquiry&platform=zhenkang",
    "case": "/cases/zhenkang/zk-2022-0015",
    "search": "/?q=公路",
    "shifts": "/shifts",
    "notices": "/notices",
    "message": "/cases/zhenkang/nothing",
}


def push_quarter(service: Served) -> None:
    with TestClient(service.app) as client:
        service.client = client
        by_platform: dict[str, list[Any]] = {}
        for event in quarter_events():
            by_platform.setdefault(platform_of(event), []).append(event)
        for platform, batch in by_platform.items():
            answer: httpx.Response = service.push_batch(batch, platform)
            assert answer.status_code == 202
    service.settle()


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """The first quarter of 2022 as of 2022-04-11, and its address."""
    with assembled(tmp_path_factory.mktemp("pages") / "pages.db", AS_OF) as service:
        push_quarter(service)
        with listening(service) as url:
            yield service, url


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """The same, for whoever signs in: li, of 镇康县; zhang, of the city; shenji, who only reads."""

    def people(database: Database, rules: Ruleset) -> People:
        return People(database, rules.registry, Hands(), passwords=QUICK)

    with assembled(tmp_path_factory.mktemp("guarded") / "guarded.db", AS_OF, people_of=people) as service:
        push_quarter(service)
        add(service.database, account("li", Role.COUNTY, "zhenkang"), account("zhang"), account("shenji", Role.AUDITOR))
        with service.database.writing() as connection:
            set_up(connection, ["hook"])
            county = Viewer("x", "赵六", Role.COUNTY, "zhenkang")
            hand_over(connection, service.engine.rules.registry, county, "李四", "两件待回电\n一件待答复", AS_OF)
            digest = make_digest("zhenkang", "镇康县", AS_OF, [make_part("raised", {("overdue", None): 2}, [])], {})
            failed = {
                "message": "msg_1", "channel": "hook", "county": "zhenkang", "alerts": 2, "state": "failed", "attempts": 1,
                "content": encode_digest(digest).decode(), "created_at": to_micros(AS_OF), "error": "对方答 404",
            }  # fmt: skip
            connection.execute(insert(notices).values(failed))
        with listening(service) as url:
            yield service, url


def sign_in(page: Page, url: str, name: str) -> None:
    page.goto(url)
    page.get_by_label("账号").fill(name)
    page.get_by_label("密码").fill(PASSWORD)
    page.get_by_role("button", name="登录").click()
    expect(page.get_by_role("heading", name="现在的情况")).to_be_visible()


def event(subject: str, name: str, time: str, platform: str = "zhenkang", **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": f"{subject}-{name}", "source": f"/platforms/{platform}",
        "type": f"liuyan.message.{name}.v1", "subject": subject, "time": time, "data": data,
    }  # fmt: skip


def handed_over(service: Served, successor: str) -> None:
    with service.database.writing() as connection:
        hand_over(connection, service.engine.rules.registry, EVERYBODY, successor, "", AS_OF)


def push(service: Served, url: str, *events: dict[str, Any]) -> None:
    with httpx.Client(base_url=url, trust_env=False) as client:
        service.client = client
        for each in events:
            assert service.post(each, platform_of(each)).status_code == 202
    service.settle()


def test_the_overdue_case_is_found_and_says_why(chrome: Browser, quarter: tuple[Served, str]) -> None:
    with page_of(chrome) as page:
        page.goto(quarter[1])
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="镇康县"))
        expect(row).to_contain_text("逾期")
        row.get_by_role("link", name="镇康县").click()
        expect(page.get_by_label("县区", exact=True)).to_have_value("zhenkang")
        late = page.get_by_role("region", name=re.compile("逾期未办结")).get_by_role("table")
        assert late.get_by_role("row").count() == 6, "five, and the head"
        late.get_by_role("link").first.click()
        expect(page.get_by_text(re.compile("逾期未办结：.* 到期，已逾期"))).to_be_visible()
        expect(page.get_by_role("table", name=re.compile("办结时限：.* 起算")).get_by_text("到期").last).to_be_visible()
        expect(page.get_by_role("heading", name="承办者和各自的时间")).to_be_visible()


def test_the_lists_are_filtered_searched_and_printed(chrome: Browser, quarter: tuple[Served, str]) -> None:
    with page_of(chrome) as page:
        page.goto(quarter[1])
        page.get_by_label("县区", exact=True).select_option("cangyuan")
        page.get_by_role("button", name="查找").click()
        expect(page.get_by_text("没有符合条件的逾期未办结的留言。")).to_be_visible()
        page.get_by_role("link", name="清除").click()
        page.get_by_label("编号或标题").fill("zk-2022-0015")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="查找“zk-2022-0015”的结果")).to_be_visible()
        expect(page.get_by_text("zhenkang/zk-2022-0015")).to_be_visible()
        page.goto(quarter[1] + "/?county=zhenkang")
        page.get_by_role("link", name="打印版").click()
        expect(page.get_by_text("筛选：镇康县")).to_be_visible()
        expect(page.get_by_role("button", name="打印")).to_be_visible()
        page.emulate_media(media="print")
        expect(page.get_by_role("button", name="打印")).to_be_hidden()
        expect(page.get_by_role("navigation", name="页面")).to_be_hidden()
        assert len(page.pdf()) > 5_000
        assert page.get_by_text("镇康县").count() >= 2
        expect(page.get_by_role("rowheader", name="云县")).to_have_count(0)


def test_the_calculator_answers_with_reasons(chrome: Browser, quarter: tuple[Served, str]) -> None:
    with page_of(chrome) as page:
        page.goto(quarter[1])
        page.get_by_role("link", name="日历").click()
        page.get_by_label("接到时间").fill("2026-02-13T17:00")
        page.get_by_label("类别").select_option("simple_inquiry")
        page.get_by_role("button", name="计算").click()
        expect(page.locator("#answer")).to_contain_text("办结 2026-02-14 24:00 到期")
        expect(page.get_by_role("row").filter(has_text="2026-02-14 周六").first).to_contain_text(
            re.compile(r"调休上班.*第 1 个工作日.*24:00 到期", re.DOTALL)
        )


def test_an_open_page_hears_of_what_happens(chrome: Browser, tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        assembled(tmp_path_factory.mktemp("live") / "live.db", AS_OF) as service,
        listening(service) as url,
        page_of(chrome) as page,
    ):
        page.goto(url)
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="云县"))
        expect(row).to_contain_text("未收到数据")
        page.get_by_label("编号或标题").fill("正在写")
        push(
            service,
            url,
            event("yx-1", "received", "2022-04-10T09:00:00+08:00", "yunxian", category="help", title="水管坏了"),
        )
        expect(row).to_contain_text("正常", timeout=PATIENCE * 1000)
        expect(page.get_by_role("link", name="水管坏了")).to_be_visible()
        expect(page.get_by_label("编号或标题")).to_have_value("正在写")
        expect(page.locator("#said")).to_have_text("页面内容有更新。")
        handed_over(service, "赵六")
        expect(page.get_by_text("值班：赵六")).to_be_visible(timeout=PATIENCE * 1000)
        page.get_by_role("button", name="暂停自动更新").click()
        expect(page.get_by_role("button", name="恢复自动更新")).to_be_visible()
        push(
            service,
            url,
            event("yx-2", "received", "2022-04-10T09:00:00+08:00", "yunxian", category="help", title="路断了"),
        )
        page.get_by_role("button", name="恢复自动更新").click()
        expect(page.get_by_role("link", name="路断了")).to_be_visible(timeout=PATIENCE * 1000)


def test_whoever_is_about_to_hand_over_sees_what_is_open_now_and_keeps_what_they_wrote(
    chrome: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with (
        assembled(tmp_path_factory.mktemp("shifts") / "shifts.db", AS_OF) as service,
        listening(service) as url,
        page_of(chrome) as page,
    ):
        page.goto(f"{url}/shifts")
        page.get_by_label("接班人").fill("钱七")
        handed_over(service, "赵六")
        expect(page.get_by_role("definition").filter(has_text="赵六")).to_be_visible(timeout=PATIENCE * 1000)
        expect(page.get_by_role("row").filter(has_text="赵六")).to_be_visible()
        expect(page.get_by_label("接班人")).to_have_value("钱七")
        page.get_by_role("button", name="交班").dblclick()
        expect(page.get_by_role("definition").filter(has_text="钱七")).to_be_visible()
        expect(page.get_by_role("row").filter(has_text="钱七")).to_have_count(1)


def test_everything_is_there_without_script(chrome: Browser, quarter: tuple[Served, str]) -> None:
    with page_of(chrome, script=False) as page:
        page.goto(quarter[1])
        assert page.locator('meta[http-equiv="refresh"]').get_attribute("content") == "60"
        page.get_by_label("县区", exact=True).select_option("zhenkang")
        page.get_by_role("button", name="查找").click()
        page.get_by_role("region", name=re.compile("逾期未办结")).get_by_role("link").first.click()
        page.get_by_text("答复时限逐日说明").first.click()
        expect(page.get_by_role("table", name=re.compile("答复时限：")).first).to_be_visible()
        page.goto(quarter[1] + "/statistics?period=2022Q1")
        expect(page.get_by_role("img", name=re.compile("每月接到留言"))).to_be_visible()


def test_a_keyboard_is_enough(chrome: Browser, quarter: tuple[Served, str]) -> None:
    with page_of(chrome) as page:
        page.goto(quarter[1])
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="跳到正文")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        reached = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        assert {"county", "category", "holder", "q", "查找"} <= reached


@pytest.mark.parametrize("script", [True, False])
def test_a_shift_from_signing_in_to_signing_out(script: bool, chrome: Browser, guarded: tuple[Served, str]) -> None:
    _, url = guarded
    with page_of(chrome, script=script) as page:
        sign_in(page, url, "li")
        expect(page.get_by_text(re.compile("值班：李四|值班：王五"))).to_be_visible()
        late = page.get_by_role("region", name=re.compile("逾期未办结")).get_by_role("table")
        waiting = late.get_by_role("row").filter(has=page.get_by_role("link")).filter(has_not_text="已确认")
        row = waiting.first
        title = row.get_by_role("link").inner_text()
        row.get_by_role("link").click()
        expect(page.get_by_text(re.compile("逾期未办结：.* 到期，已逾期"))).to_be_visible()
        expect(page.get_by_role("table", name=re.compile("办结时限：.* 起算")).get_by_text("到期").last).to_be_visible()
        expect(page.get_by_role("heading", name=re.compile("有效的提醒，.* 条尚未确认"))).to_be_visible()
        page.get_by_label("说明").fill("已电话联系承办单位\n今天答复")
        page.get_by_role("button", name="确认").click()
        expect(page.get_by_role("heading", name="有效的提醒，均已确认")).to_be_visible()
        expect(page.get_by_role("listitem").filter(has_text="已电话联系承办单位")).to_contain_text("li某")
        page.get_by_role("link", name="值班", exact=True).first.click()
        marked = late.get_by_role("row").filter(has=page.get_by_role("link", name=title))
        expect(marked).to_contain_text("已确认")
        page.get_by_role("link", name="交接班").first.click()
        page.get_by_label("接班人").fill("王五")
        page.get_by_label("说明").fill("一件待答复")
        page.get_by_role("button", name="交班").click()
        expect(page.get_by_role("definition").filter(has_text="王五")).to_contain_text("接班")
        expect(page.get_by_role("row").filter(has_text="一件待答复").first).to_contain_text("li某")
        page.get_by_role("link", name="值班", exact=True).first.click()
        expect(page.get_by_text("值班：王五")).to_be_visible()
        page.get_by_role("link", name="li某").click()
        page.get_by_role("button", name="退出", exact=True).click()
        expect(page.get_by_role("heading", name="登录")).to_be_visible()
        page.goto(f"{url}/shifts")
        expect(page.get_by_role("heading", name="登录")).to_be_visible()


def test_what_cannot_be_kept_can_be_mended_on_the_spot(chrome: Browser, guarded: tuple[Served, str]) -> None:
    """The field counts as the browser does: what it lets through may still be refused, and is then not lost."""
    _, url = guarded
    with page_of(chrome, refused=400) as page:
        sign_in(page, url, "zhang")
        page.goto(f"{url}/shifts")
        page.get_by_label("接班人").fill("赵\u202e六")
        page.get_by_label("说明").fill("写了很久的")
        page.get_by_role("button", name="交班").click()
        expect(page.get_by_role("alert")).to_contain_text("接班人须为")
        expect(page.get_by_label("说明")).to_have_value("写了很久的")
        page.get_by_label("接班人").fill("赵六")
        page.get_by_role("button", name="交班").click()
        expect(page.get_by_role("definition").filter(has_text="赵六")).to_be_visible()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "path", ["/", "/cases/zhenkang/zk-2022-0015", "/shifts", "/notices", "/notices?state=failed", "/account"]
)
def test_axe_finds_nothing_serious_where_one_signs_in_and_acts(
    chrome: Browser, guarded: tuple[Served, str], path: str, width: str
) -> None:
    _, url = guarded
    with page_of(chrome, width) as page:
        page.goto(url)
        check(page)
        sign_in(page, url, "zhang")
        page.goto(url + path)
        check(page)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious_and_nothing_sticks_out(
    chrome: Browser, quarter: tuple[Served, str], name: str, width: str
) -> None:
    with page_of(chrome, width, refused=404 if name == "message" else None) as page:
        page.goto(quarter[1] + PAGES[name])
        check(page)


def check(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    serious = [
        (each["id"], [node["html"][:200] for node in each["nodes"][:3]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "wider than the window"


def test_long_names_stay_in_their_places(chrome: Browser, tmp_path_factory: pytest.TempPathFactory) -> None:
    time, unit = "2022-04-01T09:00:00+08:00", "县农业农村和水务局（县乡村振兴局）" * 3
    with assembled(tmp_path_factory.mktemp("long") / "long.db", AS_OF) as service, listening(service) as url:
        push(
            service,
            url,
            event("long", "received", time, title="请尽快答复" * 30),
            event("long", "transferred", time, to=unit),
            event("word", "received", time, title="a" * 200),
        )
        with page_of(chrome, "phone") as page:
            page.goto(url)
            out = "nodes => nodes.filter(e => e.getBoundingClientRect().right > e.form.getBoundingClientRect().right).map(e => e.id)"
            assert page.locator("form :is(input, select, button)").evaluate_all(out) == []
        with page_of(chrome) as page:
            page.set_viewport_size({"width": 702, "height": 1000})  # an A4 page between its margins
            page.emulate_media(media="print")
            page.goto(f"{url}/print")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "wider than the paper"


def test_a_page_whose_session_has_ended_leads_to_the_sign_in_and_back(
    chrome: Browser, guarded: tuple[Served, str]
) -> None:
    """At the end of a shift it said that the connection was lost, over figures that grew old."""
    service, url = guarded
    with page_of(chrome, refused=401) as page:
        sign_in(page, url, "shenji")
        page.get_by_label("县区", exact=True).select_option("zhenkang")
        page.get_by_role("button", name="查找").click()
        expect(page.get_by_label("县区", exact=True)).to_have_value("zhenkang")
        with service.database.writing() as connection:
            end_sessions(connection, "shenji")
        page.get_by_role("button", name="暂停自动更新").click()
        page.get_by_role("button", name="恢复自动更新").click()
        expect(page.get_by_label("密码")).to_be_visible()
        page.get_by_label("账号").fill("shenji")
        page.get_by_label("密码").fill(PASSWORD)
        page.get_by_role("button", name="登录").click()
        expect(page.get_by_label("县区", exact=True)).to_have_value("zhenkang")


def test_hostile_text_does_nothing(chrome: Browser, tmp_path_factory: pytest.TempPathFactory) -> None:
    time = "2022-04-01T09:00:00+08:00"
    with (
        assembled(tmp_path_factory.mktemp("hostile") / "hostile.db", AS_OF) as service,
        listening(service) as url,
        page_of(chrome) as page,
    ):
        push(
            service,
            url,
            event("evil", "received", time, category=HOSTILE[:60], title=HOSTILE, content=HOSTILE),
            event("evil", "transferred", time, to=HOSTILE[:64], reason=HOSTILE),
            event("evil", "suspended", time, reason=HOSTILE),
            event("evil", "resumed", "2022-04-01T10:00:00+08:00"),
            event("evil", "extended", "2022-04-01T11:00:00+08:00", working_days=1, approved_by=HOSTILE, reason=HOSTILE),
            event("evil", "replied", "2022-04-01T12:00:00+08:00", content=HOSTILE, interim=True),
        )
        for path in ("/", "/print", "/statistics", "/calendar", "/cases/zhenkang/evil", "/?q=script"):
            page.goto(url + path)
            assert page.locator("img[src=x], [onload], [onerror]").count() == 0
        page.goto(f"{url}/cases/zhenkang/evil")
        expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
