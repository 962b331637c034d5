"""How many workers a load needs: the queue simulated event by event, driven with measured service times.

    python tests/bench/queue_simulation.py --check         measures service times here, and compares with real clients
    python tests/bench/queue_simulation.py --plan 15 95 4  how many workers, if each takes 15 + 95 n ms for a batch
                                                           of n images and 4 ms to decode one

The model is the service's own rule: one queue for all; a worker claims up to two batches ahead and decodes in threads;
its device, when idle, takes what is decoded, `batch` images at most; beyond `limit` images at once it is refused.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Service:
    """A worker's measured times, in seconds: a batch of n images takes `fixed` + n · `image` on the device."""

    fixed: float
    image: float
    decode: float
    overhead: float = 0.003  # HTTP and Redis, there and back, a request
    batch: int = 16
    threads: int = 2

    @property
    def capacity(self) -> float:
        """Images a second of one worker whose batches are full."""
        return min(self.batch / (self.fixed + self.batch * self.image), self.threads / self.decode)


@dataclass(frozen=True)
class Outcome:
    """Latencies of what was answered, in seconds, sorted; how many were refused; images a second; mean batch."""

    latencies: list[float]
    refused: int
    throughput: float
    batch: float

    def quantile(self, share: float) -> float:
        """Of the latencies; NaN without any."""
        return (
            self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]
            if self.latencies
            else math.nan
        )


@dataclass
class _Worker:
    decoding: int = 0
    claimed: deque[float] = field(default_factory=deque)
    decoded: deque[float] = field(default_factory=deque)
    busy: bool = False


class Simulation:
    """`rate`: open loop, images a second by Poisson. `clients`: closed loop, each sends again when it is answered."""

    def __init__(self, service: Service, workers: int, limit: int = 256, seed: int = 0) -> None:
        self._service, self._limit = service, limit
        self._workers = [_Worker() for _ in range(workers)]
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, object]] = []
        self._number = itertools.count()
        self._waiting: deque[float] = deque()
        self._inside = self._refused = 0
        self._latencies: list[float] = []
        self._batches: list[int] = []

    def run(self, images: int, rate: float | None = None, clients: int = 0, warm: float = 0.1) -> Outcome:
        """Until so many images were sent; the first `warm` share of the answers is not counted."""
        left, now = images, 0.0
        for _ in range(clients):
            self._at(self._random.random() * 0.01, "arrive")
        if rate:
            self._at(self._random.expovariate(rate), "arrive")
        marks: list[float] = []
        while self._events:
            now, _, event = heapq.heappop(self._events)
            if event == "arrive":
                left -= 1
                self._arrive(now)
                if rate and left > 0:
                    self._at(now + self._random.expovariate(rate), "arrive")
            else:
                answered = self._step(now, event)
                marks += [now] * answered
                if clients:
                    for _ in range(min(answered, max(0, left))):
                        self._at(now + self._service.overhead / 2, "arrive")
            self._feed(now)
        skip = int(warm * len(self._latencies))
        counted = sorted(self._latencies[skip:])
        span = marks[-1] - marks[skip] if len(marks) > skip + 1 else math.nan
        return Outcome(counted, self._refused, len(counted) / span, sum(self._batches) / max(1, len(self._batches)))

    def _at(self, when: float, event: object) -> None:
        heapq.heappush(self._events, (when, next(self._number), event))

    def _arrive(self, now: float) -> None:
        if self._inside >= self._limit:
            self._refused += 1
            return
        self._inside += 1
        self._waiting.append(now)

    def _feed(self, now: float) -> None:
        """The waiting images go to the least loaded worker with a free thread."""
        ahead, threads = 2 * self._service.batch, self._service.threads
        while self._waiting:
            worker = min(self._workers, key=lambda one: (one.decoding >= threads, _held(one)))
            if worker.decoding >= threads or _held(worker) >= ahead:
                return
            worker.decoding += 1
            self._at(now + self._service.decode, (worker, self._waiting.popleft()))

    def _begin(self, now: float, worker: _Worker) -> None:
        """An idle device takes what is decoded."""
        if worker.decoded and not worker.busy:
            size = min(len(worker.decoded), self._service.batch)
            worker.busy, worker.claimed = True, deque(worker.decoded.popleft() for _ in range(size))
            self._batches.append(size)
            self._at(now + self._service.fixed + size * self._service.image, (worker, None))

    def _step(self, now: float, event: object) -> int:
        """The end of a decoding or of a batch; how many were answered."""
        worker, image = event  # type: ignore[misc]
        if image is not None:
            worker.decoding -= 1
            worker.decoded.append(image)
            self._begin(now, worker)
            return 0
        done, worker.busy = list(worker.claimed), False
        worker.claimed.clear()
        self._latencies += [now - arrived + self._service.overhead for arrived in done]
        self._inside -= len(done)
        self._begin(now, worker)
        return len(done)


