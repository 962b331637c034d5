"""Real processes to break: a redis-server that can be restarted, API processes, workers with a device of the test's."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import redis

from service.broker import codec

ROOT = Path(__file__).parents[2]
PREFIX = codec.PREFIX


class RedisServer:
    """redis-server on a unix socket in a short folder."""

    def __init__(self, folder: str, *options: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("no redis-server")
        self._socket = f"{folder}/redis.sock"
        self._words = [program, "--port", "0", "--unixsocket", self._socket, "--dir", folder, "--save", "", *options]
        self.url = f"unix://{self._socket}"
        self.client = redis.Redis(unix_socket_path=self._socket, protocol=2)
        self.start()

    def start(self) -> None:
        """Start it; what it had is there only if it was told to keep it."""
        self._process = subprocess.Popen(self._words, stdout=subprocess.DEVNULL)
        until(self._answers, 20)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it."""
        self._process.send_signal(number)
        self._process.wait(10)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.exceptions.ConnectionError:
            return False

    def left(self) -> dict[str, int]:
        """How much of everything that passes is there: 0 for all when nothing leaks."""
        names = [name.decode() for name in self.client.scan_iter(f"{PREFIX}*")]
        streams = [name for name in names if name.startswith(f"{PREFIX}jobs:")]
        pending = [self.client.xpending(name, "workers")["pending"] for name in streams]
        held = [int(self.client.get(name) or 0) for name in names if name.startswith(f"{PREFIX}bytes:")]
        replies = [name for name in names if name.startswith(f"{PREFIX}replies:")]
        return {
            "jobs": sum(self.client.xlen(name) for name in streams),
            "pending": sum(pending),
            "bytes": sum(held),
            "answers": sum(self.client.xlen(name) for name in replies),
        }


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """One for a while."""
    with tempfile.TemporaryDirectory(prefix="face-") as folder:
        server = RedisServer(folder, *options)
        try:
            yield server
        finally:
            server.client.close()
            server.stop(signal.SIGKILL)


@dataclass
class Started:
    """A process, its URL if it has one, and what it wrote."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(10)

    def get(self, path: str) -> httpx.Response:
        """A GET."""
        return self.client.get(f"{self.url}{path}")

    def ready(self) -> bool:
        """Whether /readyz says yes."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False


class Processes:
    """API and worker processes on one Redis, all ended at the end of the test."""

    def __init__(self, folder: Path, url: str, **env: str) -> None:
        self._folder, self._started = folder, list[Started]()
        quick = {"FACE_QUEUE_LEASE": "1", "OMP_NUM_THREADS": "1", "FACE_REDIS_URL": url}
        self._env = {**os.environ, **quick, **env}

    def api(self, **env: str) -> Started:
        """`allinone-face api` that answers."""
        port = free_port()
        started = self._start("service", "api", "--port", str(port), **env)
        started.url = f"http://127.0.0.1:{port}"
        until(lambda: _answers(started), 60)
        return started

    def worker(self, weights: Path, *words: str, **env: str) -> Started:
        """A worker with the test's device; see device.py."""
        port = free_port()
        env = {"FACE_WEIGHTS": str(weights), "FACE_METRICS_PORT": str(port)} | env
        started = self._start("tests.queue.device", *words, **env)
        started.url = f"http://127.0.0.1:{port}"
        return started

    def stop(self) -> None:
        """End them all."""
        for started in self._started:
            started.process.kill()
            started.process.wait(10)
            started.client.close()

    def _start(self, module: str, *words: str, **env: str) -> Started:
        log = self._folder / f"{len(self._started)}-{module}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *words], cwd=ROOT, stdout=out, stderr=out, env=self._env | env
            )
        self._started.append(Started(process, log))
        return self._started[-1]


def _answers(started: Started) -> bool:
    assert started.process.poll() is None, started.log.read_text()
    try:
        return started.get("/livez").status_code == 200
    except httpx.TransportError:
        return False


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until it holds, or fail."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never held"
        time.sleep(0.02)


def free_port() -> int:
    """Nobody listens there now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
