"""Works jobs off: their photos through the queue, a few at once, so that callers who wait are not held up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from contextlib import suppress

from starlette.concurrency import run_in_threadpool

from service.config import Settings
from service.errors import ServiceError
from service.gallery.resources import Resources
from service.headers import read_header
from service.jobs import Item, ItemResult, Job, JobStore
from service.jobs.following import followed
from service.jobs.reviewing import Reviewer
from service.jobs.submission import Submitter
from service.ops.metrics import Metrics
from service.outbound.webhooks import Webhooks
from service.queue import Producer

RENEW_SECONDS = 3.0
"""Time between two renewals of a lease, and between two looks for jobs without an owner."""

log = logging.getLogger(__name__)


class JobRunner:
    """Works on the jobs that this process owns, and adopts those whose process is lost."""

    def __init__(
        self,
        store: JobStore,
        queue: Producer,
        resources: Resources,
        webhooks: Webhooks,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._submitter = Submitter(queue, settings)
        self._reviewer = Reviewer(resources, self._submitter, settings)
        self._webhooks = webhooks
        self._settings = settings
        self._metrics = metrics
        self._photo_slots = asyncio.Semaphore(settings.job_images_at_once)
        self._review_slot = asyncio.Semaphore(1)  # so that other work of the gallery is held up by one part at most
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: set[str] = set()

    def start(self) -> None:
        """Begin to look for jobs without an owner, in the running event loop."""
        self._spawn(self._adopt_forever())

    async def close(self) -> None:
        """Stop working; other processes adopt the jobs that are not done."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(self, job: Job) -> None:
        """Work on this job from now on, unless it is being worked on: then adopting it has only renewed its lease.

        That happens where this process was held up for longer than the lease; a second run would hand its photos out
        again, as if a process had been lost on them.
        """
        if job.id not in self._running:
            self._running.add(job.id)
            self._spawn(self._run(job))

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _adopt_forever(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                while (job := await self._store.adopt()) is not None:
                    log.info("job adopted", extra={"request_id": job.request_id})
                    self.begin(job)
            except ServiceError:
                continue
            except Exception:
                log.exception("jobs without an owner could not be looked for")

    async def _run(self, job: Job) -> None:
        renewing = asyncio.create_task(self._renew_forever(job.id, asyncio.current_task()))
        try:
            with self._metrics.jobs_open.track_inprogress():
                await self._analyze(job)
                ended = job if job.ended else await self._store.end(job.id)
                if ended is not None:
                    await self._report(ended)
                await self._store.close(job.id)
        except* ServiceError:  # the store is away: the lease ends, and whoever adopts the job goes on with it
            log.warning("job left to other processes", extra={"request_id": job.request_id})
        finally:
            self._running.discard(job.id)
            renewing.cancel()

    async def _renew_forever(self, job_id: str, running: asyncio.Task[None] | None) -> None:
        """Keep the lease; end the work on a job that is not kept any more."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                is_kept = await self._store.renew(job_id)
            except ServiceError:
                continue
            if not is_kept and running is not None:
                running.cancel()

    async def _analyze(self, job: Job) -> None:
        pending = iter(await self._store.pending(job.id))
        async with asyncio.TaskGroup() as group:
            for _ in range(1 if job.review else self._settings.job_images_at_once):
                group.create_task(self._work_off(job, pending))

    async def _work_off(self, job: Job, pending: Iterator[int]) -> None:
        """Take one item after the other until none is left or the job is not kept any more."""
        for index in pending:
            async with self._review_slot if job.review else self._photo_slots:
                handed_out = await self._store.item(job.id, index)
                if handed_out is None:
                    continue
                item, deliveries = handed_out
                try:
                    result = await self._result(job, index, item, deliveries)
                except asyncio.CancelledError:  # told to stop: the photo is not what ends this process
                    with suppress(ServiceError):
                        await asyncio.shield(self._store.put_back(job.id, index))
                    raise
            if not await self._store.put(job.id, result):
                return

    async def _result(self, job: Job, index: int, item: Item, deliveries: int) -> ItemResult:
        if item.error:
            return ItemResult(index, item.name, error=item.error)
        try:
            if item.review is not None:
                return ItemResult(index, item.name, review=await self._reviewer.review(item.review))
            if deliveries > self._settings.queue_deliveries:
                await self._submitter.put_aside(job, item, deliveries - 1)
            if job.options.video is not None:
                return await followed(self._submitter, self._settings, job, index, item)
            settings = self._settings
            limits = settings.max_bytes, settings.max_pixels, settings.max_decoded
            header = await run_in_threadpool(read_header, item.image, *limits)
            result = await self._submitter.analyzed(job, item.image, header, job.options)
        except ServiceError as error:
            return ItemResult(index, item.name, error=error.problem())
        except Exception:  # else the job would wait for this item until it is forgotten
            log.exception("an item of a job failed", extra={"request_id": job.request_id, "item": index})
            return ItemResult(index, item.name, error=ServiceError().problem())
        return ItemResult(index, item.name, result.analysis, result.model)

    async def _report(self, job: Job) -> None:
        self._metrics.jobs.labels("failed" if job.failed == job.total else "done").inc()
        log.info("job done", extra={"request_id": job.request_id, "images": job.total, "failed": job.failed})
        if job.webhook:
            event = {"id": job.id, "status": job.status, "total": job.total, "done": job.done, "failed": job.failed}
            await self._webhooks.deliver(job.webhook, event, job.id)
