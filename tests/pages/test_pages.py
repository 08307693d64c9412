"""What a duty officer does, in a real browser: find, read why, filter, print, calculate, be told; with a keyboard, without script."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from litestar.testing import TestClient
from playwright.sync_api import Browser, Page, expect

from services.compose.demo.quarter import AS_OF, quarter_events
from tests.pages.browserkit import WIDTHS, browser, listening, page_of
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


def event(subject: str, name: str, time: str, platform: str = "zhenkang", **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": f"{subject}-{name}", "source": f"/platforms/{platform}",
        "type": f"liuyan.message.{name}.v1", "subject": subject, "time": time, "data": data,
    }  # fmt: skip


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
        page.get_by_role("button", name="暂停自动更新").click()
        expect(page.get_by_role("button", name="恢复自动更新")).to_be_visible()
        push(
            service,
            url,
            event("yx-2", "received", "2022-04-10T09:00:00+08:00", "yunxian", category="help", title="路断了"),
        )
        page.get_by_role("button", name="恢复自动更新").click()
        expect(page.get_by_role("link", name="路断了")).to_be_visible(timeout=PATIENCE * 1000)


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


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious_and_nothing_sticks_out(
    chrome: Browser, quarter: tuple[Served, str], name: str, width: str
) -> None:
    with page_of(chrome, width, missing=name == "message") as page:
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
