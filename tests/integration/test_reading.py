"""The reading API: lists and their paging, one case, what is overdue, rates as of any instant, exports, health."""

import csv
import io
import itertools
import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.alerts.exports import DEFINITIONS, HEADERS
from services.alerts.rooms import Room
from services.compose import cases as cases_module
from services.compose.demo.quarter import AS_OF, QUARTER, quarter_events
from shared.figures import COUNTS, RATES
from shared.http import ProblemError
from shared.times import isoformat, parse_instant
from tests.builders import at
from tests.service import PATIENCE, Json, Served, dump, platform_of, served

PROBLEM = "application/problem+json"
REGISTRY = (
    "lincang", "gongan", "linxiang", "yunxian", "fengqing", "yongde", "zhenkang", "gengma", "cangyuan", "shuangjiang",
)  # fmt: skip
NOW = at("2026-12-29 12:00")


def event(key: str, name: str, time: str, **data: Any) -> Json:
    """An event of the case `platform/subject` at a local time, "12-01 09:00" of 2026."""
    platform, subject = key.split("/")
    moment = at(time, 2026)
    return {
        "specversion": "1.0",
        "id": f"{subject}-{name}-{moment:%m%d%H%M}",
        "source": f"/platforms/{platform}",
        "type": f"liuyan.message.{name}.v1",
        "subject": subject,
        "time": isoformat(moment),
        "data": data,
    }


