"""A TOML text as tables that are read item by item; an item of another kind than asked for is refused in one line."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date, time
from typing import Any, NoReturn

import msgspec

from shared.policy import MINUTES_OF_DAY

SLUG = re.compile(r"[a-z][a-z0-9_-]{0,31}")
CLOCK = re.compile(r"(\d\d):([0-5]\d)", re.ASCII)


class ConfigError(ValueError):
    """A configuration text cannot be used; the message is one line for whoever edits it."""


def shown(value: object) -> str:
    """A value of the file, short and without line breaks."""
    if isinstance(value, dict):
        return "{…}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date | time):
        return value.isoformat()
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # tables in tables without end; an integer of thousands of digits
        return "太长的值"
    return text if len(text) <= 60 else f"{text[:60]}…"


def clock_minutes(text: object) -> int | None:
    """Minutes since midnight of "08:30", up to "24:00"; None when it is no such text."""
    match = CLOCK.fullmatch(text) if isinstance(text, str) else None
    minutes = int(match[1]) * 60 + int(match[2]) if match else MINUTES_OF_DAY + 1
    return minutes if minutes <= MINUTES_OF_DAY else None


def parse_table(text: str, file: str, allowed: Iterable[str] | None = None) -> "Table":
    """The whole file as a table with these items, by default any."""
    try:
        items = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"\(at line (\d+), column \d+\)$", str(error))
        line = text.split("\n")[int(at[1]) - 1].strip() if at else ""
        place = f"第 {at[1]} 行 {shown(line)} 的写法有误" if at else "到文件末尾仍没有写完"
        raise ConfigError(
            f"{file}：不是合法的 TOML：{place}，请核对等号、引号、括号和日期，同一项只能写一次"
        ) from error
    except RecursionError as error:
        raise ConfigError(f"{file}：括号套得太深，请核对方括号和花括号") from error
    except ValueError as error:  # an integer that Python refuses to read
        raise ConfigError(f"{file}：有一个几千位的整数，请核对数字") from error
    return Table(file, "", items, allowed)


class Table:
    """A table of a file and where it stands in it. An item is of the kind that is asked for, or refused."""

    def __init__(self, file: str, place: str, items: Mapping[str, Any], allowed: Iterable[str] | None = None) -> None:
        """Only items that are `allowed` may be in it; by default all."""
        self.file, self.place, self.items = file, place, items
        if allowed is not None and (unknown := sorted(set(items) - set(allowed))):
            listed = "、".join(shown(item) for item in unknown)
            self.refuse(f"有不认识的项 {listed}，可用的是 {'、'.join(sorted(allowed))}")

    def refuse(self, problem: str, item: str = "") -> NoReturn:
        place = f"{self.place} 的 {item}" if item and self.place else item or self.place or "顶层"
        raise ConfigError(f"{self.file}：{place}：{problem}")

    def require(self, condition: object, problem: str, item: str = "") -> None:
        if not condition:
            self.refuse(problem, item)

    def expect(self, condition: object, kind: str, item: str) -> None:
        """Refuse the item's value unless the condition holds, saying what it should be and what it is."""
        if not condition:
            value = self.items.get(item)
            self.refuse(f"应为{kind}，{'没有写' if value is None else f'现在是 {shown(value)}'}", item)

    def text(self, item: str) -> str:
        value = self.items.get(item)
        self.expect(isinstance(value, str) and value.strip(), "非空文字", item)
        return str(value)

    def texts(self, item: str) -> tuple[str, ...]:
        value = self.items.get(item, [])
        whole = isinstance(value, list) and all(isinstance(text, str) and text.strip() for text in value)
        self.expect(whole, '非空文字的列表，如 ["路灯", "井盖"]', item)
        return tuple(value)

    def slug(self, item: str) -> str:
        value = self.items.get(item)
        self.expect(
            isinstance(value, str) and SLUG.fullmatch(value),
            "小写字母、数字、- 或 _ 组成的标识，以字母开头，最多 32 个字符",
            item,
        )
        return str(value)

    def truth(self, item: str, default: bool) -> bool:
        value = self.items.get(item, default)
        self.expect(isinstance(value, bool), " true 或 false", item)
        return bool(value)

    def integer(self, item: str, low: int, high: int, default: int | None = None, unit: str = "") -> int:
        value = self.items.get(item, default)
        self.expect(type(value) is int and low <= value <= high, f" {low}–{high} 的整数{unit}", item)
        return int(value)

    def number(self, item: str, low: float, high: float, unit: str) -> float:
        value = self.items.get(item)
        whole = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        self.expect(whole, f" {low}–{high} 的{unit}", item)
        assert value is not None
        return float(value)

    def minutes(self, item: str, default: str) -> int:
        """A time of day, as minutes since midnight."""
        minutes = clock_minutes(self.items.get(item, default))
        self.expect(minutes is not None, ' "17:30" 形式的时刻，最晚 "24:00"', item)
        assert minutes is not None
        return minutes

    def day(self, item: str) -> date:
        found = _day(self.items.get(item))
        self.expect(found, "日期，如 2027-01-01", item)
        assert found is not None
        return found

    def days(self, item: str) -> tuple[date, ...]:
        """A list of days, none twice; empty when the item is missing."""
        values = self.items.get(item, [])
        self.expect(isinstance(values, list), '日期的列表，如 ["2027-01-01", "2027-01-02"]', item)
        days: list[date] = []
        for i, value in enumerate(values, 1):
            day = _day(value)
            if day is None:
                self.refuse(f"第 {i} 个应为日期，如 2027-01-01，现在是 {shown(value)}", item)
            self.require(day not in days, f"{day} 写了两次，请删去一个", item)
            days.append(day)
        return tuple(days)

    def table(self, item: str, header: str, place: str = "", allowed: Iterable[str] | None = None) -> "Table":
        """A table in this one, empty when it is missing. `header` is how it is written in the file."""
        value = self.items.get(item, {})
        self.require(isinstance(value, dict), f"应为表，请写成 {header}，现在是 {shown(value)}", item)
        return Table(self.file, place or f"{self.place} 的 {item}", value, allowed)

    def tables(self, item: str, allowed: Iterable[str]) -> list["Table"]:
        """The tables [[item]] of the whole file."""
        value = self.items.get(item, [])
        whole = isinstance(value, list) and all(isinstance(table, dict) for table in value)
        self.expect(whole, f"用两层方括号写的表，请写成 [[{item}]]", item)
        return [Table(self.file, f"第 {i} 个 [[{item}]]", table, allowed) for i, table in enumerate(value, 1)]


def _day(value: object) -> date | None:
    try:
        return msgspec.convert(value, date)
    except msgspec.ValidationError:
        return None
