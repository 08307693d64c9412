"""Opening the database: who changes it, who waits, and what is said of a file that cannot be used."""

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

import services.standalone
from services.compose.demo.quarter import QUARTER
from services.standalone import database as database_module
from services.standalone import live
from services.standalone.database import Database, open_database
from services.standalone.troubles import explain
from shared.migrations import upgrade
from tests.builders import shipped_rules
from tests.service import dump, liuyan, ran

READING = ["case zhenkang/zk-2022-0015", "cases", f"export {QUARTER}", "reconcile", "dead-letters", "keys list"]
WRITING = ["keys create lincang", "keys revoke x", "replay {lines}", "standalone --port 0"]
NOBODY = 65534


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the first quarter of 2022, to be copied."""
    file = tmp_path_factory.mktemp("filled") / "quarter.db"
    database = open_database(file, create=True)
    live.fill(database, shipped_rules())
    database.close()
    return file


@pytest.fixture
def quarter(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(filled, tmp_path / "quarter.db"))


def failed(command: str, file: Path) -> str:
    """The one line that a command says about its failure."""
    lines = file.with_name("lines.jsonl")
    if not lines.exists():
        lines.touch()
    finished = liuyan(*command.format(lines=lines).split(), "--db", file)
    assert (finished.code, finished.raw) == (1, b""), finished
    (line,) = finished.error.splitlines()
    return line.removeprefix("liuyan：")


# Another process is writing


@contextmanager
def locked(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.05)
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("command", READING)
def test_a_command_that_reads_waits_for_nobody(quarter: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked(quarter, monkeypatch):
        ran(*command.split(), "--db", quarter)


@pytest.mark.parametrize("command", WRITING)
def test_a_command_that_cannot_write_now_says_to_try_again(
    quarter: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quarter.with_name("lines.jsonl").write_text("{}\n")
    with locked(quarter, monkeypatch):
        line = failed(command, quarter)
    assert line == f"数据库 {quarter} 正被另一个进程写入，请稍后再试"


# Versions


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A database of a version that had the log only."""
    database = Database(tmp_path / "older.db")
    with database.writing() as connection:
        upgrade(connection, "log", Path(services.standalone.__path__[0]) / "migrations")
    database.close()
    return tmp_path / "older.db"


@pytest.mark.parametrize("command", READING)
def test_a_command_that_reads_leaves_an_older_version_as_it_is(older: Path, command: str) -> None:
    before = dump(older)
    assert failed(command, older) == "数据库是旧版本的：请先启动一次 liuyan standalone"
    assert dump(older) == before


@pytest.mark.parametrize("command", ["keys create lincang", "replay {lines}"])
def test_a_command_that_writes_brings_an_older_version_up_to_date(older: Path, command: str) -> None:
    lines = older.with_name("lines.jsonl")
    lines.touch()
    ran(*command.format(lines=lines).split(), "--db", older)
    assert {"schema_log", "schema_ingest", "schema_alerts", "cases", "events"} <= set(dump(older))
    ran("reconcile", "--db", older)


@pytest.mark.parametrize("command", [*READING, *WRITING])
def test_a_newer_version_is_refused_and_stays_as_it_is(quarter: Path, command: str) -> None:
    with contextlib.closing(sqlite3.connect(quarter)) as connection, connection:
        connection.execute("UPDATE schema_alerts SET version_num = '9999'")
    before = dump(quarter)
    assert "更新版本" in failed(command, quarter)
    assert dump(quarter) == before


# Files that are something else


