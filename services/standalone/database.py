"""The one SQLite file of the embedded engine: opening it safely, and its tables."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

import services.alerts
import services.ingest
import services.standalone
from shared.migrations import upgrade

BUSY_SECONDS = 5


class DatabaseUnusableError(Exception):
    """The database cannot be used; the message is one line with the remedy."""


def database_file(text: str) -> Path:
    """A path, or a URL `sqlite:///path` -> the file. Raises DatabaseUnusableError."""
    if "://" not in text:
        return Path(text)
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise DatabaseUnusableError(f"{text!r} 不是数据库地址，请写文件路径或 sqlite:///文件路径") from error
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        raise DatabaseUnusableError("内嵌引擎只用 SQLite 文件，请写文件路径或 sqlite:///文件路径")
    return Path(url.database)


def open_database(file: Path, create: bool) -> "Database":
    """Opens the file and brings its tables up to date. Raises DatabaseUnusableError.

    `create`: whether a file that does not exist is made; a command that only reads must not make one.
    """
    if not create and not file.exists():
        raise DatabaseUnusableError(f"没有数据库文件 {file}，请核对 --db；首次使用请运行 liuyan standalone")
    if create and not file.parent.is_dir():
        raise DatabaseUnusableError(f"没有文件夹 {file.parent}，请先建立它，或用 --db 换一个位置")
    if create:
        file.touch(mode=0o600)  # citizens' texts; SQLite gives its other files the same mode
    database = Database(file)
    try:
        with database.writing() as connection:
            for owner, package in (
                ("log", services.standalone), ("ingest", services.ingest), ("alerts", services.alerts),
            ):  # fmt: skip
                upgrade(connection, owner, Path(package.__path__[0]) / "migrations")
    except DatabaseError as error:
        raise DatabaseUnusableError(f"打不开数据库 {file}（{error.orig}），请核对它是 liuyan 的数据库且可写") from error
    return database


class Database:
    """Connections to one file: writers take turns (BEGIN IMMEDIATE), readers see a snapshot and never block them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._writer = _engine(file, "BEGIN IMMEDIATE")
        self._reader = _engine(file, "BEGIN")

    def writing(self) -> AbstractContextManager[Connection]:
        """A transaction: committed durably at the end of the block, rolled back on an exception."""
        return self._writer.begin()

    def reading(self) -> AbstractContextManager[Connection]:
        """A snapshot."""
        return self._reader.begin()

    def close(self) -> None:
        self._writer.dispose()
        self._reader.dispose()


def _engine(file: Path, begin: str) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        hide_parameters=True,
        pool_size=5,
        max_overflow=60,  # more than there are reading threads: nobody waits for a connection
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-16384",
            "wal_autocheckpoint=4000",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
