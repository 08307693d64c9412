"""The alternatives that benches compare with, in an environment of their own: the product does not depend on them."""

import os
import subprocess
import venv
from importlib.metadata import version
from pathlib import Path

THEIRS = ("fastapi==0.165.0", "quixstreams==3.28.1")
SAME = ("uvicorn", "uvloop", "httptools", "aiokafka", "crc32c")
"""What both sides use, in the same version."""


def interpreter() -> str:
    """A Python that has them; installed at the first call, which takes a minute and needs a package index."""
    where = Path(__file__).parent.parent / "build" / "rivals"
    python = where / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = "\n".join([*THEIRS, *(f"{name}=={version(name)}" for name in SAME)])
    installed = where / "installed.txt"
    if not installed.exists() or installed.read_text() != wanted:
        venv.create(where, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted.split()], check=True)  # noqa: S603
        installed.write_text(wanted)
    return str(python)
