"""The deployment's files (TOML) into values: platforms, policy, calendar. The package ships the first city's as defaults.

Reading a file is the caller's; here texts become values, and every problem is said in one line: file, place, remedy.
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import date, time
from itertools import pairwise
from typing import Any

import msgspec

from shared.calendars import Calendars, LocalDay, Notice, build_calendars
from shared.policy import MINUTES_OF_DAY, Budget, Category, OfficeHours, Policy, PolicyHistory, Rungs
from shared.registry import Platform, Registry

SLUG = re.compile(r"[a-z][a-z0-9_-]{0,31}")
MAX_DAYS = 250


class ConfigError(ValueError):
    """A configuration text cannot be used; the message is one line for whoever edits it."""


def _table(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}：不是合法的 TOML（{error}）") from error


def _require(condition: object, name: str, message: str) -> None:
    if not condition:
        raise ConfigError(f"{name}：{message}")


def _only(table: Mapping[str, Any], allowed: set[str], name: str, place: str) -> None:
    unknown = sorted(set(table) - allowed)
    _require(not unknown, name, f"{place} 里有不认识的项 {'、'.join(unknown)}，可用的是 {'、'.join(sorted(allowed))}")


def _convert(value: object, kind: Any, name: str, place: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}：{place} {error}") from error


def parse_registry(text: str, name: str = "platforms.toml") -> Registry:
    """Raises ConfigError; slugs are unique, counties have one name each."""
    table = _table(text, name)
    _only(table, {"city", "platform"}, name, "顶层")
    _require(isinstance(table.get("city"), str) and table["city"], name, "缺少 city（城市名称）")
    _require(table.get("platform"), name, "至少要有一个 [[platform]]")
    platforms = tuple(
        _convert(item, Platform, name, f"第 {i} 个 [[platform]]") for i, item in enumerate(table["platform"], 1)
    )
    seen: set[str] = set()
    counties: dict[str, str] = {}
    for platform in platforms:
        _require(
            SLUG.fullmatch(platform.slug), name, f"平台标识 {platform.slug!r} 须为小写字母、数字、- 或 _，以字母开头"
        )
        _require(
            SLUG.fullmatch(platform.county),
            name,
            f"县区标识 {platform.county!r} 须为小写字母、数字、- 或 _，以字母开头",
        )
        _require(platform.slug not in seen, name, f"平台标识 {platform.slug} 出现了两次")
        _require(
            counties.setdefault(platform.county, platform.county_name) == platform.county_name,
            name,
            f"县区 {platform.county} 有两个不同的名称",
        )
        seen.add(platform.slug)
    return Registry(table["city"], platforms)


def _minutes(text: object, name: str, place: str) -> int:
    match = re.fullmatch(r"(\d\d):(\d\d)", text) if isinstance(text, str) else None
    minutes = int(match[1]) * 60 + int(match[2]) if match and int(match[2]) < 60 else -1
    _require(0 <= minutes <= MINUTES_OF_DAY, name, f'{place} 应写成 "17:30" 的形式，最晚 "24:00"')
    return minutes


def _office_hours(value: object, name: str, place: str) -> OfficeHours | None:
    if value is None:
        return None
    _require(isinstance(value, list) and value, name, f'{place} office_hours 应为 ["08:30-12:00", …]')
    assert isinstance(value, list)
    spans: list[tuple[int, int]] = []
    for item in value:
        start, _, end = str(item).partition("-")
        span = (_minutes(start, name, f"{place} office_hours"), _minutes(end, name, f"{place} office_hours"))
        _require(span[0] < span[1], name, f"{place} office_hours 的 {item} 结束不晚于开始")
        _require(not spans or spans[-1][1] <= span[0], name, f"{place} office_hours 须按先后排列，互不重叠")
        spans.append(span)
    return OfficeHours(tuple(spans))


def _budget(table: Mapping[str, Any], target: str, name: str, place: str) -> Budget:
    days, hours = table.get(target), table.get(f"{target}_hours")
    _require((days is None) != (hours is None), name, f"{place} 须写 {target} 或 {target}_hours，二者必居其一")
    if days is not None:
        _require(
            type(days) is int and 1 <= days <= MAX_DAYS, name, f"{place} {target} 应为 1–{MAX_DAYS} 的整数（工作日）"
        )
        return Budget(days)
    _require(
        isinstance(hours, (int, float)) and not isinstance(hours, bool) and 0 < hours <= MAX_DAYS * 8,
        name,
        f"{place} {target}_hours 应为大于 0 的小时数",
    )
    assert isinstance(hours, (int, float))
    return Budget(hours, "hours")


def _category(slug: str, table: Mapping[str, Any], name: str, where: str) -> Category:
    place = f"{where} 的类别 {slug}"
    _only(
        table,
        {"name", "reply", "complete", "reply_hours", "complete_hours", "reply_completes", "source", "keywords"},
        name,
        place,
    )
    for item in ("name", "source"):
        _require(isinstance(table.get(item), str) and table[item], name, f"{place} 缺少 {item}")
    reply, complete = _budget(table, "reply", name, place), _budget(table, "complete", name, place)
    _require(reply.unit == complete.unit, name, f"{place} 的两个时限须同用工作日或同用小时")
    _require(reply.amount <= complete.amount, name, f"{place} 的答复时限不能长于办结时限")
    return Category(
        slug=slug,
        name=table["name"],
        reply=reply,
        complete=complete,
        reply_completes=_convert(table.get("reply_completes", reply == complete), bool, name, place),
        source=table["source"],
        keywords=_convert(table.get("keywords", []), tuple[str, ...], name, place),
    )


def _rungs(table: Mapping[str, Any], name: str, place: str) -> Rungs:
    _only(table, {"morning", "escalate_after", "suspended_long_days"}, name, place)
    morning = _minutes(table.get("morning", "09:00"), name, f"{place} morning")
    _require(morning < MINUTES_OF_DAY, name, f"{place} morning 须早于 24:00")
    after = _convert(table.get("escalate_after", [1, 3]), tuple[int, int], name, f"{place} escalate_after")
    _require(1 <= after[0] < after[1] <= MAX_DAYS, name, f"{place} escalate_after 应为递增的两个工作日数，如 [1, 3]")
    long = _convert(table.get("suspended_long_days", 30), int, name, f"{place} suspended_long_days")
    _require(1 <= long <= 366, name, f"{place} suspended_long_days 应为 1–366")
    return Rungs(time(morning // 60, morning % 60), after, long)


POLICY_KEYS = {
    "effective_from", "source", "cutoff", "default_category", "categories", "max_extensions", "max_extension_days",
    "max_suspensions", "office_hours", "alerts",
}  # fmt: skip


def _policy(table: Mapping[str, Any], name: str, place: str) -> Policy:
    _only(table, POLICY_KEYS, name, place)
    _require(isinstance(table.get("source"), str) and table["source"], name, f"{place} 缺少 source（依据的文件）")
    _require(isinstance(table.get("categories"), dict) and table["categories"], name, f"{place} 没有任何类别")
    categories: dict[str, Category] = {}
    for slug, item in table["categories"].items():
        _require(SLUG.fullmatch(slug), name, f"{place} 类别标识 {slug!r} 须为小写字母、数字、- 或 _，以字母开头")
        categories[slug] = _category(slug, _convert(item, dict, name, place), name, place)
    office = _office_hours(table.get("office_hours"), name, place)
    _require(
        office is not None or all(c.reply.unit == "days" for c in categories.values()),
        name,
        f"{place} 有按小时计的类别，须写 office_hours",
    )
    limits = {
        "max_extensions": (table.get("max_extensions", 1), 0, 4),
        "max_extension_days": (table.get("max_extension_days", 10), 1, MAX_DAYS),
        "max_suspensions": (table.get("max_suspensions", 2), 0, 100),
    }
    for item, (value, low, high) in limits.items():
        _require(type(value) is int and low <= value <= high, name, f"{place} {item} 应为 {low}–{high} 的整数")
    cutoff = _minutes(table.get("cutoff", "24:00"), name, f"{place} cutoff")
    _require(cutoff > 0, name, f"{place} cutoff 不能是 00:00；到当日结束请写 24:00")
    default = table.get("default_category")
    _require(default in categories, name, f"{place} default_category {default!r} 不在本版本的类别之中")
    return Policy(
        effective_from=_convert(table.get("effective_from"), date | None, name, f"{place} effective_from"),
        source=table["source"],
        cutoff=cutoff,
        default_category=str(default),
        categories=categories,
        office_hours=office,
        rungs=_rungs(table.get("alerts", {}), name, f"{place} alerts"),
        **{item: value for item, (value, _, _) in limits.items()},
    )


def parse_policy(text: str, name: str = "policy.toml") -> PolicyHistory:
    """Raises ConfigError; versions are in order, and only the first may lack `effective_from`."""
    table = _table(text, name)
    _only(table, {"policy"}, name, "顶层")
    _require(table.get("policy"), name, "至少要有一个 [[policy]]")
    versions = [_policy(item, name, f"第 {i} 个 [[policy]]") for i, item in enumerate(table["policy"], 1)]
    for earlier, later in pairwise(versions):
        _require(later.effective_from is not None, name, "只有第一个 [[policy]] 可以不写 effective_from")
        _require(
            earlier.effective_from is None or later.effective_from > earlier.effective_from,  # type: ignore[operator]
            name,
            "[[policy]] 须按 effective_from 由早到晚排列",
        )
    return PolicyHistory(versions)


def parse_calendar(text: str, registry: Registry, name: str = "calendar.toml") -> Calendars:
    """Raises ConfigError; notices name days of their year (or the last days of the year before), counties exist."""
    table = _table(text, name)
    _only(table, {"notice", "local"}, name, "顶层")
    notices = []
    for i, item in enumerate(table.get("notice", []), 1):
        notice = _convert(item, Notice, name, f"第 {i} 个 [[notice]]")
        place = f"{notice.year} 年的 [[notice]]"
        first, last = date(notice.year - 1, 12, 25), date(notice.year, 12, 31)
        _require(notice.source, name, f"{place} 缺少 source（通知的文号）")
        _require(notice.rest, name, f"{place} 没有放假日 rest")
        for day in (*notice.rest, *notice.work):
            _require(first <= day <= last, name, f"{place} 的 {day} 不在 {first} 至 {last} 之间")
        both = sorted(set(notice.rest) & set(notice.work))
        _require(not both, name, f"{place} 的 {both and both[0]} 既放假又上班")
        notices.append(notice)
    locals_ = [
        _local_day(item, registry, name, f"第 {i} 个 [[local]]") for i, item in enumerate(table.get("local", []), 1)
    ]
    return build_calendars(notices, locals_)


def _local_day(item: object, registry: Registry, name: str, place: str) -> LocalDay:
    fields = _convert(item, dict, name, place)
    _only(fields, {"county", "date", "rest", "work", "name", "source"}, name, place)
    rest, work = fields.pop("rest", False), fields.pop("work", False)
    _require(
        type(rest) is bool and type(work) is bool and rest != work,
        name,
        f"{place} 须写 rest = true 或 work = true，二者必居其一",
    )
    local: LocalDay = _convert(fields | {"working": work}, LocalDay, name, place)
    _require(local.county in registry.county_names, name, f"{place} 的县区 {local.county} 不在平台登记表中")
    _require(local.name and local.source, name, f"{place} 缺少 name 或 source")
    return local
