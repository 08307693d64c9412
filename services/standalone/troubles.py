"""What is wrong with the database file, in one line with the remedy."""

import sqlite3
from pathlib import Path

from sqlalchemy.exc import DatabaseError

from shared.database import DatabaseUnusableError

SHORT = {
    sqlite3.SQLITE_BUSY: "数据库 {file} 正被另一个进程写入，请稍后再试",
    sqlite3.SQLITE_LOCKED: "数据库 {file} 正被另一个进程写入，请稍后再试",
    sqlite3.SQLITE_READONLY: "数据库 {file} 不可写，请核对文件和文件夹的权限",
    sqlite3.SQLITE_PERM: "数据库 {file} 不可写，请核对文件和文件夹的权限",
    sqlite3.SQLITE_CANTOPEN: "打不开数据库 {file}，请核对文件和文件夹的权限：SQLite 要在旁边建立 -wal 和 -shm 文件",
    sqlite3.SQLITE_NOTADB: "打不开数据库 {file}：它不是 SQLite 数据库，请核对 --db",
    sqlite3.SQLITE_CORRUPT: "数据库 {file} 已损坏，请用备份恢复",
    sqlite3.SQLITE_FULL: "写不进数据库 {file}，请检查磁盘空间",
    sqlite3.SQLITE_IOERR: "读写数据库 {file} 时磁盘出错，请检查磁盘和磁盘空间",
}


def explain(error: DatabaseError, file: Path | str) -> str:
    """One line in Chinese for an error of the database."""
    code = (
        getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    )  # without the details of the extended code
    text = SHORT.get(code, "数据库 {file} 出错（{error}），请核对它是 liuyan 的数据库")
    return text.format(file=file, error=" ".join(str(error.orig).split())[:200])


def cannot_open(file: Path, error: OSError) -> DatabaseUnusableError:
    return DatabaseUnusableError(f"打不开数据库 {file}（{error.strerror}），请核对文件和文件夹的权限")
