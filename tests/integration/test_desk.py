"""What the one on duty does on the pages: acknowledging, handing over, seeing which notices did not arrive. On both databases where
it is a matter of SQL, and over HTTP with sign-in."""

import html
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from services.alerts.duty import desk
from services.alerts.duty.board import board
from services.alerts.notices.acknowledging import MAX_NOTE, acknowledge, acknowledge_case, acknowledged_cases
from services.alerts.notices.digests import make_digest, make_part
from services.alerts.notices.gathering import encode_digest, set_up
from services.alerts.notices.listing import LONG, MOST_COUNTED, RECENT, Trouble, trouble
from services.alerts.notices.shifts import hand_over, open_now
from services.alerts.notices.tables import acknowledgements, notices, shifts
from services.alerts.people.audit import entries
from services.alerts.people.requests import csrf_of
from services.alerts.people.viewer import Role, Viewer
from services.alerts.tables import alerts
from shared.rules import Ruleset
from shared.times import to_micros
from tests.builders import at
from tests.enginekit import Deck, deck
from tests.noticekit import received
from tests.peoplekit import Browser, Hands, account, add, signing_in
from tests.service import AS_OF, Json, Served

CITY = Viewer("c", "李四", Role.CITY)
OFFICER = Viewer("z", "张三", Role.COUNTY, "zhenkang")
HOSTILE = """<script>alert(1)</script><img src=x onerror="x">'&{{ 7*7 }}</textarea><svg onload=alert(2)>"""


@pytest.fixture
def city(rules: Ruleset, each_database: str) -> Iterator[Deck]:
    with deck(rules, at("03-31 12:00")) as found:
        found.push(received("a"), received("b", "gengma"))
        found.sweep(at("04-02 00:00"))
        yield found


def ids(found: Deck, key: str) -> list[int]:
    return sorted(int(row["id"]) for row in found.read(alerts) if row["key"] == key and row["cleared_at"] is None)


def notice(number: int, at: datetime, **values: Any) -> Json:
    digest = make_digest("zhenkang", "镇康县", at, [make_part("raised", {("overdue", None): 2}, [])], {})
    made: Json = {
        "message": f"msg_{number}", "channel": "hook", "county": "zhenkang", "alerts": 2, "content": encode_digest(digest).decode(),
        "state": "sent", "attempts": 1, "created_at": to_micros(at), "next_at": None, "sent_at": None, "error": None,
    }  # fmt: skip
    return made | values


# What is read


def test_a_case_counts_as_acknowledged_while_each_alert_that_stands_is(city: Deck) -> None:
    def seen() -> frozenset[str]:
        with city.database.reading() as connection:
            return acknowledged_cases(connection, ["zhenkang/a", "gengma/b", "zhenkang/nothing"])

    assert seen() == frozenset()
    first, *others = ids(city, "zhenkang/a")
    with city.database.writing() as connection:
        acknowledge(connection, city.rules.registry, OFFICER, first, "", city.now)
    assert others
    assert seen() == frozenset(), "one of several"
    with city.database.writing() as connection:
        acknowledge_case(connection, city.rules.registry, OFFICER, "zhenkang/a", "", city.now)
    assert seen() == {"zhenkang/a"}
    city.sweep(at("04-08 00:00"))
    assert len(ids(city, "zhenkang/a")) > len(others) + 1
    assert seen() == frozenset(), "a higher rung is another alert"
    with city.database.reading() as connection:
        assert acknowledged_cases(connection, []) == frozenset()


