"""A worker that ends without being told to says so, by its exit status too, so that it is started again."""

import asyncio
import threading
from pathlib import Path

import pytest
from typing_extensions import override

from model.runtime.pipeline import AnalyzerConfig
from service.config import Settings
from service.ops.metrics import Metrics
from service.queue.local import LocalQueue
from service.wire import AnalysisRequest
from service.worker.loop import Worker, running
from tests.service.queue.device import Device
from tests.service.queue.processes import Processes


@pytest.mark.slow
def test_a_process_whose_device_fails_at_the_start_has_failed(processes: Processes, weights: Path) -> None:
    broken = processes.worker(weights, FACE_TEST_SECONDS="the device takes no photo")
    assert broken.ended(60) == 1


def test_a_queue_that_fails_ends_the_worker_with_all_its_threads(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(LocalQueue):
        @override
        def claim(self, max_requests: int, wait: float) -> list[AnalysisRequest]:
            raise ValueError("something that no queue should say")

    queue = Failing(4, 1000)
    worker = Worker(queue, Device(AnalyzerConfig(weights=weights, engine="torch")), Settings(), Metrics())
    ended = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    before = set(threading.enumerate())
    with running(worker, 10, on_end=ended.set):
        assert ended.wait(10)
        assert worker.failed
    assert worker.failed, "also once it was told to stop"
    assert not asyncio.run(queue.workers())
    assert {thread.name for thread in set(threading.enumerate()) - before}.isdisjoint({"worker", "device"})
