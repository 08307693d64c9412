"""How often somebody may try to sign in: for each address and each account, counted in the database, so by all replicas together."""

import ipaddress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, delete, func, or_, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from services.alerts.people.tables import sign_in_attempts as table
from shared.secret import digest
from shared.times import to_micros

WINDOW = timedelta(minutes=15)
LIMITS = {"address": 50, "account": 10}  # behind one address there may be a whole office
MOST = 10_000  # rows; when there are more, the oldest are forgotten


def subjects(account: str, address: str) -> dict[str, str]:
    """What an attempt counts for, in the order in which every transaction takes it. An unknown name may be a password that was
    typed into the wrong field: only its hash is kept. Whoever has one IPv6 address has all of its /64, but for those that stand
    for an IPv4 address: a service that listens on `::` sees these."""
    try:
        found = ipaddress.ip_address(address)
        if isinstance(found, ipaddress.IPv6Address):
            address = str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    except ValueError:
        address = address[:64]
    return {"address": address, "account": digest(account)}


def count_attempt(connection: Connection, account: str, address: str, now: datetime) -> tuple[int, bool]:
    """Count an attempt, before its password is looked at. (For how many seconds none is allowed, 0 if this one is; whether it
    is the first one that is not.) One that is not allowed makes the wait no longer, and one from an address that may not try
    is not held against the account. After a clock that was ahead was put right, what was counted by it is forgotten."""
    for kind, subject in subjects(account, address).items():
        wait, first = _count(connection, kind, subject, now)
        if wait:
            return wait, first
    return 0, False


def forgive(connection: Connection, account: str, address: str) -> None:
    """It succeeded: nothing is held against the account, nor this attempt against the address."""
    of = subjects(account, address)
    connection.execute(
        table.update()
        .where(table.c.kind == "address", table.c.subject == of["address"], table.c.attempts > 0)
        .values(attempts=table.c.attempts - 1)
    )
    connection.execute(delete(table).where(table.c.kind == "account", table.c.subject == of["account"]))


def forget(connection: Connection, now: datetime) -> None:
    """What is older than the window, and the oldest where there are too many. In a transaction of its own."""
    _drop(connection, table.c.began_at <= to_micros(now - WINDOW))
    known = connection.execute(select(func.count()).select_from(table)).scalar_one()
    if known > MOST:
        oldest = select(table.c.began_at).order_by(table.c.began_at).offset(known - MOST - 1).limit(1)
        _drop(connection, table.c.began_at <= oldest.scalar_subquery())


def _drop(connection: Connection, which: Any) -> None:
    """Without waiting for who is just counting."""
    mine = select(table.c.kind, table.c.subject).where(which).with_for_update(skip_locked=True)
    connection.execute(delete(table).where(tuple_(table.c.kind, table.c.subject).in_(mine)))


def _count(connection: Connection, kind: str, subject: str, now: datetime) -> tuple[int, bool]:
    """One statement: attempts at the same time are counted one after the other."""
    limit, at = LIMITS[kind], to_micros(now)
    insert: Any = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    # Not at once where it began later than now: the clocks of two machines differ a little.
    over = or_(table.c.began_at <= to_micros(now - WINDOW), table.c.began_at > to_micros(now + WINDOW))
    counted = case((over, 1), (table.c.attempts <= limit, table.c.attempts + 1), else_=limit + 2)
    statement = insert.values(kind=kind, subject=subject, began_at=at, attempts=1).on_conflict_do_update(
        index_elements=[table.c.kind, table.c.subject],
        set_={"attempts": counted, "began_at": case((over, at), else_=table.c.began_at)},
    )
    row = connection.execute(statement.returning(table.c.began_at, table.c.attempts)).one()
    if row.attempts <= limit:
        return 0, False
    left = row.began_at + WINDOW // timedelta(microseconds=1) - at
    return max(1, -(-left // 1_000_000)), row.attempts == limit + 1
