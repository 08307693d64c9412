"""Lists, cursors, filters and kept figures are the same on both databases: the order is that of code points on each."""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from services.alerts.arrivals import summed_gaps
from services.alerts.queries import Filters, Page, all_keys, list_cases, list_overdue
from services.alerts.state import scraped_figures, state
from services.sla.rules import evaluate
from shared.case import Case
from shared.events import CaseEvent
from shared.rules import Ruleset
from tests.builders import at, event
from tests.enginekit import Deck, deck, expected_days, expected_due_days, expected_standings, grouped, tally

NOW = at("04-20 12:00")
SUBJECTS = ["a", "B", "A", "b", "a.1", "a-1", "a_1", "a:1", "a1", "a10", "a2", "_", "-", ".", ":", "0", "Z", "z", "aA", "Aa"]  # fmt: skip
PLATFORMS = ["zhenkang", "gongan", "lincang", "gengma"]

pytestmark = pytest.mark.usefixtures("each_database")


def history(chance: random.Random, platform: str, subject: str) -> Iterator[CaseEvent]:
    """What may happen to a case; many deadlines are the same instant."""
    start = at(f"03-{chance.randint(25, 31)} {chance.randint(8, 17):02}:00")
    where = {"platform": platform, "subject": subject}
    category = chance.choice(["simple_inquiry", "help", "complaint"])
    yield event(f"{subject}-r", "received", start, category=category, title=f"标题 %s {subject}'\"\\", **where)
    for number in range(chance.randint(0, 3)):
        name = chance.choice(["replied", "completed", "suspended", "resumed", "transferred", "withdrawn", "reopened"])
        data = {"to": chance.choice(["gongan", "自来水公司", "100%_'单位'"])} if name == "transferred" else {}
        time = start + timedelta(hours=chance.randint(1, 300))
        yield event(f"{subject}-{number}", name, time, sequence=number, **where, **data)


EVENTS = [
    happened
    for chance in [random.Random(20220420)]  # noqa: S311 - the same every time
    for platform in PLATFORMS
    for subject in SUBJECTS
    for happened in history(chance, platform, subject)
]


@pytest.fixture
def full(each_database: str, rules: Ruleset) -> Iterator[Deck]:
    with deck(rules, NOW) as found:
        for start in range(0, len(EVENTS), 60):
            found.push(*EVENTS[start : start + 60])
        found.push(tally("t", NOW, "2022-03-31", 12), event("later", "rated", "05-01 10:00", subject="later", score=1))
        found.sweep()
        yield found


def known(rules: Ruleset) -> list[Case]:
    """In the order registry, then subject by code points."""
    by_key = grouped(EVENTS, rules)
    found = [(evaluate(by_key[key], rules, NOW), key) for key in by_key]
    slugs = rules.registry.slugs
    ordered = sorted(found, key=lambda pair: (slugs.index(pair[1].split("/")[0]), pair[1].split("/")[1].encode()))
    return [case for case, _ in ordered if case is not None]


def read_all(found: Deck, read: Callable[[str | None], Page], limit: int) -> list[str]:
    keys: list[str] = []
    cursor = None
    while True:
        page = read(cursor)
        assert len(page.cases) <= limit
        keys += [summary.key for summary in page.cases]
        cursor = page.next
        if cursor is None:
            return keys


FILTERS = [
    Filters(),
    Filters(platform="gengma"),
    Filters(county="municipal"),
    Filters(category="help"),
    Filters(status="suspended"),
    Filters(outcome="overdue"),
    Filters(holder="自来水公司"),
    Filters(holder="100%_'单位'"),
    Filters(provisional=False, category="complaint", platform="zhenkang"),
    Filters(provisional=True),
]


@pytest.mark.parametrize("limit", [1, 7, 500])
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_every_page_of_the_list(full: Deck, rules: Ruleset, filters: Filters, limit: int) -> None:
    wanted = {name: getattr(filters, name) for name in filters.__struct_fields__ if getattr(filters, name) is not None}
    with full.database.reading() as connection:
        keys = read_all(full, lambda cursor: list_cases(connection, rules.registry, filters, limit, cursor), limit)
    assert keys == [c.key for c in known(rules) if all(getattr(c, name) == value for name, value in wanted.items())]


