"""Load on the whole service: HTTP, broker, workers, with real photos or with a device that does nothing.

    python -m tests.bench.load closed    1, 8, 32, 128 clients in a closed loop: one process, Redis with 1 and 2 workers
    python -m tests.bench.load open      arrivals at 0.5, 1 and 3 times what a closed loop carried: what is refused, p99
    python -m tests.bench.load overhead  a device that does nothing and a photo of 100 kB: what the queue costs

closed ends with the share of what Analyzer alone reaches on the same cores with the same photos, in the same run.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import httpx
import numpy as np
import skimage.data

from tests.queue.processes import free_port, redis_server

ROOT = Path(__file__).parents[2]
CLIENTS = (1, 8, 32, 128)


@dataclass
class Seen:
    """What came back: status codes, seconds of each status 200 and of each 429."""

    seconds: float = 0.0
    codes: Counter[int] = field(default_factory=Counter)
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def add(self, code: int, seconds: float) -> None:
        """One answer."""
        self.codes[code] += 1
        if code in (200, 429):
            (self.answered if code == 200 else self.refused).append(seconds)

    def row(self) -> str:
        """As text."""
        a50, a90, a99 = (1000 * np.percentile(self.answered or [np.nan], p) for p in (50, 90, 99))
        line = f"{self.codes[200] / self.seconds:8.1f}/s  p50 {a50:7.1f}  p90 {a90:7.1f}  p99 {a99:7.1f} ms"
        return f"{line}  {dict(self.codes)}" + (
            f"  429 p99 {1000 * np.percentile(self.refused, 99):.1f} ms" if self.refused else ""
        )


def photos(number: int = 8) -> list[bytes]:
    """scikit-image's astronaut in several crops, as JPEG."""
    image = skimage.data.astronaut()[:, :, ::-1]
    return [bytes(cv2.imencode(".jpg", image[step:500, step * 2 :])[1]) for step in range(number)]


