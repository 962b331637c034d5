"""The service as it is run, in processes of its own, and what it says and costs."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from tests.ports import free_port
from tests.service.queue.processes import redis_server

ROOT = Path(__file__).parents[2]


@contextmanager
def service(workers: int, idle: bool, **env: str) -> Iterator[tuple[str, list[str]]]:
    """The API's URL and the URLs with metrics; workers 0 is everything in one process."""
    with ExitStack() as stack:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        env = {"FACE_PORT": str(port), "FACE_LOG_LEVEL": "warning"} | env
        what = ("-m", "tests.bench.idle") if idle else ("-m", "service")
        metrics = [url]
        if workers:
            env["FACE_REDIS_URL"] = stack.enter_context(redis_server()).url
            stack.enter_context(_started(sys.executable, "-m", "service", "api", **env))
            threads = str(max(1, (os.cpu_count() or 1) // workers))
            for _ in range(workers):
                metrics.append(f"http://127.0.0.1:{free_port()}")
                there = {"FACE_METRICS_PORT": metrics[-1].rpartition(":")[2], "OMP_NUM_THREADS": threads}
                stack.enter_context(_started(sys.executable, *what, "worker", **env | there))
        else:
            stack.enter_context(_started(sys.executable, *what, "serve", **env | all_cores()))
        for place in metrics:
            _wait_ready(place)
        yield url, metrics


def all_cores() -> dict[str, str]:
    """The environment in which the model takes all of them, whatever this process is to take."""
    return {"OMP_NUM_THREADS": str(os.cpu_count() or 1)}


def cpu_seconds() -> dict[str, float]:
    """Processor time of this process's children so far, by what they run."""
    spent: dict[str, float] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                words = (stat.parent / "cmdline").read_text().split("\0")
                what = "redis" if "redis" in words[0] else next(w for w in words if w in ("api", "serve", "worker"))
                tasks = [task.read_text().split()[0] for task in stat.parent.glob("task/*/schedstat")]
                spent[what] = spent.get(what, 0) + sum(map(int, tasks)) / 1e9
    return spent


def figures(urls: list[str], name: str) -> dict[str, float]:
    """A metric summed over these processes, by its labels as they are written."""
    found: dict[str, float] = {}
    for url in urls:
        for line in httpx.get(f"{url}/metrics").text.splitlines():
            key, _, value = line.rpartition(" ")
            if key.partition("{")[0] == name:
                labels = key.partition("{")[2].rstrip("}")
                found[labels] = found.get(labels, 0) + float(value)
    return found


def stages(urls: list[str]) -> dict[str, float]:
    """Seconds so far by the worker's stage."""
    found = figures(urls, "face_stage_duration_seconds_sum")
    return {labels.split('"')[1]: seconds for labels, seconds in found.items()}


@contextmanager
def _started(*words: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(words, cwd=ROOT, env={**os.environ, **env}, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def _wait_ready(url: str) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit(f"{url} never ready")