@pytest.mark.parametrize("limit", [1, 3, 500])
@pytest.mark.parametrize("platform", [None, "zhenkang"])
def test_every_page_of_what_is_overdue(full: Deck, rules: Ruleset, platform: str | None, limit: int) -> None:
    late = [
        (case.rounds[-1].targets.complete.due_at, case.key.encode())
        for case in known(rules)
        if case.outcome == "overdue" and platform in (None, case.platform)
    ]
    assert len({due for due, _ in late}) < len(late) > 5
    filters = Filters(platform=platform)
    with full.database.reading() as connection:
        keys = read_all(
            full, lambda cursor: list_overdue(connection, rules.registry, filters, NOW, limit, cursor), limit
        )
    assert keys == [key.decode() for _, key in sorted(late)]


def test_the_summaries_and_keys_are_those_of_the_cases(full: Deck, rules: Ruleset) -> None:
    with full.database.reading() as connection:
        page = list_cases(connection, rules.registry, Filters(), 500, None)
        keys = list(all_keys(connection, rules.registry))
    cases = known(rules)
    assert [key for key in keys if key != "zhenkang/later"] == [case.key for case in cases]
    for summary, case in zip(page.cases, cases, strict=True):
        for name in ("key", "platform", "county", "title", "category", "breached", "provisional", "holder"):
            assert getattr(summary, name) == getattr(case, name)
        assert (summary.received_at, summary.closed_at) == (case.received_at, case.closed_at)
        assert summary.due_at == case.rounds[-1].targets.complete.due_at
        assert type(summary.breached) is bool


def test_the_kept_figures_and_what_a_scrape_needs(full: Deck, rules: Ruleset) -> None:
    assert full.figures() == dict(expected_standings(EVENTS, rules, NOW))
    with full.database.reading() as connection:
        found = state(connection, rules.registry, ["2022-03"], NOW)
    standings = expected_standings(EVENTS, rules, NOW)
    assert sum(found.standings.values()) == sum(n for s, n in standings.items() if s.month == "2022-03")
    assert found.due_today == {
        (platform, category): number
        for (day, platform, category), number in expected_due_days(EVENTS, rules, NOW).items()
        if day == f"{NOW:%Y-%m-%d}"
    }
    received, _, _ = expected_days([*EVENTS, tally("t", NOW, "2022-03-31", 12)], rules, NOW)["zhenkang", "2022-03-31"]
    assert found.tally_gap == {"zhenkang": 12 - received}
    assert all(type(number) is int for number in found.tally_gap.values())
    assert full.differences() == []


def test_a_scrape_fetches_nothing_of_what_was_closed_in_months_gone_by(rules: Ruleset) -> None:
    """However many years a city has counted: rows of the months asked for, of what still asks for something, and one a platform."""
    with deck(rules, at("03-30 10:00")) as found:
        for month in (1, 2):
            for number, platform in enumerate(PLATFORMS):
                start, where = at(f"0{month}-11 10:00"), {"platform": platform, "subject": f"{month}-{number}"}
                found.push(event(f"{month}-{number}-r", "received", start, **where))
                found.push(event(f"{month}-{number}-c", "completed", start + timedelta(hours=number * 200), **where))
        found.push(event("open", "received", at("01-12 10:00"), platform="gengma", subject="open"))
        found.push(event("alone", "accepted", at("01-13 10:00"), platform="gongan", subject="alone"))
        for number in range(20):
            found.push(tally(f"t{number}", at("03-01 01:00"), f"2022-02-{number + 1:02}", 1))
        found.sweep()
        with found.database.reading() as connection:
            rows = connection.execute(scraped_figures(["2022-03"])).all()
            gaps = connection.execute(summed_gaps(found.now)).all()
            told = state(connection, rules.registry, ["2022-03"], found.now)
    assert sorted((row.platform, row.outcome) for row in rows) == [("gengma", "overdue"), ("gongan", "awaiting")]
    assert [row.platform for row in gaps] == ["zhenkang"]
    assert sum(told.open_overdue.values()) == 1
    assert told.awaiting == {"gongan": 1}
    assert told.tally_gap == {"zhenkang": 20 - 1}
