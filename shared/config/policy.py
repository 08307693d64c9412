"""policy.toml: the versions of the policy, each with its categories."""

import re
from datetime import time
from itertools import pairwise

from shared.config.table import SLUG, Table, clock_minutes, parse_table, shown
from shared.policy import (
    MICROS_OF_MINUTE,
    MINUTES_OF_DAY,
    Budget,
    Category,
    OfficeHours,
    Policy,
    PolicyHistory,
    Rungs,
)

MAX_DAYS = 250
MIN_HOURS, MAX_HOURS = 0.01, 2000
OFFICE_EXAMPLE = '["08:30-12:00", "14:30-18:00"]'
SPAN = re.compile(r"([^-]*)-([^-]*)")
VERSION = (
    "effective_from", "source", "cutoff", "default_category", "categories", "max_extensions", "max_extension_days",
    "max_suspensions", "office_hours", "alerts",
)  # fmt: skip
CATEGORY = ("name", "reply", "complete", "reply_hours", "complete_hours", "reply_completes", "source", "keywords")
ALERTS = ("morning", "escalate_after", "suspended_long_days")


def parse_policy(text: str, name: str = "policy.toml") -> PolicyHistory:
    """Raises ConfigError; versions are in order, and only the first may lack `effective_from`."""
    file = parse_table(text, name, ("policy",))
    tables = file.tables("policy", VERSION)
    file.require(tables, "至少要有一个 [[policy]]")
    versions = [_version(table) for table in tables]
    for (earlier, later), table in zip(pairwise(versions), tables[1:], strict=True):
        day, before = later.effective_from, earlier.effective_from
        if day is None:
            table.refuse("只有第一个 [[policy]] 可以不写，请写上自哪一天起适用", "effective_from")
        table.require(
            before is None or day > before,
            f"{day} 不晚于前一个 [[policy]] 的 {before}，请由早到晚排列",
            "effective_from",
        )
    return PolicyHistory(versions)


def _version(table: Table) -> Policy:
    categories = _categories(table)
    default = table.text("default_category")
    table.require(
        default in categories,
        f"{shown(default)} 不在本版本的类别之中，应为 {'、'.join(categories)} 之一",
        "default_category",
    )
    office = office_hours(table) if "office_hours" in table.items else None
    for slug, category in categories.items():
        if category.complete.unit == "days":
            continue
        if office is None:
            table.refuse(f"类别 {slug} 按小时计，须写明办公时间，如 {OFFICE_EXAMPLE}", "office_hours")
        table.require(
            category.complete.amount * 60 * MICROS_OF_MINUTE <= MAX_DAYS * office.micros_a_day,
            f"类别 {slug} 的 complete_hours 折合超过 {MAX_DAYS} 个工作日，请减少时限或核对办公时间",
            "office_hours",
        )
    cutoff = table.minutes("cutoff", "24:00")
    table.require(cutoff > 0, "不能是 00:00；到当日结束请写 24:00", "cutoff")
    return Policy(
        effective_from=table.day("effective_from") if "effective_from" in table.items else None,
        source=table.text("source"),
        cutoff=cutoff,
        default_category=default,
        categories=categories,
        max_extensions=table.integer("max_extensions", 0, 4, 1),
        max_extension_days=table.integer("max_extension_days", 1, MAX_DAYS, 10),
        max_suspensions=table.integer("max_suspensions", 0, 100, 2),
        office_hours=office,
        rungs=_rungs(table.table("alerts", "[policy.alerts]", allowed=ALERTS)),
    )


def _categories(version: Table) -> dict[str, Category]:
    tables = version.table("categories", "[policy.categories.类别标识]")
    version.require(tables.items, "没有任何类别，至少要有一个 [policy.categories.类别标识]", "categories")
    categories: dict[str, Category] = {}
    owners: dict[str, str] = {}
    names: dict[str, str] = {}
    for slug in tables.items:
        tables.require(
            SLUG.fullmatch(slug), f"类别标识 {shown(slug)} 须为小写字母、数字、- 或 _，以字母开头，最多 32 个字符"
        )
        place = f"{version.place} 的类别 {slug}"
        table = tables.table(slug, f"[policy.categories.{slug}]", place, CATEGORY)
        category = categories[slug] = _category(slug, table)
        other = names.setdefault(category.name, slug)
        table.require(other == slug, f"{shown(category.name)} 也是类别 {other} 的名称，请使名称各不相同", "name")
        for word in category.keywords:
            owner = owners.setdefault(word, slug)
            table.require(owner == slug, f"{shown(word)} 也是类别 {owner} 的关键词，一个词只能属于一个类别", "keywords")
    return categories


def _category(slug: str, table: Table) -> Category:
    reply, complete = _budget(table, "reply"), _budget(table, "complete")
    table.require(reply.unit == complete.unit, "两个时限须同用工作日或同用小时")
    table.require(reply.amount <= complete.amount, "答复时限不能长于办结时限")
    return Category(
        slug=slug,
        name=table.text("name"),
        reply=reply,
        complete=complete,
        reply_completes=table.truth("reply_completes", reply == complete),
        source=table.text("source"),
        keywords=table.texts("keywords"),
    )


def _budget(table: Table, target: str) -> Budget:
    """Days are an int and hours a float however they are written, so that equal targets hash alike."""
    hours = f"{target}_hours"
    table.require((target in table.items) != (hours in table.items), f"须写 {target} 或 {hours}，二者必居其一")
    if target in table.items:
        return Budget(table.integer(target, 1, MAX_DAYS, unit="（工作日）"))
    return Budget(table.number(hours, MIN_HOURS, MAX_HOURS, "小时数"), "hours")


def office_hours(table: Table, item: str = "office_hours") -> OfficeHours:
    """The office hours that stand under `item`."""
    values = table.items[item]
    table.expect(isinstance(values, list) and values, f"办公时间的列表，如 {OFFICE_EXAMPLE}", item)
    spans: list[tuple[int, int]] = []
    for i, value in enumerate(values, 1):
        match = SPAN.fullmatch(value) if isinstance(value, str) else None
        start, end = (clock_minutes(match[1]), clock_minutes(match[2])) if match else (None, None)
        if start is None or end is None:
            table.refuse(f'第 {i} 段应为 "08:30-12:00" 形式的时段，现在是 {shown(value)}', item)
        table.require(start < end, f"第 {i} 段 {value} 结束不晚于开始，请写成先开始后结束", item)
        table.require(
            not spans or spans[-1][1] <= start, f"第 {i} 段 {value} 早于前一段结束，须按先后排列，互不重叠", item
        )
        spans.append((start, end))
    return OfficeHours(tuple(spans))


def _rungs(table: Table) -> Rungs:
    morning = table.minutes("morning", "09:00")
    table.require(morning < MINUTES_OF_DAY, '须早于 24:00，如 "09:00"', "morning")
    after = table.items.get("escalate_after", [1, 3])
    whole = isinstance(after, list) and len(after) == 2 and all(type(days) is int for days in after)
    table.expect(
        whole and 1 <= after[0] < after[1] <= MAX_DAYS,
        f"递增的两个工作日数（1–{MAX_DAYS}），如 [1, 3]",
        "escalate_after",
    )
    return Rungs(
        time(morning // 60, morning % 60),
        (after[0], after[1]),
        table.integer("suspended_long_days", 1, 366, 30),
    )
