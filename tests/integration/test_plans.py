"""Queries that must not read every case: SQLite says how it would answer them."""

from datetime import timedelta

import pytest
from sqlalchemy import Executable
from sqlalchemy.dialects import sqlite

from services.alerts.notices.acknowledging import standing_of
from services.alerts.notices.listing import last_failed, oldest_pending
from services.alerts.notices.pruning import delivered
from services.alerts.notices.shifts import last_shift, standing_alerts
from services.alerts.people.viewer import Role, Viewer
from services.alerts.standings import keys_of_months, stale_cases, turning_cases
from services.alerts.turning import turning_rows
from shared.rules import Ruleset
from tests.builders import at, event
from tests.enginekit import Deck, deck

NOW = at("2022-04-11 00:00")
CITY = Viewer("c", "李四", Role.CITY)
OFFICER = Viewer("z", "张三", Role.COUNTY, "zhenkang")
MONTHS = ["2022-01", "2022-02", "2022-03"]
QUERIES = {
    "standings_now": (stale_cases(MONTHS, NOW), {"cases_wake"}),
    "standings_now, of what turned": (turning_rows(*turning_cases(NOW)).params(now=0), {"cases_wake"}),
    "standings_as_of": (keys_of_months(MONTHS), {"cases_month", "cases_ahead"}),
}


def plan(found: Deck, statement: Executable) -> list[str]:
    text = str(statement.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))  # type: ignore[attr-defined]
    with found.database.reading() as connection:
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]


@pytest.mark.parametrize("name", QUERIES)
def test_figures_read_only_what_they_count(rules: Ruleset, name: str) -> None:
    statement, indexes = QUERIES[name]
    with deck(rules, NOW) as found:
        for month in range(1, 5):
            moment = at(f"0{month}-01 10:00")
            found.push(
                *(
                    event(f"r{month}-{i}", "received", moment + timedelta(minutes=i), subject=f"s{month}-{i}")
                    for i in range(50)
                )
            )
        steps = plan(found, statement)
    reading = [step for step in steps if " cases " in f"{step} "]
    assert reading
    assert not [step for step in reading if step.startswith("SCAN") and "INDEX cases_ahead" not in step], steps
    assert {index for step in reading for index in indexes if index in step} == indexes, steps


DESK = {
    "alerts of the cases on a page": (
        standing_of([f"zhenkang/s{n}" for n in range(20)]),
        {"alerts_once", "acknowledgements_alert"},
    ),
    "notices that wait": (oldest_pending(CITY), {"notices_state"}),
    "notices that failed": (last_failed(CITY), {"notices_state"}),
    "notices delivered": (delivered(5), {"notices_state"}),
    "notices of a county that failed": (last_failed(OFFICER), {"notices_county"}),
    "alerts that stand": (standing_alerts(["zhenkang", "gengma"]), {"alerts_told"}),
    "who has duty in a county": (last_shift("zhenkang"), {"shifts_county"}),
}


@pytest.mark.parametrize("name", DESK)
def test_the_board_asks_indexes_about_alerts_notices_and_duty(rules: Ruleset, name: str) -> None:
    statement, indexes = DESK[name]
    with deck(rules, NOW) as found:
        steps = plan(found, statement)
    assert not [step for step in steps if step.startswith("SCAN") and " INDEX " not in step], steps
    assert {index for step in steps for index in indexes if index in step} == indexes, steps