BOARD = [
    event("lincang/on-time", "received", "12-01 09:00", category="simple_inquiry", title="按时"),
    event("lincang/on-time", "replied", "12-02 09:00"),
    event("lincang/late", "received", "12-01 09:00", category="simple_inquiry", title="迟了"),
    event("lincang/late", "replied", "12-04 09:00"),
    event("linxiang/rejected", "received", "12-21 09:00", category="complaint"),
    event("linxiang/rejected", "rejected", "12-21 10:00", reason="duplicate"),
    event("linxiang/withdrawn", "received", "12-21 09:00", category="help"),
    event("linxiang/withdrawn", "withdrawn", "12-22 10:00"),
    event("yunxian/awaiting", "accepted", "12-21 09:00"),
    event("fengqing/ahead", "received", "12-30 09:00", category="help"),
    event("zhenkang/overdue", "received", "12-01 09:00", category="inquiry", title="逾期"),
    event("zhenkang/provisional", "received", "12-28 09:00", category="help"),
    event("zhenkang/suspended", "received", "12-21 09:00", category="inquiry"),
    event("zhenkang/suspended", "suspended", "12-22 09:00", reason="补充材料"),
    event("zhenkang/with-linxiang", "received", "12-28 10:00", category="simple_inquiry"),
    event("zhenkang/with-linxiang", "transferred", "12-28 11:00", to="linxiang"),
    event("gengma/with-a-unit", "received", "12-02 09:00", category="correction"),
    event("gengma/with-a-unit", "transferred", "12-02 10:00", to="县住建局"),
    event("gengma/again", "received", "12-01 09:00", category="simple_inquiry"),
    event("gengma/again", "replied", "12-01 10:00"),
    event("gengma/again", "reopened", "12-29 09:00"),
]
"""A case of every status and outcome, as of `NOW`; one of which nothing is known yet."""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("board") / "board.db", NOW) as service:
        service.push(*BOARD)
        service.settle()
        yield service


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The first quarter of 2022, as of 2022-04-11."""
    with served(tmp_path_factory.mktemp("quarter") / "quarter.db", AS_OF) as service:
        push_quarter(service)
        yield service


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "fresh.db", NOW) as service:
        yield service


def push_all(service: Served, events: list[Json]) -> None:
    """A batch for each platform; what is known already is a duplicate."""
    for platform, batch in itertools.groupby(sorted(events, key=platform_of), platform_of):
        assert service.push_batch(list(batch), platform).status_code == 202
    service.settle()


def push_quarter(service: Served) -> None:
    push_all(service, quarter_events())


def keys_of(page: Any) -> list[str]:
    return [case["key"] for case in page["cases"]]


def walk(service: Served, path: str, limit: int, **query: Any) -> list[list[str]]:
    """The keys of every page from the first to the last."""
    pages: list[list[str]] = []
    cursor: dict[str, str] = {}
    while True:
        page = service.json(path, limit=limit, **query, **cursor)
        pages.append(keys_of(page))
        assert len(pages) < 1000
        if page["next"] is None:
            return pages
        cursor = {"cursor": page["next"]}


def listed_order(key: str) -> tuple[int, str]:
    platform, _, subject = key.partition("/")
    return REGISTRY.index(platform), subject


def problem(answer: httpx.Response, status: int, reason: str) -> Any:
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), answer.text[:500]
    found = answer.json()
    assert (found["status"], found["reason"], found["type"]) == (status, reason, f"urn:liuyan:problem:{reason}")
    assert found["detail"].isprintable()
    assert re.search("[\u4e00-\u9fff]", found["detail"])
    return found


# Lists


def test_every_case_of_which_something_is_known_is_listed_in_the_order_of_the_registry_then_the_subject(
    board: Served,
) -> None:
    page = board.json("/v1/cases")
    known = {f"{platform_of(e)}/{e['subject']}" for e in BOARD} - {"fengqing/ahead"}
    assert keys_of(page) == sorted(known, key=listed_order)
    assert page["next"] is None


def test_a_listed_case_says_what_the_case_itself_says(board: Served) -> None:
    for row in board.json("/v1/cases")["cases"]:
        case = board.json(f"/v1/cases/{row['key']}")
        shared = set(row) & set(case) - {"rounds"}
        assert {name: row[name] for name in shared} == {name: case[name] for name in shared}
        assert row["rounds"] == len(case["rounds"])
        if case["rounds"]:
            complete = case["rounds"][-1]["targets"]["complete"]
            assert (row["due_at"], row["due_day"]) == (complete["due_at"], complete["due_day"])


@pytest.mark.parametrize(("length", "listed"), [(199, 199), (200, 200), (201, 199), (5_000, 199)])
def test_a_long_title_is_cut_in_lists_and_whole_in_the_case(fresh: Served, length: int, listed: int) -> None:
    title = "题" * length
    fresh.push(event("zhenkang/long", "received", "12-01 09:00", category="simple_inquiry", title=title))
    for path in ("/v1/cases", "/v1/overdue"):
        (case,) = fresh.json(path)["cases"]
        assert case["title"] == title[:listed] + "…" * (listed < length)
        assert len(case["title"]) <= 200
    assert fresh.json("/v1/cases/zhenkang/long")["title"] == title


FILTERS = [
    ("platform", "zhenkang"), ("platform", "gengma"), ("county", "municipal"), ("county", "linxiang"),
    ("category", "simple_inquiry"), ("category", "help"), ("holder", "linxiang"), ("holder", "县住建局"),
    ("provisional", "true"), ("provisional", "false"),
    *(("status", word) for word in ("awaiting_reception", "open", "suspended", "completed", "rejected", "withdrawn")),
    *(("outcome", word) for word in ("on_time", "late", "overdue", "pending", "rejected", "withdrawn")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), FILTERS, ids=lambda text: text)
def test_a_filter_lists_just_the_cases_that_it_says(board: Served, name: str, value: str) -> None:
    wanted = {"true": True, "false": False}.get(value, value)
    everything = board.json("/v1/cases")["cases"]
    expected = [case["key"] for case in everything if case[name] == wanted]
    assert expected
    assert keys_of(board.json("/v1/cases", **{name: value})) == expected
    assert [key for page in walk(board, "/v1/cases", 2, **{name: value}) for key in page] == expected


@pytest.mark.parametrize("pair", list(itertools.combinations(FILTERS[::3], 2)), ids=str)
def test_two_filters_narrow_together(board: Served, pair: tuple[tuple[str, str], ...]) -> None:
    both = [set(keys_of(board.json("/v1/cases", **{name: value}))) for name, value in pair]
    if pair[0][0] != pair[1][0]:
        assert set(keys_of(board.json("/v1/cases", **dict(pair)))) == both[0] & both[1]


@pytest.mark.parametrize(("name", "value"), [("platform", "gongan"), ("category", "nonsense"), ("holder", "没有")])
def test_a_filter_that_nothing_meets_gives_an_empty_page(board: Served, name: str, value: str) -> None:
    assert board.json("/v1/cases", **{name: value}) == {"cases": [], "next": None}


@pytest.mark.parametrize("limit", [1, 3, 7, 57, 113, 114, 115, 500])
def test_paging_visits_each_case_exactly_once_in_order(quarter: Served, limit: int) -> None:
    pages = walk(quarter, "/v1/cases", limit)
    visited = [key for page in pages for key in page]
    assert visited == sorted(visited, key=listed_order)
    assert len(visited) == len(set(visited)) == 114
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert 0 < len(pages[-1]) <= limit


def test_paging_goes_on_while_cases_arrive_and_misses_none_that_was_there(fresh: Served) -> None:
    def arrive(key: str) -> None:
        fresh.push(event(key, "received", "12-01 09:00", category="help"))

    before = ["lincang/b", "lincang/d", "zhenkang/b", "zhenkang/d"]
    for key in before:
        arrive(key)
    first = fresh.json("/v1/cases", limit=2)
    for key in ("lincang/a", "lincang/e", "yunxian/a", "zhenkang/a", "zhenkang/e"):
        arrive(key)
    second = fresh.json("/v1/cases", limit=100, cursor=first["next"])
    assert keys_of(first) == ["lincang/b", "lincang/d"]
    assert keys_of(second) == ["lincang/e", "yunxian/a", "zhenkang/a", "zhenkang/b", "zhenkang/d", "zhenkang/e"]


def test_subjects_are_ordered_by_their_code_points(fresh: Served) -> None:
    subjects = ["a", "B", "_", "10", "9", "-", ".", ":", "aa", "A"]
    for subject in subjects:
        fresh.push(event(f"zhenkang/{subject}", "received", "12-01 09:00"))
    assert keys_of(fresh.json("/v1/cases")) == [f"zhenkang/{subject}" for subject in sorted(subjects)]


@pytest.mark.parametrize("path", ["/v1/cases", "/v1/overdue", "/v1/alerts"])
@pytest.mark.parametrize("limit", ["0", "501", "-1", "abc", "1.5", "", "99999999999999999999", "１"])
def test_a_limit_that_is_none_is_refused(board: Served, path: str, limit: str) -> None:
    found = problem(board.client.get(path, params={"limit": limit}), 400, "invalid_parameter")
    assert "limit" in found["detail"]


@pytest.mark.parametrize("path", ["/v1/cases", "/v1/overdue", "/v1/alerts"])
@pytest.mark.parametrize("limit", [1, 500])
def test_the_bounds_of_the_limit_are_allowed(board: Served, path: str, limit: int) -> None:
    page = board.json(path, limit=limit)
    assert len(page.get("cases", page.get("alerts"))) <= limit


@pytest.mark.parametrize("path", ["/v1/cases", "/v1/overdue", "/v1/alerts"])
@pytest.mark.parametrize(
    "cursor",
    [
        "abc",
        "!",
        "\x00",
        "游标",
        "bm93aGVyZS94",
        "/////w",
        "A" * 301,
        "MTIgYQ==x",
        "LTEgYQ",
        "MSBhAA",
        "emhlbmthbmcvYQA",
    ],
)
def test_a_cursor_that_the_service_did_not_give_is_refused(board: Served, path: str, cursor: str) -> None:
    problem(board.client.get(path, params={"cursor": cursor}), 400, "invalid_parameter")


def test_a_cursor_that_names_no_case_is_refused(board: Served) -> None:
    problem(board.client.get("/v1/cases", params={"cursor": "emhlbmthbmc"}), 400, "invalid_parameter")


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/v1/cases", "platform", "nowhere"), ("/v1/cases", "county", "zhenkang1"), ("/v1/cases", "status", "closed"),
        ("/v1/cases", "outcome", "overdue "), ("/v1/cases", "provisional", "perhaps"), ("/v1/cases", "category", "x" * 65),
        ("/v1/cases", "holder", "长" * 65), ("/v1/overdue", "platform", ""), ("/v1/overdue", "county", "镇康县"),
        ("/v1/alerts", "platform", "nowhere"), ("/v1/alerts", "rung", "late"), ("/v1/alerts", "standing", "perhaps"),
        ("/v1/cases", "holder", "a\0"), ("/v1/cases", "category", "\0"), ("/v1/overdue", "holder", "\0"),
        ("/v1/notices", "channel", "\0"),
    ],
)  # fmt: skip
def test_a_filter_with_an_impossible_value_is_refused_and_named(
    board: Served, path: str, name: str, value: str
) -> None:
    found = problem(board.client.get(path, params={name: value}), 400, "invalid_parameter")
    assert name in found["detail"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/cases", "statuss"), ("/v1/cases", "as_of"), ("/v1/cases", "offset"), ("/v1/overdue", "outcome"),
        ("/v1/overdue", "as_of"), ("/v1/alerts", "category"), ("/v1/rates", "periode"), ("/v1/rates", "platform"),
        ("/v1/cases/zhenkang/overdue", "asof"), ("/v1/exports/2022Q1.csv", "period"), ("/v1/exports/2022Q1.json", "format"),
    ],
)  # fmt: skip
def test_an_unknown_parameter_is_refused_and_the_known_ones_are_told(board: Served, path: str, name: str) -> None:
    found = problem(board.client.get(path, params={name: "x"}), 400, "invalid_parameter")
    assert name in found["detail"]
    assert "可用的有" in found["detail"]


@pytest.mark.parametrize(
    "query", ["/v1/cases?platform=zhenkang&platform=lincang", "/v1/rates?period=2022Q1&period=2022Q2"]
)
def test_a_parameter_that_is_written_twice_is_refused(board: Served, query: str) -> None:
    found = problem(board.client.get(query), 400, "invalid_parameter")
    assert query.partition("&")[2].partition("=")[0] in found["detail"]


# One case


CONTRACT = {
    "key", "platform", "county", "category", "status", "stage", "outcome", "breached", "received_at", "holder", "holders",
    "provisional", "ruleset", "rounds", "ignored",
}  # fmt: skip
TARGET = {"due_at", "due_day", "met_at", "verdict", "provisional"}


def test_a_case_has_at_least_the_members_of_the_contract(board: Served) -> None:
    for key in keys_of(board.json("/v1/cases")):
        case = board.json(f"/v1/cases/{key}")
        assert set(case) >= CONTRACT | {"as_of", "explanation", "events"}
        for round_ in case["rounds"]:
            assert set(round_) >= {"anchor", "targets"}
            assert set(round_["targets"]) == {"reply", "complete"}
            assert all(set(target) >= TARGET for target in round_["targets"].values())
        for holder in case["holders"]:
            assert set(holder) == {"holder", "from", "to"}


def test_a_deadline_is_explained_day_by_day_from_day_zero_to_the_day_it_ends(quarter: Served) -> None:
    case = quarter.json("/v1/cases/zhenkang/zk-2022-0008")
    (reply, complete) = case["explanation"]
    assert (reply["target"], complete["target"]) == ("reply", "complete")
    days = complete["days"]
    assert [day["date"] for day in days] == [
        f"2022-0{m}-{d:02}" for m, d in [(1, 30), (1, 31), *((2, n) for n in range(1, 8))]
    ]
    assert [day["date"] for day in days if day["counted"]] == ["2022-02-07"]
    assert days[0]["working"]
    assert "调休上班" in days[0]["reason"]
    assert "第0日" in days[0]["reason"]
    assert "春节" in {day["reason"] for day in days[1:-1]}
    assert not [day for day in days[1:-1] if day["working"] or day["counted"] or not day["reason"]]
    assert "通知" in days[0]["source"]
    assert complete["due_at"] == case["rounds"][0]["targets"]["complete"]["due_at"] == "2022-02-08T00:00:00+08:00"


def test_the_events_of_a_case_come_in_processing_order_and_only_those_known_by_then(quarter: Served) -> None:
    case = quarter.json("/v1/cases/lincang/lc-2022-0017")
    times = [found["time"] for found in case["events"]]
    assert times == sorted(times)
    assert len(times) == case["event_count"] == 4
    earlier = quarter.json("/v1/cases/lincang/lc-2022-0017", as_of=times[1])
    assert [found["time"] for found in earlier["events"]] == times[:2]
    assert "contact" not in json.dumps(case)


def test_a_case_is_told_as_of_any_instant(quarter: Served) -> None:
    address = "/v1/cases/linxiang/lx-2022-0018"
    (received, replied, rated, reopened, *_) = (found["time"] for found in quarter.json(address)["events"])

    def as_of(instant: str) -> tuple[Any, ...]:
        case = quarter.json(address, as_of=instant)
        return case["as_of"], case["status"], case["outcome"], case["rating"], len(case["rounds"])

    assert as_of(received) == (received, "open", "pending", None, 1)
    assert as_of(replied) == (replied, "completed", "on_time", None, 1)
    assert as_of(rated) == (rated, "completed", "on_time", 1, 1)
    assert as_of(reopened) == (reopened, "open", "pending", 1, 2)


def test_an_instant_before_the_first_event_knows_no_case(quarter: Served) -> None:
    first = parse_instant(quarter.json("/v1/cases/lincang/lc-2022-0017")["events"][0]["time"])
    before = isoformat(first - timedelta(microseconds=1))
    problem(quarter.client.get("/v1/cases/lincang/lc-2022-0017", params={"as_of": before}), 404, "not_found")


def test_an_instant_ahead_shows_what_time_alone_will_do_and_the_events_announced_by_then(board: Served) -> None:
    def outcome(key: str, instant: str) -> Any:
        return board.json(f"/v1/cases/{key}", as_of=instant)["outcome"]

    assert outcome("zhenkang/with-linxiang", "2026-12-29T23:59:59.999999+08:00") == "pending"
    assert outcome("zhenkang/with-linxiang", "2026-12-30T00:00:00+08:00") == "overdue"
    assert outcome("fengqing/ahead", "2026-12-30T09:00:00+08:00") == "pending"
    problem(board.client.get("/v1/cases/fengqing/ahead"), 404, "not_found")


@pytest.mark.parametrize("written", ["+08:00", "%2B08:00", "%2b08:00", " 08:00"])
def test_the_plus_of_the_offset_may_be_written_as_it_is(quarter: Served, written: str) -> None:
    answer = quarter.client.get(f"/v1/cases/lincang/lc-2022-0017?as_of=2022-03-01T00:00:00{written}")
    assert answer.json()["as_of"] == "2022-03-01T00:00:00+08:00"


def test_an_instant_in_utc_is_the_same_instant(quarter: Served) -> None:
    here, there = (
        quarter.get("/v1/cases/lincang/lc-2022-0017", as_of=text).content
        for text in ("2022-03-01T00:00:00+08:00", "2022-02-28T16:00:00Z")
    )
    assert here == there


@pytest.mark.parametrize("path", ["/v1/cases/zhenkang/overdue", "/v1/rates", "/v1/exports/2026Q4.csv"])
@pytest.mark.parametrize(
    "as_of", ["", "yesterday", "2022", "2022-03-01", "2022-03-01T00:00:00", "9999-12-31T00:00:00+08:00", "0", "\x00"]
)
def test_an_instant_that_is_none_is_refused(board: Served, path: str, as_of: str) -> None:
    found = problem(board.client.get(path, params={"as_of": as_of}), 400, "invalid_parameter")
    assert "as_of" in found["detail"]


@pytest.mark.parametrize(
    "key",
    [
        "zhenkang/nothing",
        "nowhere/overdue",
        "lincang/overdue",
        "zhenkang/OVERDUE",
        "zhenkang/%00",
        "zhenkang/留言",
        "zhenkang/%ff",
    ],
)
def test_a_case_that_is_not_there_is_not_found(board: Served, key: str) -> None:
    problem(board.client.get(f"/v1/cases/{key}"), 404, "not_found")


def test_a_case_that_awaits_its_reception_says_so_and_nothing_that_follows_from_one(board: Served) -> None:
    case = board.json("/v1/cases/yunxian/awaiting")
    nulls = ("category", "title", "stage", "outcome", "received_at", "closed_at", "holder", "rating")
    assert case["status"] == "awaiting_reception"
    assert {name: case[name] for name in nulls} == dict.fromkeys(nulls)
    assert (case["rounds"], case["ignored"], case["explanation"]) == ([], [], [])
    assert (case["county"], case["platform"], len(case["events"])) == ("yunxian", "yunxian", 1)


def test_a_reception_that_comes_late_opens_the_case_that_awaited_it(fresh: Served) -> None:
    fresh.push(event("yunxian/w", "accepted", "12-21 10:00"))
    assert fresh.json("/v1/cases/yunxian/w")["status"] == "awaiting_reception"
    assert fresh.json("/v1/rates", period="2026Q4")["total"]["received"] == 0
    fresh.push(event("yunxian/w", "received", "12-21 09:00", category="help"))
    case = fresh.json("/v1/cases/yunxian/w")
    assert (case["status"], case["stage"], case["outcome"]) == ("open", "in_progress", "pending")
    assert fresh.json("/v1/rates", period="2026Q4")["total"]["received"] == 1


# Overdue


def test_what_is_overdue_is_listed_with_the_oldest_deadline_first(quarter: Served) -> None:
    cases = quarter.json("/v1/overdue")["cases"]
    assert [case["platform"] for case in cases] == ["zhenkang"] * 5
    assert [case["due_day"] for case in cases] == ["2022-03-25", "2022-03-28", "2022-03-29", "2022-03-30", "2022-04-07"]
    assert {case["outcome"] for case in cases} == {"overdue"}


def test_cases_with_the_same_deadline_are_ordered_by_their_key(fresh: Served) -> None:
    for key in ("zhenkang/b", "zhenkang/a", "lincang/z", "gengma/m"):
        fresh.push(event(key, "received", "12-01 09:00", category="simple_inquiry"))
    fresh.push(event("lincang/old", "received", "11-02 09:00", category="simple_inquiry"))
    fresh.settle()
    expected = ["lincang/old", "gengma/m", "lincang/z", "zhenkang/a", "zhenkang/b"]
    assert keys_of(fresh.json("/v1/overdue")) == expected
    assert [key for page in walk(fresh, "/v1/overdue", 2) for key in page] == expected


@pytest.mark.parametrize("limit", [1, 2, 5, 6])
def test_paging_what_is_overdue_visits_each_exactly_once(quarter: Served, limit: int) -> None:
    pages = walk(quarter, "/v1/overdue", limit)
    assert [key for page in pages for key in page] == keys_of(quarter.json("/v1/overdue"))
    assert all(len(page) == limit for page in pages[:-1])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("platform", "gengma", ["gengma/with-a-unit"]), ("platform", "gongan", []), ("county", "zhenkang", ["zhenkang/overdue"]),
        ("category", "correction", ["gengma/with-a-unit"]), ("holder", "县住建局", ["gengma/with-a-unit"]),
    ],
)  # fmt: skip
def test_what_is_overdue_can_be_narrowed(board: Served, name: str, value: str, expected: list[str]) -> None:
    assert keys_of(board.json("/v1/overdue", **{name: value})) == expected


@pytest.mark.parametrize("swept", [True, False], ids=["swept", "before the sweep"])
def test_a_case_is_overdue_from_the_very_instant_of_its_deadline(fresh: Served, swept: bool) -> None:
    fresh.push(event("zhenkang/edge", "received", "12-28 09:00", category="simple_inquiry"))
    if not swept:
        fresh.engine.stop()

    def overdue(instant: datetime) -> tuple[list[str], int]:
        if swept:
            fresh.set_clock(instant)
        fresh.clock.set(instant)
        report = fresh.json("/v1/rates", period="2026Q4")
        return keys_of(fresh.json("/v1/overdue")), report["total"]["overdue"]

    due = at("2026-12-30 00:00")
    assert overdue(due - timedelta(microseconds=1)) == ([], 0)
    assert overdue(due) == (["zhenkang/edge"], 1)
    if swept:
        assert fresh.json("/v1/cases", outcome="overdue")["cases"][0]["breached"]


def test_what_is_overdue_leaves_the_list_with_its_completion_and_with_evidence_that_comes_late(fresh: Served) -> None:
    for subject in ("late", "evidence"):
        fresh.push(event(f"zhenkang/{subject}", "received", "12-01 09:00", category="simple_inquiry"))
    fresh.settle()
    assert len(fresh.json("/v1/overdue")["cases"]) == 2
    fresh.push(event("zhenkang/late", "completed", "12-29 09:00"), event("zhenkang/evidence", "replied", "12-02 23:59"))
    assert keys_of(fresh.json("/v1/overdue")) == []
    outcomes = {case["key"]: case["outcome"] for case in fresh.json("/v1/cases")["cases"]}
    assert outcomes == {"zhenkang/evidence": "on_time", "zhenkang/late": "late"}


# Alerts


def alerted(service: Served) -> None:
    """A case that becomes due and overdue, and is then disproved by an answer that was given in time."""
    service.push(event("zhenkang/a", "received", "12-28 09:00", category="simple_inquiry"))
    service.set_clock(at("2026-12-30 00:00"))
    service.set_clock(at("2026-12-30 08:00"))
    service.push(event("zhenkang/a", "replied", "12-29 20:00"))


def test_every_alert_is_told_the_newest_first_with_how_it_was_cleared(fresh: Served) -> None:
    alerted(fresh)
    told = fresh.json("/v1/alerts")["alerts"]
    assert [(a["target"], a["rung"], a["clear_reason"]) for a in told] == [
        ("complete", "overdue", "late_evidence"), ("reply", "overdue", "late_evidence"),
        ("complete", "due_today", "completed"), ("reply", "due_today", "completed"),
    ]  # fmt: skip
    assert told[0] == {
        "key": "zhenkang/a", "platform": "zhenkang", "round": 1, "target": "complete", "rung": "overdue",
        "due_at": "2026-12-30T00:00:00+08:00", "raised_at": "2026-12-30T00:00:00+08:00", "quiet": False,
        "cleared_at": "2026-12-30T08:00:00+08:00", "clear_reason": "late_evidence", "id": told[0]["id"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        {}, {"platform": "zhenkang"}, {"platform": "gongan"}, {"county": "gengma"}, {"county": "municipal"},
        {"rung": "overdue"}, {"rung": "suspended-long"}, {"standing": "true"}, {"standing": "false"},
        {"county": "zhenkang", "rung": "escalated-2", "standing": "true"},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("limit", [1, 3, 500])
def test_alerts_can_be_narrowed_and_paged(board: Served, query: dict[str, str], limit: int) -> None:
    everything = board.json("/v1/alerts", limit=500)["alerts"]
    county = {slug: "municipal" if slug in ("lincang", "gongan") else slug for slug in REGISTRY}

    def wanted(alert: Any) -> bool:
        said = {"platform": alert["platform"], "county": county[alert["platform"]], "rung": alert["rung"]}
        return query.items() <= (said | {"standing": "false" if alert["cleared_at"] else "true"}).items()

    found: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = board.json("/v1/alerts", limit=limit, **query, **cursor)
        found += page["alerts"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert found == [alert for alert in everything if wanted(alert)]
    assert len(everything) > 6


def test_a_case_tells_the_alerts_of_then_as_they_stood_then(fresh: Served) -> None:
    alerted(fresh)

    def told(as_of: str) -> list[tuple[str, str | None]]:
        case = fresh.json("/v1/cases/zhenkang/a", as_of=isoformat(at(as_of, 2026)))
        assert all((a["cleared_at"] is None) == (a["clear_reason"] is None) for a in case["alerts"])
        return [(a["rung"], a["clear_reason"]) for a in case["alerts"] if a["target"] == "complete"]

    both = [alert["raised_at"] for alert in fresh.json("/v1/alerts", rung="due_today")["alerts"]]
    assert told("12-29 11:59") == []
    assert both == [both[0]] * 2
    assert told("12-30 07:59:59") == [("due_today", None), ("overdue", None)]
    assert told("12-30 08:00") == [("due_today", "completed"), ("overdue", "late_evidence")]
    assert fresh.json("/v1/cases/zhenkang/a")["alerts"] == fresh.json("/v1/alerts")["alerts"][::-1]


# Rates


RECEIVED = {
    (platform_of(event), event["subject"]): str(event["time"])[:7]
    for event in quarter_events()
    if str(event["type"]).endswith(".received.v1")
}
MONTHS = [list(RECEIVED.values()).count(month) for month in ("2022-01", "2022-02", "2022-03")]


@pytest.mark.parametrize(
    ("period", "received"),
    [
        ("2022-01", MONTHS[0]),
        ("2022-02", MONTHS[1]),
        ("2022-03", MONTHS[2]),
        (QUARTER, 114),
        ("2022", 114),
        ("2022Q2", 0),
    ],
)
def test_a_period_is_a_month_a_quarter_or_a_year(quarter: Served, period: str, received: int) -> None:
    report = quarter.json("/v1/rates", period=period)
    assert (report["period"], report["as_of"]) == (period, "2022-04-11T00:00:00+08:00")
    assert report["total"]["received"] == received


def test_the_report_has_every_platform_in_the_registrys_order_with_all_counts_and_rates(quarter: Served) -> None:
    report = quarter.json("/v1/rates", period=QUARTER)
    assert [row["platform"] for row in report["rows"]] == list(REGISTRY)
    assert report["rows"][0]["name"] == "市政府"
    assert report["rows"][1]["county"] == "municipal"
    for row in report["rows"]:
        assert set(row) >= {"platform", "name", "county", *COUNTS, *RATES}
    assert set(report["total"]) >= {*COUNTS, *RATES}
    assert report["definitions"] == DEFINITIONS


def test_without_a_period_it_is_the_current_quarter(quarter: Served, board: Served) -> None:
    assert quarter.json("/v1/rates")["period"] == "2022Q2"
    assert board.json("/v1/rates")["period"] == "2026Q4"


def test_a_rate_with_nothing_to_divide_by_is_null(quarter: Served) -> None:
    report = quarter.json("/v1/rates", period="2021")
    for counts in (*report["rows"], report["total"]):
        assert {name: counts[name] for name in COUNTS} == dict.fromkeys(COUNTS, 0)
        assert {name: counts[name] for name in RATES} == dict.fromkeys(RATES)


def test_every_count_adds_up_in_every_row_and_in_the_total(board: Served) -> None:
    report = board.json("/v1/rates", period="2026Q4")
    for row in (*report["rows"], report["total"]):
        assert row["accountable"] == row["received"] - row["rejected"] - row["withdrawn"]
        assert row["accountable"] == row["on_time"] + row["late"] + row["overdue"] + row["pending"]
    for name in COUNTS:
        assert report["total"][name] == sum(row[name] for row in report["rows"])
    expected = {
        "received": 10, "rejected": 1, "withdrawn": 1, "accountable": 8, "on_time": 1, "late": 1, "overdue": 2, "pending": 4,
        "breached": 3, "suspended": 1, "reply_on_time": 2, "reply_late": 1, "reply_overdue": 2,
    }  # fmt: skip
    assert {name: report["total"][name] for name in COUNTS} == expected
    assert {name: report["total"][name] for name in RATES} == {
        "completion_rate": "25.00", "on_time_rate": "25.00", "reply_on_time_rate": "40.00", "refusal_rate": "10.00",
    }  # fmt: skip


@pytest.mark.parametrize(
    "period", ["2022Q0", "2022Q5", "2022-13", "2022-00", "22Q1", "2022q1", "第一季度", "", "2022-3", "1999"]
)
def test_a_period_that_is_none_is_refused(quarter: Served, period: str) -> None:
    problem(quarter.client.get("/v1/rates", params={"period": period}), 400, "invalid_parameter")


INSTANTS = [
    at(text) for text in ("01-04 00:00", "01-30 00:00", "02-08 00:00", "02-21 08:31", "02-21 08:32", "03-05 00:00",
                          "03-16 17:20", "03-26 00:00", "03-31 12:00", "04-08 00:00", "04-11 00:00")
]  # fmt: skip
PERIODS = ("2022-01", "2022-03", QUARTER, "2022")


def reports(service: Served, as_of: datetime | None) -> list[bytes]:
    query = {} if as_of is None else {"as_of": isoformat(as_of)}
    return [service.get("/v1/rates", period=period, **query).content for period in PERIODS]


def test_a_report_as_of_an_instant_is_what_the_current_report_was_then(tmp_path: Path) -> None:
    with served(tmp_path / "ahead.db", INSTANTS[0]) as service:
        push_quarter(service)  # nearly all of it lies ahead of this clock
        current = []
        for instant in INSTANTS:
            service.set_clock(instant)
            current.append(reports(service, None))
            assert reports(service, instant) == current[-1]
        assert [reports(service, instant) for instant in INSTANTS] == current
        totals = [json.loads(found[-1])["total"] for found in current]
    assert len({json.dumps(total) for total in totals}) > 8
    assert totals[-1]["completion_rate"] == "95.61"


def test_the_current_report_does_not_wait_for_the_sweep(tmp_path: Path) -> None:
    with served(tmp_path / "unswept.db", INSTANTS[0]) as service:
        push_quarter(service)
        service.engine.stop()
        for instant in INSTANTS:
            service.clock.set(instant)
            assert reports(service, None) == reports(service, instant)


def test_a_report_as_of_an_instant_never_depends_on_events_after_it(tmp_path: Path) -> None:
    events = quarter_events()
    with served(tmp_path / "growing.db", AS_OF) as service:
        known: dict[datetime, list[bytes]] = {}
        for instant in INSTANTS:
            known_by_then = [event for event in events if parse_instant(str(event["time"])) <= instant]
            push_all(service, known_by_then)
            known[instant] = reports(service, instant)
        for instant, expected in known.items():
            assert reports(service, instant) == expected, instant


# Exports


@pytest.mark.parametrize("name", ["2022Q1.csv", "2022-03.csv", "2022.csv", "2022Q1.json", "2022-12.json"])
def test_an_export_is_a_file_with_the_name_asked_for(quarter: Served, name: str) -> None:
    answer = quarter.get(f"/v1/exports/{name}")
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["content-type"].startswith(
        "application/json" if name.endswith("json") else "text/csv; charset=utf-8"
    )


@pytest.mark.parametrize(
    ("path", "media_type"),
    [("/v1/exports/2022Q1.csv", "text/csv; charset=utf-8"), ("/metrics", "text/plain; version=0.0.4; charset=utf-8")],
)
def test_the_media_type_names_its_charset_once(quarter: Served, path: str, media_type: str) -> None:
    assert quarter.get(path).headers["content-type"] == media_type


@pytest.mark.parametrize("name", ["2022Q1", "2022Q1.text", "2022Q1.txt", "2022Q1.", "2022Q1.CSV", "csv", "x.y"])
def test_an_export_of_an_unknown_format_is_not_found(quarter: Served, name: str) -> None:
    problem(quarter.client.get(f"/v1/exports/{name}"), 404, "not_found")


@pytest.mark.parametrize(
    "name", ["2022Q5.csv", ".csv", "2022.03.csv", "..csv", "2022-3.json", "2022Q1.csv.csv", "%2e%2e.csv"]
)
def test_an_export_of_no_period_is_refused(quarter: Served, name: str) -> None:
    problem(quarter.client.get(f"/v1/exports/{name}"), 400, "invalid_parameter")


def test_the_csv_opens_with_a_byte_order_mark_and_reads_back_as_the_report(board: Served) -> None:
    exported = board.get("/v1/exports/2026Q4.csv").content
    report = board.json("/v1/rates", period="2026Q4")
    assert exported.startswith(b"\xef\xbb\xbf")
    assert b"\r\n" in exported
    assert b"\n\n" not in exported
    lines = list(csv.reader(io.StringIO(exported.decode("utf-8-sig"), newline="")))
    assert lines[0] == ["平台", "县区", *HEADERS.values()]
    for line, row in zip(lines[1:12], [*report["rows"], {"name": "合计"} | report["total"]], strict=True):
        cells = dict(zip(["name", "county", *HEADERS], line, strict=True))
        assert cells["name"] == row["name"]
        assert {name: cells[name] for name in COUNTS} == {name: str(row[name]) for name in COUNTS}
        assert {name: cells[name] for name in RATES} == {name: row[name] or "—" for name in RATES}
    notes = [tuple(line) for line in lines[13:]]
    assert notes[:3] == [
        ("统计期", "2026年第四季度"), ("统计截止时间", "2026-12-29T12:00:00+08:00"), ("规则版本", report["ruleset"]),
    ]  # fmt: skip
    assert [text for label, text in notes[3:] if label == "口径"] == list(DEFINITIONS.values())


def test_the_json_export_is_the_report_of_the_rates(board: Served) -> None:
    exported = board.get("/v1/exports/2026Q4.json")
    assert exported.json() == board.json("/v1/rates", period="2026Q4")
    assert exported.json()["definitions"] == DEFINITIONS
    assert exported.content.endswith(b"\n")


def test_an_export_as_of_the_past_says_so_and_is_the_same_every_time(quarter: Served) -> None:
    first, second = (quarter.get("/v1/exports/2022Q1.csv", as_of="2022-03-16T00:00:00+08:00").content for _ in range(2))
    assert first == second
    assert "统计截止时间,2022-03-16T00:00:00+08:00" in first.decode("utf-8-sig")
    assert first != quarter.get("/v1/exports/2022Q1.csv").content


# Too much at once


@contextmanager
def slow_reads(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Evaluating from the log stands still: (set when so many are at it, to be set so that they go on)."""
    at_it, go_on, begun = threading.Event(), threading.Event(), itertools.count(1)
    real = cases_module.evaluate

    def held(*arguments: Any) -> Any:
        if next(begun) >= number:
            at_it.set()
        assert go_on.wait(PATIENCE)
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(cases_module, "evaluate", held)
        try:
            yield at_it, go_on
        finally:
            go_on.set()