def big_photo() -> bytes:
    """Noise as JPEG of about 100 kB."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for quality in range(60, 100):
        data = bytes(cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
        if len(data) >= 100_000:
            break
    return data


@contextmanager
def started(*words: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the service."""
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(words, cwd=ROOT, env={**os.environ, **env}, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def service(workers: int, idle: bool, **env: str) -> Iterator[tuple[str, list[str]]]:
    """The API's URL and the URLs with metrics; workers 0 is everything in one process."""
    with ExitStack() as stack:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        env = {"FACE_PORT": str(port), "FACE_LOG_LEVEL": "warning"} | env
        metrics = [url]
        if workers:
            env["FACE_REDIS_URL"] = stack.enter_context(redis_server()).url
            stack.enter_context(started(sys.executable, "-m", "service", "api", **env))
            threads = str(max(1, (os.cpu_count() or 1) // workers))
            for _ in range(workers):
                metrics.append(f"http://127.0.0.1:{free_port()}")
                there = {"FACE_METRICS_PORT": metrics[-1].rpartition(":")[2], "OMP_NUM_THREADS": threads}
                what = ("-m", "tests.bench.idle_worker") if idle else ("-m", "service", "worker")
                stack.enter_context(started(sys.executable, *what, **env | there))
        else:
            stack.enter_context(started(sys.executable, "-m", "service", "serve", **env))
        for place in metrics:
            wait_ready(place)
        yield url, metrics


def cpu_seconds(parent: int) -> dict[str, float]:
    """Processor time of this process's children so far, by what they run."""
    spent: dict[str, float] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                words = (stat.parent / "cmdline").read_text().split("\0")
                what = words[3] if words[3:] and words[3] in ("api", "serve", "worker") else Path(words[-2]).name
                what = "redis" if "redis" in words[0] else what
                spent[what] = spent.get(what, 0) + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def wait_ready(url: str) -> None:
    """Until /readyz says yes."""
    end = time.monotonic() + 180
    while time.monotonic() < end:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"{url} never ready")


def batch_size(urls: list[str]) -> tuple[float, float]:
    """Images and calls of the model so far."""
    images = calls = 0.0
    for url in urls:
        for line in httpx.get(f"{url}/metrics").text.splitlines():
            images += float(line.split()[1]) if line.startswith("face_batch_size_sum") else 0
            calls += float(line.split()[1]) if line.startswith("face_batch_size_count") else 0
    return images, calls


async def closed(url: str, clients: int, seconds: float, bodies: list[bytes]) -> Seen:
    """Each client asks again when it has its answer."""
    seen, end = Seen(), time.monotonic() + seconds

    async def one(client: httpx.AsyncClient, number: int) -> None:
        while time.monotonic() < end:
            await ask(client, bodies[number % len(bodies)], seen)
            number += clients

    begun = time.monotonic()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        await asyncio.gather(*(one(client, number) for number in range(clients)))
    seen.seconds = time.monotonic() - begun
    return seen


async def opened(url: str, rate: float, seconds: float, bodies: list[bytes]) -> Seen:
    """Requests arrive at a rate, whatever comes back; exponential pauses."""
    seen, pauses = Seen(), np.random.default_rng(0).exponential(1 / rate, round(rate * seconds))
    begun = time.monotonic()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client, asyncio.TaskGroup() as group:
        for number, at in enumerate(np.cumsum(pauses)):
            await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
            group.create_task(ask(client, bodies[number % len(bodies)], seen))
    seen.seconds = time.monotonic() - begun
    return seen


async def ask(client: httpx.AsyncClient, body: bytes, seen: Seen) -> None:
    """One request."""
    begun = time.monotonic()
    try:
        code = (await client.post("/v1/faces", content=body)).status_code
    except httpx.TransportError:
        code = 0
    seen.add(code, time.monotonic() - begun)


def analyzer_alone(seconds: float, bodies: list[bytes]) -> float:
    """Images a second of Analyzer.analyze on batches of 16, without decoding."""
    code = """
import json, sys, time
from service.config import Settings
from service.images import decode
from service.analysis import load_analyzer
analyzer = load_analyzer(Settings())
bodies = [bytes.fromhex(line) for line in json.load(sys.stdin)]
images = [decode(body) for body in bodies] * (16 // len(bodies) or 1)
analyzer.analyze(images)
begun = time.monotonic(); done = 0
while time.monotonic() < begun + float(sys.argv[1]):
    analyzer.analyze(images); done += len(images)
print(done / (time.monotonic() - begun))
"""
    sent = json.dumps([body.hex() for body in bodies])
    words = [sys.executable, "-c", code, str(seconds)]
    return float(subprocess.run(words, cwd=ROOT, input=sent, capture_output=True, text=True, check=True).stdout)


def run_closed(arguments: argparse.Namespace) -> None:
    """Closed loop over clients and ways to run."""
    bodies = photos()
    alone, best = analyzer_alone(arguments.seconds, bodies), dict[int, float]()
    print(f"Analyzer alone, batches of 16: {alone:.2f} images/s", flush=True)
    for workers in arguments.workers:
        with service(workers, idle=False, FACE_TIMEOUT="120") as (url, metrics):
            for clients in arguments.clients:
                images, calls = batch_size(metrics)
                seen = asyncio.run(closed(url, clients, arguments.seconds, bodies))
                more, most = batch_size(metrics)
                best[workers] = max(best.get(workers, 0), seen.codes[200] / seen.seconds)
                size = (more - images) / max(1, most - calls)
                print(f"{name(workers):18} {clients:4} clients {seen.row()}  batch {size:.1f}", flush=True)
    again = analyzer_alone(arguments.seconds, bodies)
    mean = statistics.mean((alone, again))
    print(f"Analyzer alone, again: {again:.2f} images/s")
    for workers, rate in best.items():
        print(f"{name(workers):18} at best {rate:.2f} images/s, {100 * rate / mean:.0f} % of Analyzer alone")


def run_open(arguments: argparse.Namespace) -> None:
    """Open loop around what one worker carries."""
    bodies = photos()
    for workers in arguments.workers:
        with service(workers, idle=False, FACE_QUEUE_SIZE=str(arguments.queue)) as (url, _):
            warm = asyncio.run(closed(url, arguments.queue // 2, arguments.seconds, bodies))
            capacity = warm.codes[200] / warm.seconds
            tails = []
            for times in (0.5, 1.0, 3.0):
                seen = asyncio.run(opened(url, times * capacity, arguments.seconds, bodies))
                tails.append(np.percentile(seen.answered, 99))
                print(f"{name(workers):18} {times:3.1f} x capacity ({capacity:.1f}/s) {seen.row()}", flush=True)
            print(f"{name(workers):18} accepted p99 at 3x is {tails[2] / tails[1]:.2f} of that at 1x")


def run_overhead(arguments: argparse.Namespace) -> None:
    """One client, a device that does nothing: decoding is part of it and is shown."""
    body = big_photo()
    with service(1, idle=True) as (url, metrics):
        asyncio.run(closed(url, 1, 2, [body]))
        before = cpu_seconds(os.getpid())
        seen = asyncio.run(closed(url, 1, arguments.seconds, [body]))
        stages = {
            line.split('"')[1]: float(line.split()[1])
            for line in httpx.get(f"{metrics[1]}/metrics").text.splitlines()
            if line.startswith("face_stage_duration_seconds_sum")
        }
        after = cpu_seconds(os.getpid())
        each = {what: 1000 * (after[what] - before.get(what, 0)) / seen.codes[200] for what in after}
        print("processor ms a request: " + ", ".join(f"{what} {ms:.2f}" for what, ms in each.items()))
        count = seen.codes[200]
        print(f"device that does nothing, {len(body):,} bytes: {seen.row()}")
        print(
            "mean ms by stage: " + ", ".join(f"{stage} {1000 * value / count:.2f}" for stage, value in stages.items())
        )
        many = asyncio.run(closed(url, 32, arguments.seconds, [body]))
        print(f"the same with 32 clients: {many.row()}")


def name(workers: int) -> str:
    """Of a way to run."""
    return f"Redis, {workers} worker{'s' * (workers > 1)}" if workers else "one process"


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("closed", "open", "overhead"))
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--workers", type=int, nargs="+", default=(0, 1, 2), help="0: everything in one process")
    parser.add_argument("--queue", type=int, default=32, help="open: images the queue holds")
    arguments = parser.parse_args()
    {"closed": run_closed, "open": run_open, "overhead": run_overhead}[arguments.kind](arguments)


if __name__ == "__main__":
    main()
