"""A client of our own services: pushes until durable, and looks at what they answer. No proxy, every wait bounded."""

import http.client
import json
import threading
from itertools import count
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 10
RETRIES = 30
RETRY_SECONDS = 0.5
SINGLE, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"


class PushError(Exception):
    """The service refused, or could not be reached; the message is one line."""


class Client:
    """Of the service at `url`. Raises PushError when that is no address."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PushError(f"{url!r} 不是服务地址，请写成 http://127.0.0.1:8000 的形式")
        self._parts = parts

    def push(self, key: str, body: bytes, media_type: str = SINGLE, stop: threading.Event | None = None) -> None:
        """Push it until all of it is durable: what the service could not confirm is sent again, unchanged. Raises PushError when it is
        refused, or not confirmed by the last try; with `stop` there is none until that is set.
        """
        headers = {"Content-Type": media_type, "Authorization": f"Bearer {key}"}
        trouble = ""
        for _ in range(RETRIES) if stop is None else count():
            try:
                status, answer = self.ask("POST", "/v1/events", body, headers)
            except (OSError, http.client.HTTPException) as error:
                trouble = f"连不上 {self._parts.netloc}（{error}）"
            else:
                if status == 202:
                    return
                trouble = f"{status} {_detail(answer)}"
                if status != 503:
                    break
            if (stop or threading.Event()).wait(RETRY_SECONDS):
                break
        raise PushError(f"推送失败：{trouble}")

    def status(self, path: str) -> int | None:
        """What a GET is answered with; None when nobody answers."""
        try:
            return self.ask("GET", path)[0]
        except (OSError, http.client.HTTPException):
            return None

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, f"{self._parts.path.rstrip('/')}{path}", body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def _detail(answer: bytes) -> str:
    """What a problem says; whoever answers with anything else is not this service."""
    try:
        return str(json.loads(answer)["detail"])
    except (ValueError, TypeError, KeyError):
        return "对方的答复不是本系统的格式，请核对 --url"
