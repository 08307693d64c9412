"""The little that SQLite and PostgreSQL say differently, and reading in chunks."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    JSON,
    BigInteger,
    BindParameter,
    ClauseElement,
    ColumnElement,
    Connection,
    Dialect,
    Insert,
    Integer,
    LargeBinary,
    Table,
    TableClause,
    any_,
    bindparam,
    case,
    column,
    func,
    select,
)
from sqlalchemy import Text as AnyText
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import SQLCompiler

T = TypeVar("T")

Text = AnyText().with_variant(AnyText(collation="C"), "postgresql")  # in the order of code points in both
LONG = {"long": True}
"""Column(info=…) of texts of a kilobyte and more: how rows travel to PostgreSQL depends on it."""
Id = BigInteger().with_variant(Integer(), "sqlite")

CHUNK = 2_000  # of values in one IN (…): below SQLite's limit of 32,766 parameters, and one compiled statement for all


def among(dialect_name: str, found: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """Whether it is one of the parameter's values (texts).

    They are one array, or one JSON text: of an IN (…) with many values, making and taking apart the text took longer than the query.
    """
    if dialect_name == "postgresql":
        return found == any_(bindparam(name, type_=postgresql.ARRAY(AnyText)))
    return found.in_(select(func.json_each(bindparam(name, type_=JSON)).table_valued("value").c.value))


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    add: tuple[str, ...] = (),
    latest: tuple[str, ...] = (),
) -> None:
    """Insert rows, all with the same members and each key once. Where the primary key exists, their columns are set; those of
    `add` are added, and of `latest` the greater value stays."""
    if rows:
        _write(connection, _upsert(connection.dialect.name, table, tuple(rows[0]), add, latest), rows)


def insert_many(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, all with the same members."""
    if rows:
        _write(connection, _insert(connection.dialect.name, table, tuple(rows[0])), rows)


def put(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], known: AbstractSet[str]) -> None:
    """As `upsert`, of rows named by `key`, where it is certain which of the keys are there: what is new costs a third less so."""
    insert_many(connection, table, [row for row in rows if row["key"] not in known])
    upsert(connection, table, [row for row in rows if row["key"] in known])


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows, all with the same members; those that a unique column says are there already are left out. How many came in."""
    if not rows:
        return 0
    if any(isinstance(column.type, LargeBinary) for column in table.c):  # no member of a JSON text
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        values: dict[str, BindParameter[Any]] = {name: bindparam(name) for name in rows[0]}
        return run_many(connection, dialect.insert(table).values(values).on_conflict_do_nothing(), rows)
    return _write(connection, _insert_missing(connection.dialect.name, table, tuple(rows[0])), rows)


def _write(connection: Connection, statement: Insert, rows: Sequence[Mapping[str, Any]]) -> int:
    """Run a statement of `_insert` for the rows: how many were written."""
    if connection.dialect.name != "postgresql":
        return run_many(connection, statement, rows)
    text, _ = _compiled(statement, connection.dialect)
    if not _long(statement.table):
        return connection.exec_driver_sql(text, {"records": msgspec.json.encode(rows).decode()}).rowcount
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return connection.exec_driver_sql(text.replace(")s::", ")b::"), columns).rowcount  # binary: nothing is escaped


@lru_cache(maxsize=256)
def _long(table: TableClause) -> bool:
    return any(column.info.get("long") for column in table.c)


@lru_cache(maxsize=256)
def _insert(dialect_name: str, table: Table, names: tuple[str, ...]) -> Insert:
    """For PostgreSQL all rows are one JSON parameter of one statement: half the time of the driver's `executemany`.

    Or, where there are long texts, an array of each column: in JSON they would be escaped here and taken apart there.
    """
    if dialect_name != "postgresql":
        return sqlite.insert(table).values({name: bindparam(name) for name in names})
    columns = [column(name, table.c[name].type) for name in names]
    given: Any
    if _long(table):
        arrays = (bindparam(name, type_=postgresql.ARRAY(table.c[name].type)) for name in names)
        given = func.unnest(*arrays).table_valued(*columns, name="records").render_derived()
    else:
        parameter = func.json_to_recordset(bindparam("records", type_=JSON))
        given = parameter.table_valued(*columns, name="records").render_derived(with_types=True)
    return postgresql.insert(table).from_select(names, select(*given.c))


@lru_cache(maxsize=256)
def _insert_missing(dialect_name: str, table: Table, names: tuple[str, ...]) -> Insert:
    statement: Any = _insert(dialect_name, table, names)
    found: Insert = statement.on_conflict_do_nothing()
    return found


@lru_cache(maxsize=256)
def _upsert(
    dialect_name: str, table: Table, names: tuple[str, ...], add: tuple[str, ...], latest: tuple[str, ...]
) -> Insert:
    statement: Any = _insert(dialect_name, table, names)
    keys = [column.name for column in table.primary_key]
    changed = {name: _change(table, statement, name, add, latest) for name in names if name not in keys}
    found: Insert = statement.on_conflict_do_update(index_elements=keys, set_=changed)
    return found


def run_many(connection: Connection, statement: ClauseElement, rows: Sequence[Mapping[str, Any]]) -> int:
    """Run a kept statement for many rows of plain values: how many rows it changed. The values go to the driver as they are, without
    a type's processing: half the time of `Connection.execute`, where cases are written by the thousand."""
    text, in_order = _compiled(statement, connection.dialect)
    return connection.exec_driver_sql(text, list(rows if in_order is None else map(in_order, rows))).rowcount


@lru_cache(maxsize=256)
def _compiled(
    statement: ClauseElement, dialect: Dialect
) -> tuple[str, Callable[[Mapping[str, Any]], tuple[Any, ...]] | None]:
    """The statement's text, and what puts a row's values in the order of its parameters where the driver takes them by position."""
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    names = compiled.positiontup
    if names is not None and len(names) < 2:
        return str(compiled), lambda row: tuple(row[name] for name in names)
    return str(compiled), None if names is None else itemgetter(*names)


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
