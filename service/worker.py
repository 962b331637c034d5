"""From the queue through the model and back; one Worker a device.

claim → [gate] → decode (threads) → [queue] → Analyzer (one thread) → wire, finish (one thread)
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
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np

from model.pipeline import Analyzer, Limits
from model.structures import Faces
from service import images
from service.analysis import limits, load_identity, wire, with_template
from service.batching import Gate, arrivals, batches
from service.broker import Job, Result, WorkerInfo, WorkerSide
from service.config import Settings
from service.errors import AnalysisFailed, DeadlineExceeded, ServiceError
from service.metrics import Metrics
from service.schemas import JobOptions
from service.tracing import open_tracing

NETWORK = ("detect", "align", "attributes")  # the Analyzer's stages that the metrics call `network`
SMALL = 500_000
"""Pixels that are decoded in less time than it takes two threads to find out who does it."""

SWITCH = 0.0005
"""Seconds, a tenth of Python's own: half of a full load's throughput with a device that does nothing."""

log = logging.getLogger(__name__)


@contextmanager
def running(worker: Worker, grace: float, on_end: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Let the worker work in a thread of its own; at the end it has `grace` seconds to finish what it holds.

    The process' threads change sooner from now on: its device waits for the interpreter after each call that let go.
    """
    sys.setswitchinterval(SWITCH)

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


@dataclass
class Task:
    """A job on its way through the worker."""

    job: Job
    image: images.Pixels | None = None
    faces: Faces | None = None
    error: ServiceError | None = None
    ready: float = 0.0  # time.monotonic() when decoded
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def pixels(self) -> int:
        """Of the image's header, the same before and after decoding."""
        return self.job.pixels


