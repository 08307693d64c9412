"""Fixtures for all tests. The repository's root is on the path by `pythonpath` in pyproject.toml."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from services.distributed.postgres import PostgresError
from shared.rules import Ruleset
from tests import postgres
from tests.builders import shipped_rules
from tests.enginekit import ON_POSTGRES
from tests.workers import OneAtATime, needs_the_machine

ONLY_SQLITE = pytest.mark.parametrize("each_database", ["sqlite"], indirect=True)
"""For a test, among those on each database, that is about the file."""

os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
"""For every broker that a test starts: it lives for seconds, and is ready with little more than half of the work."""

if TYPE_CHECKING:
    from services.distributed.broker import Broker


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneAtATime | None:
    """With several workers: a file is of one of them, and so is all that needs the machine for itself (tests/workers.py)."""
    return OneAtATime(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What has to be done one after the other begins first, so that it does not end last."""
    items.sort(key=lambda item: not needs_the_machine(item.nodeid))


@pytest.fixture(scope="session")
def rules() -> Ruleset:
    """The shipped rules."""
    return shipped_rules()


@pytest.fixture(scope="session")
def postgres_server() -> postgres.Server:
    """A running PostgreSQL. Missing, the test is skipped; in CI it fails."""
    try:
        return postgres.server()
    except PostgresError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(params=["sqlite", "postgresql"])
def each_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs on both databases: `deck` makes its own on the one in turn."""
    if request.param == "postgresql":
        request.getfixturevalue("postgres_server")
    token = ON_POSTGRES.set(request.param == "postgresql")
    yield request.param
    ON_POSTGRES.reset(token)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Broker]":
    """A real broker with the product's topics, for all tests of the session; where it cannot be, they are skipped (in CI: fail)."""
    from tests.kafkakit import create_topics, own_broker

    with own_broker(tmp_path_factory.mktemp("kafka")) as started:
        create_topics(started.address)
        yield started
