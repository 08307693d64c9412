"""Each kind of channel against a real receiver on this machine: what it is sent, and what its answers mean."""

import base64
import hashlib
import hmac
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from standardwebhooks import Webhook

from services.alerts.notices.channels import deliver, try_out
from services.alerts.notices.channels import mail as mail_module
from services.alerts.notices.channels.outcome import SENT, Outcome
from services.alerts.notices.channels.post import LONGEST_WAIT, seconds_of
from services.alerts.notices.digests import Entry, Standing, lines, make_digest, title
from services.alerts.notices.routing import Channel, Mailbox, Secret, Web
from tests.builders import at
from tests.noticekit import parts_of
from tests.receivers import Letters, Reply, receiver

NOW = datetime.now(UTC)
WHSEC = ["whsec_" + base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2)]
ENTRIES = [
    Entry(f"zhenkang/{n}", "raised", "overdue", "complete", 1, at("04-02"), at("04-02 00:00:01"), "镇康县")
    for n in range(600)
]
DIGEST = make_digest(
    "zhenkang",
    "镇康县",
    at("04-02 09:00"),
    parts_of(ENTRIES),
    {"overdue": Standing(600, at("04-02 00:00:01"))},
    "https://127.0.0.1/",
)
ENDED = make_digest(
    "zhenkang", "镇康县", at("04-03 09:00"),
    parts_of([Entry("zhenkang/1", "cleared", "overdue", "complete", 1, at("04-02"), at("04-02 00:00:01"), None, "completed")]), {},
)  # fmt: skip


def web(kind: Any, url: str, secret: str | None = None) -> Channel:
    return Channel("c", kind, Web(Secret(url), None if secret is None else Secret(secret)))


def send(channel: Channel, digest: Any = DIGEST, now: datetime = NOW) -> Outcome:
    return deliver(channel, "msg_1", digest, now)


# Webhooks


def test_a_webhook_is_verified_by_the_library_with_each_of_two_secrets() -> None:
    with receiver() as there:
        # Not NOW, which may be an hour ago when all tests are run: receivers refuse what is five minutes old.
        assert send(web("webhook", there.url, " ".join(WHSEC)), now=datetime.now(UTC)) == SENT
        (post,) = there.posts
    for secret in WHSEC:
        body = Webhook(secret).verify(post.body, post.headers)
        assert body["data"]["parts"][0]["total"] == 600
        assert len(body["data"]["parts"][0]["oldest"]) == 10
    assert post.headers["content-type"] == "application/json"
    assert len(post.body) < 8_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None), ("17", 17.0), ("999999999999", LONGEST_WAIT), ("soon", None), ("-1", None),
        pytest.param(format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0, id="a date"),
        pytest.param(format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0, id="a date that has passed"),
        ("Sat, 99 Apr 2022 00:00:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    found = seconds_of(text, NOW.replace(microsecond=0))
    assert found == seconds


# Robots


def errcode(code: int) -> Reply:
    return Reply(200, json.dumps({"errcode": code, "errmsg": "key=hush"}).encode())


@pytest.mark.parametrize("kind", ["wecom", "dingtalk"])
@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (errcode(0), "sent"), (errcode(-1), "retry"), (errcode(93000), "refused"), (errcode(310000), "refused"),
        (Reply(200, b"<html>"), "retry"), (Reply(500), "retry"), (Reply(404), "refused"),
        (Reply(200, b"[" * 50_000), "retry"),
    ],
)  # fmt: skip
def test_a_robot_answers_in_its_errcode(kind: str, reply: Reply, state: str) -> None:
    with receiver(lambda post: reply) as there:
        outcome = send(web(kind, there.url + "/robot?key=hush"))
    assert outcome.state == state
    assert "hush" not in outcome.detail
    assert bool(outcome.detail) is (state != "sent")


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("wecom", 93000, "机器人答 errcode 93000：地址中的 key 不对，或机器人已被移除"),
        ("dingtalk", 310000, "机器人答 errcode 310000：安全设置不符，请核对加签的密钥、关键词或 IP 地址段"),
        ("dingtalk", 93000, "机器人答 errcode 93000"),
    ],
)
def test_what_a_robot_answers_is_told_in_words(kind: str, code: int, said: str) -> None:
    with receiver(lambda post: errcode(code)) as there:
        assert send(web(kind, there.url)).detail == said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://nowhere.invalid/", "找不到对方的主机名，请核对地址和网络"),
        ("http://127.0.0.1:1/", "对方拒绝连接，请核对地址和网络"),
    ],
)
def test_who_cannot_be_reached_is_told_with_what_to_check(url: str, said: str) -> None:
    assert send(web("wecom", url)) == Outcome("retry", said)


