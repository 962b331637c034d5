"""Load on the whole service: HTTP, broker, workers, with real photos or with a device that does nothing.

    python -m tests.bench.load closed    1, 8, 32, 128 clients in a closed loop: one process, Redis with 1 and 2 workers
    python -m tests.bench.load open      arrivals at 0.5, 1 and 3 times what a closed loop carried: what is refused, p99
    python -m tests.bench.load overhead  a device that does nothing and a photo of 100 kB: what the queue costs

closed ends with the share of what Analyzer alone reaches on the same cores with the same photos, in the same run. The
arrivals of open at capacity and beyond begin with as many as the queue holds: from an empty one, arrivals at just the
capacity take minutes to show their tail. Each bar is printed with its verdict; closed and open take some 5 minutes.
"""

import argparse
import base64
import json
import os
import statistics
import subprocess
import sys
from contextlib import suppress

import cv2
import numpy as np
import skimage.data
import sklearn.datasets
import uvloop

from model.datasets import data_dir
from service.crypto.vault import KEY_BYTES
from tests.bench.asking import Seen, closed, opened
from tests.bench.running import ROOT, all_cores, cpu_seconds, figures, service, stages

CLIENTS = (1, 8, 32, 128)
LONGEST = 640
SHARE, TAIL, OVERHEAD = 0.85, 1.5, 3.0
"""The bars: of Analyzer alone; p99 beyond capacity over that at capacity; milliseconds, p50, whole."""