@pytest.mark.parametrize("command", [*READING, *WRITING])
def test_another_programs_database_is_refused_and_stays_as_it_is(tmp_path: Path, command: str) -> None:
    file = tmp_path / "foreign.db"
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE events (x)")
    before = file.read_bytes()
    assert "是别的程序的数据库" in failed(command, file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("command", [*READING, "keys revoke x"])
def test_an_empty_file_is_told(tmp_path: Path, command: str) -> None:
    (tmp_path / "empty.db").touch()
    assert "是空的" in failed(command, tmp_path / "empty.db")
    assert (tmp_path / "empty.db").read_bytes() == b""


def test_an_empty_file_is_filled_by_a_command_that_makes_one(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    ran("keys", "create", "lincang", "--db", tmp_path / "empty.db")


@pytest.mark.parametrize("command", [*READING, *WRITING])
def test_what_is_no_database_is_told(tmp_path: Path, command: str) -> None:
    (tmp_path / "text.db").write_text("这不是数据库" * 500, encoding="utf-8")
    assert "不是 SQLite 数据库" in failed(command, tmp_path / "text.db")


@pytest.mark.parametrize("command", [*READING, *WRITING])
def test_a_folder_is_told(tmp_path: Path, command: str) -> None:
    (tmp_path / "folder").mkdir()
    assert "打不开数据库" in failed(command, tmp_path / "folder")


# Permissions


@contextmanager
def readonly(filled: Path, file_mode: int, folder_mode: int) -> Iterator[Path]:
    """The database where an ordinary user has just these rights; the user is this process meanwhile."""
    with tempfile.TemporaryDirectory(prefix="liuyan-") as name:
        file = Path(shutil.copy(filled, Path(name) / "quarter.db"))
        file.with_name("lines.jsonl").write_text("{}\n")
        file.with_name("lines.jsonl").chmod(0o444)
        file.chmod(file_mode)
        root = os.geteuid() == 0
        if root:
            for path in (name, file):
                os.chown(path, NOBODY, NOBODY)
        Path(name).chmod(folder_mode)
        try:
            if root:
                os.seteuid(NOBODY)
            yield file
        finally:
            if root:
                os.seteuid(0)
            Path(name).chmod(0o700)


@pytest.mark.parametrize(("file_mode", "folder_mode"), [(0o400, 0o700), (0o400, 0o500), (0o600, 0o500)])
def test_what_cannot_be_written_can_be_read(filled: Path, file_mode: int, folder_mode: int) -> None:
    for command in READING:  # what they import is there before the rights go
        ran(*command.split(), "--db", filled)
    with readonly(filled, file_mode, folder_mode) as file:
        before = sorted(path.name for path in file.parent.iterdir())
        for command in READING:
            assert ran(*command.split(), "--db", file).raw == ran(*command.split(), "--db", file).raw
        assert sorted(path.name for path in file.parent.iterdir()) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_what_a_service_of_another_user_is_writing_can_be_read(filled: Path) -> None:
    """It has SQLite's files beside the database open; they are read, not made."""
    ran("cases", "--db", filled)
    with readonly(filled, 0o444, 0o555) as file:
        os.seteuid(0)
        for path in (file.parent, file):
            os.chown(path, 0, 0)
        database = Database(file)
        with database.writing() as connection:
            connection.exec_driver_sql("DELETE FROM cases WHERE key = 'zhenkang/zk-2022-0015'")
        for path in file.parent.glob("quarter.db-*"):
            path.chmod(0o444)
        os.seteuid(NOBODY)
        assert "zhenkang/zk-2022-0015" not in ran("cases", "--db", file).out
        os.seteuid(0)
        database.close()


@pytest.mark.parametrize("command", WRITING)
@pytest.mark.parametrize(("file_mode", "folder_mode"), [(0o400, 0o700), (0o400, 0o500), (0o600, 0o500)])
def test_what_cannot_be_written_is_told_by_a_command_that_writes(
    filled: Path, command: str, file_mode: int, folder_mode: int
) -> None:
    ran("cases", "--db", filled)
    with readonly(filled, file_mode, folder_mode) as file:
        assert "请核对文件和文件夹的权限" in failed(command, file)


def test_what_may_not_even_be_read_is_told(filled: Path) -> None:
    with readonly(filled, 0o000, 0o700) as file:
        assert "请核对文件和文件夹的权限" in failed("cases", file)


def test_where_no_file_can_be_made_it_is_told(filled: Path) -> None:
    with readonly(filled, 0o600, 0o500) as file:
        assert "打不开数据库" in failed("keys create lincang", file.with_name("new.db"))


# What is said


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "请稍后再试"), (sqlite3.SQLITE_FULL, "磁盘空间"), (sqlite3.SQLITE_IOERR_WRITE, "磁盘"),
        (sqlite3.SQLITE_CORRUPT, "备份"), (sqlite3.SQLITE_ERROR, "no such thing"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_with_its_remedy(code: int, said: str) -> None:
    original = sqlite3.OperationalError("no such thing\n: at all")
    original.sqlite_errorcode = code
    line = explain(OperationalError("SELECT 1", {}, original), "x.db")
    assert said in line
    assert "x.db" in line
    assert "\n" not in line


def test_an_error_in_the_middle_of_a_command_is_one_line(quarter: Path) -> None:
    with contextlib.closing(sqlite3.connect(quarter)) as connection, connection:
        connection.execute("DROP TABLE dead_letters")
    line = failed("dead-letters", quarter)
    assert str(quarter) in line
    assert "no such table" in line
