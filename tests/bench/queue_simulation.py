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
import math
import os
import random
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queue_check import Load


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

IDLE = 0.1
"""Share of the cores that other processes may take while the service is measured."""
NEAR = 0.2
"""Share by which the simulation may be off for a plan to be trusted."""


def fitted(loads: list[Load]) -> Service:
    """Service times by the loads at both ends; those between are for the simulation to predict."""
    low, high = loads[0], loads[-1]
    image = (high.device - low.device) / (high.batch - low.batch)
    fixed = max(0.0, low.device - image * low.batch)
    overhead = max(0.0, low.quantile(0.5) - low.device - low.decode)
    return Service(fixed, image, high.decode, overhead, threads=2)


def compared(loads: list[Load], service: Service) -> tuple[list[str], dict[str, float]]:
    """ConnectionPool of a table, and by how much the simulation was off at most, by what."""
    lines, worst = [], {"throughput": 0.0, "p50": 0.0, "p95": 0.0}
    for load in loads:
        told = Simulation(service, 1).run(max(400, 40 * load.clients), clients=load.clients)
        pairs = {"throughput": (load.throughput, told.throughput)}
        pairs |= {f"p{share}": (load.quantile(share / 100), told.quantile(share / 100)) for share in (50, 95)}
        cells = [f"{load.clients}", *(f"{value:.2f}" for value in pairs["throughput"])]
        cells += [f"{1000 * value:.0f}" for name in ("p50", "p95") for value in pairs[name]]
        lines.append(f"| {' | '.join(cells)} |")
        for name, (seen, simulated) in pairs.items():
            worst[name] = max(worst[name], abs(simulated / seen - 1))
    return lines, worst


def check(seconds: float, threads: int) -> int:
    """Print what docs/scaling.md shows, and what to make of it; 0 near enough, 1 not, 2 the machine was not idle."""
    import cv2  # noqa: PLC0415
    import skimage.data  # noqa: PLC0415
    from queue_check import measure  # noqa: PLC0415

    image = cv2.resize(skimage.data.astronaut()[:, :, ::-1], (640, 640))[:480]
    loads = measure(cv2.imencode(".jpg", image)[1].tobytes(), seconds, threads)
    service = fitted(loads)
    lines, worst = compared(loads, service)
    print("| clients | images/s | simulated | p50 ms | simulated | p95 ms | simulated |")
    print("| ---: " * 7 + "|")
    print("\n".join(lines))
    others, failed = max(load.others for load in loads), sum(load.failed for load in loads)
    cores = len(os.sched_getaffinity(0))
    fixed, image, decode, overhead = (
        1000 * value for value in (service.fixed, service.image, service.decode, service.overhead)
    )
    print(
        f"\n{time.strftime('%Y-%m-%d')}, {cores} cores, of which other processes took up to {others:.0%}. Fit:"
        f" {fixed:.0f} + {image:.0f} n ms a batch, {decode:.1f} ms to decode, {overhead:.1f} ms for HTTP and Redis:"
        f" {service.capacity:.1f} images/s. Off by at most {worst['throughput']:.0%} in throughput,"
        f" {worst['p50']:.0%} in p50, {worst['p95']:.0%} in p95."
        + (f" {failed} photos were not answered." if failed else "")
    )
    if others > IDLE:
        print("\nThe machine was not idle: stop the other work and run this again. Until then it says nothing.")
        return 2
    if max(worst["throughput"], worst["p50"]) > NEAR:
        print(
            f"\nNot near enough (more than {NEAR:.0%}): plan with that much more, and look at what the fit leaves out."
        )
        return 1
    print(f"\nNear enough (within {NEAR:.0%}): plans by these service times hold.")
    return 0


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
    parser.add_argument("--check", action="store_true", help="measure and compare: under three minutes")
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
        sys.exit(check(given.seconds, given.threads))


if __name__ == "__main__":
    main()
