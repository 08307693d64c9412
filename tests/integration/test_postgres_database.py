"""The tables are what the code says on both databases; PostgreSQL is opened safely, and says in one line when it cannot be."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, inspect, select, text
from sqlalchemy.exc import DBAPIError

import services.alerts
from services.alerts.notices.tables import metadata as of_notices
from services.alerts.tables import metadata
from services.standalone.database import Database
from shared.database import DatabaseUnusableError, Postgres, open_postgres, postgres_url
from shared.migrations import upgrade
from tests import postgres
from tests.enginekit import folder, fresh_file
from tests.postgres import Server

ALERTS = {"alerts": Path(services.alerts.__path__[0]) / "migrations"}
SECRET = "s3cret-Passw0rd"  # noqa: S105


@pytest.fixture
def url(postgres_server: Server) -> Iterator[str]:
    with postgres.fresh_database() as found:
        yield found


@pytest.fixture
def opened(url: str) -> Iterator[Postgres]:
    with closing(Postgres(postgres_url(url), 2, 2)) as database:
        yield database


@pytest.fixture
def connection(each_database: str, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """To a database that the migrations made."""
    if each_database == "postgresql":
        engine = create_engine(request.getfixturevalue("url"))
        with engine.begin() as found:
            yield found
        engine.dispose()
    else:
        with folder() as where, closing(Database(fresh_file(where))) as database, database.writing() as found:
            yield found


def own(_: object, name: str | None, kind: str, __: bool, ___: object) -> bool:
    return kind != "table" or name in metadata.tables


def test_the_migrations_make_the_tables_of_the_notices(connection: Connection) -> None:
    ours = {
        "compare_type": True,
        "include_object": lambda _, name, kind, *__: kind != "table" or name in of_notices.tables,
    }
    assert compare_metadata(MigrationContext.configure(connection, opts=ours), of_notices) == []


def test_the_migrations_make_the_tables_of_the_code(connection: Connection) -> None:
    options = {"compare_type": True, "compare_server_default": True, "include_object": own}
    assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    seen = inspect(connection)
    for table in metadata.sorted_tables:
        assert {index["name"] for index in seen.get_indexes(table.name) if not index.get("duplicates_constraint")} == {
            index.name for index in table.indexes
        }
        assert [column["name"] for column in seen.get_columns(table.name)] == [column.name for column in table.columns]


def test_every_text_is_in_the_order_of_code_points(url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        columns = connection.execute(
            text("SELECT table_name, column_name, collation_name FROM information_schema.columns WHERE data_type = 'text'")
        ).all()  # fmt: skip
    engine.dispose()
    of_alerts = [column for column in columns if column.table_name in metadata.tables]
    assert len(of_alerts) > 20
    assert {column.collation_name for column in of_alerts} == {"C"}, of_alerts


def test_the_ids_are_wide_enough_for_a_nation(url: str) -> None:
    engine = create_engine(url)
    kinds = {(t, c["name"]): str(c["type"]) for t in ("alerts", "targets") for c in inspect(engine).get_columns(t)}
    engine.dispose()
    assert (kinds["alerts", "id"], kinds["targets", "id"]) == ("BIGINT", "BIGINT")


def test_the_partial_indexes_serve_the_queries(url: str) -> None:
    """With many rows the sweep, the lists and the scrape use them, whatever the planner knows of the values."""
    from services.alerts import sweep
    from services.alerts.tables import OPEN, cases

    engine = create_engine(url)
    plans: list[str] = []
    with engine.begin() as connection:
        columns = {c.name: "''" if not c.nullable else "NULL" for c in cases.columns} | {
            "key": "'gengma/' || n", "platform": "'gengma'", "outcome": "CASE WHEN n % 50 = 0 THEN 'overdue' ELSE 'on_time' END",
            "breached": "false", "suspended": "false", "provisional": "false", "events_ahead": "false", "rounds": "1",
            "due_at": "n", "wake_at": "CASE WHEN n % 50 = 0 THEN n END",
        }  # fmt: skip
        connection.execute(
            text(f"INSERT INTO cases ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM generate_series(1, 20000) n")  # noqa: S608
        )  # fmt: skip
        connection.execute(text("ANALYZE cases"))
        for statement in (
            select(cases).where(cases.c.platform == "gengma", OPEN, cases.c.due_at <= 5).limit(5),
            select(cases.c.key).where(cases.c.wake_at <= 500).order_by(cases.c.wake_at).limit(5),
            sweep._FIRST,
        ):
            compiled = statement.compile(engine, compile_kwargs={"literal_binds": True})
            plans.append("\n".join(connection.execute(text(f"EXPLAIN {compiled}")).scalars()))
    engine.dispose()
    assert ["cases_due" in plans[0], "cases_wake" in plans[1], "cases_wake" in plans[2]] == [True] * 3, plans


def test_replicas_that_start_together_make_the_tables_once(postgres_server: Server) -> None:
    where = postgres_server.create("together")
    problems: list[Exception] = []

    def start() -> None:
        try:
            open_postgres(where, ALERTS).close()
        except Exception as error:  # noqa: BLE001
            problems.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert problems == []


def test_a_writer_is_durable_and_gives_up_waiting_and_a_reader_cannot_write(opened: Postgres) -> None:
    def settings(connection: Connection) -> dict[str, str]:
        names = ("synchronous_commit", "transaction_isolation", "transaction_read_only", "lock_timeout",
                 "idle_in_transaction_session_timeout")  # fmt: skip
        return {name: connection.execute(text(f"SHOW {name}")).scalar_one() for name in names}

    with opened.writing() as connection:
        found = settings(connection)
        waits = {"lock_timeout": "30s", "idle_in_transaction_session_timeout": "1min"}
        assert found == waits | {
            "synchronous_commit": "on", "transaction_isolation": "read committed", "transaction_read_only": "off",
        }  # fmt: skip
    with opened.reading() as connection:
        found = settings(connection)
        assert (found["transaction_isolation"], found["transaction_read_only"]) == ("repeatable read", "on")
        with pytest.raises(DBAPIError, match="read-only"):
            connection.execute(text("DELETE FROM days"))


def test_a_reader_sees_a_snapshot_and_blocks_nobody(opened: Postgres) -> None:
    row = "INSERT INTO days (platform, day, received) VALUES ('gengma', '2022-03-0{}', 1)"
    with opened.reading() as reading:
        count = text("SELECT count(*) FROM days")
        assert reading.execute(count).scalar() == 0
        with opened.writing() as writing:
            writing.execute(text(row.format(1)))
        assert reading.execute(count).scalar() == 0
    with opened.reading() as reading:
        assert reading.execute(count).scalar() == 1


@pytest.mark.usefixtures("postgres_server")  # there is one
def test_a_restarted_server_is_found_again() -> None:
    server = Server()
    try:
        server.start()
        database = open_postgres(server.create("again"), ALERTS)
        server.stop()
        with pytest.raises(DBAPIError), database.reading():
            pass
        server.start()
        with database.reading() as connection:
            assert connection.execute(text("SELECT count(*) FROM cases")).scalar() == 0
        database.close()
    finally:
        server.remove()


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://me:{SECRET}@localhost/liuyan",
        f"postgresql://me:{SECRET}@localhost",
        f"postgresql+asyncpg2://me:{SECRET}@localhost:port/liuyan",
        f"postgresql://me:{SECRET}@[::1/liuyan",
        SECRET,
        "",
    ],
)
def test_what_is_no_address_is_said_in_one_line_without_the_password(url: str) -> None:
    with pytest.raises(DatabaseUnusableError) as refused:
        open_postgres(url, {})
    assert SECRET not in str(refused.value)
    assert "postgresql://用户:密码@主机:端口/库名" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("form", ["in the address", "in the query", "in the query twice"])
def test_a_server_that_is_not_there_is_said_in_one_line_without_the_password(form: str) -> None:
    url = {
        "in the address": f"postgresql://me:{SECRET}@127.0.0.1:1/liuyan",
        "in the query": f"postgresql://me@127.0.0.1:1/liuyan?password={SECRET}",
        "in the query twice": f"postgresql://me@127.0.0.1:1/liuyan?sslmode={SECRET}&password={SECRET}",
    }[form]
    with pytest.raises(DatabaseUnusableError) as refused:
        open_postgres(url, {})
    message = str(refused.value)
    assert message.startswith("打不开数据库 127.0.0.1:1/liuyan（")
    assert message.endswith("），请核对地址、账号和权限，并确认数据库服务已启动")
    assert SECRET not in message
    assert "\n" not in message


def test_a_database_of_a_newer_version_is_refused(postgres_server: Server) -> None:
    where = postgres_server.create("newer")
    open_postgres(where, ALERTS).close()
    engine: Engine = create_engine(where)
    with engine.begin() as connection:
        connection.execute(text("UPDATE schema_alerts SET version_num = '9999'"))
    with pytest.raises(DatabaseUnusableError, match="更新版本"):
        open_postgres(where, ALERTS)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM schema_alerts"))
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
        upgrade(connection, "alerts", ALERTS["alerts"])
    engine.dispose()
