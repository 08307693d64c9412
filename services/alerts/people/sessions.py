"""Sessions: a random secret in the browser's cookie, of which only the hash is kept. Every function works in the caller's
transaction."""

import secrets
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, delete, insert, not_, select, update

from services.alerts.people.accounts import account_of
from services.alerts.people.tables import accounts, sessions
from services.alerts.people.viewer import Viewer
from shared.secret import digest
from shared.times import from_micros, to_micros

IDLE = timedelta(hours=2)
LONGEST = timedelta(hours=12)  # a shift: who comes after signs in as themselves
TOUCH = timedelta(minutes=1)  # not every request writes


class Session(Struct, frozen=True):
    viewer: Viewer
    seen_at: datetime


def start_session(
    connection: Connection, account: str, address: str, now: datetime, replaced: str | None = None
) -> str:
    """The secret of a new session. `replaced`: the browser's present one, which ends; whatever secret it came with before
    is worth nothing afterwards."""
    secret = secrets.token_urlsafe(32)
    if replaced:
        end_session(connection, replaced)
    connection.execute(delete(sessions).where(not_(_goes_on(now))))
    at = to_micros(now)
    values = {"hash": digest(secret), "account": account, "created_at": at, "seen_at": at, "address": address}
    connection.execute(insert(sessions).values(values))
    return secret


def find_session(connection: Connection, secret: str, now: datetime) -> Session | None:
    """None when there is none of that secret, it has ended, or its account is locked."""
    row = connection.execute(
        select(accounts, sessions.c.seen_at)
        .join(sessions, sessions.c.account == accounts.c.name)
        .where(
            sessions.c.hash == digest(secret),
            _goes_on(now),
            accounts.c.locked.is_(False),
        )
    ).first()
    return None if row is None else Session(account_of(row).viewer, from_micros(row.seen_at))


def _goes_on(now: datetime) -> ColumnElement[bool]:
    """It was used within IDLE and is not older than LONGEST; nor much younger than now, as those are that began by a clock that was
    ahead, and would end a shift after that time has come."""
    begun = sessions.c.created_at.between(to_micros(now - LONGEST) + 1, to_micros(now + LONGEST))
    return and_(begun, sessions.c.seen_at > to_micros(now - IDLE))


def touch_session(connection: Connection, secret: str, now: datetime) -> None:
    """It was used now."""
    connection.execute(update(sessions).where(sessions.c.hash == digest(secret)).values(seen_at=to_micros(now)))


def end_session(connection: Connection, secret: str) -> None:
    connection.execute(delete(sessions).where(sessions.c.hash == digest(secret)))
