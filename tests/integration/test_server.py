"""Between the network and the application: when the port is open, bodies that do not arrive, connections that stay, and the stop."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvicorn

from services.compose import connections as connections_module
from services.compose import front as front_module
from services.compose.connections import Connection
from services.compose.front import Front
from services.compose.server import bind
from services.standalone import engine as engine_module
from services.standalone.prepare import prepare
from tests.service import SINGLE, Running, liuyan, running

PROMPT = 15.0  # seconds; below the grace, after which everything is cancelled
HEAD = "POST /v1/events HTTP/1.1\r\nHost: liuyan\r\nContent-Type: {type}\r\nAuthorization: Bearer {key}\r\nContent-Length: 999\r\n"
Message = dict[str, Any]


def never_whole() -> Callable[[], Awaitable[Message]]:
    """A body that begins, and does not go on."""
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def receive() -> Message:
        for message in messages:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    return receive


class Sent:
    """What was answered."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def problem(self) -> Any:
        return json.loads(self.messages[1]["body"])


# The port


def test_until_the_service_is_ready_the_port_refuses(tmp_path: Path) -> None:
    """A health check fails at once while a long start goes on, instead of hanging."""
    with contextlib.closing(bind("127.0.0.1", 0)) as bound, pytest.raises(ConnectionRefusedError):
        socket.create_connection(bound.getsockname(), PROMPT)


def test_a_port_on_which_another_began_to_listen_meanwhile_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two that start at the same time the second one ends with one line."""
    with contextlib.closing(bind("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def ready_first(*arguments: Any) -> None:
            other.listen()
            prepare(*arguments)

        monkeypatch.setattr(engine_module, "prepare", ready_first)
        finished = liuyan("standalone", "--port", port, "--db", tmp_path / "second.db")
    assert finished.code == 1
    assert finished.error.startswith(f"liuyan：127.0.0.1:{port} 不能监听")
    assert len(finished.error.splitlines()) == 1


# Bodies


async def answer_whole(reader: asyncio.StreamReader) -> tuple[bytes, dict[str, str], Any]:
    """Of an answer, after which the connection ends: its status line, headers and JSON."""
    told = await asyncio.wait_for(reader.read(), PROMPT)
    head, _, body = told.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return status.encode(), dict(line.split(": ", 1) for line in lines), json.loads(body)


async def wait_for_body(scope: Any, receive: Any, send: Any) -> None:
    """What reads to the end before it answers."""
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def held(app: Any, until: asyncio.Event) -> Any:
    """The application, which begins when it may."""

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        await until.wait()
        await app(scope, receive, send)

    return waiting


@pytest.mark.parametrize("sent", ["", "{"], ids=["nothing of it", "a part of it"])
def test_a_body_that_does_not_arrive_in_time_is_refused(sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_module, "BODY_SECONDS", 0.1)

    async def main() -> None:
        async with listening(wait_for_body) as port:
            reader, writer = await connect(port, f"{HEAD.format(type=SINGLE, key='lyk_none')}\r\n{sent}")
            status, headers, told = await answer_whole(reader)
            assert status.startswith(b"HTTP/1.1 408")
            assert (told["reason"], told["status"]) == ("too_slow", 408)
            assert headers["content-type"] == "application/problem+json"
            assert headers["connection"] == "close"
            writer.close()

    asyncio.run(main())


def test_a_body_that_arrives_while_nobody_reads_it_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the service itself makes the network wait, the client is not to blame."""
    monkeypatch.setattr(connections_module, "BODY_SECONDS", 0.05)
    size = 1024 * 1024
    head = f"POST / HTTP/1.1\r\nHost: liuyan\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"

    async def main() -> None:
        may_read = asyncio.Event()
        async with listening(held(wait_for_body, may_read)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode() + b" " * size)
            await asyncio.sleep(0.2)  # four times the bound
            monkeypatch.setattr(connections_module, "BODY_SECONDS", 4 * PROMPT)  # from its next end on
            await asyncio.sleep(0.1)
            may_read.set()
            assert (await asyncio.wait_for(reader.readline(), PROMPT)).startswith(b"HTTP/1.1 204")
            writer.close()

    asyncio.run(main())


def test_a_second_request_on_the_connection_waits_for_the_answer_to_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its body may be late; the first one's answer comes nevertheless."""
    monkeypatch.setattr(connections_module, "BODY_SECONDS", 0.05)

    async def main() -> None:
        may_answer = asyncio.Event()
        async with listening(held(wait_for_body, may_answer)) as port:
            second = f"{HEAD.format(type=SINGLE, key='lyk_none')}\r\n" + "{"
            reader, writer = await connect(port, WHOLE + second)
            await asyncio.sleep(0.2)
            may_answer.set()
            told = await asyncio.wait_for(reader.read(), PROMPT)
            assert told.startswith(b"HTTP/1.1 204")
            assert told.count(b"HTTP/1.1") == 2
            assert b"HTTP/1.1 408" in told
            writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("closing", ["", "Connection: close\r\n"], ids=["stays", "closes"])