@pytest.mark.parametrize(("kind", "code"), [("wecom", 45009), ("dingtalk", 130101)])
def test_a_robot_that_had_too_many_messages_is_left_alone_for_a_minute(kind: str, code: int) -> None:
    with receiver(lambda post: errcode(code)) as there:
        outcome = send(web(kind, there.url))
    assert (outcome.state, outcome.after) == ("retry", 60.0)


def test_wecom_gets_markdown_of_at_most_4096_bytes() -> None:
    long = [Entry("z/" + "x" * 64, "raised", "overdue", "complete", 1, at("04-02"), at("04-02"), "局" * 64)] * 30
    with receiver(lambda post: errcode(0)) as there:
        assert send(web("wecom", there.url)) == SENT
        assert (
            send(
                web("wecom", there.url),
                make_digest("zhenkang", "镇康县", at("04-02"), parts_of(long), {}, "https://127.0.0.1/"),
            )
            == SENT
        )
        small, large = (post.json for post in there.posts)
    assert small["msgtype"] == "markdown"
    assert small["markdown"]["content"].splitlines() == [
        f"**{title(DIGEST)}**",
        *lines(DIGEST),
        "[打开值班页面](https://127.0.0.1/)",
    ]
    assert "另有 590 条" in small["markdown"]["content"]
    assert len(large["markdown"]["content"].encode()) <= 4096


def test_dingtalk_signs_its_address_with_the_time() -> None:
    with receiver(lambda post: errcode(0)) as there:
        assert send(web("dingtalk", there.url + "/robot/send?access_token=t", "SECret")) == SENT
        (post,) = there.posts
    query = parse_qs(urlsplit(post.path).query)
    stamp = query["timestamp"][0]
    expected = hmac.new(b"SECret", f"{stamp}\nSECret".encode(), hashlib.sha256).digest()
    assert base64.b64decode(query["sign"][0]) == expected
    assert abs(int(stamp) / 1000 - NOW.timestamp()) < 1
    assert query["access_token"] == ["t"]
    assert post.json["markdown"]["title"].startswith("网民留言提醒")


# Alertmanager


def test_alertmanager_gets_an_alert_that_ends_when_nothing_stands() -> None:
    with receiver() as there:
        channel = web("alertmanager", there.url + "/")
        assert send(channel) == SENT
        assert send(channel, ENDED) == SENT
        first, last = there.posts
    assert first.path == last.path == "/api/v2/alerts"
    (begun,), (ended,) = first.json, last.json
    assert begun["labels"] == ended["labels"]
    assert begun["labels"] == {
        "alertname": "LiuyanAlerts",
        "county": "zhenkang",
        "rung": "overdue",
        "severity": "critical",
    }
    assert begun["startsAt"] == ended["startsAt"] == "2022-04-02T00:00:01+08:00"
    assert datetime.fromisoformat(begun["endsAt"]) > at("04-02 09:00") + timedelta(days=30)
    assert ended["endsAt"] == "2022-04-03T09:00:00+08:00"
    assert "600" in begun["annotations"]["summary"]
    assert begun["generatorURL"] == "https://127.0.0.1/"


