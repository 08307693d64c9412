"""The deployment's files (TOML) into values: a module for each file. Reading a file is the caller's; here are its texts.

Whatever a text holds, it is a value or a ConfigError: one line with file, place, what is wrong and what to write instead.
"""

from shared.config.calendar import parse_calendar
from shared.config.platforms import parse_registry
from shared.config.policy import parse_policy
from shared.config.table import ConfigError

__all__ = ["ConfigError", "parse_calendar", "parse_policy", "parse_registry"]
