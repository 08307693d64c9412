"""A database with accounts, on SQLite or PostgreSQL, and passwords that are hashed quickly: what these tests are about is not Argon2."""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from argon2 import PasswordHasher
from litestar.testing import TestClient

from services.alerts.people.accounts import Account, add_account, new_account
from services.alerts.people.guard import People
from services.alerts.people.passwords import Passwords
from services.alerts.people.viewer import Role
from services.distributed.database import open_database as open_postgres_database
from services.standalone.database import Database, open_database
from shared.database import Connections
from shared.rules import Ruleset
from shared.times import SHANGHAI
from tests.builders import shipped_rules
from tests.enginekit import folder, fresh_file
from tests.postgres import fresh_database
from tests.service import Served, served

NOW = datetime(2026, 3, 2, 9, tzinfo=SHANGHAI)
QUICK = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
PASSWORD = "correct horse 电池"  # noqa: S105 - of accounts that exist for a moment


@contextmanager
def database(kind: str) -> Iterator[Connections]:
    """An empty one of the kind."""
    if kind == "postgresql":
        with fresh_database() as url:
            found: Connections = open_postgres_database(url)
            try:
                yield found
            finally:
                found.close()
        return
    with folder() as where:
        found = open_database(fresh_file(where), write=True)
        try:
            yield found
        finally:
            found.close()


def account(name: str, role: Role = Role.CITY, county: str | None = None, password: str | None = PASSWORD) -> Account:
    kept = None if password is None else QUICK.hash(password)
    return new_account(name, f"{name}某", role, county, shipped_rules().registry, kept, NOW)


def add(database: Connections, *accounts: Account) -> None:
    with database.writing() as connection:
        for each in accounts:
            add_account(connection, each)


class Hands:
    """A clock that moves when the test says so."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


def signing_in(file: Path, hands: Hands, **settings: Any) -> AbstractContextManager[Served]:
    """The whole application, with sign-in, by the test's clock."""

    def people(database: Database, rules: Ruleset) -> People:
        return People(database, rules.registry, hands, passwords=QUICK, **settings)

    return served(file, people_of=people)


class Browser:
    """A browser of one person: keeps its cookies, sends forms as pages hold them, and follows no redirect by itself."""

    def __init__(self, service: Served, base: str = "http://testserver.local") -> None:
        self.client = TestClient(service.app, base_url=base, raise_server_exceptions=False)
        self.client.follow_redirects = False

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers={"Accept": "text/html", **headers})

    def form(self, path: str, **fields: str) -> httpx.Response:
        """Send the form of the page at `path` that has these fields."""
        page = self.get(path).text
        return self.post(action_of(page, fields), csrf=csrf_in(page), **fields)

    def post(self, path: str, headers: Mapping[str, str] | None = None, **fields: str) -> httpx.Response:
        return self.client.post(path, data=fields, headers=dict(headers or {}))

    def sign_in(self, name: str, password: str = PASSWORD, next_: str = "/") -> httpx.Response:
        page = self.get("/sign-in").text
        return self.post("/sign-in", name=name, password=password, next=next_, csrf=csrf_in(page))

    def plant(self, name: str, value: str) -> None:
        """Put a cookie into it, as if the service had."""
        self.client.cookies.set(name, value, domain="testserver.local", path="/")

    @property
    def session(self) -> str:
        return self.client.cookies.get("liuyan-session", "")


def csrf_in(page: str) -> str:
    found = re.search(r'name="csrf" value="(\w+)"', page)
    assert found, page
    return found[1]


def action_of(page: str, fields: Mapping[str, str]) -> str:
    for action, body in re.findall(r'<form method="post" action="([^"]+)"[^>]*>(.*?)</form>', page, re.DOTALL):
        if set(fields) <= set(re.findall(r'name="(\w+)"', body)):
            return str(action)
    raise AssertionError(f"no form with {fields} in {page}")
