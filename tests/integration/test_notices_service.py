"""The notices as part of a service: by the real command, by its loop on both databases, and by the commands `notices`."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, select
from standardwebhooks import Webhook

from services.alerts.notices.routing import RUNGS, Channel, Notices, Secret, Web
from services.alerts.notices.tables import channels, notices, tellings
from services.alerts.stream.apply import database_now
from services.compose.notices import Messenger, Together
from shared.rules import Ruleset
from shared.times import SHANGHAI, isoformat, midnight
from tests.builders import at
from tests.enginekit import Deck, deck, fresh_file
from tests.noticekit import HOURS, NIGHT, SECRET, configured, received
from tests.receivers import Receiver, Reply, receiver
from tests.service import liuyan, ran, running, until


@pytest.mark.slow
def test_the_command_tells_of_a_case_that_fell_due(tmp_path: Path) -> None:
    """From a push to a verified webhook, through real processes; the list says that it arrived."""
    today = datetime.now(SHANGHAI).date()
    calendar = tmp_path / "calendar.toml"
    worked = "".join(
        f'[[local]]\ncounty = "zhenkang"\ndate = "{day}"\nwork = true\nname = "上班"\nsource = "test"\n'
        for day in (today - timedelta(days=2), today - timedelta(days=1))
    )
    calendar.write_text(worked, encoding="utf-8")
    with receiver() as there:
        environment = configured(tmp_path, there) | {"LIUYAN_CALENDAR": str(calendar)}
        file = tmp_path / "liuyan.db"
        ran("keys", "create", "zhenkang", "--db", fresh_file(tmp_path), environment=environment)
        with running(file, environment=environment) as service:
            service.keys["zhenkang"] = ran("keys", "create", "zhenkang", "--db", file).out.split()[-1]
            received_at = midnight(today - timedelta(days=2)) + timedelta(hours=12)
            service.push(
                {"specversion": "1.0", "id": "1", "source": "/platforms/zhenkang", "subject": "a",
                 "type": "liuyan.message.received.v1", "time": isoformat(received_at),
                 "data": {"category": "simple_inquiry", "title": "t", "content": "c"}}
            )  # fmt: skip
            (post,) = there.got(1)
            body = Webhook(SECRET).verify(post.body, post.headers)
            assert body["data"]["parts"][0]["rungs"] == {"overdue": 2}
            until(lambda: service.json("/v1/notices")["notices"][0]["state"] == "sent", "it is recorded")
            assert 'liuyan_notices_total{channel="hook",result="sent"} 1.0' in service.metrics()
            handed_over = service.client.post("/v1/shifts", json={"successor": "a"})
            assert handed_over.json()["person"] == "未登录", "nobody signs in here: something else guards"
            assert service.stop() == 0
        listed = ran("notices", "list", "--db", file)
        assert "hook\t已送达\t网民留言提醒 镇康县：逾期 2 条" in listed.out
        assert json.loads(ran("notices", "list", "--db", file, "--jsonl").out)["id"] == post.headers["webhook-id"]
        assert ran("notices", "list", "--db", file, "--state", "failed").out == ""
        assert len(there.posts) == 1


@pytest.fixture
def city(rules: Ruleset, each_database: str) -> Iterator[Deck]:
    with deck(rules, at("03-31 12:00")) as found:
        yield found


def messenger(found: Deck, *given: Channel) -> Messenger:
    """As the composition root makes it: the clock is the database's where there is one."""

    def now(connection: Connection) -> datetime:
        return database_now(connection) if connection.dialect.name == "postgresql" else datetime.now(SHANGHAI)

    told = Notices(given, HOURS) if given else None
    return Messenger(found.database, found.rules, told, now, CollectorRegistry())


def hook(there: Receiver) -> Channel:
    return Channel("hook", "webhook", Web(Secret(there.url), Secret(SECRET)), urgent=RUNGS, clearings="all")


def test_the_loop_tells_while_the_service_runs_and_finishes_what_it_sends(city: Deck) -> None:
    city.push(received("a"))
    city.sweep(at("04-01 09:00"))

    def slowly(post: object) -> Reply:
        until(lambda: stopping, "the service is told to stop")
        return Reply()

    stopping: list[bool] = []
    with receiver(slowly) as there:
        found = Together(messenger(city, hook(there)))
        found.start()
        city.sweep(datetime.now(SHANGHAI))  # by the messenger's clock: it waits for a sweep that is not done
        there.got(1)
        found.hurry()
        stopping.append(True)
        found.stop()
        assert [(row["state"], row["alerts"]) for row in city.read(notices)] == [("sent", 6)]


def test_without_notices_nothing_is_kept_to_be_told(city: Deck) -> None:
    with receiver() as there:
        first = messenger(city, hook(there))
        first.start()
        first.stop()
    with city.database.reading() as connection:
        assert connection.execute(select(channels)).all() == [("hook",)]
    nobody = messenger(city)
    nobody.start()
    city.push(received("a"))
    city.sweep(NIGHT)
    nobody.hurry()
    nobody.stop()
    assert (city.read(tellings), city.read(channels)) == ([], [])


def test_a_channel_can_be_tried(tmp_path: Path) -> None:
    with receiver() as there:
        environment = configured(tmp_path, there, 'counties = ["gengma"]')
        assert ran("notices", "test", "hook", environment=environment).out == "通道 hook 已送达\n"
        body = Webhook(SECRET).verify(there.posts[0].body, there.posts[0].headers)
        assert body["data"]["county"] == "gengma"
        assert "试发" in body["data"]["county_name"]
        there.answer = lambda post: Reply(404)
        refused = liuyan("notices", "test", "hook", environment=environment)
        assert (refused.code, refused.error) == (1, "liuyan：通道 hook 没有送达：对方答 404，请核对地址\n")
        unknown = liuyan("notices", "test", "other", environment=environment)
        assert (unknown.code, "已设置的有 hook" in unknown.error) == (1, True)
    unset = liuyan("notices", "test", "hook")
    assert (unset.code, "没有设置 notices" in unset.error) == (1, True)


def test_a_file_that_cannot_be_used_ends_the_service_before_it_listens(tmp_path: Path) -> None:
    (tmp_path / "notices.toml").write_text('[[channel]]\nname = "a"\nkind = "x"\n[[channel]]\nname = "b"\nkind = "y"\n')
    ended = liuyan(
        "standalone",
        "--db",
        tmp_path / "a.db",
        "--port",
        "0",
        environment={"LIUYAN_NOTICES": str(tmp_path / "notices.toml")},
    )
    assert ended.code == 1
    assert len(ended.error.splitlines()) == 2
    assert not (tmp_path / "a.db").exists()
