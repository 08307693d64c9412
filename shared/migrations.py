"""Brings a database's tables to this version of the code: Alembic, one history per owner of tables, run in the caller's transaction."""

from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection


class SchemaError(RuntimeError):
    """The database was written by a newer version; the message is one line."""


def upgrade(connection: Connection, owner: str, folder: Path) -> None:
    """Apply what is missing of the owner's history (`folder/versions`). Raises SchemaError for an unknown newer one."""
    script = ScriptDirectory(str(folder), version_locations=[str(folder / "versions")])
    try:
        with EnvironmentContext(
            Config(),
            script,
            fn=lambda rev, _: script._upgrade_revs("head", rev),  # noqa: SLF001
        ) as environment:
            environment.configure(connection=connection, version_table=f"schema_{owner}", transactional_ddl=False)
            environment.run_migrations()
    except CommandError as error:
        raise SchemaError("数据库由更新版本的 liuyan 写成，请升级程序后再打开") from error
