"""What stands on the statistics page: months, the time that handling took, categories and counties. From kept sums alone."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, select

from services.alerts.standings import kept_standings
from services.alerts.tables import figures, handled
from shared.figures import Counts, Standing, count
from shared.registry import Platform
from shared.rules import Ruleset

MONTHS = 13
LONGEST = 20
"""Working days; what took longer is counted as one group."""


class Handling(Struct, frozen=True):
    """How many completed cases took how many working days, from the day after the reception's to the closing's."""

    cases: int
    groups: tuple[int, ...]
    """[0] … [LONGEST]: so many working days; the last: more."""
    median: int | None
    longest: int | None


class Line(Struct, frozen=True):
    """A month, a category or a county."""

    slug: str
    name: str
    counts: Counts
    handling: Handling | None = None


class Statistics(Struct, frozen=True):
    """`months`: trend, the oldest first. The others are of the period: by category, by county, and how long it took."""

    months: tuple[Line, ...]
    categories: tuple[Line, ...]
    counties: tuple[Line, ...]
    total: Line


def months_until(last: str, number: int = MONTHS) -> tuple[str, ...]:
    """So many months in a row, up to that one."""
    year, month = map(int, last.split("-"))
    numbers = range(year * 12 + month - number, year * 12 + month)
    return tuple(f"{n // 12}-{n % 12 + 1:02}" for n in numbers)


def statistics(
    connection: Connection,
    rules: Ruleset,
    platforms: Sequence[Platform],
    category: str | None,
    period: Sequence[str],
    trend: Sequence[str],
) -> Statistics:
    """Of these platforms, and this category or all. `period` and `trend` are months."""
    slugs = [platform.slug for platform in platforms]
    standings = _standings(connection, slugs, category, {*period, *trend})
    within = frozenset(period)
    mine = {s: n for s, n in standings.items() if s.month in within}
    took = _took(connection, rules, slugs, category, period)
    counties = {platform.county: platform.county_name for platform in platforms}
    return Statistics(
        months=tuple(
            _from_first(Line(m, m, count({s: n for s, n in standings.items() if s.month == m})) for m in trend)
        ),
        categories=tuple(_categories(mine, took, rules)),
        counties=tuple(
            Line(
                slug,
                name,
                count({s: n for s, n in mine.items() if rules.registry.county(s.platform) == slug}),
                _handling(n for n in took if rules.registry.county(n[0]) == slug),
            )
            for slug, name in counties.items()
        ),
        total=Line("", "合计", count(mine), _handling(took)),
    )


def _from_first(months: Iterable[Line]) -> list[Line]:
    """Without the months before anything was received; three stay at least."""
    found = list(months)
    while len(found) > 3 and not found[0].counts.received:
        del found[0]
    return found


def _standings(
    connection: Connection, slugs: Sequence[str], category: str | None, months: Collection[str]
) -> Counter[Standing]:
    chosen: list[ColumnElement[bool]] = [figures.c.platform.in_(slugs), figures.c.month.in_(months)]
    if category is not None:
        chosen.append(figures.c.category == category)
    return kept_standings(connection, *chosen)


Took = tuple[str, str, int, int]
"""Platform, category, working days, cases."""


def _took(
    connection: Connection, rules: Ruleset, slugs: Sequence[str], category: str | None, months: Sequence[str]
) -> list[Took]:
    chosen = [handled.c.received_day >= f"{min(months)}-01", handled.c.received_day <= f"{max(months)}-31"]
    chosen.append(handled.c.platform.in_(slugs))
    if category is not None:
        chosen.append(handled.c.category == category)
    statement = select(handled).where(*chosen)
    found: Counter[tuple[str, str, int]] = Counter()
    ranks = {slug: _Ranks(rules, slug) for slug in slugs}
    for row in connection.execute(statement):
        own = ranks[row.platform]
        found[row.platform, row.category, own[row.closed_day] - own[row.received_day]] += row.cases
    return [(*key, n) for key, n in found.items()]


class _Ranks(dict[str, int]):
    """Working days up to a day, by the calendar of the platform's county."""

    def __init__(self, rules: Ruleset, slug: str) -> None:
        super().__init__()
        self._calendar = rules.calendar_of(slug)

    def __missing__(self, day: str) -> int:
        self[day] = rank = self._calendar.working_days_upto(date.fromisoformat(day))
        return rank


def _categories(mine: Mapping[Standing, int], took: Sequence[Took], rules: Ruleset) -> Iterable[Line]:
    ordered = list(dict.fromkeys(slug for policy in rules.policies.versions for slug in policy.categories))
    known = {s.category for s in mine if s.category}
    for slug in [*(each for each in ordered if each in known), *sorted(known - set(ordered))]:
        own = {s: n for s, n in mine.items() if s.category == slug}
        yield Line(slug, rules.policies.category_name(slug), count(own), _handling(n for n in took if n[1] == slug))


def _handling(took: Iterable[Took]) -> Handling:
    by_days: Counter[int] = Counter()
    for _, _, days, cases in took:
        by_days[max(days, 0)] += cases
    total = sum(by_days.values())
    groups = [by_days[days] for days in range(LONGEST + 1)]
    groups.append(total - sum(groups))
    return Handling(
        total, tuple(groups), _median(by_days, total), max((d for d, n in by_days.items() if n), default=None)
    )


def _median(by_days: Mapping[int, int], total: int) -> int | None:
    """The number of working days within which half of the cases, or more, were handled."""
    seen = 0
    for days in sorted(by_days):
        seen += by_days[days]
        if total and 2 * seen >= total:
            return days
    return None
