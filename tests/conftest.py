"""Fixtures for all tests. The repository's root is on the path by `pythonpath` in pyproject.toml."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from services.distributed.postgres import PostgresError
from shared.rules import Ruleset
from tests import postgres
from tests.builders import shipped_rules
from tests.enginekit import ON_POSTGRES

ONLY_SQLITE = pytest.mark.parametrize("each_database", ["sqlite"], indirect=True)
"""For a test, among those on each database, that is about the file."""

os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
"""For every broker that a test starts: it lives for seconds, and is ready with little more than half of the work."""

if TYPE_CHECKING:
    from services.distributed.broker import Broker


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