def test_a_trial_ends_no_alert_that_stands_and_ends_by_itself() -> None:
    with receiver() as there:
        channel = web("alertmanager", there.url)
        assert send(channel) == SENT
        assert try_out(channel, "msg_2", DIGEST, NOW) == SENT
        ((real,), (tried,)) = (post.json for post in there.posts)
    assert tried["labels"] == {**real["labels"], "rung": "trial", "severity": "warning"}
    assert datetime.fromisoformat(tried["endsAt"]) - datetime.fromisoformat(tried["startsAt"]) == timedelta(minutes=5)


# E-mail


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 127.0.0.1, signed by itself."""
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def signed_in(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"me", b"pw"), handled=False)


@contextmanager
def mail_server(certificate: Path, security: str) -> Iterator[tuple[Letters, int]]:
    letters = Letters()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    options: dict[str, Any] = {
        "tls": {"ssl_context": context, "auth_require_tls": False, "authenticator": signed_in},
        "starttls": {"tls_context": context, "authenticator": signed_in},
        "none": {},
    }[security]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    controller = Controller(letters, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield letters, port
    finally:
        controller.stop()


def mailbox(port: int, security: Any, **members: Any) -> Channel:
    given = {"sender": "liuyan@city.example", "to": ("a@city.example", "b@city.example"), **members}
    return Channel("mail", "email", Mailbox("127.0.0.1", port, security, **given))


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the system trusted the certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("security", ["tls", "starttls", "none"])
def test_a_mail_arrives_once_for_all_with_a_stable_id(security: str, certificate: Path) -> None:
    account = {} if security == "none" else {"user": "me", "password": Secret("pw")}
    with mail_server(certificate, security) as (letters, port):
        assert send(mailbox(port, security, **account)) == SENT
        assert send(mailbox(port, security, **account)) == SENT
    first, second = (message_from_bytes(e.content, policy=policy.default) for e in letters.letters)
    assert first["Message-ID"] == second["Message-ID"] == "<msg_1@city.example>"
    assert first["Subject"] == title(DIGEST)
    assert first["Auto-Submitted"] == "auto-generated"
    assert letters.letters[0].rcpt_tos == ["a@city.example", "b@city.example"]
    text = first.get_content()
    assert "另有 590 条" in text
    assert "值班页面：https://127.0.0.1/" in text


@pytest.mark.usefixtures("trusted")
def test_what_a_mail_server_answers(certificate: Path) -> None:
    with mail_server(certificate, "starttls") as (letters, port):
        wrong = {"user": "me", "password": Secret("hush")}
        assert send(mailbox(port, "starttls", **wrong)) == Outcome(
            "refused", "邮件服务器答 535：不能登录，请核对 user 和口令"
        )
        right = {"user": "me", "password": Secret("pw")}
        letters.refuse = {"a@city.example": "550 no such user"}
        assert send(mailbox(port, "starttls", **right)) == Outcome("sent", "有 1 个地址被拒收")
        letters.refuse["b@city.example"] = "550 no such user"
        nobody = Outcome("refused", "邮件服务器答 550：收件地址都被拒收，请核对 to")
        assert send(mailbox(port, "starttls", **right)) == nobody
        letters.refuse = dict.fromkeys(("a@city.example", "b@city.example"), "451 later")
        assert send(mailbox(port, "starttls", **right)).state == "retry"
        letters.refuse, letters.answer = {}, "552 too big"
        assert send(mailbox(port, "starttls", **right)) == Outcome("refused", "邮件服务器答 552")


def test_nothing_is_sent_less_protected_than_set(certificate: Path) -> None:
    with mail_server(certificate, "none") as (letters, port):
        assert send(mailbox(port, "starttls")).state == "refused"
        assert send(mailbox(port, "tls")).state == "retry"
    with mail_server(certificate, "starttls") as (letters, port):  # nobody vouches for the certificate
        outcome = send(mailbox(port, "starttls"))
        assert outcome.state == "retry"
        assert "证书" in outcome.detail
    assert letters.letters == []


def test_a_mail_server_that_says_nothing_is_left_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_module, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert send(mailbox(silent.getsockname()[1], "none")).state == "retry"
    refused = "邮件服务器：对方拒绝连接，请核对 host、port 和 security"
    assert send(mailbox(1, "none")) == Outcome("retry", refused)
