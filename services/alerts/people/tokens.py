"""Read tokens: how a program asks as an account does. They read what it sees and change nothing; a push key is none."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, insert, select, update

from services.alerts.people.accounts import AccountError, account_of
from services.alerts.people.tables import accounts, read_tokens
from services.alerts.people.viewer import Viewer
from shared.secret import digest, new_secret
from shared.times import from_micros, to_micros

PREFIX = "lyr"


class Token(Struct, frozen=True):
    """`id` is its public name."""

    id: str
    account: str
    created_at: datetime
    revoked_at: datetime | None


def create_token(connection: Connection, account: str, now: datetime) -> tuple[str, str]:
    """(its id, the token itself, which is never shown again). Raises AccountError for an account that there is not."""
    if connection.execute(select(accounts.c.name).where(accounts.c.name == account)).first() is None:
        raise AccountError(f"没有账号 {account[:64]}；liuyan accounts list 可列出")
    identifier, token = new_secret(PREFIX)
    values = {"id": identifier, "account": account, "hash": digest(token), "created_at": to_micros(now)}
    connection.execute(insert(read_tokens).values(values))
    return identifier, token


def revoke_token(connection: Connection, identifier: str, now: datetime) -> str:
    """Whose it was. Revoking one again changes nothing. Raises AccountError for one that there is not."""
    row = connection.execute(select(read_tokens.c.account).where(read_tokens.c.id == identifier)).first()
    if row is None:
        raise AccountError(f"没有编号为 {identifier[:40]} 的读取令牌；liuyan accounts tokens 可列出")
    connection.execute(
        update(read_tokens)
        .where(read_tokens.c.id == identifier, read_tokens.c.revoked_at.is_(None))
        .values(revoked_at=to_micros(now))
    )
    return str(row.account)


def list_tokens(connection: Connection) -> list[Token]:
    rows = connection.execute(select(read_tokens).order_by(read_tokens.c.account, read_tokens.c.created_at))
    return [
        Token(
            row.id,
            row.account,
            from_micros(row.created_at),
            None if row.revoked_at is None else from_micros(row.revoked_at),
        )
        for row in rows
    ]


def viewer_of_token(connection: Connection, token: str) -> Viewer | None:
    """Who asks with it; None for one that is unknown or revoked, or whose account is locked."""
    row = connection.execute(
        select(accounts)
        .join(read_tokens, read_tokens.c.account == accounts.c.name)
        .where(read_tokens.c.hash == digest(token), read_tokens.c.revoked_at.is_(None), accounts.c.locked.is_(False))
    ).first()
    return None if row is None else account_of(row).viewer
