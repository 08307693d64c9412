"""Brings a database's tables to this version of the code: Alembic, one history per owner of tables, run in the caller's transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection


class SchemaError(RuntimeError):
    """The database was written by a newer version; the message is one line."""


def is_current(connection: Connection, owner: str, folder: Path) -> bool:
    """Whether the owner's tables are of the last version in `folder/versions`; reads only. Raises SchemaError for an unknown newer one."""
    script = _script(folder)
    context = MigrationContext.configure(connection, opts={"version_table": _version_table(owner)})
    found = context.get_current_heads()
    with _newer():
        script.get_revisions(found)
    return set(found) == set(script.get_heads())


def upgrade(connection: Connection, owner: str, folder: Path) -> None:
    """Apply what is missing of the owner's history (`folder/versions`). Raises SchemaError for an unknown newer one."""
    script = _script(folder)
    with (
        _newer(),
        EnvironmentContext(
            Config(),
            script,
            fn=lambda rev, _: script._upgrade_revs("head", rev),  # noqa: SLF001
        ) as environment,
    ):
        environment.configure(connection=connection, version_table=_version_table(owner), transactional_ddl=False)
        environment.run_migrations()


def _script(folder: Path) -> ScriptDirectory:
    return ScriptDirectory(str(folder), version_locations=[str(folder / "versions")])


def _version_table(owner: str) -> str:
    return f"schema_{owner}"


@contextmanager
def _newer() -> Iterator[None]:
    try:
        yield
    except CommandError as error:
        raise SchemaError("数据库由更新版本的 liuyan 写成，请升级程序后再打开") from error
