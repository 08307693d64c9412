"""Logs: lines for machines, or text; colours are for a terminal alone."""

import json
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from shared.logs import configure_logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("style", ["text", "json"])
def test_what_goes_to_a_file_has_no_colours(style: Literal["text", "json"], capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(style)
    structlog.get_logger("test").warning("一句话", action="told", number=3)
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "一句话" in said
    if style == "json":
        assert json.loads(said)["action"] == "told"
