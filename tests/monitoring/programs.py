"""Real Prometheus and Alertmanager, as Debian packs them, for the tests.

What is on the PATH is used. Else the packages are fetched by apt, which checks their signatures, and unpacked (not installed) below
the user's cache. Where that is not possible the tests are skipped, and in CI they fail.
"""

import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
}
"""Program -> Debian's package. Upstream calls Alertmanager's program `alertmanager`."""

FETCH_SECONDS = 300


class MissingError(Exception):
    """The program is not there and cannot be fetched; the message is one line."""


def program(name: str) -> str:
    """The path of a program."""
    try:
        return _found(name)
    except MissingError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


def command(name: str) -> list[str]:
    """What a program that serves is started with.

    Debian's Alertmanager reads a template below /usr/share, where nothing was installed: it sees the unpacked folder there, in
    a namespace of its own.
    """
    found = program(name)
    shared = Path(found).parent.parent / "share" / "prometheus"
    if Path("/usr/share/prometheus").exists() or not shared.exists():
        return [found]
    mounts = 'mount -t tmpfs none /usr/share && mkdir /usr/share/prometheus && mount --bind "$0" /usr/share/prometheus'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'{mounts} && exec "$@"', str(shared), found]


@cache
def _found(name: str) -> str:
    there = shutil.which(name) or shutil.which(name.removeprefix("prometheus-"))
    return there or str(_unpacked(PACKAGES[name]) / "usr" / "bin" / name)


def _unpacked(package: str) -> Path:
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    target = cached / "liuyan" / f"{package}-{platform.machine()}"
    if not target.exists():
        _fetch(package, target)
    return target


def _fetch(package: str, target: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise MissingError(f"needs {package}: it is not on the PATH, and there is no apt-get to fetch it")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as whole:
        try:
            done = subprocess.run(
                ["apt-get", "download", package],
                cwd=whole, capture_output=True, text=True, check=False, timeout=FETCH_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise MissingError(f"needs {package}: apt-get did not fetch it in {FETCH_SECONDS} s") from None
        files = list(Path(whole).glob("*.deb"))
        if done.returncode or not files:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
            raise MissingError(f"needs {package}: apt-get could not fetch it ({reason})")
        unpacked = Path(whole, "unpacked")
        subprocess.run(["dpkg", "-x", str(files[0]), str(unpacked)], check=True, timeout=FETCH_SECONDS)
        if not target.exists():  # somebody else may have been quicker
            unpacked.rename(target)
