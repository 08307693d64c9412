"""A database with accounts, on SQLite or PostgreSQL, and passwords that are hashed quickly: what these tests are about is not Argon2."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from argon2 import PasswordHasher

from services.alerts.people.accounts import Account, add_account, new_account
from services.alerts.people.passwords import Passwords
from services.alerts.people.viewer import Role
from services.distributed.database import open_database as open_postgres_database
from services.standalone.database import open_database
from shared.database import Connections
from shared.deployment import load_ruleset
from shared.times import SHANGHAI
from tests.enginekit import folder, fresh_file
from tests.postgres import fresh_database

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
    return new_account(name, f"{name}某", role, county, load_ruleset().registry, kept, NOW)


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
