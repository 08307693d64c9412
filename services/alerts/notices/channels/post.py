"""One POST, bounded in every way: its whole time, the size of the answer, no redirects followed, no proxy, nothing of it logged."""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from msgspec import Struct

from services.alerts.notices.channels.outcome import SENT, Outcome, refused, retry

SECONDS = 10.0  # for the whole of it
MAX_ANSWER = 64 * 1024
LONGEST_WAIT = 3600.0  # that a receiver may ask for
LATER = frozenset({408, 425, 429})
REMEDIES = {401: "，请核对地址和密钥", 403: "，请核对地址和密钥", 404: "，请核对地址", 410: "，请核对地址"}


class Answer(Struct, frozen=True):
    status: int
    retry_after: str | None
    body: bytes


@contextlib.contextmanager
def ending(close: socket.socket, seconds: float) -> Iterator[None]:
    """A receiver that dribbles is cut off: a socket's own timeout counts anew with every byte."""

    def end() -> None:
        with contextlib.suppress(OSError):
            close.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def post(url: str, body: bytes, headers: Mapping[str, str], seconds: float) -> Answer:
    """Raises OSError or HTTPException."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection = (
        http.client.HTTPSConnection(host, parts.port, timeout=seconds, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=seconds)
    )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.connect()
        with ending(connection.sock, seconds):
            connection.request("POST", path, body, {"User-Agent": "liuyan", **headers})
            response = connection.getresponse()
            return Answer(response.status, response.getheader("Retry-After"), response.read(MAX_ANSWER))
    finally:
        connection.close()


def posted(url: str, body: bytes, headers: Mapping[str, str]) -> Answer | Outcome:
    """An answer of 2xx, or what its lack means."""
    try:
        answer = post(url, body, headers, SECONDS)
    except TimeoutError:
        return retry(f"对方 {SECONDS:g} 秒内没有应答")
    except ssl.SSLCertVerificationError:
        return retry("对方的证书不能验证，请核对地址和证书")
    except (OSError, http.client.HTTPException) as error:
        return retry(f"{unreached(error)}，请核对地址和网络")
    if 200 <= answer.status < 300:
        return answer
    detail = f"对方答 {answer.status}" + REMEDIES.get(answer.status, "")
    if answer.status >= 500 or answer.status in LATER:
        return retry(detail, seconds_of(answer.retry_after, datetime.now(UTC)))
    return refused(f"{detail}，不跟随跳转" if answer.status < 400 else detail)


def unreached(error: Exception) -> str:
    """Why there was no connection, without the text of the error: it may hold the address."""
    if isinstance(error, socket.gaierror):
        return "找不到对方的主机名"
    return "对方拒绝连接" if isinstance(error, ConnectionRefusedError) else f"连接不成（{type(error).__name__}）"


def outcome(answer: Answer | Outcome) -> Outcome:
    """For a receiver whose 2xx says all."""
    return answer if isinstance(answer, Outcome) else SENT


def seconds_of(retry_after: str | None, now: datetime) -> float | None:
    """Of the header Retry-After, seconds or a date; None where there is none that can be read. An hour at most."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max(0.0, (at - now).total_seconds()), LONGEST_WAIT)
