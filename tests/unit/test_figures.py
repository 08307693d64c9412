"""Counts, rates and periods."""

from collections import Counter
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sla.rules import evaluate
from shared.case import Outcome, Verdict
from shared.events import CaseEvent
from shared.figures import (
    AWAITING,
    COUNTS,
    RATES,
    Counts,
    Period,
    PeriodError,
    Standing,
    count,
    percent,
    standing,
    tabulate,
)
from shared.rules import Ruleset
from tests.builders import at, case_of, event

# Periods


@pytest.mark.parametrize(
    ("text", "title", "months"),
    [
        ("2022-03", "2022年3月", ("2022-03",)),
        ("2022-12", "2022年12月", ("2022-12",)),
        ("2022Q1", "2022年第一季度", ("2022-01", "2022-02", "2022-03")),
        ("2022Q4", "2022年第四季度", ("2022-10", "2022-11", "2022-12")),
        ("2022", "2022年", tuple(f"2022-{m:02}" for m in range(1, 13))),
    ],
)
def test_periods(text: str, title: str, months: tuple[str, ...]) -> None:
    assert (Period.parse(text).title, Period.parse(text).months, Period.parse(text).text) == (title, months, text)


@pytest.mark.parametrize(
    "text",
    ["", "2022-13", "2022-00", "2022-3", "2022Q0", "2022Q5", "2022q1", "1999", "20222", "2022 ", "2022\n", "2022-03-01",
     "２０２２", "2022Q１", "٢٠٢٢", "'; DROP TABLE cases", "2022" * 100],
)  # fmt: skip
def test_what_is_no_period_is_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(PeriodError) as refused:
        Period.parse(text)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 150


@pytest.mark.parametrize(
    ("day", "of", "before"),
    [
        (date(2022, 1, 1), "2022Q1", "2021Q4"),
        (date(2022, 3, 31), "2022Q1", "2021Q4"),
        (date(2022, 4, 1), "2022Q2", "2022Q1"),
        (date(2022, 12, 31), "2022Q4", "2022Q3"),
    ],
)
def test_quarters_of_a_day(day: date, of: str, before: str) -> None:
    assert (Period.quarter_of(day).text, Period.quarter_before(day).text) == (of, before)


def test_the_months_of_a_year_are_those_of_its_quarters() -> None:
    assert Period.parse("2022").months == sum((Period.parse(f"2022Q{q}").months for q in range(1, 5)), ())


# Rates


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (109, 114, "95.61"), (8, 9, "88.89"), (26, 38, "68.42"), (225, 230, "97.83"), (0, 7, "0.00"), (7, 7, "100.00"),
        (1, 3, "33.33"), (2, 3, "66.67"), (1, 8, "12.50"), (1, 20_000, "0.01"), (1, 20_001, "0.00"), (3, 20_000, "0.02"),
        (19_999, 20_000, "100.00"), (0, 0, None),
    ],
)  # fmt: skip
def test_percent_is_exact_and_half_up(part: int, whole: int, expected: str | None) -> None:
    assert percent(part, whole) == expected


@given(st.integers(1, 10**9).flatmap(lambda whole: st.tuples(st.integers(0, whole), st.just(whole))))
def test_percent_is_the_fraction_rounded_half_up(fraction: tuple[int, int]) -> None:
    part, whole = fraction
    exact = Fraction(part * 100, whole)
    scaled = exact * 100
    rounded = Decimal(scaled.numerator * 2 + scaled.denominator) // Decimal(scaled.denominator * 2)
    assert percent(part, whole) == f"{(rounded / 100).quantize(Decimal('0.01'), ROUND_HALF_UP)}"
    assert abs(Fraction(Decimal(str(percent(part, whole)))) - exact) <= Fraction(1, 200)


def test_rates_without_a_denominator_do_not_exist() -> None:
    nothing = Counts()
    assert [getattr(nothing, rate) for rate in RATES] == [None] * 4
    only_refused = Counts(received=2, rejected=1, withdrawn=1)
    assert [getattr(only_refused, rate) for rate in RATES] == [None, None, None, "50.00"]
    only_pending = Counts(received=1, accountable=1, pending=1)
    assert [getattr(only_pending, rate) for rate in RATES] == ["0.00", None, None, "0.00"]


