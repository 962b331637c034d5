"""Real processes to break: a redis-server that can be restarted, API processes, workers with a device of the test's."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from service.queue import codec
from tests.ports import free_port
from tests.service.queue import device

PREFIX = codec.PREFIX
NOTHING = {"jobs": 0, "pending": 0, "bytes": 0, "images": 0, "answers": 0}
"""What is left() when nothing leaks."""


class RedisServer:
    """redis-server on a unix socket in a short folder."""

    def __init__(self, folder: str, *options: str, env: dict[str, str] | None = None) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("no redis-server")
        self.folder = Path(folder)
        self._socket = f"{folder}/redis.sock"
        self._words = [program, "--port", "0", "--unixsocket", self._socket, "--dir", folder, "--save", "", *options]
        self._env = {**os.environ, **(env or {})}
        self.url = f"unix://{self._socket}"
        self.client = redis.Redis(unix_socket_path=self._socket, protocol=2)
        self.start()

    def start(self) -> None:
        """Start it; what it had is there only if it was told to keep it."""
        self._process = subprocess.Popen(self._words, env=self._env, stdout=subprocess.DEVNULL)
        until(self._answers, 20)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop it."""
        self._process.send_signal(number)
        self._process.wait(10)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.exceptions.AuthenticationError:
            return True  # it has users of its own
        except redis.exceptions.ConnectionError:
            return False

    def left(self) -> dict[str, int]:
        """How much of everything that passes is there."""
        names = [name.decode() for name in self.client.scan_iter(f"{PREFIX}*")]
        streams = [name for name in names if name.startswith(f"{PREFIX}requests:")]
        pending = [self.client.xpending(name, "workers")["pending"] for name in streams]
        held = [int(self.client.get(name) or 0) for name in names if name.startswith(f"{PREFIX}bytes:")]
        replies = [name for name in names if name.startswith(f"{PREFIX}replies:")]
        return {
            "jobs": sum(self.client.xlen(name) for name in streams),
            "pending": sum(pending),
            "bytes": sum(held),
            "images": sum(name.startswith(f"{PREFIX}image:") for name in names),
            "answers": sum(self.client.xlen(name) for name in replies),
        }


@contextmanager
def redis_server(*options: str, env: dict[str, str] | None = None) -> Iterator[RedisServer]:
    """One for a while."""
    with tempfile.TemporaryDirectory(prefix="face-") as folder:
        server = RedisServer(folder, *options, env=env)
        try:
            yield server
        finally:
            server.client.close()
            server.stop(signal.SIGKILL)


def browser(**settings: Any) -> httpx.Client:
    """A client with as many connections as are wanted; certificates, which take a while to read, are not."""
    return httpx.Client(timeout=60, verify=False, limits=httpx.Limits(max_connections=None), **settings)


@dataclass
class Started:
    """A process, its URL if it has one, and what it wrote."""

    process: BaseProcess
    log: Path
    url: str = ""
    client: httpx.Client = field(default_factory=browser)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.join(10)

    def terminate(self) -> None:
        """SIGTERM."""
        self.process.terminate()

    def ended(self, seconds: float = 30) -> int | None:
        """Its exit status, None if it is still there after so many seconds."""
        self.process.join(seconds)
        return self.process.exitcode

    def get(self, path: str) -> httpx.Response:
        """A GET."""
        return self.client.get(f"{self.url}{path}")

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        """A POST; from any thread, on a connection of the client's."""
        return self.client.post(f"{self.url}{path}", **arguments)

    def ready(self) -> bool:
        """Whether /readyz says yes."""
        return self._answers("/readyz")

    def alive(self) -> bool:
        """Whether /livez says yes."""
        return self._answers("/livez")

    def _answers(self, path: str) -> bool:
        assert self.process.exitcode is None, self.log.read_text()
        try:
            return self.get(path).status_code == 200
        except httpx.TransportError:
            return False


class Processes:
    """API and worker processes on one Redis, all ended at the end of the test.

    They are forked from a process that has imported everything, which saves seconds for each; see device.run().
    """

    def __init__(self, folder: Path, url: str, **env: str) -> None:
        self._folder, self._started = folder, list[Started]()
        self._env = {"FACE_QUEUE_LEASE": "3", "FACE_REDIS_URL": url, "FACE_HOST": "127.0.0.1"} | env
        self._forks = multiprocessing.get_context("forkserver")
        self._forks.set_forkserver_preload([device.__name__, *device.COMMANDS])

    def api(self, **env: str) -> Started:
        """`allinone-face api` that answers."""
        started = self._start("api", env)
        until(started.alive, 60)
        return started

    def worker(self, weights: Path, **env: str) -> Started:
        """`allinone-face worker` with the test's device; see device.py."""
        return self._start("worker", {"FACE_WEIGHTS": str(weights)} | env)

    def stop(self) -> None:
        """End them all."""
        for started in self._started:
            started.kill()
            started.client.close()

    def _start(self, command: str, env: dict[str, str]) -> Started:
        port, log = str(free_port()), self._folder / f"{len(self._started)}-{command}.log"
        env = self._env | {"FACE_PORT" if command == "api" else "FACE_METRICS_PORT": port} | env
        process = self._forks.Process(target=device.run, args=(command, env, str(log)))
        process.start()
        self._started.append(Started(process, log, f"http://127.0.0.1:{port}"))
        return self._started[-1]


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until it holds, or fail."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never held"
        time.sleep(0.02)
