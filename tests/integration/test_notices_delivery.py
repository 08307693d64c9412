"""From a notice to its receiver: sent outside of any transaction, again under the same id until it arrives, and everybody else meanwhile."""

import base64
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select
from standardwebhooks import Webhook, WebhookVerificationError

from services.alerts.notices.acknowledging import acknowledge, acknowledge_case
from services.alerts.notices.channels import post as post_module
from services.alerts.notices.delivery import CLAIM, RETRIES, Delivery
from services.alerts.notices.gathering import City
from services.alerts.notices.metrics import NoticeCounts
from services.alerts.notices.routing import RUNGS, Channel, Notices, Secret, Web
from services.alerts.notices.tables import notices, waiting
from services.alerts.people.viewer import Role, Viewer
from services.alerts.tables import alerts
from shared.rules import Ruleset
from tests.builders import at, event
from tests.enginekit import Deck, deck
from tests.noticekit import HOURS, NIGHT, received
from tests.receivers import Receiver, Reply, receiver
from tests.service import PATIENCE, until

pytestmark = pytest.mark.usefixtures("each_database")

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def hook(name: str, url: str, **members: Any) -> Channel:
    given = {"urgent": RUNGS, "clearings": "all", **members}
    return Channel(name=name, kind="webhook", to=Web(Secret(url), Secret(SECRET)), **given)


class Post:
    """The delivery of one replica over a deck, step by step: `step` returns when what it sent is recorded."""

    def __init__(self, found: Deck, *channels: Channel) -> None:
        self.deck, self.registry = found, CollectorRegistry()
        counts = NoticeCounts(self.registry, found.database, [channel.name for channel in channels])
        city = City(found.rules, Notices(channels, HOURS, "https://127.0.0.1/"))
        self.points: list[str] = []
        self.delivery = Delivery(found.database, city, lambda _: found.now, counts, self.points.append)
        self.delivery.begin()

    def step(self, wait: bool = True) -> None:
        """Everything that there is to do now."""
        while self.delivery.step() == 0.0:
            pass
        if wait:
            self.sent()
            while self._due():
                self.delivery.step()
                self.sent()

    def sent(self) -> None:
        until(lambda: not self.delivery._sending, "what is being sent is recorded")

    def _due(self) -> bool:
        with self.deck.database.reading() as connection:
            return connection.execute(self.delivery._due(self.deck.now)).first() is not None

    def rows(self) -> list[dict[str, Any]]:
        return sorted(self.deck.read(notices), key=lambda row: int(row["id"]))

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@contextmanager
def posting(found: Deck, *channels: Channel) -> Iterator[Post]:
    made = Post(found, *channels)
    try:
        yield made
    finally:
        made.delivery.close()


@pytest.fixture
def city(rules: Ruleset) -> Iterator[Deck]:
    with deck(rules, at("03-31 12:00")) as found:
        found.push(received("a"))
        yield found


def overdue(found: Deck) -> None:
    found.sweep(at("04-01 09:00"))
    found.sweep(NIGHT)


def test_an_alert_arrives_as_a_signed_webhook(city: Deck) -> None:
    with receiver() as there, posting(city, hook("hook", there.url + "/in?x=1")) as office:
        overdue(city)
        office.step()
        (post,) = there.got(1)
        assert post.path == "/in?x=1"
        with pytest.raises(WebhookVerificationError, match="too old"):  # the deck's clock is of 2022
            Webhook(SECRET).verify(post.body, post.headers)
        stamp = Webhook(SECRET).sign(post.headers["webhook-id"], NIGHT.astimezone(), post.body.decode())
        assert post.headers["webhook-id"] == office.rows()[0]["message"]
        assert post.headers["webhook-timestamp"] == str(int(NIGHT.timestamp()))
        assert stamp.startswith("v1,")
        assert post.json["type"] == "liuyan.alerts.told"
        assert [(part["what"], part["rungs"]) for part in post.json["data"]["parts"]] == [
            ("raised", {"due_today": 2, "overdue": 2})
        ]
        assert post.json["data"]["standing"]["overdue"]["total"] == 2
        assert [row["state"] for row in office.rows()] == ["sent"]
        assert office.value("liuyan_notices_total", channel="hook", result="sent") == 1
        assert office.value("liuyan_notices_pending", channel="hook") == 0


