"""The worker's first stage: admits photos by their pixels and decodes them in a few threads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue

from model.structures import Faces
from service import images
from service.config import Settings
from service.errors import AnalysisFailed, DeadlineExceeded, ServiceError
from service.ops.metrics import Metrics
from service.wire import AnalysisRequest, VideoFrame
from service.worker.batching import Gate
from service.worker.isolation import IsolatedDecoder, is_suspicious

SMALL_PIXELS = 500_000
"""Photos of fewer pixels are decoded by the thread that claims them: handing them to another costs more."""

log = logging.getLogger(__name__)


@dataclass
class InFlight:
    """A request on its way through the worker, with what the stages made of it so far."""

    request: AnalysisRequest
    image: images.Pixels | None = None
    frames: list[VideoFrame] | None = None
    faces: Faces | None = None
    error: ServiceError | None = None
    ready: float = 0.0  # time.monotonic() when decoded
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def pixels(self) -> int:
        """Return the pixels that the photo's header announces, the same before and after decoding."""
        return self.request.pixels

    def is_late(self) -> bool:
        """Return whether the deadline has passed, or anything else went wrong; keep it as the error."""
        if time.monotonic() > self.request.deadline:
            self.error = DeadlineExceeded()
        return self.error is not None


def attempt(tasks: Sequence[InFlight], step: Callable[[], None]) -> ServiceError | None:
    """Do one step for these requests; return what it raised as an answer for their callers."""
    try:
        step()
    except ServiceError as error:
        return error
    except Exception:
        request_ids = sorted({task.request.request_id for task in tasks})
        log.exception("a step of the analysis failed", extra={"images": len(tasks), "request_ids": request_ids})
        return AnalysisFailed()
    return None


class Decoder:
    """Decodes requests into the queue `decoded`; the gate bounds how many photos and pixels are held at once."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.decoded: SimpleQueue[InFlight | None] = SimpleQueue()
        self.gate = Gate(2 * settings.batch_images, 2 * settings.batch_pixels)
        self._metrics = metrics
        self._isolated = IsolatedDecoder(settings.max_decoded)
        self._videos = IsolatedDecoder(settings.max_decoded)  # of their own: photos need not wait for them
        self._pool = ThreadPoolExecutor(settings.decode_threads, "decode")
        self._video_pool = ThreadPoolExecutor(1, "video")  # a long video must not keep photos waiting
        self._grace = settings.shutdown_grace
        self._under_way = 0
        self._lock = threading.Lock()

    @property
    def busy(self) -> bool:
        """Return whether photos or videos are being decoded."""
        return self._under_way > 0

    def admit(self, request: AnalysisRequest, single: bool) -> None:
        """Wait for room, then decode: a small `single` photo that finds nothing inside here and now.

        One that was delivered before goes alone: it may be what the last worker died on.
        """
        is_redelivered = request.attempt > 1
        self._metrics.redelivered.inc(is_redelivered)
        inside = self.gate.enter(request.pixels, alone=is_redelivered)
        with self._lock:
            self._under_way += 1
        if request.options.video is not None:
            self._video_pool.submit(self._decode, InFlight(request))
        elif single and inside == 1 and request.pixels <= SMALL_PIXELS:
            self._decode(InFlight(request))
        else:
            self._pool.submit(self._decode, InFlight(request))

    def close(self) -> None:
        """Finish what is being decoded and put the end mark into the queue.

        A video that takes longer than half of the grace is left to another worker.
        """
        interruption = threading.Timer(self._grace / 2, self._videos.interrupt)
        interruption.start()
        self._pool.shutdown(wait=True)
        self._video_pool.shutdown(wait=True)
        interruption.cancel()
        self._isolated.close()
        self._videos.close()
        self.decoded.put(None)

    def _decode(self, task: InFlight) -> None:
        started = time.monotonic()
        task.timings["queue_wait"] = started - task.request.submitted
        if not task.is_late():
            task.error = attempt([task], lambda: self._decode_into(task))
        task.ready = time.monotonic()
        task.timings["decode"] = task.ready - started
        with self._lock:
            self._under_way -= 1
        self.decoded.put(task)

    def _decode_into(self, task: InFlight) -> None:
        request = task.request
        limits = request.options.video
        if limits is not None:
            task.frames = self._videos.sample_frames(request.image, request.header, limits, request.deadline)
        elif is_suspicious(request.header):
            task.image = self._isolated.decode(request.image, request.header, request.deadline)
        else:
            task.image = images.decode(request.image, request.header)
