"""What the commands print is enough to sign in: the demonstration's accounts, and the line that says how to make the first one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.peoplekit import csrf_in
from tests.service import PATIENCE, ran, running

REQUIRED = {"LIUYAN_SIGN_IN": "required"}


@contextmanager
def signed_in(url: str, name: str, password: str) -> Iterator[httpx.Client]:
    """A browser with which somebody has signed in."""
    with httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as client:
        csrf = csrf_in(client.get("/sign-in").text)
        entered = client.post("/sign-in", data={"name": name, "password": password, "next": "/", "csrf": csrf})
        assert (entered.status_code, entered.headers["location"]) == (303, "/"), entered.text
        yield client


@pytest.mark.slow
def test_the_demonstration_prints_two_accounts_that_see_the_city_and_one_county() -> None:
    with running(None, environment=REQUIRED) as service:
        accounts = dict(re.findall(r"登录账号（\S+?）  (\w+)  密码 (\S+)", "\n".join(service.lines)))
        assert set(accounts) == {"zhiban", "zhenkang"}
        assert service.client.get("/v1/cases").status_code == 401
        with signed_in(service.url, "zhiban", accounts["zhiban"]) as city:
            assert len(city.get("/v1/rates", params={"period": "2022Q1"}).json()["rows"]) == 10
            assert "演示值班员" in city.get("/account").text
        with signed_in(service.url, "zhenkang", accounts["zhenkang"]) as county:
            (row,) = county.get("/v1/rates", params={"period": "2022Q1"}).json()["rows"]
            assert (row["platform"], row["received"]) == ("zhenkang", 28)
            assert county.get("/").status_code == 200


@pytest.mark.slow
def test_a_service_without_accounts_says_how_to_make_one_and_not_afterwards(tmp_path: Path) -> None:
    file = tmp_path / "liuyan.db"
    with running(file, environment=REQUIRED) as service:
        assert len([line for line in service.lines if "liuyan accounts create" in line]) == 1
        password = ran("accounts", "create", "zhang", "--person", "张某", "--generate", "--db", file).out.strip()
        token = ran("accounts", "token", "zhang", "--db", file).out.strip()
        with signed_in(service.url, "zhang", password) as client:
            assert client.get("/").status_code == 200
        answer = service.client.get("/v1/cases", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, "the running service knows it at once"
        ran("accounts", "lock", "zhang", "--db", file)
        assert service.client.get("/v1/cases", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    with running(file, environment=REQUIRED) as service:
        assert not [line for line in service.lines if "liuyan accounts create" in line]


@pytest.mark.slow
def test_open_to_other_machines_without_sign_in_is_warned_of(tmp_path: Path) -> None:
    open_to_all = {"LIUYAN_SIGN_IN": "off", "LIUYAN_LOG": "json", "LIUYAN_HOST": "0.0.0.0"}  # noqa: S104
    with running(tmp_path / "a.db", environment=open_to_all) as service:
        service.stop()
    assert [line for line in service.lines if '"sign_in_off"' in line]
    with running(tmp_path / "b.db", environment=open_to_all | {"LIUYAN_HOST": "127.0.0.1"}) as service:
        service.stop()
    assert not [line for line in service.lines if '"sign_in_off"' in line]


@pytest.mark.slow
@pytest.mark.parametrize(("proxies", "address"), [("127.0.0.1", "203.0.113.9"), ("10.0.0.1", "127.0.0.1")])
def test_only_a_trusted_proxy_says_where_somebody_comes_from(tmp_path: Path, proxies: str, address: str) -> None:
    file = tmp_path / "liuyan.db"
    said = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    with running(file, environment=REQUIRED | {"LIUYAN_PROXIES": proxies}) as service:
        page = service.client.get("/sign-in", headers=said)
        trusted = address != "127.0.0.1"
        assert (
            page.headers["set-cookie"].startswith("__Host-") == ("strict-transport-security" in page.headers) == trusted
        )
        cookie = {"Cookie": page.headers["set-cookie"].split(";")[0]}
        form = {"name": "nobody", "password": "wrong", "csrf": csrf_in(page.text)}
        assert service.client.post("/sign-in", data=form, headers=said | cookie).status_code == 401
        (entry,) = ran("accounts", "audit", "--jsonl", "--db", file).jsonl()
        assert (entry["action"], entry["address"]) == ("sign_in_failed", address)
