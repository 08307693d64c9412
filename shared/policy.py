"""The policy: how long each category of message may take, versioned by the day from which it holds.

Values only; `shared/config/policy.py` reads them from TOML. Every number has a `source` (the document that orders it).
"""

from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from typing import Literal

from msgspec import Struct

Unit = Literal["days", "hours"]
MINUTES_OF_DAY = 24 * 60
MICROS_OF_MINUTE = 60_000_000


class Budget(Struct, frozen=True):
    """A target (时限): so many working days, or so many office hours."""

    amount: float
    unit: Unit = "days"


class Category(Struct, frozen=True):
    """A category of messages and its targets. `reply_completes`: a final reply also completes the case."""

    slug: str
    name: str
    reply: Budget
    complete: Budget
    reply_completes: bool
    source: str
    keywords: tuple[str, ...] = ()


class Rungs(Struct, frozen=True):
    """When alerts rise: at `morning` of `due_day`, at the deadline, and at `morning` of the n-th working days after."""

    morning: time = time(9, 0)
    escalate_after: tuple[int, int] = (1, 3)
    suspended_long_days: int = 30


class OfficeHours(Struct, frozen=True):
    """The office hours of a working day, as minutes since midnight, in order and disjoint."""

    spans: tuple[tuple[int, int], ...]

    @property
    def micros_a_day(self) -> int:
        return sum(end - start for start, end in self.spans) * MICROS_OF_MINUTE

    def elapsed(self, since_midnight: timedelta) -> int:
        """Office microseconds from midnight until then."""
        now = since_midnight // timedelta(microseconds=1)
        return sum(max(0, min(now, end * MICROS_OF_MINUTE) - start * MICROS_OF_MINUTE) for start, end in self.spans)

    def reached(self, micros: int) -> timedelta:
        """The first time of day by which so many office microseconds have passed; 0 < micros <= a day's."""
        for start, end in self.spans:
            length = (end - start) * MICROS_OF_MINUTE
            if micros <= length:
                return timedelta(microseconds=start * MICROS_OF_MINUTE + micros)
            micros -= length
        raise ValueError("more office time than a day has")


class Policy(Struct, frozen=True):
    """One version of the rules. `cutoff` is in minutes since midnight of the counted day: 1440 is 24:00."""

    effective_from: date | None
    source: str
    cutoff: int
    default_category: str
    categories: Mapping[str, Category]
    max_extensions: int = 1
    max_extension_days: int = 10
    max_suspensions: int = 2
    office_hours: OfficeHours | None = None
    rungs: Rungs = Rungs()

    def category(self, slug: str) -> Category:
        """The category of that name; one that this version does not know counts as the default one."""
        return self.categories.get(slug) or self.categories[self.default_category]


class PolicyHistory:
    """All versions, oldest first. The first reaches back without end."""

    def __init__(self, versions: Sequence[Policy]) -> None:
        self.versions = tuple(versions)
        self._newest_first = tuple(reversed(self.versions))
        self.known_categories = frozenset(slug for policy in self.versions for slug in policy.categories)

    def on(self, day: date) -> Policy:
        """The version in force on a Shanghai day."""
        for policy in self._newest_first:
            if policy.effective_from is None or policy.effective_from <= day:
                return policy
        return self.versions[0]

    def category_name(self, slug: str) -> str:
        for policy in self._newest_first:
            if slug in policy.categories:
                return policy.categories[slug].name
        return slug
