"""What queue_simulation.py --check measures: Redis, an API and one worker on this machine, asked by 1 to 32 clients."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = (1, 2, 4, 8, 16, 32)
COUNTERS = {
    "images": "face_batch_size_sum",
    "batches": "face_batch_size_count",
    "device": "face_device_busy_seconds_total",
    "decode": 'face_stage_duration_seconds_sum{stage="decode"}',
    "decoded": 'face_stage_duration_seconds_count{stage="decode"}',
}


@dataclass(frozen=True)
class Load:
    """One closed loop; times in seconds, of the worker's own metrics."""

    clients: int
    seconds: float
    latencies: list[float]  # of what was answered, sorted
    failed: int
    batch: float  # mean size
    device: float  # mean of a batch
    decode: float  # mean of an image
    others: float  # share of all cores that other processes took

    @property
    def throughput(self) -> float:
        """Images a second."""
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """Of the latencies."""
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


@contextmanager
def started(threads: int) -> Iterator[tuple[str, str, list[int]]]:
    """Redis, an API and one worker on ports of this machine: the API's URL, the worker's, the processes."""
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
        env |= {"FACE_DATA_DIR": folder}
        processes = [
            subprocess.Popen(c, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for c in commands
        ]
        try:
            api, worker = (f"http://127.0.0.1:{port}" for port in ports[1:])
            end = time.monotonic() + 180
            while True:
                try:
                    urllib.request.urlopen(f"{api}/readyz", timeout=5).close()
                    break
                except OSError as error:
                    if time.monotonic() > end or any(process.poll() is not None for process in processes):
                        raise SystemExit(f"the service does not start: {error}") from error
                    time.sleep(0.3)
            yield api, worker, [process.pid for process in processes]
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()


def ask(api: str, photo: bytes, clients: int, seconds: float) -> tuple[list[float], int]:
    """Closed loop for that time: latencies of what was answered, sorted, and how many were not."""
    found: list[float] = []
    failed: list[str] = []
    end = time.monotonic() + seconds

    def work() -> None:
        while time.monotonic() < end:
            begun = time.monotonic()
            try:
                urllib.request.urlopen(urllib.request.Request(f"{api}/v1/faces", photo), timeout=120).read()
                found.append(time.monotonic() - begun)
            except OSError as error:
                failed.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found), len(failed)


def counters(worker: str) -> dict[str, float]:
    """So far."""
    text = urllib.request.urlopen(f"{worker}/metrics", timeout=10).read().decode()
    return {
        name: float(re.search(rf"^{re.escape(series)} (\S+)", text, re.MULTILINE)[1])  # type: ignore[index]
        for name, series in COUNTERS.items()
    }


def processor_seconds(processes: list[int]) -> tuple[float, float]:
    """Of all processes of this machine, and of these and this one."""
    tick = os.sysconf("SC_CLK_TCK")
    user, nice, system, _, _, *interrupts = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    own = 0
    for process in (os.getpid(), *processes):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        own += int(fields[11]) + int(fields[12])
    return (user + nice + system + sum(interrupts)) / tick, own / tick


def measure(photo: bytes, seconds: float, threads: int) -> list[Load]:
    """Each number of clients for so many seconds."""
    loads = []
    with started(threads) as (api, worker, processes):
        ask(api, photo, 2, 3)
        for clients in CLIENTS:
            before, busy, begun = counters(worker), processor_seconds(processes), time.monotonic()
            latencies, failed = ask(api, photo, clients, seconds)
            span = time.monotonic() - begun
            after, busy_after = counters(worker), processor_seconds(processes)
            grown = {name: after[name] - before[name] for name in before}
            if not latencies:
                raise SystemExit(f"none of {failed} photos was answered to {clients} clients")
            others = (busy_after[0] - busy[0]) - (busy_after[1] - busy[1])
            loads.append(
                Load(
                    clients, span, latencies, failed,
                    grown["images"] / grown["batches"], grown["device"] / grown["batches"],
                    grown["decode"] / grown["decoded"], max(0.0, others) / (span * len(os.sched_getaffinity(0))),
                )
            )  # fmt: skip
    return loads
