"""The image: what it is built from is there, what is in it is what was tested, and it runs as the manifests say."""

import fnmatch
import json
import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from shared.settings import SETTINGS
from tests.deploy.manifests import FORMS, ROOT, WORKLOADS, of_kind, template
from tests.docs.markdown import read

PROJECT: Any = tomllib.loads(read("pyproject.toml"))
LOCK, TESTED = "requirements-distributed.lock", "requirements-dev.lock"
EXTRAS = ("build", "kafka", "oidc", "postgres", "faust")


def instructions() -> list[tuple[str, str]]:
    """(instruction, its argument), continued lines joined."""
    text = re.sub(r"\\\n\s*", "", read("deploy/Containerfile"))
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def argument(instruction: str) -> str:
    """Of the last one."""
    return [rest for word, rest in instructions() if word == instruction][-1]


def pinned(lock: str) -> dict[str, str]:
    """Package -> version and marker, as the lock says."""
    found = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==(.+?)\s*\\$", read(lock), re.MULTILINE)
    return {canonicalize_name(name): rest for name, rest in found}


def test_what_is_copied_is_there_and_not_left_out() -> None:
    copied = [source for word, rest in instructions() if word == "COPY" for source in rest.split()[:-1]]
    sources = {source for source in copied if not source.startswith(("--", "/"))}
    patterns = read(".dockerignore").split()
    assert patterns[0] == "*"
    assert sources == {pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")}
    assert all((ROOT / source).exists() for source in sources)
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {*packages, PROJECT["project"]["readme"], "pyproject.toml", LOCK} <= sources
    assert not any(fnmatch.fnmatch(source, "**/__pycache__") for source in sources)


def test_what_is_installed_is_what_was_tested() -> None:
    lock, tested = pinned(LOCK), pinned(TESTED)
    wanted = [*PROJECT["project"]["dependencies"]]
    for extra in EXTRAS:
        wanted += PROJECT["project"]["optional-dependencies"][extra]
    assert {canonicalize_name(Requirement(each).name) for each in wanted} <= lock.keys()
    assert {name: version for name, version in lock.items() if tested[name] != version} == {}
    assert f"--require-hashes -r {LOCK}" in " ".join(rest for word, rest in instructions() if word == "RUN")


@pytest.mark.parametrize("lock", ["requirements.lock", LOCK, TESTED])
def test_locks_have_hashes_and_name_no_index(lock: str) -> None:
    text = read(lock)
    heads = re.findall(r"^[\w.-]+(?:\[[\w,-]+\])?==.*$\n(.*)$", text, re.MULTILINE)
    assert len(heads) == len(pinned(lock)) > 40
    assert all(following.strip().startswith("--hash=sha256:") for following in heads)
    assert "//" not in text


def test_the_image_runs_the_program_without_rights_on_the_documented_port() -> None:
    (entry,) = json.loads(argument("ENTRYPOINT"))
    assert entry in PROJECT["project"]["scripts"]
    (port,) = (setting.default for setting in SETTINGS if setting.name == "port")
    assert argument("EXPOSE") == str(port)
    for form in FORMS:
        for workload in of_kind(form, *WORKLOADS).values():
            rights = template(workload)["spec"]["securityContext"]
            assert argument("USER") == f"{rights['runAsUser']}:{rights['runAsGroup']}"
            assert rights["fsGroup"] == rights["runAsGroup"]


def test_the_python_of_the_image_is_one_that_the_program_runs_on() -> None:
    version = argument("ARG").removeprefix("PYTHON=").partition("-")[0]
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(version)
    bases = {rest.partition(" ")[0] for word, rest in instructions() if word == "FROM"}
    assert bases == {"docker.io/library/python:${PYTHON}"}
