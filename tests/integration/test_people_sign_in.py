"""Signing in and out in a browser: sessions, forms of other sites, too many attempts, and where one is led to."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal

import httpx
import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, select

from services.alerts.people import sessions, tables, throttle
from services.alerts.people.accounts import find_account, remove_account, set_locked
from services.alerts.people.audit import entries
from services.alerts.people.guard import People
from services.alerts.people.passwords import LONGEST, Passwords
from services.alerts.people.requests import csrf_of, local_path
from services.alerts.people.signing import Refused, change_password, sign_in
from services.alerts.people.throttle import LIMITS, WINDOW, count_attempt, forget, forgive
from services.alerts.people.viewer import Role
from shared.database import Connections
from shared.deployment import load_ruleset
from shared.times import to_micros
from tests.peoplekit import NOW, PASSWORD, QUICK, Browser, Hands, account, add, csrf_in, database, signing_in
from tests.service import Served, liuyan


@pytest.fixture(params=["sqlite", "postgresql"])
def db(request: pytest.FixtureRequest) -> Iterator[Connections]:
    if request.param == "postgresql":
        request.getfixturevalue("postgres_server")
    with database(request.param) as found:
        yield found


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def service(tmp_path: Path, hands: Hands) -> Iterator[Served]:
    with signing_in(tmp_path / "liuyan.db", hands) as found:
        add(found.database, account("zhang"), account("li", Role.COUNTY, "zhenkang"), account("wang", password=None))
        yield found


@pytest.fixture
def browser(service: Served) -> Browser:
    return Browser(service)


def done(service: Served) -> list[str]:
    """What is on record, the oldest first."""
    with service.database.reading() as connection:
        return [entry.action for entry in entries(connection)][::-1]


# Signing in and out


def test_without_a_session_a_page_leads_to_the_sign_in_and_back_and_the_api_says_401(browser: Browser) -> None:
    assert browser.get("/").headers["location"] == "/sign-in"
    led = browser.get("/account?x=1&y=%2F")
    assert led.status_code == 303
    assert led.headers["location"] == "/sign-in?next=%2Faccount%3Fx%3D1%26y%3D%252F"
    assert browser.get(led.headers["location"]).text.count('value="/account?x=1&amp;y=%2F"') == 1
    for headers in ({"Accept": "application/json"}, {"Accept": "text/html", "Sec-Fetch-Dest": "empty"}):
        refused = browser.client.get("/v1/cases", headers=headers)
        assert (refused.status_code, refused.json()["reason"]) == (401, "sign_in_needed")
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["www-authenticate"] == "Bearer"


def test_signed_in_one_gets_where_one_wanted_and_out_again(service: Served, browser: Browser) -> None:
    entered = browser.sign_in("Zhang ", next_="/account")
    assert (entered.status_code, entered.headers["location"]) == (303, "/account")
    assert "zhang某" in browser.get("/account").text
    assert browser.get("/").status_code == browser.get("/v1/cases").status_code == 200
    assert browser.get("/sign-in?next=/account").headers["location"] == "/account"
    secret = browser.session
    page = browser.get("/account").text
    left = browser.post("/sign-out", csrf=csrf_in(page))
    assert (left.status_code, left.headers["location"]) == (303, "/sign-in")
    assert browser.session == ""
    browser.plant("liuyan-session", secret)
    assert browser.get("/account").status_code == 303, "the secret is worth nothing any more"
    assert done(service) == ["signed_in", "signed_out"]


def test_an_unknown_name_a_wrong_password_and_a_locked_account_look_alike(service: Served, browser: Browser) -> None:
    with service.database.writing() as connection:
        set_locked(connection, "li", True)
    answers = [
        browser.sign_in("zhang", "wrong password"), browser.sign_in("nobody"), browser.sign_in("li"), browser.sign_in("wang"),
        browser.sign_in("zhang", ""), browser.sign_in("zhang", PASSWORD + "x" * 200), browser.sign_in("x" * 500),
    ]  # fmt: skip
    texts = set()
    for answer in answers:
        assert answer.status_code == 401
        assert browser.session == ""
        texts.add(re.sub(r'nonce(="|-)[\w-]+|name="name" value="\w*"|csrf" value="\w+"| autofocus', "", answer.text))
    assert len(texts) == 1
    assert set(done(service)) == {"sign_in_failed"}
    with service.database.reading() as connection:
        assert "nobody" not in {entry.subject for entry in entries(connection)}, "it may be a mistyped password"


@pytest.mark.parametrize("name", ["\0", "zhang\0", "zhang\n", "张", "x" * 64])
def test_whatever_is_typed_as_a_name_is_answered_like_a_wrong_one(db: Connections, name: str) -> None:
    add(db, account("zhang"))
    people = People(db, load_ruleset().registry, Hands(), passwords=QUICK)
    found = sign_in(people, name + "y", PASSWORD, "203.0.113.9")
    assert isinstance(found, Refused)
    assert found.status == 401


def test_what_was_typed_as_a_name_comes_back_escaped(browser: Browser) -> None:
    answer = browser.sign_in('"><script>alert(1)</script>')
    assert "<script>" not in answer.text
    assert "&lt;script&gt;" in answer.text


def test_a_session_is_another_one_after_signing_in(service: Served, browser: Browser) -> None:
    """Fixation: a secret that somebody else put into the browser is not the one that is signed in."""
    browser.plant("liuyan-session", "planted")
    browser.sign_in("zhang")
    first = browser.session
    assert len(first) >= 43
    page = Browser(service)
    page.plant("liuyan-session", "planted")
    assert page.get("/account").status_code == 303
    again = Browser(service)
    again.plant("liuyan-session", first)
    assert again.get("/sign-in").status_code == 303
    visited = Browser(service)
    csrf = csrf_in(visited.get("/sign-in").text)
    visited.plant("liuyan-session", first)
    entered = visited.post("/sign-in", name="zhang", password=PASSWORD, csrf=csrf)
    assert entered.status_code == 303
    assert browser.get("/account").status_code == 303, "what was there before is gone"


def test_a_session_ends_when_it_is_not_used_and_at_the_end_of_a_shift(browser: Browser, hands: Hands) -> None:
    browser.sign_in("zhang")
    for _ in range(7):
        hands.move(minutes=100)
        assert browser.get("/account").status_code == 200
    hands.move(minutes=30)
    assert browser.get("/account").status_code == 303, "twelve hours are over, however it was used"
    browser.sign_in("zhang")
    hands.move(seconds=sessions.IDLE.total_seconds() - 1)
    assert browser.get("/account").status_code == 200
    hands.move(seconds=sessions.IDLE.total_seconds())
    assert browser.get("/account").status_code == 303


def test_a_session_that_began_by_a_clock_that_was_ahead_does_not_last_until_that_time_has_come(
    service: Served, browser: Browser, hands: Hands
) -> None:
    hands.move(days=365)
    browser.sign_in("zhang")
    hands.move(minutes=-1)
    assert browser.get("/account").status_code == 200, "the clocks of two machines differ a little"
    hands.move(days=-365)
    assert browser.get("/account").status_code == 303
    Browser(service).sign_in("li")
    with service.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(tables.sessions)).scalar() == 1


def test_ended_sessions_do_not_pile_up(service: Served, hands: Hands) -> None:
    for _ in range(5):
        Browser(service).sign_in("zhang")
        hands.move(hours=3)
    with service.database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(tables.sessions)).scalar() == 1


def test_out_everywhere_is_out_everywhere_and_nobody_else_is(service: Served) -> None:
    here, there, other = Browser(service), Browser(service), Browser(service)
    for each, name in ((here, "zhang"), (there, "zhang"), (other, "li")):
        each.sign_in(name)
    here.post("/sign-out/everywhere", csrf=csrf_in(here.get("/account").text))
    assert [each.get("/account").status_code for each in (here, there, other)] == [303, 303, 200]


@pytest.mark.parametrize("act", [lambda c: set_locked(c, "zhang", True), lambda c: remove_account(c, "zhang")])
def test_locked_or_removed_one_is_out_at_once(service: Served, browser: Browser, act: object) -> None:
    browser.sign_in("zhang")
    with service.database.writing() as connection:
        act(connection)  # type: ignore[operator]
    assert browser.get("/account").status_code == 303
    assert browser.get("/v1/cases", Accept="application/json").status_code == 401


def test_a_password_that_was_hashed_otherwise_is_hashed_anew(service: Served, browser: Browser) -> None:
    with service.database.writing() as connection:
        connection.execute(
            tables.accounts.update()
            .where(tables.accounts.c.name == "zhang")
            .values(password="$argon2id$v=19$m=16,t=2,p=1$c29tZXNhbHQ$" + _tail())
        )
    assert browser.sign_in("zhang").status_code == 303
    with service.database.reading() as connection:
        assert (found := find_account(connection, "zhang")) is not None
        assert not QUICK.outdated(found.password or "")
        assert QUICK.matches(found.password, PASSWORD)


def test_of_what_is_too_long_for_a_password_nothing_but_its_beginning_is_worked_on(db: Connections) -> None:
    """Composing half a million accents takes minutes, in which the whole process stands still: anybody may send them."""
    compared: list[int] = []

    class Hasher(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - argon2's own name
            compared.append(len(password))
            return super().verify(hash, password)

    add(db, account("zhang"))
    passwords = Passwords(Hasher(time_cost=1, memory_cost=8, parallelism=1))
    people = People(db, load_ruleset().registry, Hands(), passwords=passwords)
    zhang, long = account("zhang").viewer, PASSWORD + "a" + "\u0315\u0300" * 2_000
    assert isinstance(sign_in(people, "zhang", long, "203.0.113.9"), Refused)
    assert isinstance(sign_in(people, "nobody", long, "203.0.113.9"), Refused)
    assert isinstance(change_password(people, zhang, long, long, long, "203.0.113.9"), Refused)
    assert len(compared) == 3
    assert max(compared) <= 4 * LONGEST


def _tail() -> str:
    from argon2.low_level import Type, hash_secret

    return hash_secret(PASSWORD.encode(), b"somesalt", 2, 16, 1, 32, Type.ID).decode().rpartition("$")[2]


# The own password


def change(browser: Browser, present: str, new: str, again: str) -> httpx.Response:
    return browser.form("/account", present=present, new=new, again=again)


def test_who_changes_the_password_stays_in_and_everybody_else_is_out(service: Served) -> None:
    here, there = Browser(service), Browser(service)
    for each in (here, there):
        each.sign_in("zhang")
    before = here.session
    new = "另一个 password 9"
    assert "密码已更改" in change(here, PASSWORD, new, new).text
    assert here.session not in ("", before)
    assert [each.get("/account").status_code for each in (here, there)] == [200, 303]
    assert there.sign_in("zhang").status_code == 401
    assert there.sign_in("zhang", new).status_code == 303


def test_a_password_is_not_changed_without_the_present_one_or_to_a_bad_one(browser: Browser, service: Served) -> None:
    browser.sign_in("zhang")
    new = "another 密码 12"
    assert (answer := change(browser, "wrong", new, new)).status_code == 401
    assert "现在的密码不对" in answer.text
    assert (answer := change(browser, PASSWORD, new, new + "x")).status_code == 422
    assert "不一样" in answer.text
    assert change(browser, PASSWORD, "short", "short").status_code == 422
    assert change(browser, PASSWORD, "zhang zhang 12", "zhang zhang 12").status_code == 422
    assert Browser(service).sign_in("zhang").status_code == 303
    assert "password_changed" not in done(service)


def test_the_present_password_cannot_be_found_by_trying(browser: Browser) -> None:
    browser.sign_in("zhang")
    codes = [change(browser, f"wrong {n}", "x", "y").status_code for n in range(LIMITS["account"] + 1)]
    assert codes == [401] * LIMITS["account"] + [429]
    assert change(browser, PASSWORD, "x", "y").status_code == 429


# Forms of others


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://testserver.local.evil.example"},
        {"Origin": "https://testserver.local"}, {"Origin": "http://testserver.local:81"}, {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://testserver.local", "Sec-Fetch-Site": "cross-site"},
    ],
)  # fmt: skip
def test_what_another_site_sends_is_not_done(browser: Browser, headers: dict[str, str], service: Served) -> None:
    browser.sign_in("zhang")
    csrf = csrf_in(browser.get("/account").text)
    for path in ("/sign-out", "/sign-out/everywhere", "/account/password"):
        refused = browser.post(path, headers, csrf=csrf)
        assert (refused.status_code, refused.json()["reason"]) == (403, "foreign_page")
    assert browser.get("/account").status_code == 200
    other = Browser(service)
    csrf = csrf_in(other.get("/sign-in").text)
    assert other.post("/sign-in", headers, name="zhang", password=PASSWORD, csrf=csrf).status_code == 403
    assert other.session == ""


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://testserver.local", "Sec-Fetch-Site": "same-origin"}])
def test_what_an_own_page_sends_is_done(browser: Browser, headers: dict[str, str]) -> None:
    browser.sign_in("zhang")
    csrf = csrf_in(browser.get("/account").text)
    assert browser.post("/sign-out", headers, csrf=csrf).headers["location"] == "/sign-in"


def test_a_form_without_the_word_of_its_own_session_is_not_taken(service: Served, browser: Browser) -> None:
    other = Browser(service)
    for each, name in ((browser, "zhang"), (other, "li")):
        each.sign_in(name)
    others = csrf_in(other.get("/account").text)
    for fields in ({}, {"csrf": ""}, {"csrf": others}, {"csrf": csrf_of("")}, {"csrf": "é😀"}):
        refused = browser.post("/sign-out", **fields)
        assert (refused.status_code, refused.json()["reason"]) == (403, "stale_form")
    own = csrf_in(browser.get("/account").text)
    twice = browser.client.post(
        "/sign-out", content=f"csrf={own}&csrf={own}", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    other_kind = browser.client.post("/sign-out", content=f"csrf={own}", headers={"Content-Type": "text/plain"})
    assert twice.status_code == other_kind.status_code == 403
    assert browser.get("/account").status_code == 200
    assert browser.client.post("/sign-out", headers={"X-CSRF-Token": own}).headers["location"] == "/sign-in"


def test_signing_in_needs_a_form_that_this_browser_was_shown(service: Served, browser: Browser) -> None:
    csrf = csrf_in(Browser(service).get("/sign-in").text)
    for given in (csrf, "", csrf_of("")):
        browser.client.cookies.clear()
        refused = browser.post("/sign-in", name="zhang", password=PASSWORD, csrf=given)
        assert refused.status_code == 403
        assert "页面已过期" in refused.text
    assert browser.session == ""
    assert done(service) == []


def test_nothing_is_changed_by_looking(browser: Browser) -> None:
    browser.sign_in("zhang")
    for path in ("/sign-out", "/sign-out/everywhere", "/account/password"):
        assert browser.get(path).status_code == 405
    assert browser.get("/account").status_code == 200


# Where one is led to


@pytest.mark.parametrize(
    "next_",
    [
        "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "http:evil.example",
        "javascript:alert(1)", " //evil.example", "/\n//evil.example", "///evil.example", "", "evil.example", "/é", "/" + "x" * 2000,
        "/a#@evil.example", "/%0d%0aSet-Cookie:x\r\ny",
    ],
)  # fmt: skip
def test_nobody_is_led_elsewhere(browser: Browser, next_: str) -> None:
    assert local_path(next_) == "/"
    assert browser.sign_in("zhang", next_=next_).headers["location"] == "/"


@pytest.mark.parametrize("next_", ["/account", "/v1/cases?limit=5&county=x", "/", "/a/b%20c?d=https://evil.example"])
def test_every_own_page_can_be_where_one_is_led(browser: Browser, next_: str) -> None:
    assert browser.sign_in("zhang", next_=next_).headers["location"] == next_


# Headers and cookies


def test_every_answer_carries_the_headers_that_protect_it(browser: Browser) -> None:
    answers = [browser.get(path) for path in ("/sign-in", "/", "/nothing", "/v1/cases")]
    answers.append(browser.sign_in("zhang"))
    answers += [browser.get(path) for path in ("/account", "/", "/v1/cases", "/v1/exports/2022Q1.csv", "/v1/nothing")]
    for answer in answers:
        headers = answer.headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
        assert "camera=()" in headers["permissions-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert "strict-transport-security" not in headers
        assert all(len(headers.get_list(name)) == 1 for name in ("content-security-policy", "referrer-policy"))


def test_the_pages_have_no_script_and_only_their_own_style(browser: Browser) -> None:
    answers = [browser.get("/sign-in"), browser.get("/sign-in")]
    browser.sign_in("zhang")
    answers.append(browser.get("/account"))
    nonces = set()
    for answer in answers:
        (nonce,) = re.findall(r"'nonce-([\w-]+)'", answer.headers["content-security-policy"])
        nonces.add(nonce)
        assert f'<style nonce="{nonce}">' in answer.text
        assert not re.search(r"<script| on\w+=| style=|https?://", answer.text)
    assert len(nonces) == 3


def session_cookie(answer: httpx.Response) -> str:
    (found,) = (cookie for cookie in answer.headers.get_list("set-cookie") if "liuyan-session=" in cookie)
    return found


def test_the_cookie_is_for_this_service_alone(browser: Browser) -> None:
    visit = browser.get("/sign-in").headers["set-cookie"]
    for cookie in (visit, session_cookie(browser.sign_in("zhang"))):
        parts = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert parts == {"httponly", "path=/", "samesite=lax"}


def test_over_tls_the_cookie_is_for_tls_and_browsers_stay_with_it(tmp_path: Path, hands: Hands) -> None:
    with signing_in(tmp_path / "tls.db", hands, public_url="https://liuyan.example") as service:
        add(service.database, account("zhang"))
        browser = Browser(service, "https://liuyan.example")
        page = browser.get("/sign-in")
        assert page.headers["strict-transport-security"] == "max-age=31536000"
        entered = browser.sign_in("zhang")
        cookie = session_cookie(entered)
        assert cookie.startswith("__Host-liuyan-session=")
        assert {part.strip().lower() for part in cookie.split(";")[1:]} >= {"secure", "httponly", "path=/"}
        own = browser.post(
            "/sign-out", {"Origin": "https://liuyan.example"}, csrf=csrf_in(browser.get("/account").text)
        )
        assert own.headers["location"] == "/sign-in"
        plain = Browser(service, "http://liuyan.example")
        csrf = csrf_in(plain.get("/sign-in").text)
        refused = plain.post(
            "/sign-in", {"Origin": "http://liuyan.example"}, name="zhang", password=PASSWORD, csrf=csrf
        )
        assert refused.status_code == 403


# Too many attempts


def test_after_ten_wrong_passwords_even_the_right_one_has_to_wait(
    service: Served, browser: Browser, hands: Hands
) -> None:
    codes = [browser.sign_in("zhang", f"wrong {n}").status_code for n in range(LIMITS["account"])]
    assert set(codes) == {401}
    hands.move(minutes=5)
    refused = browser.sign_in("zhang")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) == 600
    assert "10 分钟后再试" in refused.text
    assert Browser(service).sign_in("ZHANG ").status_code == 429, "from anywhere, however it is written"
    assert Browser(service).sign_in("li").status_code == 303, "another account is not concerned"
    hands.move(minutes=10)
    assert browser.sign_in("zhang").status_code == 303
    assert done(service).count("sign_in_refused") == 1


def test_a_name_that_nobody_has_is_throttled_like_any_other(browser: Browser) -> None:
    codes = [browser.sign_in("nobody").status_code for _ in range(LIMITS["account"] + 1)]
    assert codes == [401] * LIMITS["account"] + [429]


def test_who_succeeds_starts_anew(browser: Browser) -> None:
    for _ in range(3):
        for n in range(LIMITS["account"] - 1):
            assert browser.sign_in("zhang", f"wrong {n}").status_code == 401
        assert browser.sign_in("zhang").status_code == 303
        browser.client.cookies.clear()


def test_an_address_that_tries_many_names_has_to_wait_and_others_have_not(db: Connections) -> None:
    with db.writing() as connection:
        for n in range(LIMITS["address"]):
            assert count_attempt(connection, f"name{n}", "203.0.113.9", NOW) == (0, False)
        wait = WINDOW // timedelta(seconds=1)
        assert count_attempt(connection, "zhang", "203.0.113.9", NOW) == (wait, True)
        assert count_attempt(connection, "zhang", "203.0.113.9", NOW + timedelta(minutes=5)) == (wait - 300, False)
        assert count_attempt(connection, "zhang", "203.0.113.10", NOW) == (0, False)
        for _ in range(LIMITS["account"] - 1):
            assert count_attempt(connection, "zhang", "203.0.113.10", NOW) == (0, False)
        assert count_attempt(connection, "zhang", "203.0.113.10", NOW)[1], "none of the refused ones counted"
        assert count_attempt(connection, "zhang", "203.0.113.11", NOW + WINDOW) == (0, False)


def test_an_ipv6_customer_is_one_address(db: Connections) -> None:
    with db.writing() as connection:
        for n in range(LIMITS["address"]):
            count_attempt(connection, f"name{n}", f"2001:db8:1:2::{n:x}", NOW)
        assert count_attempt(connection, "x", "2001:db8:1:2:ffff::1", NOW)[0] > 0
        assert count_attempt(connection, "x", "2001:db8:1:3::1", NOW) == (0, False)


def test_ipv4_customers_of_a_service_that_listens_on_ipv6_are_not_one_address(db: Connections) -> None:
    with db.writing() as connection:
        for n in range(LIMITS["address"]):
            count_attempt(connection, f"name{n}", "::ffff:203.0.113.9", NOW)
        assert count_attempt(connection, "x", "::ffff:203.0.113.9", NOW)[0] > 0
        assert count_attempt(connection, "x", "203.0.113.9", NOW)[0] > 0
        assert count_attempt(connection, "x", "::ffff:203.0.113.10", NOW) == (0, False)


def test_what_was_counted_by_a_clock_that_was_ahead_keeps_nobody_out(db: Connections) -> None:
    with db.writing() as connection:
        for _ in range(LIMITS["account"] + 1):
            wait, _ = count_attempt(connection, "zhang", "203.0.113.9", NOW + timedelta(days=365))
        assert wait > 0
        assert count_attempt(connection, "zhang", "203.0.113.9", NOW) == (0, False)
        for _ in range(LIMITS["account"] - 1):
            assert count_attempt(connection, "zhang", "203.0.113.9", NOW - timedelta(seconds=1)) == (0, False)
        assert count_attempt(connection, "zhang", "203.0.113.9", NOW)[0] > 0, (
            "a clock that differs a little frees nobody"
        )


def test_success_is_not_held_against_an_office_behind_one_address(db: Connections) -> None:
    with db.writing() as connection:
        for n in range(3 * LIMITS["address"]):
            assert count_attempt(connection, f"name{n}", "203.0.113.9", NOW) == (0, False)
            forgive(connection, f"name{n}", "203.0.113.9")


def test_the_attempts_are_forgotten_and_never_more_than_so_many(
    db: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttle, "MOST", 20)
    rows = select(func.count()).select_from(tables.sign_in_attempts)
    with db.writing() as connection:
        for n in range(30):
            count_attempt(connection, f"name{n}", f"203.0.113.{n}", NOW + timedelta(seconds=n))
        assert connection.execute(rows).scalar() == 60
        forget(connection, NOW)
        assert connection.execute(rows).scalar() == 20
        newest = select(func.min(tables.sign_in_attempts.c.began_at))
        assert connection.execute(newest).scalar() == to_micros(NOW + timedelta(seconds=20))
        forget(connection, NOW + timedelta(minutes=20))
        assert connection.execute(rows).scalar() == 0


def test_attempts_at_the_same_time_are_all_counted(db: Connections) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def attempt(n: int) -> int:
        with db.writing() as connection:
            return count_attempt(connection, "zhang", f"203.0.113.{n}", NOW)[0]

    with ThreadPoolExecutor(6) as pool:
        allowed = [wait for wait in pool.map(attempt, range(30)) if wait == 0]
    assert len(allowed) == LIMITS["account"]


def test_the_name_that_was_typed_is_not_kept(db: Connections) -> None:
    with db.writing() as connection:
        count_attempt(connection, "my secret password", "203.0.113.9", NOW)
        kept = connection.execute(select(tables.sign_in_attempts.c.subject)).scalars().all()
    assert "my secret password" not in kept
    assert len(kept) == 2


# Where nobody has to sign in


def test_switched_off_everybody_looks_and_other_sites_still_send_nothing(tmp_path: Path, hands: Hands) -> None:
    with signing_in(tmp_path / "open.db", hands, required=False) as service:
        browser = Browser(service)
        assert browser.get("/").status_code == browser.get("/v1/cases").status_code == 200
        assert browser.get("/sign-in").headers["location"] == "/"
        refused = browser.post("/sign-out", {"Origin": "https://evil.example"})
        assert refused.json()["reason"] == "foreign_page"


@pytest.mark.parametrize(
    "url", ["liuyan.example", "https://liuyan.example/x", "https://", "ftp://liuyan.example", "https://a b"]
)
def test_a_public_url_that_is_none_is_refused(url: str) -> None:
    finished = liuyan("calendar", "2022", environment={"LIUYAN_PUBLIC_URL": url})
    assert finished.code == 1
    assert "public_url" in finished.error