def test_each_rate_is_that_of_its_definition() -> None:
    counts = Counts(
        received=100, rejected=7, withdrawn=3, accountable=90, on_time=40, late=20, overdue=10, pending=20, breached=35,
        suspended=5, reply_on_time=60, reply_late=10, reply_overdue=5,
    )  # fmt: skip
    assert counts.completion_rate == "66.67"
    assert counts.on_time_rate == "57.14"
    assert counts.reply_on_time_rate == "80.00"
    assert counts.refusal_rate == "7.00"


# Standings


RECEIVED = event("r", "received", "03-01 10:00", category="complaint")


@pytest.mark.parametrize(
    ("further", "as_of", "expected"),
    [
        ([], "03-01 10:00", {"outcome": "pending", "reply": "running"}),
        ([], "03-09 00:00", {"outcome": "pending", "reply": "overdue"}),
        ([], "03-23 00:00", {"outcome": "overdue", "reply": "overdue", "breached": True}),
        ([("suspended", "03-02 10:00", {})], "03-05 00:00", {"outcome": "pending", "reply": "paused", "suspended": True}),
        ([("suspended", "03-25 10:00", {})], "03-26 00:00", {"outcome": "overdue", "reply": "overdue", "breached": True}),
        ([("replied", "03-02 10:00", {})], "03-05 00:00", {"outcome": "pending", "reply": "on_time"}),
        ([("completed", "03-02 10:00", {})], "03-05 00:00", {"outcome": "on_time", "reply": "on_time"}),
        ([("completed", "03-10 10:00", {})], "04-05 00:00", {"outcome": "on_time", "reply": "late"}),
        ([("completed", "03-24 10:00", {})], "04-05 00:00", {"outcome": "late", "reply": "late", "breached": True}),
        ([("rejected", "03-02 10:00", {"reason": "x"})], "04-05 00:00", {"outcome": "rejected", "reply": "void"}),
        ([("withdrawn", "03-10 10:00", {})], "04-05 00:00", {"outcome": "withdrawn", "reply": "void"}),
        ([("rejected", "03-23 10:00", {"reason": "x"})], "04-05 00:00", {"outcome": "late", "reply": "late", "breached": True}),
        ([("completed", "03-24 10:00", {}), ("reopened", "04-01 10:00", {})], "04-02 00:00",
         {"outcome": "pending", "reply": "late", "breached": True}),
        ([("completed", "03-24 10:00", {}), ("reopened", "04-01 10:00", {}), ("withdrawn", "04-02 10:00", {})], "04-05 00:00",
         {"outcome": "late", "reply": "late", "breached": True}),
        ([("recategorized", "03-02 10:00", {"category": "help"})], "03-02 10:00",
         {"category": "help", "outcome": "pending", "reply": "running"}),
    ],
)  # fmt: skip
def test_what_a_case_counts_as(
    further: list[tuple[str, str, dict[str, object]]], as_of: str, expected: dict[str, object], rules: Ruleset
) -> None:
    events = [RECEIVED, *(event(f"x{i}", name, time, **data) for i, (name, time, data) in enumerate(further))]
    found = standing(case_of(events, rules, as_of))
    default = {"category": "complaint", "breached": False, "suspended": False, "provisional": False}
    assert found == Standing(**{"platform": "zhenkang", "month": "2022-03", **default, **expected})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("time", "month"),
    [("2022-03-31 23:59:59.999999", "2022-03"), ("2022-04-01 00:00", "2022-04"), ("2021-12-31 23:59", "2021-12")],
)
def test_the_month_is_that_of_the_local_day_of_the_reception(time: str, month: str, rules: Ruleset) -> None:
    assert standing(case_of([event("r", "received", time, category="help")], rules, "2023-01-01 00:00")).month == month