def test_what_does_not_arrive_is_sent_again_later_under_the_same_id(city: Deck) -> None:
    replies = iter([Reply(503), Reply(500), Reply(200)])
    with receiver(lambda post: next(replies)) as there, posting(city, hook("hook", there.url)) as office:
        overdue(city)
        office.step()
        assert office.rows()[0]["error"] == "对方答 503"
        assert office.value("liuyan_notices_oldest_pending_timestamp_seconds", channel="hook") == NIGHT.timestamp()
        office.step()
        assert len(there.posts) == 1, "not at once"
        for wait in RETRIES[:2]:
            city.clock.advance(timedelta(seconds=wait))
            office.step()
        assert len({post.headers["webhook-id"] for post in there.got(3)}) == 1
        assert len({post.body for post in there.posts}) == 1
        assert [(row["state"], row["attempts"]) for row in office.rows()] == [("sent", 3)]
        assert office.value("liuyan_notices_total", channel="hook", result="retried") == 2


def test_a_notice_that_was_put_off_by_a_clock_that_was_ahead_holds_up_nothing(city: Deck) -> None:
    replies = iter([Reply(503), Reply()])
    with receiver(lambda post: next(replies)) as there, posting(city, hook("hook", there.url)) as office:
        city.sweep(NIGHT + timedelta(days=365))
        office.step()
        assert len(there.posts) == 1
        city.clock.set(NIGHT)
        office.step()
        assert [row["state"] for row in office.rows()] == ["sent"]


def test_a_receiver_says_when_to_come_again(city: Deck) -> None:
    replies = iter([Reply(429, headers={"Retry-After": "600"}), Reply()])
    with receiver(lambda post: next(replies)) as there, posting(city, hook("hook", there.url)) as office:
        overdue(city)
        office.step()
        city.clock.advance(timedelta(seconds=599))
        office.step()
        assert len(there.posts) == 1
        city.clock.advance(timedelta(seconds=1))
        office.step()
        assert [row["state"] for row in office.rows()] == ["sent"]


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 410, 422])
def test_a_refusal_and_a_redirect_are_final(status: int, city: Deck) -> None:
    reply = Reply(status, headers={"Location": "/elsewhere"})
    with receiver(lambda post: reply) as there, posting(city, hook("hook", there.url)) as office:
        overdue(city)
        office.step()
        assert len(there.posts) == 1
        (row,) = office.rows()
        assert row["state"] == "failed"
        assert str(status) in row["error"]
        assert office.value("liuyan_notices_total", channel="hook", result="failed") == 1


def test_after_a_day_it_is_given_up_and_what_comes_then_is_told_again(city: Deck) -> None:
    with receiver(lambda post: Reply(503)) as there, posting(city, hook("hook", there.url)) as office:
        overdue(city)
        office.step()
        for _ in range(40):
            city.clock.advance(timedelta(hours=1))
            office.step()
        (row,) = office.rows()
        assert row["state"] == "failed"
        assert 24 <= row["attempts"] <= 30
        there.answer = lambda post: Reply()
        city.sweep(at("04-06 09:00"))
        office.step()
        assert [row["state"] for row in office.rows()] == ["failed", "sent"]


def test_a_receiver_that_hangs_or_dribbles_is_cut_off_and_holds_up_nobody(
    city: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post_module, "SECONDS", 0.3)
    never = threading.Event()

    def hang(post: Any) -> Reply:
        never.wait(20)
        return Reply()

    with (
        receiver(hang) as slow,
        receiver() as there,
        posting(city, hook("slow", slow.url), hook("quick", there.url)) as office,
    ):
        overdue(city)
        office.step(wait=False)
        there.got(1)
        office.sent()
        assert {row["channel"]: row["state"] for row in office.rows()} == {"slow": "pending", "quick": "sent"}
        never.set()


@pytest.mark.parametrize("answer", [Reply(200, b"x" * 1_000_000), Reply(204, b"")])
def test_the_size_of_an_answer_does_not_matter(answer: Reply, city: Deck) -> None:
    with receiver(lambda post: answer) as there, posting(city, hook("hook", there.url)) as office:
        overdue(city)
        office.step()
        assert [row["state"] for row in office.rows()] == ["sent"]


def test_nothing_secret_is_in_errors_or_logs(city: Deck, capfd: pytest.CaptureFixture[str]) -> None:
    def cut(post: Any) -> Reply:
        raise ConnectionResetError

    with receiver(cut) as there:
        channels = (
            hook("cut", there.url + "/?key=hush"),
            hook("none", "http://127.0.0.1:1/hush"),
            hook("bad", "http://[hush"),
        )
        with posting(city, *channels) as office:
            overdue(city)
            office.step()
            said = "".join(capfd.readouterr()) + repr(office.rows()) + repr(channels)
        assert {row["state"] for row in office.rows()} == {"pending"}
        assert all(row["error"] for row in office.rows())
        assert "hush" not in said
        assert SECRET not in said