def test_who_is_answered_while_still_sending_gets_the_answer(closing: str) -> None:
    """A connection that is closed on what was not read is reset, and the answer with it: many clients would only see that."""
    size = 10 * 1024 * 1024
    head = f"POST / HTTP/1.1\r\nHost: liuyan\r\n{closing}Content-Length: {size}\r\n\r\n"

    async def main() -> None:
        async with listening() as port:
            for _ in range(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(head.encode() + b" " * size)
                await asyncio.wait_for(writer.drain(), PROMPT)
                assert (await asyncio.wait_for(reader.readline(), PROMPT)).startswith(b"HTTP/1.1 204")
                if closing:
                    await asyncio.wait_for(reader.read(), PROMPT)  # it does end
                writer.close()

    asyncio.run(main())


def test_who_is_answered_and_goes_on_sending_for_long_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_module, "LAST_SECONDS", 0.1)
    head = "POST / HTTP/1.1\r\nHost: liuyan\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n"

    async def main() -> None:
        async with listening() as port:
            reader, writer = await connect(port, head)
            told = await asyncio.wait_for(reader.read(), PROMPT)
            assert told.startswith(b"HTTP/1.1 204")

            async def go_on() -> None:
                while True:
                    writer.write(b" ")
                    await writer.drain()
                    await asyncio.sleep(0.01)

            with pytest.raises(ConnectionError):
                await asyncio.wait_for(go_on(), PROMPT)

    asyncio.run(main())


def test_a_body_that_is_still_arriving_does_not_hold_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_module, "LAST_SECONDS", 0.05)

    async def main() -> None:
        async with listening(wait_for_body) as port:
            reader, writer = await connect(port, f"{HEAD.format(type=SINGLE, key='lyk_none')}\r\n" + "{")
            await asyncio.sleep(0.05)
        status, headers, told = await answer_whole(reader)
        assert status.startswith(b"HTTP/1.1 503")
        assert (told["reason"], told["detail"]) == ("busy", "服务正在停止，没有存下；请稍后原样重发")
        assert int(headers["retry-after"]) > 0
        writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("begun", [False, True], ids=["before its answer", "in the middle of its answer"])
def test_a_request_that_is_cancelled_ends_quietly(begun: bool) -> None:
    """After the grace of a stop everything is cancelled: no error is to come out of it."""

    async def stuck(scope: Any, receive: Any, send: Any) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    sent = Sent()

    async def main() -> None:
        task = asyncio.create_task(Front(stuck)({"type": "http", "method": "GET", "path": "/"}, never_whole(), sent))
        await asyncio.sleep(0.01)
        task.cancel()
        await task

    asyncio.run(main())
    assert sent.status == (200 if begun else 503)
    assert len(sent.messages) == (1 if begun else 2)


# Too many at once


def ask(path: str) -> Message:
    return {"type": "http", "method": "GET", "path": path}


