"""What the commands of both forms share: failing with one line, and reading the settings."""

import os
import re
import sys
from pathlib import Path
from typing import NoReturn

import click

from shared.settings import Settings, SettingsError, read_settings

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def fail(message: str) -> NoReturn:
    """One clear line on standard error, exit code 1."""
    for line in message.splitlines():
        click.echo(f"liuyan：{line}", err=True)
    sys.exit(1)


def one_line(text: str) -> str:
    """What strangers may have written can neither end the line nor steer the terminal."""
    return _CONTROLS.sub("\ufffd", text)


def settings() -> Settings:
    file = os.environ.get("LIUYAN_CONFIG")
    try:
        return read_settings(os.environ, Path(file) if file else None)
    except SettingsError as error:
        fail(str(error))