@pytest.mark.parametrize(
    ("path", "query"), [("/v1/rates", {"period": QUARTER}), (f"/v1/exports/{QUARTER}.csv", {})], ids=["rates", "export"]
)
def test_more_figures_of_the_past_at_once_are_refused_and_everything_else_is_answered(
    quarter: Served, monkeypatch: pytest.MonkeyPatch, path: str, query: dict[str, str]
) -> None:
    past = query | {"as_of": "2022-03-01T00:00:00+08:00"}
    with ThreadPoolExecutor(2) as pool, slow_reads(monkeypatch, 2) as (at_it, go_on):
        slow = [pool.submit(quarter.get, path, **past) for _ in range(2)]
        assert at_it.wait(PATIENCE)
        refused = quarter.client.get(path, params=past)
        problem(refused, 503, "busy")
        assert int(refused.headers["retry-after"]) > 0
        for other in ("/v1/cases", "/v1/overdue", path, "/", "/metrics", "/livez", "/readyz"):
            quarter.get(other)
        go_on.set()
        assert {answer.result().status_code for answer in slow} == {200}
    quarter.get(path, **past)


def test_figures_of_the_past_end_early_when_the_service_stops(fresh: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.push(*BOARD)
    with ThreadPoolExecutor(1) as pool, slow_reads(monkeypatch, 1) as (at_it, go_on):
        slow = pool.submit(fresh.client.get, "/v1/rates", params={"as_of": isoformat(NOW)})
        assert at_it.wait(PATIENCE)
        fresh.engine.ending.set()
        go_on.set()
        problem(slow.result(), 503, "busy")


def test_a_room_is_left_also_by_what_fails() -> None:
    room = Room(1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), room.entered():
            raise ZeroDivisionError
    with room.entered(), pytest.raises(ProblemError) as refused, room.entered():
        pass
    assert (refused.value.problem.status, refused.value.problem.reason) == (503, "busy")


# Health, and what is not there


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_service_at_work_is_live_and_ready(board: Served, path: str) -> None:
    answer = board.get(path)
    assert (answer.text, answer.headers["content-type"]) == ("ok", "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    "path", ["/nothing", "/v1", "/v1/", "/v1/cases/zhenkang/a/b", "/v1/exports", "/favicon.ico", "/v1/cases/../../x"]
)
def test_an_address_that_is_not_there_is_a_problem(board: Served, path: str) -> None:
    problem(board.client.get(path), 404, "not_found")


def test_an_address_below_the_schema_that_is_not_there_is_a_problem(board: Served) -> None:
    problem(board.client.get("/schema/nothing"), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/events", "POST"), ("PUT", "/v1/events", "POST"), ("DELETE", "/v1/cases", "GET"),
        ("POST", "/v1/cases/zhenkang/overdue", "GET"), ("POST", "/", "GET"), ("PATCH", "/v1/rates", "GET"),
        ("POST", "/metrics", "GET"), ("POST", "/livez", "GET"), ("PUT", "/v1/exports/2022Q1.csv", "GET"),
    ],
)  # fmt: skip
def test_a_method_that_an_address_does_not_have_is_a_problem_that_names_those_it_has(
    board: Served, method: str, path: str, allowed: str
) -> None:
    answer = board.client.request(method, path)
    problem(answer, 405, "method_not_allowed")
    assert allowed in answer.headers["allow"]


def test_reading_changes_nothing(quarter: Served) -> None:
    before = dump(quarter.database.file)
    for path in (
        "/",
        "/v1/cases",
        "/v1/overdue",
        "/v1/alerts",
        "/v1/rates",
        "/v1/exports/2022Q1.csv",
        "/metrics",
        "/livez",
        "/nothing",
    ):
        quarter.client.get(path)
    assert dump(quarter.database.file) == before
