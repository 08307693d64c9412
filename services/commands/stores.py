"""Where a command finds the data: the embedded form's file, or the distributed form's PostgreSQL, by the address alone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, select
from sqlalchemy.exc import DatabaseError

from services.commands.common import opened, prepare_file
from services.compose.cases import Histories
from services.standalone import log
from services.standalone.database import Database
from shared.commandline import fail
from shared.database import Connections, DatabaseUnusableError, place, postgres_url, reason
from shared.records import DeadLetter
from shared.rules import Ruleset
from shared.settings import Settings


class Store(Struct, frozen=True):
    """A database of either form. `place` names it for people; `ruleset`: hash of the ruleset of what it holds, empty for none.
    `unfinished`: why what it holds cannot be read now, though nothing is wrong."""

    database: Connections
    place: str
    histories: Histories
    buried: Callable[[Connection], Iterator[tuple[datetime, DeadLetter]]]
    ruleset: Callable[[Connection], str]
    prepare: Callable[[Ruleset], None]
    unfinished: Callable[[Connection], str | None]

    def reading(self) -> AbstractContextManager[Connection]:
        return self.database.reading()

    def writing(self) -> AbstractContextManager[Connection]:
        return self.database.writing()

    def require_same_rules(self, rules: Ruleset) -> None:
        """A command must not mix figures of two rulesets, nor tell half of them."""
        with self.reading() as connection:
            known, unfinished = self.ruleset(connection), self.unfinished(connection)
        if unfinished is not None:
            fail(unfinished)
        if known not in ("", rules.hash):
            fail(
                "数据库是按另一套规则算出的：请使用与服务相同的规则文件（platforms、policy、calendar），或启动服务让它重算"
            )

    def bring_up_to_date(self, rules: Ruleset) -> None:
        """What the command says holds for everything that was accepted; in the distributed form its services see to that."""
        self.require_same_rules(rules)
        self.prepare(rules)


@contextmanager
def opened_store(db: str | None, found: Settings, create: bool = False, write: bool = False) -> Iterator[Store]:
    """The database of a command, closed at the end. Its errors end the command with one line."""
    text = db or found.db
    if not text.startswith("postgres"):
        with opened(text, found, create, write) as file:
            yield of_file(file)
        return
    try:
        from services.distributed.database import open_database

        database = open_database(text)
    except DatabaseUnusableError as error:
        fail(str(error))
    except ImportError:
        fail("缺少 psycopg：请安装 liuyan[postgres]（make test 所建的环境里已有）")
    try:
        yield _of_postgres(database, text)
    except DatabaseError as error:
        fail(f"数据库出错（{reason(error, postgres_url(text))}）")
    finally:
        database.close()


def of_file(file: Database) -> Store:
    return Store(
        database=file,
        place=str(file.file.resolve()),
        histories=log.histories,
        buried=log.buried,
        ruleset=lambda connection: log.positions(connection).ruleset,
        prepare=lambda rules: prepare_file(file, rules),
        unfinished=lambda connection: None,
    )


def _of_postgres(database: Connections, text: str) -> Store:
    from services.alerts.stream.rebuild import rebuilding
    from services.alerts.stream.records import buried, histories
    from services.alerts.stream.tables import state

    def ruleset(connection: Connection) -> str:
        return connection.execute(select(state.c.ruleset)).scalar() or ""

    def unfinished(connection: Connection) -> str | None:
        if rebuilding(connection) is None:
            return None
        return "投影正在重建，还不完整：请等它完成（liuyan alerts 在运行时会自动完成，或再运行 liuyan rebuild）"

    return Store(
        database=database,
        place=f"postgresql://{place(postgres_url(text))}",
        histories=histories,
        buried=buried,
        ruleset=ruleset,
        prepare=lambda rules: None,
        unfinished=unfinished,
    )