def test_a_case_without_a_reception_is_outside_of_all_counts(rules: Ruleset) -> None:
    found = standing(case_of([event("a", "accepted", "03-01 10:00")], rules, "04-01 00:00"))
    assert (found.outcome, found.month) == (AWAITING, "")
    assert count({found: 3}) == Counts()


def test_reply_counts_are_those_of_accountable_cases_only(rules: Ruleset) -> None:
    """A case rejected after its reply was given has a reply that was on time, and is not counted."""
    events: list[CaseEvent] = [
        RECEIVED,
        event("a", "replied", "03-02 10:00"),
        event("b", "rejected", "03-03 10:00", reason="x"),
    ]
    found = standing(case_of(events, rules, "04-01 00:00"))
    assert (found.outcome, found.reply) == ("rejected", "on_time")
    assert count({found: 2}) == Counts(received=2, rejected=2)


def test_the_reply_is_that_of_the_first_round(rules: Ruleset) -> None:
    events = [
        RECEIVED,
        event("a", "completed", "03-10 10:00"),
        event("b", "reopened", "03-11 10:00"),
        event("c", "replied", "03-14 10:00"),
    ]
    assert standing(case_of(events, rules, "03-15 00:00")).reply == "late"


# Counting and tables

STANDINGS = st.builds(
    Standing,
    platform=st.sampled_from(["lincang", "zhenkang", "yunxian"]),
    month=st.sampled_from(["2022-01", "2022-03", "2022-04"]),
    category=st.sampled_from(["help", "inquiry"]),
    outcome=st.sampled_from([*(o.value for o in Outcome)]),
    breached=st.booleans(),
    suspended=st.just(value=False),
    reply=st.sampled_from([v.value for v in Verdict]),
    provisional=st.booleans(),
)


@given(st.dictionaries(STANDINGS, st.integers(0, 9), max_size=20))
def test_counts_add_up(standings: dict[Standing, int]) -> None:
    found = count(standings)
    assert found.received == sum(standings.values())
    assert found.received == found.rejected + found.withdrawn + found.accountable
    assert found.accountable == found.on_time + found.late + found.overdue + found.pending
    one_by_one = [count({s: 1}) for s, n in standings.items() for _ in range(n)]
    assert all(getattr(found, name) == sum(getattr(one, name) for one in one_by_one) for name in COUNTS)


@given(st.dictionaries(STANDINGS, st.integers(0, 9), max_size=20))
def test_a_table_has_every_platform_in_order_and_totals_from_sums(
    rules: Ruleset, standings: dict[Standing, int]
) -> None:
    found = tabulate(standings, rules.registry, Period.parse("2022Q1").months)
    assert [row.platform for row in found.rows] == list(rules.registry.slugs)
    assert found.total == count({s: n for s, n in standings.items() if s.month != "2022-04"})
    assert all(getattr(found.total, name) == sum(getattr(row.counts, name) for row in found.rows) for name in COUNTS)


def test_a_table_of_nothing_has_every_platform(rules: Ruleset) -> None:
    found = tabulate(Counter(), rules.registry, ["2022-01"])
    assert {row.counts for row in found.rows} | {found.total} == {Counts()}
    assert [(row.name, row.county) for row in found.rows][:3] == [
        ("市政府", "municipal"), ("市公安局", "municipal"), ("临翔区", "linxiang"),
    ]  # fmt: skip


def test_the_total_rate_is_not_the_mean_of_the_rates(rules: Ruleset) -> None:
    def cases(platform: str, outcome: str) -> Standing:
        return Standing(platform, "2022-01", "help", outcome, outcome != "on_time", False, "on_time", False)

    standings = {cases("lincang", "on_time"): 1, cases("zhenkang", "on_time"): 1, cases("zhenkang", "overdue"): 98}
    found = tabulate(standings, rules.registry, ["2022-01"])
    assert [row.counts.completion_rate for row in found.rows if row.counts.received] == ["100.00", "1.01"]
    assert found.total.completion_rate == "2.00"


def test_a_case_of_which_nothing_is_known_has_no_standing(rules: Ruleset) -> None:
    assert evaluate([RECEIVED], rules, at("02-28 10:00")) is None