def test_more_requests_than_can_be_answered_are_refused_but_for_those_about_health(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(front_module, "MAX_REQUESTS", 1)
    refused, again, alive, after = Sent(), Sent(), Sent(), Sent()

    async def main() -> None:
        free = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/v1/cases":
                await free.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        front = Front(slow)
        task = asyncio.create_task(front(ask("/v1/cases"), never_whole(), Sent()))
        await asyncio.sleep(0)
        for path, sent in (("/v1/rates", refused), ("/v1/rates", again), ("/livez", alive)):
            await asyncio.wait_for(front(ask(path), never_whole(), sent), PROMPT)
        free.set()
        await asyncio.wait_for(task, PROMPT)
        await asyncio.wait_for(front(ask("/v1/rates"), never_whole(), after), PROMPT)

    with structlog.testing.capture_logs() as told:
        asyncio.run(main())
    assert [sent.status for sent in (refused, again, alive, after)] == [503, 503, 200, 200]
    assert refused.problem["reason"] == "busy"
    assert int(refused.headers[b"retry-after"]) > 0
    assert [line["action"] for line in told] == ["too_many_requests"], "once a minute"


async def answering(scope: Any, receive: Any, send: Any) -> None:
    """What answers everything with 204."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def listening(app: Any = answering) -> AsyncIterator[int]:
    """The port of a server."""
    config = uvicorn.Config(app, http=Connection, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    with contextlib.closing(bind("127.0.0.1", 0)) as bound:
        bound.listen()
        config.load()
        task = asyncio.create_task(server._serve([bound]))  # as the product does
        yield int(bound.getsockname()[1])
        server.should_exit = True
        await asyncio.wait_for(task, PROMPT)


async def connect(port: int, text: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.encode())
    await writer.drain()
    return reader, writer


WHOLE = "GET / HTTP/1.1\r\nHost: liuyan\r\n\r\n"


def test_while_a_request_is_answered_the_head_of_the_next_may_be_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer comes whole; then the connection ends."""
    monkeypatch.setattr(connections_module, "HEAD_SECONDS", 0.05)

    async def main() -> bytes:
        may_answer = asyncio.Event()
        async with listening(held(answering, may_answer)) as port:
            reader, writer = await connect(port, f"{WHOLE}GET / HTTP/1.1\r\nHo")
            await asyncio.sleep(0.2)
            may_answer.set()
            told = await asyncio.wait_for(reader.read(), PROMPT)
            writer.close()
            return told

    told = asyncio.run(main())
    assert told.startswith(b"HTTP/1.1 204")
    assert told.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "sent",
    ["", "GET / HTTP/1.1\r\nHo", f"{WHOLE}GET / HTTP/1.1\r\nHo"],
    ids=["nothing", "half a head", "half the second"],
)
def test_a_head_that_does_not_arrive_in_time_ends_the_connection(sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_module, "HEAD_SECONDS", 0.1)

    async def main() -> bytes:
        async with listening() as port:
            reader, writer = await connect(port, sent)
            told = await asyncio.wait_for(reader.read(), PROMPT)
            writer.close()
            return told

    assert asyncio.run(main()).count(b"HTTP/1.1 204") == sent.count("\r\n\r\n")


def test_what_is_no_http_is_told_so_in_one_problem() -> None:
    async def main() -> None:
        async with listening() as port:
            reader, writer = await connect(port, "GET  / HTTP/9.9\r\n\r\n")
            status, headers, told = await answer_whole(reader)
            assert status.startswith(b"HTTP/1.1 400")
            assert headers["content-type"] == "application/problem+json"
            assert (told["reason"], told["detail"]) == ("invalid_request", "不是合乎规范的 HTTP 请求，请用 HTTP 库发送")
            writer.close()

    asyncio.run(main())


def test_connections_that_ask_nothing_make_room_for_those_that_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest idle ones first; whoever asks is answered, however many others hold connections."""
    monkeypatch.setattr(connections_module, "MAX_CONNECTIONS", 20)
    monkeypatch.setattr(connections_module, "MADE_ROOM", 2)

    async def main() -> None:
        async with listening() as port:
            idle = [await connect(port) for _ in range(60)]
            reader, writer = await connect(port, WHOLE)
            assert (await asyncio.wait_for(reader.readline(), PROMPT)).startswith(b"HTTP/1.1 204")
            for old, _ in idle[:38]:
                assert await asyncio.wait_for(old.read(), PROMPT) == b"", "closed"
            newest, asking = idle[-1]
            asking.write(WHOLE.encode())
            assert (await asyncio.wait_for(newest.readline(), PROMPT)).startswith(b"HTTP/1.1 204")
            for _, own in (*idle, (reader, writer)):
                own.close()

    asyncio.run(main())


# A real process


@contextlib.contextmanager
def connected(service: Running, text: str) -> Iterator[socket.socket]:
    """A connection on which so much was sent."""
    port = int(service.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), PROMPT) as connection:
        connection.sendall(text.encode())
        yield connection


@pytest.mark.slow
def test_half_sent_requests_and_idle_connections_do_not_hold_the_stop(tmp_path: Path) -> None:
    with running(tmp_path / "stop.db") as service:
        head = HEAD.format(type=SINGLE, key=service.keys["lincang"])
        whole = "GET /livez HTTP/1.1\r\nHost: liuyan\r\n\r\n"
        with (
            connected(service, head),
            connected(service, f"{head}\r\n" + "{") as half,
            connected(service, whole) as idle,
            connected(service, "no HTTP at all\r\n\r\n") as foreign,
        ):
            assert foreign.recv(100).startswith(b"HTTP/1.1 400")
            assert idle.recv(100).startswith(b"HTTP/1.1 200")
            asked = time.monotonic()
            assert service.stop() == 0
            assert time.monotonic() - asked < PROMPT
            assert half.recv(100).startswith(b"HTTP/1.1 503")
        assert [line for line in service.lines if "Invalid" in line or "Traceback" in line or "Cancelled" in line] == []
        assert service.lines[-1] == "已停止；接受的事件都已存妥"
