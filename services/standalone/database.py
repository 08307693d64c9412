"""The one SQLite file of the embedded engine: opening it safely, and its tables."""

import os
import stat
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

import services.alerts
import services.ingest
import services.standalone
from services.standalone.troubles import cannot_open, explain
from shared.database import Connections, DatabaseUnusableError
from shared.migrations import is_current, upgrade

__all__ = ["Database", "DatabaseUnusableError", "database_file", "open_database"]

BUSY_SECONDS = 5
OWNERS = {"log": services.standalone, "ingest": services.ingest, "alerts": services.alerts}


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


def open_database(file: Path, create: bool = False, write: bool = False) -> "Database":
    """Opens the file. Raises DatabaseUnusableError, or SchemaError for a newer version's.

    `create`: a file that does not exist is made. `write` (implied): tables of an older version are brought up to date; a
    command that only reads changes nothing, and takes no lock that could wait.
    """
    try:
        _require_file(file, create)
        database = Database(file, frozen=not (create or write) and _is_frozen(file))
    except OSError as error:
        raise cannot_open(file, error) from error
    try:
        _require_schema(database, create, create or write)
    except DatabaseError as error:
        database.close()
        raise DatabaseUnusableError(explain(error, file)) from error
    except Exception:
        database.close()
        raise
    return database


def _require_file(file: Path, create: bool) -> None:
    if file.exists():
        return
    if not create:
        raise DatabaseUnusableError(f"没有数据库文件 {file}，请核对 --db；首次使用请运行 liuyan standalone")
    if not file.parent.is_dir():
        raise DatabaseUnusableError(f"没有文件夹 {file.parent}，请先建立它，或用 --db 换一个位置")
    file.touch(mode=stat.S_IRUSR | stat.S_IWUSR)  # citizens' texts; SQLite gives its other files the same mode


def _require_schema(database: "Database", create: bool, write: bool) -> None:
    with database.reading() as connection:
        tables = inspect(connection).get_table_names()
        ours = any(f"schema_{owner}" in tables for owner in OWNERS)
        current = ours and all(is_current(connection, owner, _migrations(owner)) for owner in OWNERS)
    if current:
        return
    if not ours and (tables or not create):
        what = "是别的程序的数据库" if tables else "是空的"
        raise DatabaseUnusableError(f"{database.file} {what}，请核对 --db；首次使用请运行 liuyan standalone")
    if not write:
        raise DatabaseUnusableError("数据库是旧版本的：请先启动一次 liuyan standalone")
    with database.writing() as connection:
        for owner in OWNERS:
            upgrade(connection, owner, _migrations(owner))


def _migrations(owner: str) -> Path:
    return Path(OWNERS[owner].__path__[0]) / "migrations"


def _is_frozen(file: Path) -> bool:
    """Whether nobody is writing the file, nor may we: then it is read as it stands, and nothing is left beside it."""
    effective = os.access in os.supports_effective_ids
    writable = all(os.access(path, os.W_OK, effective_ids=effective) for path in (file, file.parent))
    return not writable and not file.with_name(file.name + "-wal").exists()


class Database(Connections):
    """One file: writers take turns (BEGIN IMMEDIATE), readers see a snapshot and never block them.

    `frozen`: the file cannot change while it is read, so that SQLite needs no files of its own beside it.
    """

    def __init__(self, file: Path, frozen: bool = False) -> None:
        self.file = file
        super().__init__(_engine(file, "BEGIN IMMEDIATE", ("journal_mode=WAL",)), _engine(file, "BEGIN", (), frozen))


PRAGMAS = ("synchronous=FULL", "foreign_keys=ON", "cache_size=-16384", "wal_autocheckpoint=4000")


def _engine(file: Path, begin: str, pragmas: tuple[str, ...], frozen: bool = False) -> Engine:
    url = URL.create("sqlite", database=str(file))
    if frozen:
        name = f"file:{quote(str(file.absolute()))}"
        url = URL.create("sqlite", database=name, query={"immutable": "1", "uri": "true"})
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=5,
        max_overflow=60,  # more than there are reading threads: nobody waits for a connection
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for pragma in (*pragmas, *PRAGMAS):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
