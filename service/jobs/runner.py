"""Works jobs off: their photos through the broker, a few at once, so that who waits for an answer is not held up."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Iterator
from typing import Any

from starlette.concurrency import run_in_threadpool

from service import images
from service.broker import ApiSide, Job, Result
from service.config import Settings
from service.errors import DeadlineExceeded, NotReady, QueueFull, ServiceError, restored
from service.jobs import BulkJob, Item, JobStore
from service.metrics import Metrics
from service.webhooks import Webhooks

TRIES = 3
"""Deadlines an image may miss, or losses of the queue, until it fails."""
RENEWED = 3.0
"""Seconds between two renewals of a lease, and between two looks for jobs without an owner."""
PATIENCE = 2.0
"""Longest pause, seconds, before a full queue is tried again."""

log = logging.getLogger(__name__)


class JobRunner:
    """The jobs that this process owns."""

    def __init__(
        self, store: JobStore, broker: ApiSide, webhooks: Webhooks, settings: Settings, metrics: Metrics
    ) -> None:
        self._store, self._broker, self._webhooks = store, broker, webhooks
        self._settings, self._metrics = settings, metrics
        self._room = asyncio.Semaphore(settings.job_images_at_once)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Look for jobs without an owner, from now on."""
        self._keep(self._adopt())

    async def close(self) -> None:
        """Leave all jobs to others."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(self, job: BulkJob) -> None:
        """Work this one off."""
        self._keep(self._run(job))

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _adopt(self) -> None:
        while True:
            await asyncio.sleep(RENEWED)
            try:
                while (job := await self._store.adopt()) is not None:
                    log.info("job adopted", extra={"request_id": job.request_id})
                    self.begin(job)
            except ServiceError:
                continue

    async def _run(self, job: BulkJob) -> None:
        renewing = asyncio.create_task(self._renew(job.id, asyncio.current_task()))
        try:
            with self._metrics.jobs_open.track_inprogress():
                await self._analyse(job)
                ended = job if job.ended else await self._store.end(job.id)
                if ended is not None:
                    await self._tell(ended)
                await self._store.close(job.id)
        except* ServiceError:  # the store is away: the lease ends, and whoever finds the job goes on with it
            log.warning("job left", extra={"request_id": job.request_id})
        finally:
            renewing.cancel()

    async def _renew(self, job_id: str, running: asyncio.Task[None] | None) -> None:
        """Keep the lease; end the work on a job that is no more."""
        while True:
            await asyncio.sleep(RENEWED)
            try:
                gone = not await self._store.renew(job_id)
            except ServiceError:
                continue
            if gone and running is not None:
                running.cancel()

    async def _analyse(self, job: BulkJob) -> None:
        todo = iter(await self._store.todo(job.id))
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.job_images_at_once):
                group.create_task(self._work_off(job, todo))

    async def _work_off(self, job: BulkJob, todo: Iterator[int]) -> None:
        """Take from what is to do until nothing is, or the job is no more."""
        for index in todo:
            item = await self._store.item(job.id, index)
            if item is None:
                continue
            async with self._room:
                outcome = await self._outcome(job, item)
            named = {"index": index} | ({"name": item.name} if item.name else {})
            if not await self._store.put(job.id, index, named | outcome):
                return

    async def _outcome(self, job: BulkJob, item: Item) -> dict[str, Any]:
        if item.error:
            return {"error": item.error}
        try:
            limits = self._settings.max_bytes, self._settings.max_pixels
            header = await run_in_threadpool(images.probe, item.image, *limits)
            result = await self._analysed(job, item.image, header.pixels)
        except ServiceError as error:
            return {"error": error.problem()}
        return {"analysis": result.analysis, "model": result.model}

    async def _analysed(self, job: BulkJob, image: bytes, pixels: int) -> Result:
        """Raises the ServiceError the image ends with."""
        error: ServiceError = DeadlineExceeded()
        for _ in range(TRIES):
            result = await self._submitted(job, image, pixels)
            if result is None:
                continue
            if result.code is None:
                return result
            error = restored(result.code, result.detail)
            if not isinstance(error, (NotReady, DeadlineExceeded)):
                break
        raise error

    async def _submitted(self, job: BulkJob, image: bytes, pixels: int) -> Result | None:
        """One answer of the broker; None at the deadline. Waits for room in the queue."""
        while True:
            now, seconds = time.monotonic(), self._settings.timeout
            asked = Job(uuid.uuid4().hex, job.request_id, image, pixels, job.options, now, now + seconds)
            try:
                [future] = await self._broker.submit([asked])
            except (QueueFull, NotReady):
                await asyncio.sleep(PATIENCE)
                continue
            try:
                done, _ = await asyncio.wait([future], timeout=seconds)
            finally:
                if not future.done():
                    await self._broker.cancel([asked.id])
            return future.result() if done and not future.cancelled() else None

    async def _tell(self, job: BulkJob) -> None:
        self._metrics.jobs.labels("failed" if job.failed == job.total else "done").inc()
        log.info("job done", extra={"request_id": job.request_id, "images": job.total, "failed": job.failed})
        if job.webhook:
            event = {"id": job.id, "status": job.status, "total": job.total, "done": job.done, "failed": job.failed}
            await self._webhooks.deliver(job.webhook, event)
