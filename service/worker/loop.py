"""From the queue through the model and back; one Worker a device.

    thread `worker`    claim ─→ gate ─→ submit
    threads `decode`            └→ photo to pixels ─→ [decoded]
    thread `device`                                     └→ batches ─→ Analyzer ─→ submit
    thread `post`                                                               └→ results ─→ finish, leave the gate

Only [decoded] is a queue; the gate bounds what it holds. `decode` and `post` are thread pools, whose work is done by
the thread that asks where handing it over would cost more.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from model.runtime.limits import Limits
from model.runtime.pipeline import Analyzer
from service.config import Settings
from service.errors import DeadlineExceeded
from service.ops.metrics import Metrics
from service.ops.tracing import open_tracing
from service.queue import Consumer
from service.wire import Analysis, AnalysisFailure, AnalysisOutcome, AnalysisResult, WorkerInfo
from service.worker.batching import arrivals, batches
from service.worker.decoding import Decoder, InFlight, attempt
from service.worker.results import analysis_of, limits, load_identity, model_card, with_quality, with_templates

NETWORK_STAGES = ("detect", "align", "attributes")
"""The Analyzer's stages that the metrics call `network`."""
SWITCH_SECONDS = 0.0005
"""Python's interval between switches of threads, a tenth of its own: with that, a device that does nothing reaches
half of a full load's throughput."""

log = logging.getLogger(__name__)


