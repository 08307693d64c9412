"""Between a service and PostgreSQL: a proxy that can cut connections, and can do so at COMMIT, before or after it took effect."""

import contextlib
import socket
import threading
from pathlib import Path
from typing import Literal

Cut = Literal["never", "before", "after"]


class Proxy:
    """Listens on a port of the loopback address; the server listens on a socket in a folder."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut: Cut = "never"
        self.cuts = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, database: str) -> str:
        return f"postgresql://liuyan@127.0.0.1:{self.port}/{database}"

    def cut_all(self) -> None:
        """Cut every connection now."""
        with self._lock:
            for one in self._open:
                _shut(one)

    def close(self) -> None:
        self._listener.close()
        self.cut_all()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server:
            try:
                server.connect(str(self._server))
            except OSError:
                return
            with self._lock:
                self._open |= {client, server}
            back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
            back.start()
            self._forward(client, server)
            back.join()
            with self._lock:
                self._open -= {client, server}

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                committing = data.startswith(b"Q") and b"COMMIT\0" in data
                if committing and self.cut == "before":
                    self._count()
                    break
                if committing and self.cut == "after":
                    self._count()
                    _shut(client)  # the answer finds nobody
                    server.sendall(data)
                    server.recv(65536)
                    break
                server.sendall(data)
        _shut(client)
        _shut(server)

    def _count(self) -> None:
        self.cuts += 1

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        _shut(source)
        _shut(target)


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
