"""A real PostgreSQL for tests: started here, on a socket in a folder of its own, gone afterwards.

The programs are those named by LIUYAN_TEST_POSTGRES (a folder), or those that the product finds (services/distributed/postgres.py).
"""

import atexit
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from sqlalchemy import create_engine, text

import services.alerts
import services.ingest
import services.standalone
from services.distributed import postgres
from shared.database import open_postgres

MEMORY = Path("/dev/shm")  # noqa: S108 - in memory where there is such a folder: these tests are not about the disk
FAST = {
    "fsync": "off",  # of the server, for speed; what commits ask for is tested by itself
    "full_page_writes": "off",
    "log_min_messages": "fatal",
}


class Server(postgres.Server):
    """In a folder of its own. Raises PostgresError."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        named = os.environ.get("LIUYAN_TEST_POSTGRES")
        folder = tempfile.mkdtemp(prefix="liuyan-pg-", dir=MEMORY if MEMORY.is_dir() else None)
        super().__init__(Path(folder), Path(named) if named else None, FAST | dict(settings or {}))


def migrated(url: str) -> str:
    """The database with all tables of all services."""
    packages = {"log": services.standalone, "ingest": services.ingest, "alerts": services.alerts}
    open_postgres(url, {name: Path(found.__path__[0]) / "migrations" for name, found in packages.items()}).close()
    return url


_free: list[str] = []
_numbers = count(1)


@contextmanager
def fresh_database() -> Iterator[str]:
    """The URL of a database with empty tables, used again afterwards."""
    found = server()
    if not _free:
        _free.append(migrated(found.create(f"test{next(_numbers)}")))
    url = _free.pop()
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        tables = [
            name for name in connection.dialect.get_table_names(connection, "public") if not name.startswith("schema_")
        ]
        connection.execute(text("SET session_replication_role = replica"))  # what may not be emptied is, in tests
        connection.execute(text(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY"))
    engine.dispose()
    yield url
    _free.append(url)


_servers: list[Server] = []


def server() -> Server:
    """The one that all tests of this run share. Raises PostgresError."""
    if not _servers:
        started = Server()
        atexit.register(started.remove)
        started.start()
        _servers.append(started)
    return _servers[0]
