"""What a job asks of the queue: one photo or video after the other, patiently, so that callers who wait go first."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid

from msgspec.structs import replace

from service.config import Settings
from service.errors import DeadlineExceeded, NotReady, QueueFull, ServiceError, WorkerLost, restored
from service.jobs import Item, Job
from service.queue import Producer
from service.wire import (
    AnalysisFailure,
    AnalysisOutcome,
    AnalysisRequest,
    AnalysisResult,
    ImageHeader,
    ModelCard,
    Options,
)

TRIES = 3
"""Deadlines that a photo may miss, or losses of the queue, until it fails."""
PAUSE_SECONDS = 2.0
"""Pause before a full queue is tried again."""

log = logging.getLogger(__name__)


class Submitter:
    """Submits the photos and videos of jobs to the queue, and waits for their results."""

    def __init__(self, queue: Producer, settings: Settings) -> None:
        self._queue = queue
        self._settings = settings

    async def model_card(self, digest: str) -> ModelCard:
        """Return the card of the model with this digest, as Producer.model_card(). Raises NotReady."""
        return await self._queue.model_card(digest)

    async def analyzed(
        self,
        job: Job,
        image: bytes,
        header: ImageHeader,
        options: Options,
        model: str | None = None,
        seconds: float | None = None,
    ) -> AnalysisResult:
        """Return what became of a photo or video, by a model or by any, each try within so many seconds.

        Raises the ServiceError that it ends with.
        """
        request = self._request(job, image, header, options, model)
        error: ServiceError = DeadlineExceeded()
        for _ in range(TRIES):
            outcome = await self._submitted(request, seconds or self._settings.timeout)
            if isinstance(outcome, AnalysisResult):
                return outcome
            if isinstance(outcome, AnalysisFailure):
                error = restored(outcome.code, outcome.detail)
                if not isinstance(error, (NotReady, DeadlineExceeded)):
                    break
        raise error

    async def put_aside(self, job: Job, item: Item, deliveries: int) -> None:
        """Make a dead letter of a photo during which one process after the other was lost. Raises WorkerLost."""
        log.error("a photo of a job is put aside", extra={"request_id": job.request_id, "deliveries": deliveries})
        unread_header = ImageHeader("JPEG", 0, 0)  # perhaps it was the header that a process was lost on
        request = self._request(job, item.image, unread_header, job.options, None)
        await self._queue.put_aside(_timed(request, self._settings.timeout), deliveries)
        raise WorkerLost("processes were lost while they worked on this photo, so it was put aside")

    def _request(
        self, job: Job, image: bytes, header: ImageHeader, options: Options, model: str | None
    ) -> AnalysisRequest:
        return AnalysisRequest("", job.request_id, image, header, options, 0.0, 0.0, model=model)

    async def _submitted(self, request: AnalysisRequest, seconds: float) -> AnalysisOutcome | None:
        """Return the queue's answer, None at the deadline. Waits for room in the queue."""
        while True:
            timed = _timed(request, seconds)
            try:
                [future] = await self._queue.submit([timed])
            except (QueueFull, NotReady):
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            try:
                done, _ = await asyncio.wait([future], timeout=seconds)
            finally:
                if not future.done():
                    await self._queue.cancel([timed.id])
            return future.result() if done and not future.cancelled() else None


def _timed(request: AnalysisRequest, seconds: float) -> AnalysisRequest:
    """Return a request with an id of its own that is submitted now."""
    now = time.monotonic()
    return replace(request, id=uuid.uuid4().hex, submitted=now, deadline=now + seconds)