def _held(worker: _Worker) -> int:
    return worker.decoding + len(worker.decoded) + len(worker.claimed)


def workers_for(rate: float, service: Service, p99: float, limit: int = 1 << 20) -> tuple[int, Outcome]:
    """The fewest workers that answer `rate` images a second within `p99` seconds at the 99th percentile."""
    count = max(1, math.ceil(rate / service.capacity))
    while True:
        outcome = Simulation(service, count, limit).run(int(max(4000, 40 * count)), rate=rate)
        if outcome.quantile(0.99) <= p99 and outcome.throughput > 0.95 * rate:
            return count, outcome
        count = max(count + 1, int(1.03 * count))


# -- against the real thing -------------------------------------------------------------------------------------------


@contextmanager
def started(threads: int) -> Iterator[tuple[str, str]]:
    """Redis, an API and one worker on ports of this machine: the API's URL and the worker's."""
    ports = []
    for _ in range(3):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            ports.append(probe.getsockname()[1])
    env = os.environ | {"FACE_REDIS_URL": f"redis://127.0.0.1:{ports[0]}/0", "OMP_NUM_THREADS": str(threads)}
    face = [sys.executable, "-m", "service"]
    with tempfile.TemporaryDirectory() as folder:
        commands = (
            ["redis-server", "--port", str(ports[0]), "--save", "", "--dir", folder],
            [*face, "worker", "--metrics-port", str(ports[2])],
            [*face, "api", "--port", str(ports[1])],
        )
        processes = [
            subprocess.Popen(c, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for c in commands
        ]
        try:
            api, worker = (f"http://127.0.0.1:{port}" for port in ports[1:])
            end = time.monotonic() + 180
            while time.monotonic() < end:
                try:
                    urllib.request.urlopen(f"{api}/readyz", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.3)
            yield api, worker
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()


def load(api: str, photo: bytes, clients: int, seconds: float) -> list[float]:
    """Closed loop: latencies of what was answered in that time."""
    found: list[float] = []
    end = time.monotonic() + seconds

    def work() -> None:
        while time.monotonic() < end:
            begun = time.monotonic()
            urllib.request.urlopen(urllib.request.Request(f"{api}/v1/faces", photo), timeout=120).read()
            found.append(time.monotonic() - begun)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)


def stages(worker: str) -> dict[str, tuple[float, float]]:
    """Sum of seconds and count of each stage, and of the batch sizes, so far."""
    text = urllib.request.urlopen(f"{worker}/metrics", timeout=10).read().decode()
    found = {}
    for name in ("propose", "network", "decode"):
        values = [
            float(re.search(rf'face_stage_duration_seconds_{what}{{stage="{name}"}} (\S+)', text)[1])
            for what in ("sum", "count")
        ]
        found[name] = (values[0], values[1])
    found["batch"] = tuple(float(re.search(rf"face_batch_size_{what} (\S+)", text)[1]) for what in ("sum", "count"))
    return found


