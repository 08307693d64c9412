"""Acknowledging, handing over and reading notices, by function and over HTTP: nobody sees or changes another county's anything."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from litestar import Router
from litestar.di import Provide
from litestar.testing import TestClient
from prometheus_client import CollectorRegistry
from sqlalchemy import select

from services.alerts.app import Reader, reading_routes
from services.alerts.notices.acknowledging import (
    MAX_NOTE,
    NotAllowedError,
    NoteError,
    RepeatedError,
    UnknownAlertError,
    acknowledge,
    acknowledge_case,
    acknowledgements_of,
)
from services.alerts.notices.doing import Doing
from services.alerts.notices.listing import NoticeFilters, list_notices
from services.alerts.notices.routes import notice_routes
from services.alerts.notices.shifts import RecordedError, Shift, SuccessorError, hand_over, list_shifts, on_duty
from services.alerts.notices.tables import acknowledgements, notices, shifts
from services.alerts.people.audit import entries
from services.alerts.people.viewer import Role, Viewer
from services.alerts.rooms import Rooms
from services.alerts.tables import alerts
from services.compose.api import application
from services.compose.people import everybody
from shared.registry import Registry
from shared.rules import Ruleset
from tests.builders import at
from tests.enginekit import Deck, deck, recaller
from tests.noticekit import NIGHT, Told, channel, received

CITY = Viewer("c", "李四", Role.CITY)
OFFICER = Viewer("z", "张三", Role.COUNTY, "zhenkang")
AUDITOR = Viewer("a", "王五", Role.AUDITOR)


@pytest.fixture
def city(rules: Ruleset, each_database: str) -> Iterator[Deck]:
    with deck(rules, at("03-31 12:00")) as found:
        told = Told(found, channel("hook"))
        found.push(received("a"), received("b", "gengma"))
        found.sweep(at("04-01 09:00"))
        found.sweep(NIGHT)
        told.tell()
        yield found


def ids(found: Deck, key: str) -> list[int]:
    with found.database.reading() as connection:
        return list(connection.execute(select(alerts.c.id).where(alerts.c.key == key).order_by(alerts.c.id)).scalars())


def test_an_alert_is_acknowledged_with_a_note_as_often_as_somebody_has_something_to_say(city: Deck) -> None:
    number = ids(city, "zhenkang/a")[0]
    with city.database.writing() as connection:
        for viewer, note in ((OFFICER, " 已联系承办单位\n"), (CITY, "")):
            acknowledge(connection, city.rules.registry, viewer, number, note, city.now)
            city.clock.advance(timedelta(minutes=1))
    with city.database.reading() as connection:
        found = acknowledgements_of(connection, "zhenkang/a")
        assert [(a.alert, a.person, a.note) for a in found] == [
            (number, "张三", "已联系承办单位"),
            (number, "李四", ""),
        ]
        assert acknowledgements_of(connection, "zhenkang/a", NIGHT) == found[:1]
        assert acknowledgements_of(connection, "gengma/b") == []


def test_a_case_is_acknowledged_with_all_its_standing_alerts(city: Deck) -> None:
    with city.database.writing() as connection:
        found = acknowledge_case(connection, city.rules.registry, OFFICER, "zhenkang/a", "好", city.now)
    assert [a.alert for a in found] == ids(city, "zhenkang/a")
    assert len(found) == 4


def test_of_a_case_that_is_acknowledged_twice_by_one_form_only_what_was_raised_since_is_new(city: Deck) -> None:
    def sent(note: str = "已联系", once: str = "form") -> list[int]:
        with city.database.writing() as connection:
            found = acknowledge_case(connection, city.rules.registry, OFFICER, "zhenkang/a", note, city.now, once)
        return [one.alert for one in found]

    first = sent()
    with pytest.raises(RepeatedError):
        sent(note=" 已联系 ")
    assert sent("今天答复") == first
    city.sweep(at("04-08 00:00"))
    assert set(sent()) == set(ids(city, "zhenkang/a")) - set(first)
    assert len(city.read(acknowledgements)) == len(first) + len(ids(city, "zhenkang/a"))


def test_of_many_acknowledgements_by_one_form_at_the_same_time_one_is_recorded(city: Deck) -> None:
    together = threading.Barrier(4)
    doing = Doing(city.rules.registry, everybody(city.database, city.rules), lambda: city.now)

    def send(_: int) -> int:
        together.wait()
        try:
            return len(doing.acknowledge_case(OFFICER, "zhenkang/a", "已联系", "127.0.0.1", "form"))
        except RepeatedError:
            return 0

    with ThreadPoolExecutor(4) as pool:
        kept = sum(pool.map(send, range(4)))
    assert kept == len(city.read(acknowledgements)) == len(ids(city, "zhenkang/a"))
    with city.database.reading() as connection:
        assert len(list(entries(connection))) == kept


@pytest.mark.parametrize("case", [False, True])
def test_nobody_acknowledges_in_another_county_nor_as_an_auditor(case: bool, city: Deck) -> None:
    def attempt(viewer: Viewer, key: str) -> None:
        with city.database.writing() as connection:
            if case:
                acknowledge_case(connection, city.rules.registry, viewer, key, "", city.now)
            else:
                acknowledge(connection, city.rules.registry, viewer, ids(city, key)[0], "", city.now)

    with pytest.raises(UnknownAlertError):
        attempt(OFFICER, "gengma/b")
    with pytest.raises(NotAllowedError):
        attempt(AUDITOR, "gengma/b")
    assert city.read(acknowledgements) == []


def test_an_alert_of_a_platform_that_was_taken_out_is_none(city: Deck) -> None:
    left = tuple(platform for platform in city.rules.registry if platform.slug != "gengma")
    registry = Registry(city.rules.registry.city, left)
    with city.database.writing() as connection, pytest.raises(UnknownAlertError):
        acknowledge(connection, registry, CITY, ids(city, "gengma/b")[0], "", city.now)


@pytest.mark.parametrize("note", ["x" * (MAX_NOTE + 1), "a\x00b", "a\u202eb"])
def test_a_note_is_text_and_not_too_long(note: str, city: Deck) -> None:
    with city.database.writing() as connection, pytest.raises(NoteError):
        acknowledge(connection, city.rules.registry, CITY, ids(city, "zhenkang/a")[0], note, city.now)
    assert city.read(acknowledgements) == []


def test_handing_over_records_what_is_open(city: Deck) -> None:
    with city.database.writing() as connection:
        acknowledge(connection, city.rules.registry, OFFICER, ids(city, "zhenkang/a")[0], "", city.now)
        own = hand_over(connection, city.rules.registry, OFFICER, " 赵六 ", "两件待回电", city.now)
        whole = hand_over(connection, city.rules.registry, CITY, "钱七", "", city.now + timedelta(hours=8))
    assert (own.county, own.person, own.successor, own.standing, own.unacknowledged, own.overdue) == (
        "zhenkang",
        "张三",
        "赵六",
        4,
        3,
        1,
    )
    assert (whole.county, whole.standing, whole.unacknowledged, whole.overdue) == (None, 8, 7, 2)
    with city.database.reading() as connection:
        assert list_shifts(connection, CITY, 10, None).shifts == [whole, own]
        assert list_shifts(connection, OFFICER, 10, None).shifts == [own], "the city's tell of all counties"
        assert list_shifts(connection, Viewer("g", "孙八", Role.COUNTY, "gengma"), 10, None).shifts == []
        first = list_shifts(connection, CITY, 1, None)
        assert list_shifts(connection, CITY, 1, first.next).shifts == [own]
        assert (on_duty(connection, "zhenkang"), on_duty(connection, None), on_duty(connection, "gengma")) == (
            own,
            whole,
            None,
        )


def test_what_is_sent_twice_is_recorded_once_and_what_was_altered_is_another(city: Deck) -> None:
    def sent(viewer: Viewer = OFFICER, successor: str = "赵六", note: str = "两件", once: str = "form") -> Shift:
        with city.database.writing() as connection:
            return hand_over(connection, city.rules.registry, viewer, successor, note, city.now, once)

    first = sent()
    city.clock.set(city.now + timedelta(hours=1))
    with pytest.raises(RecordedError) as again:
        sent(successor=" 赵六 ", note="两件 ")
    assert again.value.shift == first
    for other in ({"note": "三件"}, {"successor": "钱七"}, {"once": "another form"}, {"viewer": CITY}):
        sent(**other)  # type: ignore[arg-type]
    sent(once="")
    sent(once="")
    assert len(city.read(shifts)) == 7


def test_of_many_at_the_same_time_one_is_recorded(city: Deck) -> None:
    together = threading.Barrier(4)
    doing = Doing(city.rules.registry, everybody(city.database, city.rules), lambda: city.now)

    def send(_: int) -> Shift:
        together.wait()
        return doing.hand_over(OFFICER, "赵六", "", "127.0.0.1", "form")

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(send, range(4)))
    assert len(set(found)) == 1
    assert len(city.read(shifts)) == 1
    with city.database.reading() as connection:
        assert [one.action for one in entries(connection)] == ["shift_handed_over"]


def test_an_auditor_hands_nothing_over_and_nobody_to_no_one(city: Deck) -> None:
    with city.database.writing() as connection:
        with pytest.raises(NotAllowedError):
            hand_over(connection, city.rules.registry, AUDITOR, "赵六", "", city.now)
        for name in ("", "  ", "x" * 65, "a\nb"):
            with pytest.raises(SuccessorError):
                hand_over(connection, city.rules.registry, CITY, name, "", city.now)
    assert city.read(shifts) == []


def test_notices_are_listed_by_county_channel_and_state(city: Deck) -> None:
    with city.database.reading() as connection:

        def listed(viewer: Viewer, **filters: str) -> list[str]:
            found = list_notices(connection, viewer, NoticeFilters(**filters), 10, None)  # type: ignore[arg-type]
            return sorted(notice.county for notice in found.notices)

        assert listed(CITY) == ["gengma", "zhenkang"]
        assert listed(OFFICER) == ["zhenkang"]
        assert listed(OFFICER, county="gengma") == []
        assert listed(CITY, state="sent") == []
        assert listed(CITY, channel="hook", county="gengma", state="pending") == ["gengma"]
        page = list_notices(connection, CITY, NoticeFilters(), 1, None)
        rest = list_notices(connection, CITY, NoticeFilters(), 1, page.next)
        assert {page.notices[0].county, rest.notices[0].county} == {"gengma", "zhenkang"}
        assert rest.next is None
        assert page.notices[0].title.startswith("网民留言提醒")
        assert page.notices[0].id == max(city.read(notices), key=lambda row: int(row["id"]))["message"]


# Over HTTP


class Desk:
    """The routes over a deck, for whoever is `viewer`; `audited`: what was recorded."""

    def __init__(self, found: Deck) -> None:
        self.viewer, self._deck = CITY, found
        reader = Reader(
            rules=found.rules, now=lambda: found.now, reading=found.database.reading, recall=recaller(found.rules),
            open_file=lambda connection, key, as_of: None, calculate=lambda *_: None, metrics=CollectorRegistry(), rooms=Rooms(),
        )  # fmt: skip
        routes = [*reading_routes(reader), *notice_routes(reader, everybody(found.database, found.rules))]
        who = {"viewer": Provide(lambda: self.viewer, sync_to_thread=False)}
        self.client = TestClient(application([Router("/", route_handlers=routes, dependencies=who)]))

    @property
    def audited(self) -> list[tuple[str | None, str, str]]:
        with self._deck.database.reading() as connection:
            return [(entry.account, entry.action, entry.subject) for entry in entries(connection)]


@pytest.fixture
def desk(city: Deck) -> Iterator[Desk]:
    found = Desk(city)
    with found.client:
        yield found


def test_an_alert_is_acknowledged_over_http_and_audited(desk: Desk, city: Deck) -> None:
    listed = desk.client.get("/v1/alerts", params={"platform": "zhenkang"}).json()["alerts"]
    assert sorted(alert["id"] for alert in listed) == ids(city, "zhenkang/a")
    number = listed[0]["id"]
    answer = desk.client.post(f"/v1/alerts/{number}/acknowledge", json={"note": "已联系"})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "alert": number, "key": "zhenkang/a", "person": "李四", "note": "已联系", "at": "2022-04-02T00:00:00+08:00",
    }  # fmt: skip
    assert desk.client.post(f"/v1/alerts/{number}/acknowledge").status_code == 200
    assert desk.audited == [("c", "alert_acknowledged", f"zhenkang/a {number}")] * 2


def test_another_countys_alert_is_as_if_there_were_none(desk: Desk, city: Deck) -> None:
    desk.viewer = OFFICER
    other, none = (
        desk.client.post(f"/v1/alerts/{number}/acknowledge").json() for number in (ids(city, "gengma/b")[0], 10**30)
    )
    assert other == none
    assert other["status"] == 404
    assert {notice["county"] for notice in desk.client.get("/v1/notices").json()["notices"]} == {"zhenkang"}
    assert (desk.audited, city.read(acknowledgements)) == ([], [])


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/alerts/{}/acknowledge", b"{}"), ("/v1/shifts", '{"successor": "赵六"}'.encode())]
)
def test_who_may_only_look_changes_nothing(path: str, body: bytes, desk: Desk, city: Deck) -> None:
    desk.viewer = AUDITOR
    answer = desk.client.post(path.format(ids(city, "zhenkang/a")[0]), content=body)
    assert (answer.status_code, answer.json()["reason"]) == (403, "forbidden")
    assert (desk.audited, city.read(acknowledgements), city.read(shifts)) == ([], [], [])


def test_a_shift_is_handed_over_over_http(desk: Desk) -> None:
    answer = desk.client.post("/v1/shifts", json={"successor": "赵六", "note": "两件"})
    assert answer.status_code == 200, answer.text
    assert desk.client.get("/v1/shifts").json() == {"shifts": [answer.json()], "next": None}
    assert desk.audited == [("c", "shift_handed_over", "赵六")]
    named = {"successor": "钱七", "once": "7b1f"}
    assert desk.client.post("/v1/shifts", json=named).json() == desk.client.post("/v1/shifts", json=named).json()
    assert len(desk.audited) == 2


@pytest.mark.parametrize(
    ("path", "body", "status", "pointer"),
    [
        ("/v1/shifts", b"", 400, None),
        ("/v1/shifts", b"[]", 400, None),
        ("/v1/shifts", b'{"successor": "a", "x": 1}', 400, None),
        ("/v1/shifts", b'{"successor": ""}', 400, "/successor"),
        ("/v1/shifts", b'{"successor": "a", "note": "' + b"x" * 501 + b'"}', 400, "/note"),
        ("/v1/shifts", b" " * 20_000, 413, None),
        ("/v1/alerts/1/acknowledge", b"\xff", 400, None),
        ("/v1/alerts/1/acknowledge", b'{"note": 1}', 400, None),
        ("/v1/alerts/1/acknowledge", b"[" * 10_000, 400, None),
        ("/v1/alerts/x/acknowledge", b"", 404, None),
    ],
)
def test_what_cannot_be_read_is_refused(path: str, body: bytes, status: int, pointer: str | None, desk: Desk) -> None:
    answer = desk.client.post(path, content=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().get("pointer") == pointer


@pytest.mark.parametrize("query", ["county=nowhere", "state=lost", "cursor=x", "channels=hook", "limit=0"])
def test_unknown_filters_are_refused(query: str, desk: Desk) -> None:
    assert desk.client.get(f"/v1/notices?{query}").status_code == 400
    if "limit" in query or "cursor" in query:
        assert desk.client.get(f"/v1/shifts?{query}").status_code == 400
