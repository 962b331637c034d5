"""A small HTTP server of the standard library for tests: what our service calls, answered by a handler of the test."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

POLL_SECONDS = 0.01
"""How often the server looks whether it shall stop; the library's 0.5 s are waited for at the end of each test."""


class QuietHandler(BaseHTTPRequestHandler):
    """A handler that writes no line to stderr for each request."""

    def log_message(self, *_: object) -> None:
        """Drop the line that the library would write to stderr for each request."""


class QuietServer(ThreadingHTTPServer):
    """A server that says nothing of connections that break."""

    def handle_error(self, *_: object) -> None:
        """Drop the traceback that the library would write to stderr for each connection that breaks."""


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve with the handler on a free port until the block ends; yields '127.0.0.1:PORT'."""
    with QuietServer(("127.0.0.1", 0), handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
