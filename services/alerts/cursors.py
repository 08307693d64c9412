"""Cursors of lists: where a page goes on, whatever arrives meanwhile."""

import base64
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select


class CursorError(ValueError):
    """A cursor that this service did not give."""

    def __init__(self) -> None:
        super().__init__("游标无效，请使用上一页返回的 next")


def write_cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> str:
    try:
        found = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise CursorError from error
    if "\0" in found:
        raise CursorError
    return found


def read_number(text: str) -> int:
    """A number of a cursor. Raises CursorError."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise CursorError
    return int(text)


def newest_first(
    connection: Connection, table: Table, where: Iterable[ColumnElement[bool]], limit: int, cursor: str | None
) -> tuple[Sequence[Any], str | None]:
    """Up to `limit` rows of a table whose ids count up, and the cursor of those after them. Raises CursorError."""
    further = [table.c.id < read_number(read_cursor(cursor))] if cursor else []
    statement = select(table).where(*where, *further).order_by(table.c.id.desc())
    rows = connection.execute(statement.limit(limit + 1)).all()
    return rows[:limit], write_cursor(str(rows[limit - 1].id)) if len(rows) > limit else None
