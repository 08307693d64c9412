"""Prometheus: gauges computed from the kept figures at the scrape, so that they equal the official numbers and survive a restart.

Names and labels are the contract's (docs/metrics.md); no message id is ever a label; every platform is present from the start.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.alerts.rungs import OVERDUE
from services.alerts.state import State
from services.alerts.sweep import Raised
from shared.case import Outcome
from shared.events import EVENT_TYPES
from shared.figures import Counts, Figures, Period, tabulate
from shared.rules import Ruleset
from shared.times import from_micros, midnight, to_micros

DELAY_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 3600, 86400)
ReadState = Callable[[Iterable[str], datetime], State]
DeadLetters = Callable[[], dict[str, int]]


class FlagDelay:
    """How long after their deadline cases were flagged; what was only listed is not counted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._histogram = Histogram(
            "liuyan_overdue_flag_delay_seconds",
            "Time from a deadline to its overdue flag.",
            buckets=DELAY_BUCKETS,
            registry=registry,
        )

    def observe(self, raised: Iterable[Raised], now: datetime) -> None:
        flagged = to_micros(now)
        for alert in raised:
            if alert.rung == OVERDUE and not alert.quiet:
                self._histogram.observe(max(0, flagged - alert.due_at) / 1_000_000)


class CaseCollector(Collector):
    """All gauges of the cases, from one snapshot a scrape: no torn ratios."""

    def __init__(self, rules: Ruleset, now: Callable[[], datetime], read: ReadState, dead_letters: DeadLetters) -> None:
        self._rules, self._now, self._read, self._dead_letters = rules, now, read, dead_letters

    def describe(self) -> Iterable[Metric]:
        return []  # nothing is read when the collector is registered

    def collect(self) -> Iterator[Metric]:
        now = self._now()
        today = now.date()
        periods = [Period.quarter_of(today), Period.quarter_before(today)]
        state = self._read([month for period in periods for month in period.months], now)
        yield from self._period_metrics(state, periods)
        yield from self._case_metrics(state)
        yield from self._platform_metrics(state)
        yield from self._calendar_metrics(state, now)
        letters = CounterMetricFamily("liuyan_dead_letters", "What could not be used, by reason.", labels=["reason"])
        for reason, number in sorted(self._dead_letters().items()):
            letters.add_metric([reason], number)
        yield letters

    def _period_metrics(self, state: State, periods: list[Period]) -> Iterator[Metric]:
        labels = ["platform", "county", "period"]
        cases = GaugeMetricFamily(
            "liuyan_period_cases", "Cases received in the period, by outcome.", labels=[*labels, "outcome"]
        )
        completion = GaugeMetricFamily(
            "liuyan_completion_ratio", "(on_time + late) / accountable; absent when undefined.", labels=labels
        )
        on_time = GaugeMetricFamily(
            "liuyan_on_time_ratio", "on_time / (on_time + late + overdue); absent when undefined.", labels=labels
        )
        for period in periods:
            figures: Figures = tabulate(state.standings, self._rules.registry, period.months)
            for row in figures.rows:
                where = [row.platform, row.county, period.text]
                for outcome in Outcome:
                    cases.add_metric([*where, outcome.value], getattr(row.counts, outcome.value))
                _add_ratios(row.counts, where, completion, on_time)
        yield cases
        yield completion
        yield on_time

    def _case_metrics(self, state: State) -> Iterator[Metric]:
        labels = ["platform", "county", "category"]
        overdue = GaugeMetricFamily("liuyan_overdue_cases", "Open cases past their deadline.", labels=labels)
        due_today = GaugeMetricFamily("liuyan_due_today_cases", "Open cases whose deadline ends today.", labels=labels)
        known = sorted(self._rules.policies.known_categories)
        for family, values in ((overdue, state.open_overdue), (due_today, state.due_today)):
            for platform in self._rules.registry:
                here = {category for slug, category in values if slug == platform.slug}
                for category in [*known, *sorted(here - set(known))]:
                    family.add_metric(
                        [platform.slug, platform.county, category], values.get((platform.slug, category), 0)
                    )
            yield family
        yield GaugeMetricFamily(
            "liuyan_provisional_cases",
            "Cases with a deadline that rests on an unconfirmed day.",
            value=state.provisional,
        )
        next_deadline = GaugeMetricFamily(
            "liuyan_next_deadline_timestamp_seconds", "The next deadline of an open case; absent when there is none."
        )
        if state.next_deadline is not None:
            next_deadline.add_metric([], state.next_deadline / 1_000_000)
        yield next_deadline

    def _platform_metrics(self, state: State) -> Iterator[Metric]:
        slugs = self._rules.registry.slugs
        info = GaugeMetricFamily(
            "liuyan_platform_info",
            "1; the names of a platform and its county, to be joined to what has only slugs.",
            labels=["platform", "name", "county", "county_name"],
        )
        for platform in self._rules.registry:
            info.add_metric([platform.slug, platform.name, platform.county, platform.county_name], 1)
        yield info
        events = CounterMetricFamily("liuyan_events", "Events accepted.", labels=["platform", "type"])
        for slug in slugs:
            for kind in EVENT_TYPES.values():
                events.add_metric([slug, kind.name], state.events.get((slug, kind.name), 0))
        yield events
        oldest = _by_platform(
            "liuyan_oldest_overdue_timestamp_seconds", "Deadline of the oldest overdue case; NaN: none."
        )
        last = _by_platform(
            "liuyan_platform_last_event_timestamp_seconds", "Time of the last event; 0: never heard of."
        )
        awaiting = _by_platform("liuyan_awaiting_reception_cases", "Cases with events but no reception.")
        gap = _by_platform(
            "liuyan_tally_gap", "The platform's own counts minus ours, over the days that it has counted."
        )
        for slug in slugs:
            first = state.oldest_overdue.get(slug)
            oldest.add_metric([slug], float("nan") if first is None else first / 1_000_000)
            last.add_metric([slug], state.last_event.get(slug, 0) / 1_000_000)
            awaiting.add_metric([slug], state.awaiting.get(slug, 0))
            gap.add_metric([slug], state.tally_gap.get(slug, 0))
        yield from (oldest, last, awaiting, gap)

    def _calendar_metrics(self, state: State, now: datetime) -> Iterator[Metric]:
        today, calendars = now.date(), self._rules.calendars
        working = GaugeMetricFamily(
            "liuyan_working_day", "1 when today is a working day of the county.", labels=["county"]
        )
        for county in self._rules.registry.county_names:
            working.add_metric([county], calendars.of(county).is_working(today))
        yield working
        silent = _by_platform(
            "liuyan_platform_silent_working_days",
            "Whole working days since the day of the last event; absent: never heard of.",
        )
        for platform in self._rules.registry:
            if last := state.last_event.get(platform.slug):
                days = calendars.of(platform.county)
                since = days.working_days_upto(today) - days.working_days_upto(from_micros(last).date())
                silent.add_metric([platform.slug], max(0, since - days.is_working(today)))
        yield silent
        end = calendars.national.confirmed_until(today) + timedelta(days=1)
        yield GaugeMetricFamily(
            "liuyan_calendar_confirmed_until_timestamp_seconds",
            "The instant up to which every day is confirmed by a notice.",
            value=midnight(end).timestamp(),
        )


def _by_platform(name: str, documentation: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, labels=["platform"])


def _add_ratios(counts: Counts, where: list[str], completion: GaugeMetricFamily, on_time: GaugeMetricFamily) -> None:
    if counts.accountable:
        completion.add_metric(where, (counts.on_time + counts.late) / counts.accountable)
    settled = counts.on_time + counts.late + counts.overdue
    if settled:
        on_time.add_metric(where, counts.on_time / settled)
