"""`/livez`, `/readyz` and `/metrics` of a worker, from a thread of its own: they answer also while its event loop hangs."""

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from services.sla.worker.health import Health

ANSWER_SECONDS = 10.0
TEXT = "text/plain; charset=utf-8"


def serve(listener: socket.socket, health: Health) -> Callable[[], None]:
    """Answers on the listener, which is bound, until the process ends or what this gives is called."""
    server = ThreadingHTTPServer(listener.getsockname()[:2], _handler(health), bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.server_activate()
    threading.Thread(target=server.serve_forever, name="probe", daemon=True).start()
    return server.shutdown


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    def told(trouble: str | None) -> tuple[int, str, bytes]:
        return (503 if trouble else 200), TEXT, (trouble or "ok").encode()

    answers: dict[str, Callable[[], tuple[int, str, bytes]]] = {
        "/livez": lambda: told(health.unhealthy()),
        "/readyz": lambda: told(health.unready()),
        "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest(health.registry)),
    }

    class Handler(BaseHTTPRequestHandler):
        timeout = ANSWER_SECONDS

        def do_GET(self) -> None:
            status, kind, body = answers.get(self.path.partition("?")[0], lambda: (404, TEXT, b"not found"))()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Nothing: requests are not logged."""

    return Handler