def check(seconds: float, threads: int) -> list[dict[str, float]]:
    """Measures at 1 and 32 clients, fits the service times, and predicts what 1, 2, 4, 8, 16 and 32 clients see."""
    import cv2  # noqa: PLC0415
    import skimage.data  # noqa: PLC0415

    image = cv2.resize(skimage.data.astronaut()[:, :, ::-1], (640, 640))[:480]
    photo = cv2.imencode(".jpg", image)[1].tobytes()
    measured, points, decode = {}, [], 0.0
    with started(threads) as (api, worker):
        load(api, photo, 2, 3)
        for clients in (1, 2, 4, 8, 16, 32):
            before = stages(worker)
            begun = time.monotonic()
            measured[clients] = load(api, photo, clients, seconds)
            span, after = time.monotonic() - begun, stages(worker)
            batches = after["batch"][1] - before["batch"][1]
            device = sum(after[name][0] - before[name][0] for name in ("propose", "network")) / batches
            points.append(((after["batch"][0] - before["batch"][0]) / batches, device, clients, span))
            decode = (after["decode"][0] - before["decode"][0]) / (after["decode"][1] - before["decode"][1])
    low, high = points[0], points[-1]
    image_time = (high[1] - low[1]) / (high[0] - low[0])
    fixed = max(0.0, low[1] - image_time * low[0])
    overhead = max(0.0, measured[1][len(measured[1]) // 2] - low[1] - decode)
    service = Service(fixed, image_time, decode, overhead, threads=2)
    print(
        json.dumps(
            {name: round(value, 5) for name, value in vars(service).items()} | {"capacity": round(service.capacity, 2)}
        )
    )
    rows = []
    for clients, (_, _, _, span) in zip(measured, points, strict=True):
        found = measured[clients]
        told = Simulation(service, 1).run(max(200, 20 * clients), clients=clients)
        rows.append({
            "clients": clients, "images_s": len(found) / span, "predicted_images_s": told.throughput,
            "p50": found[len(found) // 2], "predicted_p50": told.quantile(0.5),
            "p95": found[int(0.95 * len(found))], "predicted_p95": told.quantile(0.95),
        })  # fmt: skip
    return rows


def plan(service: Service, p99: float, rates: list[float]) -> list[str]:
    """Workers for so many images a second, as lines of a table."""
    lines = []
    for rate in rates:
        count, outcome = workers_for(rate, service, p99)
        cells = [f"{rate:,.0f}", f"{count:,}", f"{rate / (count * service.capacity):.0%}"]
        cells += [f"{1000 * outcome.quantile(share):.0f}" for share in (0.5, 0.99)]
        lines.append(f"| {' | '.join(cells)} | {outcome.batch:.1f} |")
    return lines


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--seconds", type=float, default=20, help="of each load of --check")
    parser.add_argument("--threads", type=int, default=2, help="of the worker of --check")
    parser.add_argument("--plan", nargs=3, type=float, metavar=("FIXED", "IMAGE", "DECODE"), help="milliseconds")
    parser.add_argument("--decode-threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16, help="FACE_BATCH_IMAGES")
    parser.add_argument("--rate", type=float, action="append", help="images a second (10, 1000)")
    parser.add_argument("--p99", type=float, default=0.5, help="seconds")
    given = parser.parse_args()
    if given.plan:
        fixed, image, decode = (value / 1000 for value in given.plan)
        service = Service(fixed, image, decode, batch=given.batch, threads=given.decode_threads)
        print(f"one worker: {service.capacity:.1f} images/s")
        print("| images/s | workers | busy | p50 ms | p99 ms | batch |\n| ---: | ---: | ---: | ---: | ---: | ---: |")
        print("\n".join(plan(service, given.p99, given.rate or [10, 1000])))
    if given.check:
        rows = check(given.seconds, given.threads)
        print(
            "| clients | images/s | simulated | p50 ms | simulated | p95 ms | simulated |\n| ---: "
            + "| ---: " * 6
            + "|"
        )
        for row in rows:
            cells = [f"{row['clients']}", f"{row['images_s']:.2f}", f"{row['predicted_images_s']:.2f}"]
            cells += [f"{1000 * row[name]:.0f}" for name in ("p50", "predicted_p50", "p95", "predicted_p95")]
            print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