class Worker:
    """Claims jobs until told to stop, then finishes what it holds."""

    def __init__(self, broker: WorkerSide, analyzer: Analyzer, settings: Settings, metrics: Metrics) -> None:
        self._broker, self._analyzer, self._settings, self._metrics = broker, analyzer, settings, metrics
        self._identity = load_identity(analyzer, settings)
        self._tracing = open_tracing(settings.otlp_endpoint, "allinone-face-worker")
        self._gate = Gate(2 * settings.batch_images, 2 * settings.batch_pixels)
        self._decoded: SimpleQueue[Task | None] = SimpleQueue()
        self._decoding = 0
        self._lock = threading.Lock()
        self._warm, self._stopping, self._ended = threading.Event(), threading.Event(), False

    def stop(self) -> None:
        """Claim nothing more; run() returns when all that is held is finished."""
        self._stopping.set()

    @property
    def ready(self) -> bool:
        """Whether it is warm and claims jobs."""
        return self._warm.is_set() and not self._stopping.is_set() and not self._ended

    @property
    def failed(self) -> bool:
        """Whether run() ended without being told to."""
        return self._ended and not self._stopping.is_set()

    def run(self) -> None:
        """Work until stop() is called. Raises RuntimeError when the device thread dies."""
        device = threading.Thread(target=self._drive, name="device", daemon=True)
        device.start()
        while device.is_alive() and not self._warm.wait(0.1):
            pass
        info = self._analyzer.info | {"identity": self._identity.described()}
        if device.is_alive():
            self._broker.announce(WorkerInfo(uuid.uuid4().hex, self._analyzer.digest, info))
            log.info("worker ready", extra={"model": self._analyzer.digest})
        with ThreadPoolExecutor(self._settings.decode_threads, "decode") as pool:
            while not self._stopping.is_set() and device.is_alive():
                jobs = self._broker.claim(self._gate.room(), 0.25)
                for job in jobs:
                    self._admit(job, pool, len(jobs) == 1)
            self._broker.leave()
        self._decoded.put(None)
        device.join()
        self._ended = True
        if self._tracing:
            self._tracing.close()
        if self.failed:
            raise RuntimeError("the device thread ended by itself")
        log.info("worker drained")

    def _admit(self, job: Job, pool: ThreadPoolExecutor, single: bool) -> None:
        """One that was delivered before goes alone: it may be what the last worker died on.

        A small single one that finds nothing inside is decoded here and now.
        """
        again = job.attempt > 1
        self._metrics.redelivered.inc(again)
        inside = self._gate.enter(job.pixels, alone=again)
        with self._lock:
            self._decoding += 1
        if single and inside == 1 and job.pixels <= SMALL:
            self._decode(Task(job))
        else:
            pool.submit(self._decode, Task(job))

    def _decode(self, task: Task) -> None:
        started = time.monotonic()
        task.timings["queue_wait"] = started - task.job.submitted
        if not self._is_late(task):
            task.error = self._attempt([task], lambda: setattr(task, "image", images.decode(task.job.image)))
        task.ready = time.monotonic()
        task.timings["decode"] = task.ready - started
        with self._lock:
            self._decoding -= 1
        self._decoded.put(task)

    def _attempt(self, tasks: Sequence[Task], step: Callable[[], None]) -> ServiceError | None:
        """Do one step for these tasks; what it raised, as an answer for the caller."""
        try:
            step()
        except ServiceError as error:
            return error
        except Exception:
            requests = sorted({task.job.request_id for task in tasks})
            log.exception("a step of the analysis failed", extra={"images": len(tasks), "request_ids": requests})
            return AnalysisFailed()
        return None

    def _is_late(self, task: Task) -> bool:
        if time.monotonic() > task.job.deadline:
            task.error = DeadlineExceeded()
        return task.error is not None

    def _drive(self) -> None:
        """The device's thread: warm up, then analyse until told to stop."""
        try:
            self._warm_up()
            self._analyze_forever()
        finally:
            self._gate.close()

    def _warm_up(self) -> None:
        """One call for each size of batch that a GPU compiles and allocates for; one for a CPU."""
        started = time.monotonic()
        size, most = 1, self._settings.batch_images if self._settings.device.startswith("cuda") else 1
        noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        while size < 2 * most:
            self._analyzer.analyze([noise] * min(size, most), Limits(min_score=0.0))
            size *= 2
        self._warm.set()
        log.info("worker warm", extra={"seconds": round(time.monotonic() - started, 2)})

    def _analyze_forever(self) -> None:
        stream = arrivals(self._decoded, self._settings.batch_linger, lambda: self._decoding > 0)
        with ThreadPoolExecutor(1, "post") as post:
            for batch in batches(stream, self._settings.batch_images, self._settings.batch_pixels):
                gone = self._broker.cancelled([task.job.id for task in batch])
                wanted = [task for task in batch if task.job.id not in gone and not self._is_late(task)]
                if wanted:
                    self._analyze(wanted)
                if self._decoding or not self._decoded.empty():
                    post.submit(self._finish, batch)
                else:
                    self._finish(batch)

    def _analyze(self, tasks: Sequence[Task]) -> None:
        """One call of the model; if it fails, its halves, so that one bad image harms no other."""
        started = time.monotonic()
        timings: dict[str, float] = {}
        error = self._attempt(tasks, lambda: self._call_model(tasks, timings))
        if error and len(tasks) > 1:
            half = len(tasks) // 2
            self._analyze(tasks[:half])
            self._analyze(tasks[half:])
            return
        self._metrics.device_busy.inc(time.monotonic() - started)
        self._metrics.batch_size.observe(len(tasks))
        self._metrics.stages.labels("propose").observe(timings.get("propose", 0.0))
        self._metrics.stages.labels("network").observe(sum(timings.get(name, 0.0) for name in NETWORK))
        for task in tasks:
            task.error = error
            task.timings |= timings | {"batch_wait": started - task.ready}

    def _call_model(self, tasks: Sequence[Task], timings: dict[str, float]) -> None:
        pixels = [task.image for task in tasks if task.image is not None]
        found = self._analyzer.analyze(pixels, [limits(task.job.options) for task in tasks], timings)
        for task, faces in zip(tasks, found, strict=True):
            task.faces = faces

    def _finish(self, batch: Sequence[Task]) -> None:
        """Beside the device when there is more for it to do."""
        started = time.monotonic()
        try:
            self._broker.finish([self._result(task) for task in batch])
        finally:
            for task in batch:
                task.image = None  # the gate's word for its memory, whoever still holds the task
                self._gate.leave(task.pixels)
        for task in batch:
            for stage in ("queue_wait", "decode", "batch_wait"):
                if stage in task.timings:
                    self._metrics.stages.labels(stage).observe(task.timings[stage])
        self._metrics.stages.labels("post").observe(time.monotonic() - started)
        self._trace(batch)
        requests = sorted({task.job.request_id for task in batch})
        log.info("batch done", extra={"images": len(batch), "request_ids": requests})

    def _trace(self, batch: Sequence[Task]) -> None:
        for task in batch:
            if self._tracing and task.job.trace:
                stages: dict[str, str | int | float] = {
                    f"face.{stage}_seconds": seconds for stage, seconds in task.timings.items()
                }
                stages |= {"request_id": task.job.request_id, "face.batch_images": len(batch)}
                self._tracing.record("analyse", task.job.trace, time.monotonic() - task.job.submitted, stages)

    def _result(self, task: Task) -> Result:
        analysis: dict[str, Any] = {}
        if task.error is None and task.faces is not None and task.image is not None:
            faces, image = task.faces, task.image
            task.error = self._attempt([task], lambda: analysis.update(self._wired(faces, image, task.job.options)))
        if analysis:
            self._metrics.images.inc()
            self._metrics.faces.inc(len(analysis["faces"]))
            return Result(task.job.id, self._analyzer.digest, analysis, timings=task.timings)
        error = task.error or DeadlineExceeded("nobody waits for this image any more")
        self._metrics.rejected.labels(error.code).inc()
        return Result(task.job.id, self._analyzer.digest, code=error.code, detail=error.detail, timings=task.timings)

    def _wired(self, faces: Faces, image: images.Pixels, options: JobOptions) -> dict[str, Any]:
        """What wire() makes of them; with quality and vectors where the API asked for templates."""
        analysis = wire(faces, image.shape[1], image.shape[0], options)
        return with_template(analysis, faces, image, self._identity) if options.template else analysis
