"""Reads the deployment's files; what is not given is the shipped default (the first city's)."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from shared.config import ConfigError, parse_calendar, parse_policy, parse_registry
from shared.rules import Ruleset

T = TypeVar("T")

UNREADABLE: dict[type[Exception], str] = {
    FileNotFoundError: "没有这个文件，请核对路径",
    IsADirectoryError: "这是一个目录，请写文件的路径",
    NotADirectoryError: "路径中有一段不是目录，请核对路径",
    PermissionError: "没有读取的权限，请核对权限",
    UnicodeDecodeError: "不是 UTF-8 编码，请另存为 UTF-8",
}


def read_text(path: Path | None, default: str) -> tuple[str, str]:
    """The text and the name to use in messages about it. Raises ConfigError when the file cannot be read."""
    if path is None:
        return (files("shared") / "defaults" / default).read_text(encoding="utf-8"), default
    name = str(path) if str(path).isprintable() else repr(str(path))
    try:
        return path.read_text(encoding="utf-8-sig"), name  # editors of Windows write a byte order mark
    except (OSError, ValueError) as error:  # ValueError: other bytes than UTF-8, or a path that no system has
        reason = UNREADABLE.get(type(error), "系统打不开它，请核对路径")
        raise ConfigError(f"{name}：读不出来：{reason}") from error


def load_ruleset(platforms: Path | None = None, policy: Path | None = None, calendar: Path | None = None) -> Ruleset:
    """The ruleset of a deployment. Raises ConfigError with every file's first problem, a line each."""
    problems: list[str] = []

    def tried(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except ConfigError as error:
            problems.append(str(error))
            return None

    registry = tried(lambda: parse_registry(*read_text(platforms, "platforms.toml")))
    policies = tried(lambda: parse_policy(*read_text(policy, "policy.toml")))
    text = tried(lambda: read_text(calendar, "calendar.toml"))
    calendars = None if text is None else tried(lambda: parse_calendar(text[0], registry, text[1]))
    if registry is None or policies is None or calendars is None:
        raise ConfigError("\n".join(problems))
    return Ruleset(registry, policies, calendars)
