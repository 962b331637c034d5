"""Requests written byte by byte, and a server in a process of its own whose memory is limited."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
SERVER = """
import json, resource, sys
from service.config import Settings
from tests.service.serving import serve
with serve(Settings(**json.loads(sys.argv[1]))) as served:
    pages = int(open("/proc/self/statm").read().split()[0])
    limit = pages * resource.getpagesize() + int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print(served.url, flush=True)
    sys.stdin.read()
"""


def connect(url: str, timeout: float = 10) -> socket.socket:
    """Return a connection to a server."""
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=timeout)


def head(line: str, **headers: object) -> bytes:
    """Return the head of a request to this machine; underscores in names stand for hyphens."""
    lines = [f"{line} HTTP/1.1", "Host: 127.0.0.1"]
    return "\r\n".join([*lines, *(f"{n.replace('_', '-')}: {v}" for n, v in headers.items()), "", ""]).encode()


def status(connection: socket.socket) -> int | None:
    """Return the status that comes first; None for a connection that was closed without an answer."""
    with contextlib.suppress(ConnectionError):
        line = connection.recv(65536)
        return int(line.split(b" ")[1]) if line else None
    return None


def whole_answer(connection: socket.socket) -> bytes:
    """Return the answer that comes first with all of the body that its head announces, in however many pieces."""
    received = b""
    while not _is_whole(received) and (part := connection.recv(65536)):
        received += part
    return received


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    announced = re.search(rb"^content-length: (\d+)", head, re.MULTILINE | re.IGNORECASE)
    return bool(end) and len(body) >= int(announced[1] if announced else 0)


def is_closed(connection: socket.socket) -> bool:
    """Return whether the other side hangs up before the connection's timeout."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def send_until_closed(connection: socket.socket, block: bytes, most: int) -> int:
    """Return how many bytes were taken before the other side hung up, at most `most`."""
    sent = 0
    with contextlib.suppress(OSError):
        while sent < most:
            connection.sendall(block)
            sent += len(block)
    return sent


@contextlib.contextmanager
def limited_server(spare: int, **settings: object) -> Iterator[tuple[str, int]]:
    """Serve in another process that may take `spare` bytes more than it has at the start; yield its URL and pid."""
    command = [sys.executable, "-c", SERVER, json.dumps(settings), str(spare)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        url = process.stdout.readline().strip()
        assert url, "the server did not start"
        try:
            yield url, process.pid
            assert process.poll() is None, "the server is gone"
        finally:
            process.stdin.close()
            process.wait(20)


def resident(pid: int) -> int:
    """Return the bytes of memory that a process holds."""
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS")) << 10
