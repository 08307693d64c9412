"""The city's own sign-in, with a real provider on this machine: the way there and back, and everything that must not be believed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import OctKey, RSAKey

from services.alerts.people.accounts import set_locked
from services.alerts.people.audit import entries
from services.alerts.people.oidc import OidcConfig, parse_oidc
from services.alerts.people.oidc import Provider as Client
from services.alerts.people.viewer import Role
from shared.config import ConfigError
from tests.oidcprovider import CLIENT, SECRET, Provider
from tests.peoplekit import NOW, Browser, Hands, account, add, signing_in
from tests.service import Served, liuyan

PUBLIC = "http://testserver.local"


@pytest.fixture
def provider() -> Iterator[Provider]:
    found = Provider()
    found.now = NOW.timestamp
    yield found
    found.close()


@pytest.fixture
def service(tmp_path: Path, provider: Provider) -> Iterator[Served]:
    client = Client(OidcConfig(provider.issuer, CLIENT, SECRET, "preferred_username", "市统一身份认证"), PUBLIC)
    with signing_in(tmp_path / "oidc.db", Hands(), public_url=PUBLIC, provider=client) as found:
        add(found.database, account("zhang", Role.COUNTY, "zhenkang", password=None), account("li"))
        yield found


@pytest.fixture
def browser(service: Served) -> Browser:
    return Browser(service)


def go(browser: Browser, provider: Provider, next_: str = "/account") -> httpx.Response:
    """There and back."""
    sent = browser.get(f"/sign-in/oidc?next={next_}")
    assert sent.status_code == 303, sent.text
    assert sent.headers["location"].startswith(f"{provider.issuer}/authorization?")
    return browser.get(f"/sign-in/oidc/back?{provider.visited(sent.headers['location'])}")


def refused(answer: httpx.Response, browser: Browser, told: str = "没有登录") -> None:
    assert answer.status_code == 403
    assert told in answer.text
    assert browser.session == ""


def test_who_has_an_account_here_is_signed_in_as_it(service: Served, browser: Browser, provider: Provider) -> None:
    assert "市统一身份认证" in browser.get("/sign-in?next=/account").text
    entered = go(browser, provider)
    assert (entered.status_code, entered.headers["location"]) == (303, "/account")
    assert "县区值班" in browser.get("/account").text
    assert "<dd>镇康县</dd>" in browser.get("/account").text
    assert "更改密码" not in browser.get("/account").text
    assert browser.client.cookies.get("liuyan-trip") is None
    with service.database.reading() as connection:
        (entry,) = entries(connection)
    assert (entry.account, entry.action, entry.detail) == ("zhang", "signed_in", "oidc")


def test_a_name_in_capital_letters_is_the_same_account(browser: Browser, provider: Provider) -> None:
    provider.user = "Zhang"
    assert go(browser, provider).status_code == 303


def test_who_has_no_account_here_or_a_locked_one_stays_out(
    service: Served, browser: Browser, provider: Provider
) -> None:
    provider.user = "stranger"
    refused(go(browser, provider), browser, "没有账号")
    provider.user = "li"
    with service.database.writing() as connection:
        set_locked(connection, "li", True)
    refused(go(browser, provider), browser, "没有账号")
    with service.database.reading() as connection:
        assert [(entry.action, entry.subject) for entry in entries(connection)] == [
            ("sign_in_failed", "li"),
            ("sign_in_failed", "（没有这个账号）"),
        ]


@pytest.mark.parametrize("next_", ["https://evil.example", "//evil.example", "/\\evil.example"])
def test_nobody_is_led_elsewhere(browser: Browser, provider: Provider, next_: str) -> None:
    assert go(browser, provider, next_).headers["location"] == "/"


def test_the_way_out_says_everything_that_protects_the_way_back(browser: Browser, provider: Provider) -> None:
    first, second = (parse_qs(urlsplit(browser.get("/sign-in/oidc").headers["location"]).query) for _ in range(2))
    assert first["redirect_uri"] == [f"{PUBLIC}/sign-in/oidc/back"]
    assert first["response_type"] == ["code"]
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name][0]) >= 43
        assert first[name] != second[name]


def test_who_did_not_set_out_from_here_does_not_come_in(service: Served, browser: Browser, provider: Provider) -> None:
    """Somebody else's code, sent to a victim's browser, signs nobody in: neither without a trip, nor with one of their own."""
    theirs = provider.visited(Browser(service).get("/sign-in/oidc").headers["location"])
    refused(browser.get(f"/sign-in/oidc/back?{theirs}"), browser, "页面已过期")
    browser.get("/sign-in/oidc")
    refused(browser.get(f"/sign-in/oidc/back?{theirs}"), browser, "页面已过期")
    browser.plant("liuyan-trip", "no trip")
    refused(browser.get(f"/sign-in/oidc/back?{theirs}"), browser, "页面已过期")


def test_a_way_back_is_gone_once(browser: Browser, provider: Provider) -> None:
    query = provider.visited(browser.get("/sign-in/oidc").headers["location"])
    assert browser.get(f"/sign-in/oidc/back?{query}").status_code == 303
    browser.client.cookies.delete("liuyan-session")
    refused(browser.get(f"/sign-in/oidc/back?{query}"), browser, "页面已过期")


def test_a_code_of_another_trip_is_worth_nothing(service: Served, browser: Browser, provider: Provider) -> None:
    """PKCE: the code was given for another verifier."""
    other = parse_qs(provider.visited(Browser(service).get("/sign-in/oidc").headers["location"]))["code"][0]
    own = parse_qs(provider.visited(browser.get("/sign-in/oidc").headers["location"]))["state"][0]
    refused(browser.get(f"/sign-in/oidc/back?code={other}&state={own}"), browser)


def test_who_breaks_off_is_told(browser: Browser) -> None:
    state = parse_qs(urlsplit(browser.get("/sign-in/oidc").headers["location"]).query)["state"][0]
    refused(browser.get(f"/sign-in/oidc/back?error=access_denied&state={state}"), browser)


OTHER = RSAKey.generate_key(2048, {"kid": "one"}, private=True)
LIES: dict[str, Any] = {
    "another issuer": lambda h, c, k: (h, c | {"iss": "https://evil.example"}, k),
    "another client": lambda h, c, k: (h, c | {"aud": "another"}, k),
    "made for another client": lambda h, c, k: (h, c | {"aud": [CLIENT, "another"], "azp": "another"}, k),
    "another trip": lambda h, c, k: (h, c | {"nonce": "another"}, k),
    "no trip": lambda h, c, k: (h, {n: v for n, v in c.items() if n != "nonce"}, k),
    "expired": lambda h, c, k: (h, c | {"exp": c["iat"] - 120, "iat": c["iat"] - 600}, k),
    "no end": lambda h, c, k: (h, {n: v for n, v in c.items() if n != "exp"}, k),
    "another key": lambda h, c, k: (h, c, OTHER),
    "the client secret as key": lambda h, c, k: ({"alg": "HS256"}, c, OctKey.import_key(SECRET * 3)),
    "no signature": lambda h, c, k: (h, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ6aGFuZyJ9.", k),
    "no token": lambda h, c, k: (h, "", k),
    "no name": lambda h, c, k: (h, {n: v for n, v in c.items() if n != "preferred_username"}, k),
    "a name that is none": lambda h, c, k: (h, c | {"preferred_username": ["zhang"]}, k),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_statement_that_is_not_the_providers_about_this_trip_is_not_believed(
    browser: Browser, provider: Provider, lie: str
) -> None:
    provider.lie = LIES[lie]
    refused(go(browser, provider), browser)
    provider.lie = lambda h, c, k: (h, c, k)
    assert go(browser, provider).status_code == 303


def test_a_statement_signed_with_a_new_key_is_believed(browser: Browser, provider: Provider) -> None:
    assert go(browser, provider).status_code == 303
    browser.client.cookies.delete("liuyan-session")
    provider.key = RSAKey.generate_key(2048, {"kid": "two"}, private=True)
    provider.lie = lambda h, c, k: (h | {"kid": "two"}, c, k)
    assert go(browser, provider).status_code == 303


def test_a_provider_that_is_away_or_says_that_it_is_another_is_told(browser: Browser, provider: Provider) -> None:
    provider.says = "https://evil.example"
    answer = browser.get("/sign-in/oidc")
    assert (answer.status_code, "issuer" in answer.text) == (503, True)
    provider.close()
    answer = browser.get("/sign-in/oidc")
    assert (answer.status_code, "没有应答" in answer.text) == (503, True)


def test_without_a_provider_there_is_no_such_way(tmp_path: Path) -> None:
    with signing_in(tmp_path / "plain.db", Hands()) as service:
        browser = Browser(service)
        assert browser.get("/sign-in/oidc").status_code == browser.get("/sign-in/oidc/back").status_code == 404
        assert "/sign-in/oidc" not in browser.get("/sign-in").text


# The file


GOOD = 'issuer = "https://sso.example"\nclient_id = "liuyan"\n'


def test_the_file_says_what_it_needs_and_the_secret_comes_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file\n", encoding="utf-8")
    named = f'{GOOD}client_secret_file = "{tmp_path / "secret"}"\nclaim = "email"\nname = "登录"\n'
    assert parse_oidc(named, "f", None) == OidcConfig("https://sso.example", "liuyan", "from a file", "email", "登录")
    assert parse_oidc(GOOD, "f", "of the environment").secret == "of the environment"  # noqa: S105


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('client_id = "x"', "issuer"), ('issuer = "https://sso.example"', "client_id"), (GOOD + "claim = 5", "claim"),
        ('issuer = "http://sso.example"\nclient_id = "x"', "https://"), (GOOD + 'secret = "x"', "secret"),
        (GOOD + 'name = ""', "name"),
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        parse_oidc(text, "oidc.toml", "x")


def test_a_secret_that_is_nowhere_is_told(tmp_path: Path) -> None:
    for further in ("", f'client_secret_file = "{tmp_path / "none"}"'):
        with pytest.raises(ConfigError, match="client_secret_file"):
            parse_oidc(GOOD + further, "oidc.toml", None)


def test_the_service_does_not_start_without_knowing_where_people_come_back_to(tmp_path: Path) -> None:
    (tmp_path / "oidc.toml").write_text(GOOD, encoding="utf-8")
    environment = {"LIUYAN_OIDC": str(tmp_path / "oidc.toml"), "LIUYAN_OIDC_SECRET": "x"}
    finished = liuyan("standalone", "--port", "0", "--db", tmp_path / "x.db", environment=environment)
    assert finished.code == 1
    assert "public_url" in finished.error
