"""What the commands share: reading the rules, opening the database, progress on a terminal."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import select
from sqlalchemy.exc import DatabaseError

from services.alerts.notices.config import load_notices
from services.alerts.notices.routing import Notices
from services.alerts.people.guard import People
from services.alerts.queries import MAX_LIMIT
from services.alerts.tables import event_counts
from services.compose.clock import SystemClock
from services.standalone.database import Database, DatabaseUnusableError, database_file, open_database
from services.standalone.prepare import prepare
from services.standalone.troubles import explain
from shared.commandline import fail
from shared.config import ConfigError
from shared.database import Connections
from shared.deployment import load_ruleset
from shared.migrations import SchemaError
from shared.rules import Ruleset
from shared.settings import Settings
from shared.times import InstantError, parse_instant

T = TypeVar("T")


def ruleset(found: Settings) -> Ruleset:
    try:
        return load_ruleset(found.platforms, found.policy, found.calendar)
    except ConfigError as error:
        fail(str(error))


def who_may_look(found: Settings, database: Connections, rules: Ruleset) -> People:
    from services.compose.people import people_of

    try:
        return people_of(found, database, rules)
    except ConfigError as error:
        fail(str(error))
    except ImportError:
        fail("缺少 authlib、joserfc 或 requests：请安装 liuyan[oidc]，或不设置 oidc")


def notices(found: Settings, rules: Ruleset) -> Notices | None:
    try:
        return load_notices(found.notices, rules.registry, os.environ)
    except ConfigError as error:
        fail(str(error))


def through_pages(read: Callable[[int, str | None], tuple[Sequence[T], str | None]], limit: int | None) -> Iterator[T]:
    """The items of a list, `limit` at most: `read` is given how many and a cursor, and answers a page with the cursor after it."""
    cursor, left = None, limit
    while left is None or left > 0:
        page, cursor = read(min(left or MAX_LIMIT, MAX_LIMIT), cursor)
        yield from page
        left = None if left is None else left - len(page)
        if cursor is None:
            return


class InstantType(click.ParamType):
    """An instant: RFC 3339 with an offset."""

    name = "时刻"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return parse_instant(value)
        except InstantError as error:
            self.fail(str(error), param, ctx)


INSTANT = InstantType()


def db_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--db", metavar="文件", help="数据库：SQLite 文件，或 postgresql://…（默认取设置 db）")(
        function
    )


def file_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Of what only the embedded form does."""
    return click.option("--db", metavar="文件", help="数据库：SQLite 文件（默认取设置 db）")(function)


def as_of_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--as-of", type=INSTANT, metavar="时刻", help="截至的时刻，如 2022-04-11T00:00:00+08:00（默认现在）"
    )(function)


@contextmanager
def opened(db: str | None, found: Settings, create: bool = False, write: bool = False) -> Iterator[Database]:
    """The database of a command (see `open_database`), closed at the end. Its errors end the command with one line."""
    try:
        database = open_database(database_file(db or found.db), create, write)
    except (DatabaseUnusableError, SchemaError) as error:
        fail(str(error))
    try:
        yield database
    except DatabaseError as error:
        fail(explain(error, database.file))
    finally:
        database.close()


def require_known_platforms(database: Connections, rules: Ruleset) -> None:
    """Every platform that has sent events must be registered: its cases would otherwise vanish from the figures."""
    with database.reading() as connection:
        used = set(connection.execute(select(event_counts.c.platform).distinct()).scalars())
    unknown = sorted(used - set(rules.registry.slugs))
    if unknown:
        fail(f"数据库里有平台 {'、'.join(unknown)} 的事件，平台登记表中却没有；请使用原来的登记表，或把它们加回去")


def prepare_file(database: Database, rules: Ruleset) -> None:
    """Project what an interrupted replay left in the log. The ruleset is that of the projections."""
    with progress("整理办件", "件") as advance:
        prepare(database, rules, SystemClock(), advance)


@contextmanager
def progress(title: str, unit: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on the terminal's standard error (nothing elsewhere), told by (title, done, total)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def advance(what: str, done: int, total: int) -> None:
            name = what or title
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield advance


def now() -> datetime:
    return SystemClock().now()


def print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