def photos() -> list[bytes]:
    """JPEGs of at most 640 pixels: scikit-image's and scikit-learn's photos, and some of data sets where these are."""
    astronaut = skimage.data.astronaut()
    scenes = [*sklearn.datasets.load_sample_images().images, skimage.data.coffee(), skimage.data.chelsea()]
    images = [image[:, :, ::-1] for image in (astronaut, astronaut[20:420, 60:460], *scenes)]
    for name in ("helen", "celeba_wild"):
        with suppress(FileNotFoundError):
            files = sorted(path for path in data_dir(name).rglob("*") if path.suffix in (".jpg", ".png", ".webp"))
            images += [cv2.imread(str(path)) for path in files[:: max(1, len(files) // 5)][:5]]
    return [_jpeg(image) for image in images]


def _jpeg(image: np.ndarray) -> bytes:
    scale = min(1, LONGEST / max(image.shape[:2]))
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])


def big_photo() -> bytes:
    """Noise as JPEG of about 100 kB: the slowest to decode for its size."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    for quality in range(60, 100):
        data = bytes(cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
        if len(data) >= 100_000:
            break
    return data


def analyzer_alone(seconds: float, bodies: list[bytes]) -> float:
    """Images a second of Analyzer.analyze on batches of 16, without decoding."""
    code = """
import json, sys, time
import cv2, numpy
from service.config import Settings
from service.worker.results import load_analyzer
analyzer = load_analyzer(Settings())
pixels = lambda line: numpy.frombuffer(bytes.fromhex(line), numpy.uint8)
images = [cv2.imdecode(pixels(line), cv2.IMREAD_COLOR_RGB) for line in json.load(sys.stdin)]
batch = lambda start: [images[(start + place) % len(images)] for place in range(16)]
analyzer.analyze(batch(0))
begun = time.monotonic(); done = 0
while time.monotonic() < begun + float(sys.argv[1]) or done % (16 * len(images)):
    analyzer.analyze(batch(done)); done += 16
    if time.monotonic() > begun + 3 * float(sys.argv[1]): break
print(done / (time.monotonic() - begun))
"""
    sent = json.dumps([body.hex() for body in bodies])
    words = [sys.executable, "-c", code, str(seconds)]
    env = {**os.environ, **all_cores()}
    ended = subprocess.run(words, cwd=ROOT, env=env, input=sent, stdout=subprocess.PIPE, text=True, check=True)
    return float(ended.stdout)


def run_closed(arguments: argparse.Namespace) -> None:
    """Closed loop over clients and ways to run."""
    bodies = photos()
    print(f"{len(bodies)} photos, {sum(map(len, bodies)) // len(bodies):,} bytes each on average")
    alone, best = analyzer_alone(arguments.seconds, bodies), dict[int, float]()
    print(f"Analyzer alone, batches of 16: {alone:.2f} images/s", flush=True)
    for workers in arguments.workers:
        with service(workers, idle=False, FACE_TIMEOUT="120") as (url, metrics):
            for clients in arguments.clients:
                images, calls = batch_sizes(metrics)
                seen = uvloop.run(closed(url, clients, arguments.seconds, bodies))
                more, most = batch_sizes(metrics)
                best[workers] = max(best.get(workers, 0), seen.rate)
                size = (more - images) / max(1, most - calls)
                print(f"{name(workers):18} {clients:4} clients {seen.row()}  batch {size:.1f}", flush=True)
    again = analyzer_alone(arguments.seconds, bodies)
    mean = statistics.mean((alone, again))
    print(f"Analyzer alone, again: {again:.2f} images/s")
    for workers, rate in best.items():
        share = rate / mean
        text = f"{name(workers):18} at best {rate:.2f} images/s, {100 * share:.0f} % of Analyzer alone"
        print(f"{text}; bar {100 * SHARE:.0f} %: {verdict(share >= SHARE)}")


def batch_sizes(urls: list[str]) -> tuple[float, float]:
    """Images and calls of the model so far."""
    return tuple(sum(figures(urls, f"face_batch_size_{what}").values()) for what in ("sum", "count"))  # type: ignore[return-value]


def run_open(arguments: argparse.Namespace) -> None:
    """Open loop around what the service carries."""
    bodies = photos()
    for workers in arguments.workers:
        with service(workers, idle=False, FACE_QUEUE_SIZE=str(arguments.queue)) as (url, _):
            full = uvloop.run(closed(url, arguments.queue, arguments.seconds, bodies))
            print(f"{name(workers):18} as many clients as the queue holds, {arguments.queue}: {full.row()}", flush=True)
            tails, others = dict[float, Seen](), set[int]()
            for times in (0.5, 1.0, 3.0):
                at_once = arguments.queue if times >= 1 else 0
                seen = uvloop.run(opened(url, times * full.rate, arguments.seconds, bodies, at_once))
                tails[times] = seen
                others |= set(seen.codes) - {200, 429}
                print(f"{name(workers):18} {times:3.1f} x {full.rate:.1f}/s {seen.row()}", flush=True)
            ratio = tails[3.0].percentile(99) / tails[1.0].percentile(99)
            closed_ratio = tails[3.0].percentile(99) / full.percentile(99)
            text = f"{name(workers):18} accepted p99 at 3x is {ratio:.2f} of that at 1x"
            print(f"{text}; bar {TAIL}: {verdict(ratio <= TAIL)}")
            kinds = sorted(others) or "none"
            print(f"{'':18} and {closed_ratio:.2f} of that of the closed loop; refused otherwise than by 429: {kinds}")


def run_overhead(arguments: argparse.Namespace) -> None:
    """One client, a device that does nothing; decoding, which is needed without a queue too, is part and is shown."""
    body, medians = big_photo(), dict[str, float]()
    key = base64.b64encode(bytes(KEY_BYTES)).decode()
    for workers, env in ((0, {}), (1, {}), (1, {"FACE_QUEUE_KEY": key})):
        what = name(workers) + ", sealed" * bool(env)
        with service(workers, idle=True, **env) as (url, metrics):
            uvloop.run(closed(url, 1, 2, [body]))
            spent, before = cpu_seconds(), stages(metrics)
            seen = uvloop.run(closed(url, 1, arguments.seconds, [body]))
            each = lambda now, then: {k: 1000 * (now[k] - then.get(k, 0)) / seen.codes[200] for k in now}  # noqa: B023, E731
            cpu, stage = each(cpu_seconds(), spent), each(stages(metrics), before)
            medians[what] = seen.percentile(50)
            rest = medians[what] - stage["decode"]
            print(f"{what}, one client, device that does nothing, {len(body):,} bytes: {seen.row()}")
            print("  mean ms by stage: " + ", ".join(f"{where} {ms:.2f}" for where, ms in stage.items()))
            print("  processor ms a request: " + ", ".join(f"{where} {ms:.2f}" for where, ms in cpu.items()))
            print(f"  end to end {medians[what]:.2f} ms p50; without decoding ({stage['decode']:.2f}) {rest:.2f} ms")
            print(f"  32 clients: {uvloop.run(closed(url, 32, arguments.seconds, [body])).row()}", flush=True)
    alone, whole, sealed = medians.values()
    print(f"HTTP and Redis, end to end with decoding: {whole:.2f} ms p50; bar {OVERHEAD}: {verdict(whole <= OVERHEAD)}")
    print(f"of one process: {whole / alone:.2f} times; sealed: {sealed / whole:.2f} times of that")


def verdict(holds: bool) -> str:
    """In a word."""
    return "met" if holds else "MISSED"


def name(workers: int) -> str:
    """Of a way to run."""
    return f"Redis, {workers} worker{'s' * (workers > 1)}" if workers else "one process"


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("closed", "open", "overhead"))
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument(
        "--workers", type=int, nargs="+", help="0: everything in one process (closed: 0 1 2, open: 0 1)"
    )
    parser.add_argument("--queue", type=int, default=16, help="open: images the queue holds")
    arguments = parser.parse_args()
    arguments.workers = arguments.workers or ((0, 1) if arguments.kind == "open" else (0, 1, 2))
    {"closed": run_closed, "open": run_open, "overhead": run_overhead}[arguments.kind](arguments)


if __name__ == "__main__":
    main()
