"""Wall clocks that jump, Redis' and the service's own, while work is held: nothing is late, lost or done twice."""

import os
import shutil
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from service.queue.clock import RedisClock
from tests.converted import with_converted_networks
from tests.ports import free_port
from tests.service.queue.device import photo
from tests.service.queue.processes import NOTHING, Processes, RedisServer, browser, redis_server, until

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).with_name("clock.c")
HALF_AN_HOUR = 1800


@dataclass
class Clock:
    """The wall clock of the processes with this environment."""

    file: Path
    library: Path

    @property
    def env(self) -> dict[str, str]:
        """What they are started with."""
        return {"LD_PRELOAD": str(self.library), "CLOCK_FILE": str(self.file)}

    def ahead(self, seconds: int) -> None:
        """By so much, from now on."""
        with self.file.open("r+b") as file:
            file.write(struct.pack("l", seconds))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler")
    made = Clock(tmp_path / "clock", tmp_path / "clock.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made.library, SOURCE], check=True)
    made.file.write_bytes(struct.pack("l", 0))
    return made


def ask(url: str, number: int, crowd: ThreadPoolExecutor, body: bytes, between: Callable[[], None]) -> Counter[int]:
    """Status codes of requests, some of which are under way when something happens."""
    with browser(base_url=url) as client:
        found = [crowd.submit(client.post, "/v1/faces", content=body) for _ in range(number)]
        between()
        return Counter(one.result().status_code for one in found)


def figure(text: str, name: str) -> float:
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


def test_redis_clock_jumps_ahead_and_back(
    clock: Clock, start_on: Callable[[RedisServer], Processes], weights: Path
) -> None:
    """One delivery is all an image gets: whatever were taken from a live worker would become a dead letter."""
    with redis_server(env=clock.env) as server, ThreadPoolExecutor(24) as crowd:
        processes = start_on(server)
        apis = [processes.api() for _ in range(2)]
        settings = {"FACE_QUEUE_LEASE": "2", "FACE_QUEUE_DELIVERIES": "1", "FACE_BATCH_IMAGES": "2"}
        workers = [processes.worker(weights, FACE_TEST_SECONDS="0.2", **settings) for _ in range(2)]
        until(lambda: all(started.ready() for started in (*apis, *workers)))
        url = apis[0].url
        job = apis[0].post("/v1/jobs", files=[("f", photo("grey"))] * 16).headers["Location"]
        until(lambda: apis[0].get(job).json()["done"] > 1)

        def jump(seconds: int) -> None:
            until(lambda: server.left()["jobs"] > 8)
            clock.ahead(seconds)

        for seconds in (HALF_AN_HOUR, -HALF_AN_HOUR):
            assert ask(url, 24, crowd, photo("grey"), lambda seconds=seconds: jump(seconds)) == {200: 24}
            until(lambda: all(api.ready() for api in apis))
        until(lambda: apis[1].get(job).json()["status"] == "done")
        done = apis[1].get(job).json()
        assert (done["total"], done["done"], done["failed"]) == (16, 16, 0)
        until(lambda: server.left() == NOTHING)
        shown = [worker.get("/metrics").text for worker in workers]
        assert sum(figure(text, "face_images_total") for text in shown) == 64, "each was done once"
        assert sum(figure(text, "face_redelivered_total") for text in shown) == 0
        assert figure(apis[0].get("/metrics").text, "face_dead_letters") == 0
        for started in (*apis, *workers):
            log = started.log.read_text()
            assert not any(words in log for words in ("job adopted", "the queue was lost", "taken over"))


def test_the_clock_of_a_single_process_jumps(clock: Clock, tmp_path: Path, faceless_checkpoint: Path) -> None:
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("FACE_")} | clock.env
    data = with_converted_networks(tmp_path / "data")
    env |= {"FACE_WEIGHTS": str(faceless_checkpoint), "FACE_DATA_DIR": str(data), "FACE_BATCH_IMAGES": "1"}
    words = [sys.executable, "-m", "service", "serve", "--port", str(port)]
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    body, url = bytes(cv2.imencode(".jpg", image)[1]), f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/readyz", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    with (tmp_path / "log").open("wb") as log, ThreadPoolExecutor(24) as crowd:
        process = subprocess.Popen(words, env=env, stdout=log, stderr=log)
        try:
            until(ready, 100)
            where = httpx.post(f"{url}/v1/jobs", files=[("f", body)] * 8, timeout=60).headers["Location"]
            for seconds in (24 * 3600, -24 * 3600):
                before = time.monotonic()
                assert ask(url, 16, crowd, body, lambda seconds=seconds: clock.ahead(seconds)) == {200: 16}
                assert time.monotonic() - before < 60
            until(lambda: httpx.get(f"{url}{where}").json()["status"] == "done", 60)
            assert httpx.get(f"{url}{where}").json()["failed"] == 0
        finally:
            process.terminate()
            process.wait(60)


def test_waiting_is_told_from_a_jump() -> None:
    now = 0.0
    clock = RedisClock(lambda: now)
    redis = 1_000_000.0
    assert clock.waited(redis, redis - 250) == 250
    now += 100
    assert clock.waited(redis + 100, redis - 250) == 350
    now += 100
    jumped = redis + 200 + 3_600_000
    assert clock.waited(jumped, redis - 250) == 450, "it came before the jump"
    assert clock.waited(jumped, jumped - 10) == 10, "it came after"
    now += 50
    assert clock.waited(jumped + 50, redis - 250) == 500
    now += 50
    assert clock.waited(jumped + 100 + 2, jumped) == 102, "drift is followed"
    back = redis + 300
    assert clock.waited(back, jumped + 100) == 0, "streams go on from their latest entry"
    assert clock.waited(back, jumped + 101) == 0
    assert clock.waited(back, back - 40) == 40