@pytest.mark.parametrize("now", ["03-31 23:59", "04-01 12:00", "04-02 00:00", "04-06 12:00"])
def test_what_is_open_is_what_the_board_says_and_what_a_hand_over_records(
    now: str, rules: Ruleset, each_database: str
) -> None:
    with deck(rules, at("03-31 12:00")) as found:
        found.push(received("a"), received("b", "gengma"), received("d", "gengma", time="03-30 09:00"))
        found.sweep(at(now))
        found.push(received("e", time="03-31 11:00"))
        for swept, viewer in product((True, False), (CITY, OFFICER)):
            if not swept:
                found.clock.set(at("04-07 00:00"))
            platforms = [p for p in rules.registry if viewer.sees(p.county)]
            with found.database.writing() as connection:
                total = board(connection, rules.registry, platforms, found.now).total
                now_open = open_now(connection, rules.registry, viewer, found.now)
                assert (now_open.overdue, now_open.due_today) == (total.overdue, total.due_today)
                shift = hand_over(connection, rules.registry, viewer, "赵六", "", found.now)
                recorded = shift.standing, shift.unacknowledged, shift.overdue
                assert recorded == (now_open.standing, now_open.unacknowledged, now_open.overdue)
        assert now_open.overdue == 2, "what the sweep has not come to either"


def test_who_looks_hears_of_notices_of_their_county_that_failed_lately_or_wait_for_long(city: Deck) -> None:
    def told(viewer: Viewer = CITY) -> Trouble | None:
        with city.database.reading() as connection:
            return trouble(connection, viewer, city.now)

    def put(*rows: Json) -> None:
        with city.database.writing() as connection:
            connection.execute(delete(notices))
            connection.execute(insert(notices), list(rows))

    now, minute = city.now, timedelta(minutes=1)
    put(notice(1, now, state="failed"), notice(2, now - RECENT, state="failed", county="gengma"))
    assert told() is None, "nobody is to be told"
    with city.database.writing() as connection:
        set_up(connection, ["hook"])
    assert told() == Trouble(2, None)
    assert told(OFFICER) == Trouble(1, None)
    put(
        notice(1, now - RECENT - minute, state="failed"),
        notice(2, now - LONG + minute, state="pending"),
        notice(3, now),
    )
    assert told() is None, "long ago, not for long, and sent"
    put(
        notice(1, now - LONG, state="pending", county="gengma"),
        notice(2, now - 2 * LONG, state="pending", channel="other", county="gengma"),
    )
    assert told() == Trouble(0, now - 2 * LONG)
    assert told(OFFICER) is None
    put(*(notice(number, now, state="failed") for number in range(MOST_COUNTED + 5)))
    assert told() == Trouble(MOST_COUNTED, None)


# Over HTTP


def event(subject: str, name: str, time: datetime, platform: str = "zhenkang", **data: Any) -> Json:
    return {
        "specversion": "1.0", "id": f"{platform}-{subject}-{name}", "source": f"/platforms/{platform}",
        "type": f"liuyan.message.{name}.v1", "subject": subject, "time": time.isoformat(), "data": data,
    }  # fmt: skip


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Served]:
    with signing_in(tmp_path / "liuyan.db", Hands()) as found:
        month = AS_OF - timedelta(days=40)
        found.push(
            event("late", "received", month, category="complaint", title="路灯不亮"),
            event("late", "received", month, "yunxian", category="complaint", title="水管坏了"),
            event("done", "received", month, category="complaint", title="已经好了"),
            event("done", "replied", month + timedelta(days=1), content="好"),
            event("done", "completed", month + timedelta(days=1)),
        )
        add(found.database, account("zhang"), account("li", Role.COUNTY, "zhenkang"), account("shenji", Role.AUDITOR))
        yield found


Enter = Callable[[str], Browser]


@pytest.fixture
def enter(service: Served) -> Enter:
    def entered(name: str) -> Browser:
        browser = Browser(service)
        assert browser.sign_in(name).status_code == 303
        return browser

    return entered


def read(service: Served, table: Any) -> list[Any]:
    with service.database.reading() as connection:
        return list(connection.execute(table.select()).mappings())


def done(service: Served) -> list[tuple[str | None, str, str]]:
    with service.database.reading() as connection:
        found = [(entry.account, entry.action, entry.subject) for entry in entries(connection)]
    return [entry for entry in found if entry[1] != "signed_in"]


CASE = "/cases/zhenkang/late"


