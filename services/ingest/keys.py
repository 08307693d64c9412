"""The platforms' keys: random, stored hashed, several valid at once. A key writes for its platform only."""

import time
from collections.abc import Callable
from datetime import datetime

from msgspec import Struct
from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, insert, select, update

from shared.http import busy
from shared.secret import digest, new_secret
from shared.times import from_micros, to_micros

metadata = MetaData()

platform_keys = Table(
    "platform_keys",
    metadata,
    Column("id", Text, primary_key=True, comment="public name of the key: what lists and revocations use"),
    Column("platform", Text, nullable=False),
    Column("hash", Text, nullable=False, unique=True, comment="SHA-256 of the whole key, which has 256 random bits"),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

PREFIX = "lyk"
FRESH_SECONDS = 0.5
TRUSTED_SECONDS = 600.0
UNKNOWN_SECONDS = 0.02  # a flood of wrong keys must not become a flood of queries


class Key(Struct, frozen=True):
    id: str
    platform: str
    created_at: datetime
    revoked_at: datetime | None


def create_key(connection: Connection, platform: str, now: datetime) -> tuple[str, str]:
    """A new key for the platform: (its id, the key itself, which is never shown again)."""
    identifier, key = new_secret(PREFIX)
    connection.execute(
        insert(platform_keys).values(id=identifier, platform=platform, hash=digest(key), created_at=to_micros(now))
    )
    return identifier, key


def revoke_key(connection: Connection, identifier: str, now: datetime) -> bool:
    """Whether there was such a key. Revoking one again changes nothing."""
    known = connection.execute(select(platform_keys.c.id).where(platform_keys.c.id == identifier)).first()
    connection.execute(
        update(platform_keys)
        .where(platform_keys.c.id == identifier, platform_keys.c.revoked_at.is_(None))
        .values(revoked_at=to_micros(now))
    )
    return known is not None


def list_keys(connection: Connection) -> list[Key]:
    rows = connection.execute(select(platform_keys).order_by(platform_keys.c.platform, platform_keys.c.created_at))
    return [
        Key(
            row.id,
            row.platform,
            from_micros(row.created_at),
            None if row.revoked_at is None else from_micros(row.revoked_at),
        )
        for row in rows
    ]


class KeyRing:
    """The valid keys, kept in memory and read anew when they are older than FRESH_SECONDS or a key is not among them.

    So a new key works after UNKNOWN_SECONDS, and a revoked one for FRESH_SECONDS at most.
    """

    def __init__(self, read: Callable[[], dict[str, str]], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._read, self._monotonic = read, monotonic
        self._valid: dict[str, str] = {}
        self._read_at = float("-inf")

    def platform_of(self, key: str) -> str | None:
        """The platform for which the key writes; None for an unknown or revoked key."""
        hashed, now = digest(key), self._monotonic()
        age = now - self._read_at
        if age >= FRESH_SECONDS or (age >= UNKNOWN_SECONDS and hashed not in self._valid):
            self._valid, self._read_at = self._read(), now
        return self._valid.get(hashed)


class WatchedKeys:
    """The valid keys, read by a loop of its own, so that no push waits for a database: it may be away.

    While it is, no key can be revoked either, and those read last stay valid, but not for longer than TRUSTED_SECONDS.
    """

    def __init__(self, read: Callable[[], dict[str, str]], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._read, self._monotonic = read, monotonic
        self._valid: dict[str, str] = {}
        self._read_at = float("-inf")

    def step(self) -> float:
        """For a loop."""
        self._valid, self._read_at = self._read(), self._monotonic()
        return FRESH_SECONDS

    def trusted(self) -> bool:
        """Whether what was read last still says who may push."""
        return self._monotonic() - self._read_at <= TRUSTED_SECONDS

    def platform_of(self, key: str) -> str | None:
        """The platform for which the key writes; None for an unknown or revoked key. Raises ProblemError (503) when
        it cannot be known."""
        if not self.trusted():
            raise busy("暂时不能核对密钥，没有存下；请稍后原样重发")
        return self._valid.get(digest(key))


def valid_keys(connection: Connection) -> dict[str, str]:
    """Hash -> platform, of the keys that are not revoked."""
    return {row.hash: row.platform for row in connection.execute(_VALID)}


_VALID = select(platform_keys.c.hash, platform_keys.c.platform).where(platform_keys.c.revoked_at.is_(None))