@contextmanager
def running(worker: Worker, grace: float, on_end: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Run the worker in a thread of its own; at the end it has `grace` seconds to finish what it holds.

    The process' threads switch sooner from now on: the device waits for the interpreter after each call that let go.
    """
    sys.setswitchinterval(SWITCH_SECONDS)

    def work() -> None:
        try:
            worker.run()
        finally:
            on_end()

    thread = threading.Thread(target=work, name="worker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(grace)


class Worker:
    """Claims requests until told to stop, then finishes what it holds.

    `failed` says that it ended without being told to.
    """

    def __init__(self, queue: Consumer, analyzer: Analyzer, settings: Settings, metrics: Metrics) -> None:
        self._queue = queue
        self._analyzer = analyzer
        self._settings = settings
        self._metrics = metrics
        self._identity = load_identity(analyzer, settings)
        self._tracing = open_tracing(settings.otlp_endpoint, "allinone-face-worker")
        self._decoder = Decoder(settings, metrics)
        self._warm = threading.Event()
        self._stopping = threading.Event()
        self._ended = False
        self.failed = False

    def stop(self) -> None:
        """Claim nothing more; run() returns when all that is held is finished."""
        self._stopping.set()

    @property
    def ready(self) -> bool:
        """Return whether the worker is warm and claims requests."""
        return self._warm.is_set() and not self._stopping.is_set() and not self._ended

    def run(self) -> None:
        """Work until stop() is called. Raises RuntimeError when the device's thread dies."""
        device = threading.Thread(target=self._run_device, name="device", daemon=True)
        device.start()
        while device.is_alive() and not self._warm.wait(0.1):
            pass
        if device.is_alive():
            self._announce()
        try:
            while not self._stopping.is_set() and device.is_alive():
                requests = self._queue.claim(self._decoder.gate.room(), 0.25)
                for request in requests:
                    self._decoder.admit(request, single=len(requests) == 1)
        finally:
            self.failed = not self._stopping.is_set()
            self._queue.leave()
            self._decoder.close()
            device.join()
            self._ended = True
            if self._tracing:
                self._tracing.close()
        if self.failed:
            raise RuntimeError("the device's thread ended by itself")
        log.info("worker drained")

    def _announce(self) -> None:
        info = self._analyzer.info
        worker = WorkerInfo(
            id=uuid.uuid4().hex,
            model=self._analyzer.digest,
            device=info["device"],
            dtype=info["dtype"],
            engine=info["engine"],
            proposals=info["proposals"],
        )
        card = model_card(self._analyzer, self._identity)
        self._queue.announce(worker, card)
        self._metrics.describe(card, worker)
        log.info("worker ready", extra={"model": self._analyzer.digest})

    def _run_device(self) -> None:
        """Warm up, then analyze until told to stop; the device's thread runs this."""
        try:
            self._warm_up()
            self._analyze_forever()
        finally:
            self._decoder.gate.close()

    def _warm_up(self) -> None:
        """Call the model with each size of batch that a GPU compiles and allocates for; once on a CPU."""
        started = time.monotonic()
        largest = self._settings.batch_images if self._settings.device.startswith("cuda") else 1
        noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        size = 1
        while size < 2 * largest:
            self._analyzer.analyze([noise] * min(size, largest), Limits(min_score=0.0))
            size *= 2
        self._warm.set()
        log.info("worker warm", extra={"seconds": round(time.monotonic() - started, 2)})

    def _analyze_forever(self) -> None:
        decoded = self._decoder.decoded
        linger = self._settings.batch_linger
        stream = arrivals(decoded, linger, lambda: self._decoder.busy, self._analyzer.release_memory)
        with ThreadPoolExecutor(1, "post") as post:
            for batch in batches(stream, self._settings.batch_images, self._settings.batch_pixels):
                cancelled = self._queue.cancelled([task.request.id for task in batch])
                to_analyze = [
                    task
                    for task in batch
                    if task.request.id not in cancelled and not task.is_late() and task.frames is None
                ]
                if to_analyze:
                    self._analyze(to_analyze)
                if self._decoder.busy or not decoded.empty():
                    post.submit(self._finish, batch)  # beside the device, which has more to do
                else:
                    self._finish(batch)

    def _analyze(self, tasks: Sequence[InFlight]) -> None:
        """Call the model once; if that fails, once for each half, so that one bad photo harms no other."""
        started = time.monotonic()
        timings: dict[str, float] = {}
        error = attempt(tasks, lambda: self._call_model(tasks, timings))
        if error and len(tasks) > 1:
            half = len(tasks) // 2
            self._analyze(tasks[:half])
            self._analyze(tasks[half:])
            return
        self._metrics.device_busy.inc(time.monotonic() - started)
        self._metrics.batch_size.observe(len(tasks))
        self._metrics.stages.labels("propose").observe(timings.get("propose", 0.0))
        self._metrics.stages.labels("network").observe(sum(timings.get(name, 0.0) for name in NETWORK_STAGES))
        for task in tasks:
            task.error = error
            task.timings |= timings | {"batch_wait": started - task.ready}

    def _call_model(self, tasks: Sequence[InFlight], timings: dict[str, float]) -> None:
        pixels = [task.image for task in tasks if task.image is not None]
        results = self._analyzer.analyze(pixels, [limits(task.request.options) for task in tasks], timings)
        for task, faces in zip(tasks, results, strict=True):
            task.faces = faces

    def _finish(self, batch: Sequence[InFlight]) -> None:
        started = time.monotonic()
        try:
            self._queue.finish([self._outcome(task) for task in batch])
        finally:
            for task in batch:
                task.image = None  # what leaves the gate is free, whoever still holds the task
                self._decoder.gate.leave(task.pixels)
        for task in batch:
            for stage in ("queue_wait", "decode", "batch_wait"):
                if stage in task.timings:
                    self._metrics.stages.labels(stage).observe(task.timings[stage])
        self._metrics.stages.labels("post").observe(time.monotonic() - started)
        self._trace(batch)
        request_ids = sorted({task.request.request_id for task in batch})
        log.info("batch done", extra={"images": len(batch), "request_ids": request_ids})

    def _trace(self, batch: Sequence[InFlight]) -> None:
        for task in batch:
            if self._tracing and task.request.trace:
                stages: dict[str, str | int | float] = {
                    f"face.{stage}_seconds": seconds for stage, seconds in task.timings.items()
                }
                stages |= {"request_id": task.request.request_id, "face.batch_images": len(batch)}
                seconds = time.monotonic() - task.request.submitted
                self._tracing.record("analyze", task.request.trace, seconds, stages)

    def _outcome(self, task: InFlight) -> AnalysisOutcome:
        if task.error is None and task.frames is not None:
            no_faces = Analysis(0, 0, [])
            return AnalysisResult(task.request.id, self._analyzer.digest, no_faces, task.timings, task.frames)
        analyses: list[Analysis] = []
        if task.error is None and task.faces is not None:
            task.error = attempt([task], lambda: analyses.append(self._analysis(task)))
        request_id = task.request.id
        if analyses:
            self._metrics.images.inc()
            self._metrics.faces.inc(len(analyses[0].faces))
            return AnalysisResult(request_id, self._analyzer.digest, analyses[0], task.timings)
        error = task.error or DeadlineExceeded("nobody waits for this photo any more")
        self._metrics.rejected.labels(error.code).inc()
        return AnalysisFailure(request_id, self._analyzer.digest, error.code, error.detail, task.timings)

    def _analysis(self, task: InFlight) -> Analysis:
        """Return the faces of a photo, with quality and vectors where the API asked for them."""
        assert task.image is not None
        assert task.faces is not None
        height, width = task.image.shape[:2]
        analysis = analysis_of(task.faces, width, height, task.request.options, self._analyzer.age_ranges)
        if task.request.options.template:
            return with_templates(analysis, task.faces, task.image, self._identity)
        return with_quality(analysis, task.faces, task.image) if task.request.options.quality else analysis
