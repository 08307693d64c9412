"""What stands on the page `/`: a row for each county, with its lamp. From kept figures and indexes: nothing here counts cases."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from msgspec import Struct
from sqlalchemy import Connection, func, select

from services.alerts.standings import fallen, kept_open, kept_running, kept_standings
from services.alerts.tables import cases, event_counts, figures
from shared.case import Outcome
from shared.figures import Counts, Period, Standing, count, percent
from shared.registry import Lamps, Platform, Registry
from shared.times import from_micros

FALLING = 1_000
"""So many cases that fell due a moment ago are looked at before the sweep has come to them."""


class Lamp(Struct, frozen=True):
    """`colour` is green, yellow, red or grey; it never says anything that `word` does not."""

    colour: str
    word: str


class Rate(Struct, frozen=True):
    """A rate of this quarter in percent, by how many points it is above (+) or below (-) the last, and that one; None: does not exist."""

    value: str | None
    change: str | None
    before: str | None


class CountyRow(Struct, frozen=True):
    """`open`, `due_today` and `overdue` are of all periods, the others of the quarter. `unheard`, `silent`: names of platforms."""

    slug: str
    name: str
    lamp: Lamp
    received: int
    open: int
    due_today: int
    due_soon: int
    overdue: int
    completion: Rate
    on_time: Rate
    last_event: datetime | None
    platforms: int
    unheard: tuple[str, ...]
    silent: tuple[str, ...]


class Board(Struct, frozen=True):
    """The counties that the viewer sees, in the registry's order, and all of them together."""

    period: Period
    before: Period
    rows: tuple[CountyRow, ...]
    total: CountyRow


def board(connection: Connection, registry: Registry, platforms: Sequence[Platform], now: datetime) -> Board:
    """As of now; of those platforms."""
    slugs = [platform.slug for platform in platforms]
    today = now.date()
    period, before = Period.quarter_of(today), Period.quarter_before(today)
    figured = _Figures(connection, registry.lamps, slugs, now, period, before)
    counties: dict[str, list[Platform]] = {}
    for platform in platforms:
        counties.setdefault(platform.county, []).append(platform)
    rows = tuple(figured.row(slug, own[0].county_name, own) for slug, own in counties.items())
    return Board(period, before, rows, figured.row("", "合计", platforms))


class _Figures:
    """The figures of the platforms, read once."""

    def __init__(
        self,
        connection: Connection,
        lamps: Lamps,
        slugs: Sequence[str],
        now: datetime,
        period: Period,
        before: Period,
    ) -> None:
        self._lamps, self._now = lamps, now
        self._months = (frozenset(period.months), frozenset(before.months))
        both = figures.c.month.in_([*before.months, *period.months])
        self._standings = kept_standings(connection, figures.c.platform.in_(slugs), both)
        self._open = {
            outcome: Counter(kept_open(connection, slugs, outcome)) for outcome in (Outcome.OVERDUE, Outcome.PENDING)
        }
        today, last = now.date(), now.date() + timedelta(days=lamps.yellow_days)
        self._today = Counter(kept_running(connection, slugs, today, today))
        self._soon = Counter(kept_running(connection, slugs, today, last))
        heard = select(event_counts.c.platform, func.max(event_counts.c.last_time).label("time"))
        self._heard: dict[str, datetime] = {
            row.platform: from_micros(row.time)
            for row in connection.execute(
                heard.where(event_counts.c.platform.in_(slugs)).group_by(event_counts.c.platform)
            )
        }
        self._turn(connection, slugs, today)

    def _turn(self, connection: Connection, slugs: Sequence[str], today: date) -> None:
        """What fell due since the last sweep is overdue already."""
        statement = select(
            cases.c.platform, cases.c.month, cases.c.category, cases.c.outcome, cases.c.breached, cases.c.suspended,
            cases.c.first_reply, cases.c.provisional, cases.c.due_day,
        ).where(*fallen(slugs, self._now))  # fmt: skip
        for row in connection.execute(statement.limit(FALLING)):
            old = Standing(*row[:-1])
            if old.month in self._months[0] | self._months[1]:
                self._standings[old] -= 1
                self._standings[old._replace(outcome=Outcome.OVERDUE.value, breached=True)] += 1
            self._open[Outcome.PENDING][row.platform] -= 1
            self._open[Outcome.OVERDUE][row.platform] += 1
            if row.due_day >= today.isoformat():
                self._soon[row.platform] -= 1
            if row.due_day == today.isoformat():
                self._today[row.platform] -= 1

    def row(self, slug: str, name: str, platforms: Sequence[Platform]) -> CountyRow:
        slugs = [platform.slug for platform in platforms]
        now, before = (self._count(slugs, months) for months in self._months)
        overdue, pending = (
            sum(self._open[outcome][each] for each in slugs) for outcome in (Outcome.OVERDUE, Outcome.PENDING)
        )
        soon = sum(self._soon[each] for each in slugs)
        heard = [self._heard[each] for each in slugs if each in self._heard]
        late = self._now - timedelta(days=self._lamps.silent_days)
        return CountyRow(
            slug=slug,
            name=name,
            lamp=lamp(self._lamps, overdue, soon, bool(heard)),
            received=now.received,
            open=overdue + pending,
            due_today=sum(self._today[each] for each in slugs),
            due_soon=soon,
            overdue=overdue,
            completion=rate(_completion(now), _completion(before)),
            on_time=rate(_on_time(now), _on_time(before)),
            last_event=max(heard, default=None),
            platforms=len(platforms),
            unheard=tuple(p.name for p in platforms if p.slug not in self._heard),
            silent=tuple(p.name for p in platforms if p.slug in self._heard and self._heard[p.slug] <= late),
        )

    def _count(self, slugs: Sequence[str], months: frozenset[str]) -> Counts:
        return count({s: n for s, n in self._standings.items() if s.month in months and s.platform in slugs})


def lamp(lamps: Lamps, overdue: int, soon: int, heard: bool) -> Lamp:
    """Red before yellow; grey where nothing was ever heard; else green."""
    if overdue:
        return Lamp("red", lamps.red)
    if soon:
        return Lamp("yellow", lamps.yellow)
    return Lamp("green", lamps.green) if heard else Lamp("grey", lamps.grey)


def _completion(of: Counts) -> tuple[int, int]:
    return of.on_time + of.late, of.accountable


def _on_time(of: Counts) -> tuple[int, int]:
    return of.on_time, of.on_time + of.late + of.overdue


def rate(now: tuple[int, int], before: tuple[int, int]) -> Rate:
    """The fractions (part, whole) as percent; the change is that of the exact fractions, in points with two decimals, half away from 0."""
    value = percent(*now)
    if not now[1] or not before[1]:
        return Rate(value, None, percent(*before))
    difference = now[0] * before[1] - before[0] * now[1]
    points = percent(abs(difference), now[1] * before[1])
    sign = "" if points == "0.00" else "−" if difference < 0 else "+"
    return Rate(value, f"{sign}{points}", percent(*before))
