"""Databases of earlier versions: brought up to date with all that is in them, and equal to new ones; on PostgreSQL too."""

import io
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory

import services.alerts
from services.alerts.stream import tables as stream
from services.alerts.tables import metadata
from services.distributed.database import open_database as open_postgres_database
from services.standalone.database import Database, open_database
from tests import postgres
from tests.enginekit import folder

SCRIPTS = ScriptDirectory(
    str(Path(services.alerts.__path__[0]) / "migrations"),
    version_locations=[str(Path(services.alerts.__path__[0]) / "migrations" / "versions")],
)
OLD = """
INSERT INTO days VALUES ('zhenkang', '2022-03-30', 2, NULL, NULL, NULL, NULL);
INSERT INTO days VALUES ('zhenkang', '2022-03-31', 1, 3, 1648742400000000, 7, 't1');
INSERT INTO cases (key, platform, subject, county, title, breached, suspended, provisional, month, rounds, first_reply,
  complete, ruleset, events_ahead) SELECT 'a/' || n, 'a', n, 'a', substr(hex(zeroblob(200)), 1, n), 0, 0, 0, '', 0, '', '', '', 0
  FROM (SELECT 200 AS n UNION SELECT 201);
INSERT INTO cases (key, platform, subject, county, category, outcome, received_at, received_day, closed_at, breached, suspended,
  provisional, month, rounds, first_reply, complete, ruleset, events_ahead)
  SELECT 'b/' || n, 'b', n, 'b', 'help', o, 1, '2022-03-31', 1648742399999999 + n, 0, 0, 0, '2022-03', 1, '', '', '', 0
  FROM (SELECT 0 AS n, 'on_time' AS o UNION SELECT 1, 'late' UNION SELECT 2, 'on_time' UNION SELECT 3, 'rejected');
INSERT INTO alerts VALUES (5, 'zhenkang/a', 'zhenkang', 1, 'complete', 'overdue', 10, 0, 20, NULL, NULL);
INSERT INTO alerts VALUES (6, 'zhenkang/a', 'zhenkang', 1, 'reply', 'overdue', 10, 1, 20, 30, 'completed');
"""


def first_version(file: Path) -> None:
    """A file as the first version made it, with something in it."""
    database = Database(file)
    with (
        database.writing() as connection,
        EnvironmentContext(Config(), SCRIPTS, fn=lambda rev, _: SCRIPTS._upgrade_revs("0001", rev)) as environment,
    ):
        environment.configure(connection=connection, version_table="schema_alerts", transactional_ddl=False)
        environment.run_migrations()
    database.close()
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(OLD)


def rows(file: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(statement).fetchall()


def schema(file: Path) -> set[tuple[str, str]]:
    return {(name, " ".join(str(sql).split())) for name, sql in rows(file, "SELECT name, sql FROM sqlite_master")}


def test_a_database_of_the_first_version_keeps_its_alerts_and_tallies() -> None:
    with folder() as where:
        file = where / "old.db"
        first_version(file)
        open_database(file, write=True).close()
        assert rows(file, "SELECT * FROM days") == [("zhenkang", "2022-03-30", 2), ("zhenkang", "2022-03-31", 1)]
        assert rows(file, "SELECT * FROM tallies") == [("zhenkang", "2022-03-31", 1648742400000000, 7, "t1", 3)]
        assert [row[0] for row in rows(file, "SELECT * FROM alerts ORDER BY id")] == [5, 6]
        days = [("2022-03-31", "2022-03-31", "b", "help", 1), ("2022-03-31", "2022-04-01", "b", "help", 2)]
        assert rows(file, "SELECT * FROM handled ORDER BY closed_day") == days
        titles = [title for (title,) in rows(file, "SELECT title FROM cases WHERE platform = 'a' ORDER BY key")]
        assert titles == ["0" * 200, "0" * 199 + "…"]
        again = "INSERT INTO alerts SELECT NULL, key, platform, round, target, rung, due_at, quiet, 40, NULL, NULL FROM alerts "
        with closing(sqlite3.connect(file)) as connection:
            connection.execute(f"{again} WHERE id = 6")
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(f"{again} WHERE id = 5")


def test_the_migrations_make_the_tables_of_the_code() -> None:
    with folder() as where:
        old, new = where / "old.db", where / "new.db"
        first_version(old)
        for file, create in ((old, False), (new, True)):
            database = open_database(file, create, write=True)
            with database.reading() as connection:
                context = MigrationContext.configure(
                    connection,
                    opts={
                        "include_object": lambda obj, name, kind, reflected, other: (
                            not (kind == "table" and reflected and name not in metadata.tables)
                        )
                    },
                )
                assert compare_metadata(context, metadata) == []
            database.close()
        assert schema(old) == schema(new)


def test_the_tables_of_the_stream_are_what_their_migrations_make(postgres_server: postgres.Server) -> None:
    database = open_postgres_database(postgres_server.create("stream-migrations"))
    with database.reading() as connection:
        ours = {"include_object": lambda obj, name, kind, *_: kind != "table" or name in stream.metadata.tables}
        assert compare_metadata(MigrationContext.configure(connection, opts=ours), stream.metadata) == []
    database.close()


def test_the_migrations_can_be_written_for_postgresql() -> None:
    text = io.StringIO()
    with EnvironmentContext(
        Config(), SCRIPTS, fn=lambda rev, _: SCRIPTS._upgrade_revs("head", rev), as_sql=True
    ) as environment:
        environment.configure(dialect_name="postgresql", output_buffer=text, version_table="schema_alerts")
        environment.run_migrations()
    written = text.getvalue()
    assert "CREATE INDEX cases_ahead ON cases (key) WHERE events_ahead IS true;" in written
    assert "COMMENT ON TABLE alerts" in written
    assert "to_char(to_timestamp(closed_at / 1000000 + 28800) AT TIME ZONE 'UTC', 'YYYY-MM-DD')" in written
    assert "ALTER TABLE alerts DROP CONSTRAINT alerts_once;" in written
    assert (
        "CREATE UNIQUE INDEX alerts_once ON alerts (key, round, target, rung, due_at) WHERE cleared_at IS NULL;"
        in written
    )