def test_a_case_is_acknowledged_on_its_page_and_marked_on_the_board(service: Served, enter: Enter) -> None:
    li = enter("li")
    standing = [row["id"] for row in read(service, alerts) if row["key"] == "zhenkang/late"]
    assert f"{len(standing)} 条尚未确认" in li.get(CASE).text
    assert "已确认" not in li.get("/").text
    answer = li.form(CASE, note="已联系县住建局，\r\n今天答复")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{CASE}#acknowledge")
    page = li.get(CASE).text
    assert "均已确认" in page
    assert page.count("已联系县住建局，\n今天答复") == 1
    assert f"<strong>li某</strong> <small>2022-04-11 00:00 确认 {len(standing)} 条</small>" in page
    assert li.get("/").text.count("✓ 已确认") == 1
    assert "✓ 已确认" in li.get("/print").text
    assert {row["note"] for row in read(service, acknowledgements)} == {"已联系县住建局，\n今天答复"}
    assert set(done(service)) == {("li", "alert_acknowledged", f"zhenkang/late {number}") for number in standing}
    assert enter("zhang").form(CASE, note="市里也看到了").status_code == 303
    assert {f"✓ {name}" in li.get(CASE).text for name in ("li某", "zhang某")} == {True}


def test_a_form_sent_twice_acknowledges_once(service: Served, enter: Enter) -> None:
    li = enter("li")
    (once,) = re.findall(r'name="once" value="([^"]+)"', li.get(CASE).text)
    for note in ("已联系", "已联系", "今天答复"):
        answer = li.form(CASE, note=note, once=once)
        assert (answer.status_code, answer.headers["location"]) == (303, f"{CASE}#acknowledge")
    standing = len([row for row in read(service, alerts) if row["key"] == "zhenkang/late"])
    assert len(read(service, acknowledgements)) == len(done(service)) == 2 * standing
    assert li.get(CASE).text.count("已联系") == 1


def test_what_an_alert_that_is_over_was_said_of_stays_on_the_page(service: Served, enter: Enter) -> None:
    li = enter("li")
    assert li.form(CASE, note="已联系").status_code == 303
    service.push(event("late", "replied", AS_OF, content="修好了"), event("late", "completed", AS_OF))
    page = li.get(CASE).text
    assert "已联系" in page
    assert 'action="/cases' not in page
    answer = li.post(f"{CASE}/acknowledge", csrf=csrf_of(li.session), note="太晚了")
    assert (answer.status_code, "没有要确认的提醒" in answer.text) == (409, True)
    assert {row["note"] for row in read(service, acknowledgements)} == {"已联系"}


@pytest.mark.parametrize(
    ("path", "fields"), [(f"{CASE}/acknowledge", {"note": "x"}), ("/shifts", {"successor": "赵六"})]
)
def test_only_a_form_of_ones_own_pages_does_anything(
    path: str, fields: dict[str, str], service: Served, enter: Enter
) -> None:
    li, other = enter("li"), enter("zhang")
    own = csrf_of(li.session)
    for answer in (
        li.post(path, **fields),
        li.post(path, **fields, csrf="0" * 64),
        li.post(path, **fields, csrf=csrf_of(other.session)),
        li.post(path, {"Origin": "https://elsewhere.example"}, **fields, csrf=own),
        li.post(path, {"Sec-Fetch-Site": "cross-site"}, **fields, csrf=own),
    ):
        assert answer.status_code == 403
        assert re.search("没有执行", answer.text)
        assert answer.headers["content-type"].startswith("text/html")
    assert li.client.post(path, content=b"\xff").status_code == 403
    assert (read(service, acknowledgements), read(service, shifts), done(service)) == ([], [], [])
    assert li.post(path, {"Origin": "http://testserver.local"}, **fields, csrf=own).status_code == 303


