"""A real server on a real port, with its broker in reach."""

import base64
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from service.broker import Job, Result, WorkerInfo
from service.broker.local import LocalBroker
from service.commands.serve import http_server
from service.config import Settings
from service.metrics import Metrics


@dataclass
class Served:
    """A running server."""

    url: str
    client: httpx.Client
    broker: LocalBroker
    metrics: Metrics


@contextmanager
def serve(settings: Settings) -> Iterator[Served]:
    """The API on a free port, without a worker."""
    broker, metrics = LocalBroker(settings.queue_size, settings.queue_bytes), Metrics()
    listening = socket.create_server(("127.0.0.1", 0))
    server = http_server(settings, broker, metrics)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=60) as client:
            until(lambda: server.started)
            yield Served(url, client, broker, metrics)
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until it holds, or fail."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never held"
        time.sleep(0.01)


def until_ready(process: subprocess.Popen[str], url: str, path: str = "/readyz") -> None:
    """Wait until a process answers its probe with 200; fail with its stderr if it ends."""
    end = time.monotonic() + 100
    while True:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end, f"{url} was never ready"
        try:
            if httpx.get(f"{url}{path}", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)


@contextmanager
def answering(broker: LocalBroker, answer: Callable[[Job], Result]) -> Iterator[list[Job]]:
    """The test itself is the worker: every job gets what `answer` makes of it; yields the jobs seen."""
    stop, seen = threading.Event(), []
    broker.announce(WorkerInfo("test", "0" * 64, {"preset": "none", "device": "cpu", "dtype": "float32"}))

    def work() -> None:
        while not stop.is_set():
            for job in broker.claim(4, 0.05):
                seen.append(job)
                broker.finish([answer(job)])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
        broker.leave()


def nothing_found(job: Job) -> Result:
    """An image without a face."""
    analysis = {"width": 8, "height": 6, "faces": []}
    return Result(job.id, "0" * 64, analysis, timings={"decode": 0.001, "propose": 0.002})


def stuck(served: Served) -> None:
    """A worker that is there and takes nothing."""
    served.broker.announce(WorkerInfo("stuck", "0" * 64, {}))


def is_problem(response: httpx.Response, status: int, code: str) -> dict:
    """The response is problem+json with all it has to say and no more; its body."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["code"] == code
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    return body


def b64(data: bytes) -> str:
    """Bytes as they stand in JSON."""
    return base64.b64encode(data).decode()
