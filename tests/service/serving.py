"""A real server on a real port, with its broker in reach."""

import asyncio
import base64
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import uvicorn

from service.commands.serve import http_server
from service.config import Settings
from service.ops.metrics import Metrics
from service.queue.local import LocalQueue
from service.wire import Analysis, AnalysisOutcome, AnalysisRequest, AnalysisResult, ModelCard, WorkerInfo

MODEL = "0" * 64
WORKER = WorkerInfo("test", MODEL, device="cpu", dtype="float32")
CARD = ModelCard(MODEL, "cosine", 16, preset="none")


@dataclass
class Served:
    """A running server."""

    url: str
    client: httpx.Client
    broker: LocalQueue
    metrics: Metrics


class PromptServer(uvicorn.Server):
    """Looks every 10 ms whether it is to end, and whether it has: uvicorn's 100 ms add up, for hundreds of servers."""

    async def main_loop(self) -> None:
        """Run until the server is told to end."""
        while not await self.on_tick(0):
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, wait for the requests that are there, end the application's lifespan."""
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        state = self.server_state
        end = time.monotonic() + (self.config.timeout_graceful_shutdown or 5)
        while (state.connections or state.tasks) and time.monotonic() < end:
            await asyncio.sleep(0.01)
        for task in state.tasks:
            task.cancel()
        if not self.force_exit:
            await self.lifespan.shutdown()


@contextmanager
def serve(settings: Settings) -> Iterator[Served]:
    """The API on a free port, without a worker."""
    broker = LocalQueue(settings.queue_size, settings.queue_bytes)
    metrics = Metrics()
    listening = socket.create_server(("127.0.0.1", 0))
    server = PromptServer(http_server(settings, broker, metrics).config)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=60, verify=False) as client:  # spares reading certificates: 40 ms
            until(lambda: server.started)
            yield Served(url, client, broker, metrics)
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
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
            if httpx.get(f"{url}{path}", timeout=5, verify=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)


@contextmanager
def answering(
    broker: LocalQueue, answer: Callable[[AnalysisRequest], AnalysisOutcome]
) -> Iterator[list[AnalysisRequest]]:
    """The test itself is the worker: every request gets what `answer` makes of it; yields the requests seen."""
    stop, seen = threading.Event(), []
    broker.announce(WORKER, CARD)

    def work() -> None:
        while not stop.is_set():
            for request in broker.claim(4, 0.02):
                seen.append(request)
                broker.finish([answer(request)])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
        broker.leave()


def nothing_found(request: AnalysisRequest) -> AnalysisResult:
    """An image without a face."""
    return AnalysisResult(request.id, MODEL, Analysis(8, 6, []), timings={"decode": 0.001, "propose": 0.002})


def stuck(served: Served) -> None:
    """A worker that is there and takes nothing."""
    served.broker.announce(WORKER, CARD)


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