def test_an_auditor_reads_and_changes_nothing(service: Served, enter: Enter) -> None:
    shenji = enter("shenji")
    for path, posted, fields in (
        (CASE, f"{CASE}/acknowledge", {"note": "x"}),
        ("/shifts", "/shifts", {"successor": "赵六"}),
    ):
        page = shenji.get(path)
        assert (page.status_code, 'method="post"' in page.text) == (200, False)
        answer = shenji.post(posted, csrf=csrf_of(shenji.session), **fields)
        assert (answer.status_code, "只能查看" in answer.text) == (403, True)
    assert (read(service, acknowledgements), read(service, shifts), done(service)) == ([], [], [])


def test_anothers_case_is_not_there_to_be_acknowledged(service: Served, enter: Enter) -> None:
    li = enter("li")

    def answer(case: str, note: str) -> tuple[int, str]:
        found = li.post(f"/cases/{case}/acknowledge", csrf=csrf_of(li.session), note=note)
        return found.status_code, re.sub(r'nonce="[^"]*"', "", found.text)

    for note in ("", "x" * 501):
        there = answer("yunxian/late", note)
        assert there[0] == 404
        assert (
            there == answer("yunxian/nothing", note) == answer("nowhere/late", note) == answer("zhenkang/nothing", note)
        )
    assert answer("zhenkang/%00", "")[0] == 404
    assert read(service, acknowledgements) == []


@pytest.mark.parametrize(
    ("path", "fields", "trouble"),
    [
        (CASE, {"note": "长" * (MAX_NOTE + 1)}, "说明最多 500 个字，现在是 501 个"),
        (CASE, {"note": f"看\u202e{HOSTILE}"}, "不可见的字符"),
        ("/shifts", {"successor": "  ", "note": "两件"}, "接班人须为"),
        ("/shifts", {"successor": "赵六", "note": "长" * (MAX_NOTE + 1)}, "说明最多 500 个字"),
        ("/shifts", {"successor": "赵" * 65, "note": HOSTILE}, "接班人须为"),
    ],
)
def test_what_cannot_be_kept_is_told_where_it_was_written_and_can_be_mended(
    path: str, fields: dict[str, str], trouble: str, service: Served, enter: Enter
) -> None:
    answer = enter("li").form(path, **fields)
    assert answer.status_code == 400
    assert trouble in answer.text
    for value in fields.values():
        assert html.escape(value).replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in answer.text
    assert (read(service, acknowledgements), read(service, shifts), done(service)) == ([], [], [])


def test_a_hostile_note_is_text(service: Served, enter: Enter) -> None:
    zhang = enter("zhang")
    assert zhang.form(CASE, note=HOSTILE).status_code == 303
    assert zhang.form("/shifts", successor=HOSTILE[:64], note=HOSTILE).status_code == 303
    with service.database.writing() as connection:
        connection.execute(insert(notices).values(notice(1, AS_OF, state="failed", error=HOSTILE, channel=HOSTILE)))
    for path in (CASE, "/shifts", "/notices", "/"):
        page = zhang.get(path).text
        assert "&lt;script&gt;alert(1)" in page
        assert not re.search(r"<script>|<img|<svg", page)
        assert page.count("<script ") == 1, "the page's own"


def test_the_duty_is_handed_over_and_everybody_sees_who_has_it(service: Served, enter: Enter) -> None:
    li, zhang, shenji = enter("li"), enter("zhang"), enter("shenji")
    assert "尚未登记" in li.get("/").text
    assert "还没有交接班记录" in li.get("/shifts").text
    assert zhang.form("/shifts", successor="王五", note="全市两件").status_code == 303
    assert "王五" not in li.get("/").text, "the city's tell of all counties"
    answer = li.form("/shifts", successor=" 赵六 ", note="镇康一件\r\n待回电")
    assert (answer.status_code, answer.headers["location"]) == (303, "/shifts#duty")
    for browser, has_duty in ((li, "赵六"), (zhang, "王五"), (shenji, "王五")):
        assert f"值班：<strong>{has_duty}</strong> <small>2022-04-11 00:00 接班</small>" in browser.get("/").text
    page = li.get("/shifts").text
    assert "镇康一件\n待回电" in page
    assert "王五" not in page
    assert {name in zhang.get("/shifts").text for name in ("王五", "赵六", "镇康一件")} == {True}
    assert done(service) == [("li", "shift_handed_over", "赵六"), ("zhang", "shift_handed_over", "王五")]
    assert [(row["county"], row["overdue"]) for row in read(service, shifts)] == [(None, 2), ("zhenkang", 1)]


