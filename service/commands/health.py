"""A small HTTP server for processes that serve nothing else: /metrics, /livez and /readyz."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST

from service.commands import CommandError
from service.config import Settings


@contextmanager
def serve_health(settings: Settings, metrics: Callable[[], bytes], ready: Callable[[], bool]) -> Iterator[None]:
    """Serve /metrics, /livez and /readyz on the metrics port while the block runs; without a port, do nothing.

    `metrics` returns the text of /metrics, `ready` the answer of /readyz. Raises CommandError when it cannot listen.
    """
    if settings.metrics_port is None:
        yield
        return

    try:
        server = ThreadingHTTPServer((settings.host, settings.metrics_port), _handler(metrics, ready))
    except OSError as error:
        raise CommandError(f"cannot listen on port {settings.metrics_port}: {error.strerror or error}") from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _handler(metrics: Callable[[], bytes], ready: Callable[[], bool]) -> type[BaseHTTPRequestHandler]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/metrics":
                    self._answer(200, metrics(), CONTENT_TYPE_LATEST)
                case "/livez":
                    self._answer(200, b"ok\n")
                case "/readyz":
                    self._answer(*((200, b"ready\n") if ready() else (503, b"not ready\n")))
                case _:
                    self._answer(404, b"not found\n")

        def _answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Log nothing: monitoring asks every few seconds."""

    return Answer
