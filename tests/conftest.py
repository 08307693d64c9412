"""Fixtures for all tests. The repository's root is on the path by `pythonpath` in pyproject.toml."""

import pytest

from shared.deployment import load_ruleset
from shared.rules import Ruleset


@pytest.fixture(scope="session")
def rules() -> Ruleset:
    """The shipped rules."""
    return load_ruleset()
