"""PostgreSQL by a URL: opening it safely. (The embedded engine's SQLite file: services/standalone/database.py.)"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shared.migrations import SchemaError, upgrade

CONNECT_SECONDS = 10
LOCK_SECONDS = 30  # a writer that waits longer gives up and is tried again as a whole
IDLE_SECONDS = 60  # a stopped process must not keep its locks
READ_SECONDS = 60
UNANSWERED_SECONDS = 20  # a server that vanished in the middle of a request
WRITERS, READERS = 7, 20  # as many answers as are made at once, and some to ask who looks
KEYED = "-c random_page_cost=1.1"
"""A thousand rows are looked up by their keys: at the default of 4 the planner reads all of them, for half a million cases."""
MIGRATION_LOCK = 0x6C697579616E  # "liuyan": replicas that start together migrate one after the other


class DatabaseUnusableError(Exception):
    """The database cannot be used; the message is one line with the remedy."""


class Connections:
    """To one database: those that write, and those that read a snapshot."""

    def __init__(self, writer: Engine, reader: Engine) -> None:
        self._writer, self._reader = writer, reader

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction: committed durably at the end of the block, rolled back on an exception.

        An exception from the commit itself leaves open whether it happened.
        """
        return self._writer.begin()

    def reading(self) -> AbstractContextManager[Connection]:
        """A snapshot."""
        return self._reader.begin()

    def close(self) -> None:
        self._writer.dispose()
        self._reader.dispose()


class Postgres(Connections):
    """Writers at READ COMMITTED, durable when committed; readers see a snapshot and cannot write."""

    def __init__(self, url: URL, writers: int = WRITERS, readers: int = READERS) -> None:
        waits = f"-c lock_timeout={LOCK_SECONDS}s -c idle_in_transaction_session_timeout={IDLE_SECONDS}s"
        limits = f"{waits} -c statement_timeout={READ_SECONDS}s -c default_transaction_read_only=on"
        super().__init__(
            _engine(url, "READ COMMITTED", f"{waits} {KEYED} -c synchronous_commit=on", writers),
            _engine(url, "REPEATABLE READ", limits, readers),
        )


def open_postgres(text: str, histories: Mapping[str, Path], writers: int = WRITERS, readers: int = READERS) -> Postgres:
    """Opens the database and brings its tables up to date: `histories` are the folders of migrations by their owner.

    Raises DatabaseUnusableError. Passwords are in no message.
    """
    url = postgres_url(text)
    database = Postgres(url, writers, readers)
    try:
        with database.writing() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            for owner, folder in histories.items():
                upgrade(connection, owner, folder)
    except (DBAPIError, PoolTimeoutError, SchemaError) as error:
        database.close()
        if isinstance(error, SchemaError):
            raise DatabaseUnusableError(str(error)) from None
        raise DatabaseUnusableError(
            f"打不开数据库 {place(url)}（{reason(error, url)}），请核对地址、账号和权限，并确认数据库服务已启动"
        ) from None
    return database


def postgres_url(text: str) -> URL:
    """Raises DatabaseUnusableError, without the text: it may hold a password."""
    try:
        url = make_url(text)
        if url.get_backend_name() == "postgresql" and url.database:
            return url.set(drivername="postgresql+psycopg")
    except (ArgumentError, NoSuchModuleError, ValueError):
        pass
    raise DatabaseUnusableError("数据库地址应为 postgresql://用户:密码@主机:端口/库名")


def reason(error: Exception, url: URL) -> str:
    """What the driver says, in one line."""
    text = " ".join(str(getattr(error, "orig", error)).split())[:200]
    secrets = [url.password, *url.normalized_query.get("password", ())]
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


def place(url: URL) -> str:
    """Where the database is, without who may open it."""
    host = url.host or ",".join(url.normalized_query.get("host", ("localhost",)))
    return f"{host}:{url.port or 5432}/{url.database}"


def _engine(url: URL, isolation: str, options: str, size: int) -> Engine:
    given = " ".join(url.normalized_query.get("options", ()))
    return create_engine(
        url,
        isolation_level=isolation,
        hide_parameters=True,
        pool_size=size,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS,
        pool_pre_ping=True,  # the server may have been restarted meanwhile
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "prepare_threshold": None,  # a generic plan walks all of a long IN (…) for every row: three times slower
            "application_name": "liuyan",
            "options": f"{given} {options}",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": UNANSWERED_SECONDS * 1000,
        },
    )
