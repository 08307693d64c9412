"""Statistics: how cases add up to the counts and rates of a platform for a period.

A case contributes one `Standing`; figures are counts of standings. So figures can be kept incrementally (old standing out,
new one in) or counted from the cases, and both must agree. Rates are exact fractions, printed half up; with a denominator
of 0 a rate does not exist.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import NamedTuple

from msgspec import Struct

from shared.case import Case, Outcome, Status, Verdict
from shared.registry import Registry

QUARTERS = ("第一季度", "第二季度", "第三季度", "第四季度")


class PeriodError(ValueError):
    """A text is no period; the message is one line."""


class Period(Struct, frozen=True):
    """A month `2022-03`, a quarter `2022Q1` or a year `2022`: that of the reception's local day."""

    text: str
    title: str
    months: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Period":
        match = re.fullmatch(r"(20\d\d)(?:-(0[1-9]|1[0-2])|Q([1-4]))?", text, re.ASCII)
        if match is None:
            raise PeriodError(f"{text[:20]!r} 不是统计期，请写成 2022-03（月）、2022Q1（季度）或 2022（年）")
        year, month, quarter = match.groups()
        if month:
            return cls(text, f"{year}年{int(month)}月", (text,))
        if quarter:
            first = int(quarter) * 3 - 2
            months = tuple(f"{year}-{m:02}" for m in range(first, first + 3))
            return cls(text, f"{year}年{QUARTERS[int(quarter) - 1]}", months)
        return cls(text, f"{year}年", tuple(f"{year}-{m:02}" for m in range(1, 13)))

    @classmethod
    def quarter_of(cls, day: date) -> "Period":
        return cls.parse(f"{day.year}Q{(day.month + 2) // 3}")

    @classmethod
    def quarter_before(cls, day: date) -> "Period":
        quarter = (day.month + 2) // 3
        return cls.parse(f"{day.year}Q{quarter - 1}" if quarter > 1 else f"{day.year - 1}Q4")


AWAITING = "awaiting"


class Standing(NamedTuple):
    """What one case counts as. `month` is empty and `outcome` is AWAITING while there is no reception."""

    platform: str
    month: str
    category: str
    outcome: str
    breached: bool
    suspended: bool
    reply: str
    provisional: bool


def awaiting(platform: str) -> Standing:
    """What a case counts as while there is no reception."""
    return Standing(platform, "", "", AWAITING, False, False, "", False)


def standing(case: Case) -> Standing:
    if case.received_at is None or case.outcome is None:
        return awaiting(case.platform)
    return Standing(
        case.platform,
        f"{case.received_at.year}-{case.received_at.month:02}",
        case.category or "",
        case.outcome.value,
        case.breached,
        case.outcome is Outcome.PENDING and case.status is Status.SUSPENDED,
        case.rounds[0].targets.reply.verdict.value,
        case.provisional,
    )


class Counts(Struct, frozen=True):
    """The counts of §4. Always accountable = on_time + late + overdue + pending."""

    received: int = 0
    rejected: int = 0
    withdrawn: int = 0
    accountable: int = 0
    on_time: int = 0
    late: int = 0
    overdue: int = 0
    pending: int = 0
    breached: int = 0
    suspended: int = 0
    reply_on_time: int = 0
    reply_late: int = 0
    reply_overdue: int = 0

    @property
    def completion_rate(self) -> str | None:
        return percent(self.on_time + self.late, self.accountable)

    @property
    def on_time_rate(self) -> str | None:
        return percent(self.on_time, self.on_time + self.late + self.overdue)

    @property
    def reply_on_time_rate(self) -> str | None:
        return percent(self.reply_on_time, self.reply_on_time + self.reply_late + self.reply_overdue)

    @property
    def refusal_rate(self) -> str | None:
        return percent(self.rejected, self.received)


COUNTS = tuple(Counts.__struct_fields__)
RATES = ("completion_rate", "on_time_rate", "reply_on_time_rate", "refusal_rate")


def percent(part: int, whole: int) -> str | None:
    """The exact fraction as percent with two decimals, half up; None when it does not exist."""
    if whole == 0:
        return None
    hundredths = (part * 20_000 + whole) // (2 * whole)
    return f"{hundredths // 100}.{hundredths % 100:02}"


def count(standings: Mapping[Standing, int]) -> Counts:
    """The counts of all standings given (awaiting ones are outside)."""
    totals = dict.fromkeys(COUNTS, 0)
    for s, cases in standings.items():
        if s.outcome == AWAITING:
            continue
        totals["received"] += cases
        totals[s.outcome] += cases
        if s.outcome in (Outcome.REJECTED, Outcome.WITHDRAWN):
            continue
        totals["accountable"] += cases
        totals["breached"] += cases * s.breached
        totals["suspended"] += cases * s.suspended
        if s.reply in (Verdict.ON_TIME, Verdict.LATE, Verdict.OVERDUE):
            totals[f"reply_{s.reply}"] += cases
    return Counts(**totals)


class Row(Struct, frozen=True):
    """`provisional`: how many of the received have a deadline that rests on an unconfirmed day."""

    platform: str
    name: str
    county: str
    counts: Counts
    provisional: int


class Figures(Struct, frozen=True):
    """The figures of a period: a row per platform in the registry's order, and their total, from sums."""

    rows: tuple[Row, ...]
    total: Counts

    @property
    def total_provisional(self) -> int:
        return sum(row.provisional for row in self.rows)


def tabulate(standings: Mapping[Standing, int], registry: Registry, months: Iterable[str]) -> Figures:
    """Figures of the months, from counted standings of any months."""
    wanted = frozenset(months)
    mine = {s: cases for s, cases in standings.items() if s.month in wanted}
    rows = []
    for p in registry:
        here = {s: cases for s, cases in mine.items() if s.platform == p.slug}
        provisional = sum(cases for s, cases in here.items() if s.provisional)
        rows.append(Row(p.slug, p.name, p.county, count(here), provisional))
    sums = {name: sum(getattr(row.counts, name) for row in rows) for name in COUNTS}
    return Figures(tuple(rows), Counts(**sums))
