"""Accounts: who may look. Every function works in the caller's transaction; passwords are hashed before it begins."""

import re
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select, update

from services.alerts.people.tables import accounts, read_tokens, sessions
from services.alerts.people.viewer import Role, Viewer
from shared.registry import Registry
from shared.times import from_micros, to_micros

NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
LONGEST_PERSON = 40


class AccountError(ValueError):
    """It cannot be done; the message is one line."""


class Account(Struct, frozen=True):
    """`password` is its hash, None for an account that signs in by the city's own sign-in only."""

    name: str
    person: str
    role: Role
    county: str | None
    password: str | None
    locked: bool
    created_at: datetime

    @property
    def viewer(self) -> Viewer:
        return Viewer(self.name, self.person, self.role, self.county)


def normalized(name: str) -> str:
    """As it is kept: nobody has to think of capital letters."""
    return name.strip().lower()


def new_account(
    name: str, person: str, role: Role, county: str | None, registry: Registry, password: str | None, now: datetime
) -> Account:
    """Raises AccountError. `password`: its hash."""
    if not NAME.fullmatch(name):
        raise AccountError("账号应为 1–64 个小写字母、数字或 . _ @ -，以字母或数字开头")
    if not person.strip() or len(person) > LONGEST_PERSON or not person.isprintable():
        raise AccountError(f"姓名应为 1–{LONGEST_PERSON} 个字")
    if county is not None and county not in registry.county_names:
        raise AccountError(f"没有县区 {county}；已登记的有 {'、'.join(registry.county_names)}")
    if role is Role.COUNTY and county is None:
        raise AccountError("县区账号要说明是哪个县区")
    if role is Role.CITY and county is not None:
        raise AccountError("市级账号看全市，不能限于一个县区")
    return Account(name, person.strip(), role, county, password, False, now)


def add_account(connection: Connection, account: Account) -> None:
    """Raises AccountError when there is one of that name."""
    if find_account(connection, account.name) is not None:
        raise AccountError(f"已有账号 {account.name}")
    connection.execute(
        insert(accounts).values(
            name=account.name,
            person=account.person,
            role=account.role.value,
            county=account.county,
            password=account.password,
            locked=account.locked,
            created_at=to_micros(account.created_at),
        )
    )


def find_account(connection: Connection, name: str) -> Account | None:
    """Whatever was typed as a name: what can be none is asked of no database (PostgreSQL takes no NUL)."""
    if not NAME.fullmatch(name):
        return None
    row = connection.execute(select(accounts).where(accounts.c.name == name)).first()
    return None if row is None else account_of(row)


def list_accounts(connection: Connection) -> list[Account]:
    return [account_of(row) for row in connection.execute(select(accounts).order_by(accounts.c.name))]


def account_of(row: object) -> Account:
    values = {name: getattr(row, name) for name in Account.__struct_fields__}
    changed = {"role": Role(values["role"]), "created_at": from_micros(values["created_at"])}
    return Account(**(values | changed))


def set_password(connection: Connection, name: str, password: str) -> None:
    """`password`: its hash. Ends the account's sessions: whoever knew the old one is out."""
    _change(connection, name, password=password)
    end_sessions(connection, name)


def rehash(connection: Connection, name: str, before: str, after: str) -> None:
    """Keep a newer hash of the same password, unless it was changed meanwhile."""
    connection.execute(
        update(accounts).where(accounts.c.name == name, accounts.c.password == before).values(password=after)
    )


def set_locked(connection: Connection, name: str, locked: bool) -> None:
    """A locked account cannot sign in, its sessions have ended, and its tokens read nothing until it is unlocked."""
    _change(connection, name, locked=locked)
    if locked:
        end_sessions(connection, name)


def remove_account(connection: Connection, name: str) -> None:
    """With its sessions and tokens. What it did stays on record."""
    for table in (sessions, read_tokens):
        connection.execute(delete(table).where(table.c.account == name))
    if not connection.execute(delete(accounts).where(accounts.c.name == name)).rowcount:
        raise _unknown(name)


def end_sessions(connection: Connection, name: str) -> None:
    connection.execute(delete(sessions).where(sessions.c.account == name))


def _change(connection: Connection, name: str, **values: object) -> None:
    if not connection.execute(update(accounts).where(accounts.c.name == name).values(values)).rowcount:
        raise _unknown(name)


def _unknown(name: str) -> AccountError:
    return AccountError(f"没有账号 {name[:64]}；liuyan accounts list 可列出")