def test_several_replicas_send_each_notice_once(city: Deck) -> None:
    for number in range(30):
        city.push(received(f"s{number}", ("zhenkang", "gengma", "yunxian", "fengqing", "yongde")[number % 5]))
    with receiver() as there:
        channels = [hook(f"hook{number}", there.url) for number in range(4)]
        with posting(city, *channels) as one, posting(city, *channels) as two:
            overdue(city)

            def work(office: Post) -> None:
                while sum(row["state"] == "sent" for row in office.rows()) < 20:
                    office.step()

            with ThreadPoolExecutor(2) as replicas:
                for done in [replicas.submit(work, office) for office in (one, two)]:
                    done.result(PATIENCE)
        sent = [post.headers["webhook-id"] for post in there.posts]
        assert len(sent) == len(set(sent)) == len(one.rows()) == 20


def test_a_claim_of_a_process_that_died_is_taken_over_under_the_same_id(city: Deck) -> None:
    with (
        receiver() as there,
        posting(city, hook("hook", there.url)) as dead,
        posting(city, hook("hook", there.url)) as heir,
    ):
        overdue(city)
        while dead.delivery.step() == 0.0 and not dead.points.count("claimed"):
            pass
        dead.sent()
        with city.database.writing() as connection:  # it had died before it recorded anything
            connection.execute(
                notices.update().values(
                    state="pending", sent_at=None, next_at=notices.c.created_at + CLAIM // timedelta(microseconds=1)
                )
            )
        heir.step()
        assert len(there.posts) == 1
        city.clock.advance(CLAIM)
        heir.step()
        assert len({post.headers["webhook-id"] for post in there.got(2)}) == 1
        assert [row["state"] for row in heir.rows()] == ["sent"]


# Again until acknowledged

OFFICER = Viewer("z", "张三", Role.COUNTY, "zhenkang")


def repeating(there: Receiver, **members: Any) -> Channel:
    return hook("hook", there.url, **{"repeat_minutes": 60, "repeat_times": 2, "rungs": {"overdue"}, **members})


def whats(there: Receiver) -> list[list[tuple[str, int]]]:
    return [[(part["what"], part["total"]) for part in post.json["data"]["parts"]] for post in there.posts]


def test_what_nobody_acknowledges_is_told_again_so_many_times(city: Deck) -> None:
    with receiver() as there, posting(city, repeating(there)) as office:
        overdue(city)
        for _ in range(6):
            office.step()
            city.clock.advance(timedelta(hours=1))
        assert whats(there) == [[("raised", 2)], [("repeated", 2)], [("repeated", 2)]]


def test_outside_duty_hours_nothing_is_told_again_unless_it_is_urgent(city: Deck) -> None:
    with receiver() as there, posting(city, repeating(there, urgent=frozenset(), repeat_minutes=10 * 60)) as office:
        overdue(city)
        for moment in ("04-02 08:30", "04-02 18:30", "04-05 12:00", "04-06 08:59:59"):  # the 3rd to the 5th are off
            city.clock.set(at(moment))
            office.step()
        assert whats(there) == [[("raised", 2)]]
        city.sweep(at("04-06 09:00"))  # nine hours and a half on the 2nd, and half an hour
        office.step()
        assert whats(there) == [[("raised", 2)], [("repeated", 2)]]


def test_what_is_acknowledged_or_answered_is_not_told_again(city: Deck) -> None:
    city.push(received("b"))
    with receiver() as there, posting(city, repeating(there)) as office:
        overdue(city)
        office.step()
        with city.database.writing() as connection:
            of_a = [
                row.id
                for row in connection.execute(
                    select(alerts).where(alerts.c.key == "zhenkang/a", alerts.c.rung == "overdue")
                )
            ]
            for number in of_a:
                acknowledge(connection, city.rules.registry, OFFICER, number, "已联系", city.now)
        city.clock.advance(timedelta(hours=1))
        office.step()
        assert whats(there)[1:] == [[("repeated", 2)]], "of b alone"
        city.push(event("b-c", "completed", "04-02 00:30", subject="b"))
        office.step()
        city.clock.advance(timedelta(hours=1))
        office.step()
        assert whats(there)[2:] == [[("cleared", 2)]]


def test_where_all_is_acknowledged_there_is_no_further_notice(city: Deck) -> None:
    with receiver() as there, posting(city, repeating(there)) as office:
        overdue(city)
        office.step()
        with city.database.writing() as connection:
            acknowledge_case(connection, city.rules.registry, OFFICER, "zhenkang/a", "", city.now)
        city.clock.advance(timedelta(hours=1))
        office.step()
        assert [row["state"] for row in office.rows()] == ["sent"]
        assert city.read(waiting) == []


def test_the_steps_are_named_for_crash_tests(city: Deck) -> None:
    with receiver() as there, posting(city, hook("hook", there.url)) as office:
        overdue(city)
        office.step()
        assert [name for name, _ in itertools.groupby(office.points)] == [
            "routed",
            "gathered",
            "claimed",
            "sent",
            "recorded",
        ]