def test_a_form_sent_twice_hands_over_once(service: Served, enter: Enter) -> None:
    li = enter("li")
    (once,) = re.findall(r'name="once" value="([^"]+)"', li.get("/shifts").text)
    assert once not in li.get("/shifts").text, "each form has its own"
    for _ in range(2):
        answer = li.form("/shifts", successor="赵六", note="镇康一件", once=once)
        assert (answer.status_code, answer.headers["location"]) == (303, "/shifts#duty")
    assert done(service) == [("li", "shift_handed_over", "赵六")]
    assert li.form("/shifts", successor="钱七", note="镇康一件", once=once).status_code == 303
    assert [row["successor"] for row in read(service, shifts)] == ["赵六", "钱七"]


def test_hand_overs_are_paged(service: Served, enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "SHIFTS", 2)
    li = enter("li")
    for number in range(5):
        assert li.form("/shifts", successor=f"接班{number}").status_code == 303
    assert pages(li, "/shifts", r">(接班\d)</td>") == [["接班4", "接班3"], ["接班2", "接班1"], ["接班0"]]
    assert li.get("/shifts?cursor=x").status_code == 400
    assert "没有这一页" in li.get("/shifts?cursor=x").text


def pages(browser: Browser, path: str, pattern: str) -> list[list[str]]:
    """What each page holds, by its link to the next."""
    found = []
    while path:
        page = browser.get(path).text
        found.append(re.findall(pattern, page))
        links = re.findall(r'<a href="([^"]*)" rel="next">', page)
        path = html.unescape(links[0]) if links else ""
    return found


def test_notices_that_did_not_arrive_are_seen(service: Served, enter: Enter, monkeypatch: pytest.MonkeyPatch) -> None:
    li, zhang = enter("li"), enter("zhang")
    assert "没有设置通知" in li.get("/notices").text
    now = AS_OF
    with service.database.writing() as connection:
        set_up(connection, ["hook"])
        connection.execute(
            insert(notices),
            [
                notice(1, now, state="failed", error="对方答 404"),
                notice(2, now - 2 * LONG, state="pending", next_at=to_micros(now + LONG), error="没有应答"),
                notice(3, now, state="sent", sent_at=to_micros(now)),
                notice(4, now, state="failed", error="别处的原因", county="yunxian"),
            ],
        )
    assert "没有设置通知" not in li.get("/notices").text
    assert "近 3 天有 1 条没有送达，最早的一条已等待 30 分钟还没有送出" in li.get("/").text
    assert "近 3 天有 2 条没有送达" in zhang.get("/").text
    page = li.get("/notices").text
    assert "对方答 404" in page
    assert "没有应答；2022-04-11 00:15 再试" in page
    assert "2022-04-11 00:00 送达" in page
    assert "别处的原因" not in page
    assert "云县" not in page
    failed = zhang.get("/notices?state=failed").text
    assert {"对方答 404" in failed, "别处的原因" in failed, "没有应答" not in failed} == {True}
    assert "别处的原因" not in zhang.get("/notices?state=failed&county=zhenkang").text
    assert li.get("/notices?county=yunxian").status_code == 400
    assert li.get("/notices?state=lost").status_code == 400
    assert li.get("/notices?cursor=x").status_code == 400
    monkeypatch.setattr(desk, "NOTICES", 1)
    assert pages(zhang, "/notices?state=failed", "对方答 404|别处的原因") == [["别处的原因"], ["对方答 404"]]
    with service.database.writing() as connection:
        connection.execute(update(notices).values(state="sent"))
    assert "没有送达" not in zhang.get("/").text
