"""The little that SQLite and PostgreSQL say differently, and reading in chunks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")

CHUNK = 2_000  # of values in one IN (…): below SQLite's limit of 32,766 parameters, and one compiled statement for all


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], add: Sequence[str] = ()) -> None:
    """Insert rows, all with the same members; where the primary key exists, set their columns, or add those of `add`."""
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {
        name: (table.c[name] + statement.excluded[name]) if name in add else statement.excluded[name]
        for name in rows[0]
        if name not in keys
    }
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), list(rows))


def chunks(values: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    chunk: list[T] = []
    for value in values:
        chunk.append(value)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
