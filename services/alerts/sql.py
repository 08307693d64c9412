"""The little that SQLite and PostgreSQL say differently, and reading in chunks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import ClauseElement, Connection, Dialect, Table, bindparam, case
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import SQLCompiler

T = TypeVar("T")

CHUNK = 2_000  # of values in one IN (…): below SQLite's limit of 32,766 parameters, and one compiled statement for all


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    add: tuple[str, ...] = (),
    latest: tuple[str, ...] = (),
) -> None:
    """Insert rows, all with the same members. Where the primary key exists, their columns are set; those of `add` are added,
    and of `latest` the greater value stays."""
    if rows:
        run_many(connection, _upsert(connection.dialect.name, table, tuple(rows[0]), add, latest), rows)


@lru_cache(maxsize=256)
def _upsert(
    dialect_name: str, table: Table, names: tuple[str, ...], add: tuple[str, ...], latest: tuple[str, ...]
) -> ClauseElement:
    dialect = postgresql if dialect_name == "postgresql" else sqlite
    statement = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {name: _change(table, statement, name, add, latest) for name in names if name not in keys}
    found: ClauseElement = statement.values({name: bindparam(name) for name in names}).on_conflict_do_update(
        index_elements=keys, set_=changed
    )
    return found


def run_many(connection: Connection, statement: ClauseElement, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run a kept statement for many rows of plain values. The rows go to the driver as they are, without a type's processing:
    half the time of `Connection.execute`, where cases are written by the thousand."""
    text, names = _compiled(statement, connection.dialect)
    if names is None:
        connection.exec_driver_sql(text, list(rows))
    else:
        connection.exec_driver_sql(text, [tuple(row[name] for name in names) for row in rows])


@lru_cache(maxsize=256)
def _compiled(statement: ClauseElement, dialect: Dialect) -> tuple[str, tuple[str, ...] | None]:
    """The statement's text, and the order of its parameters where the driver takes them by position."""
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    return str(compiled), None if compiled.positiontup is None else tuple(compiled.positiontup)


def _change(table: Table, statement: Any, name: str, add: tuple[str, ...], latest: tuple[str, ...]) -> Any:
    old, new = table.c[name], statement.excluded[name]
    if name in add:
        return old + new
    return case((new > old, new), else_=old) if name in latest else new


def chunks(values: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    chunk: list[T] = []
    for value in values:
        chunk.append(value)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
