"""The broker inside one process: a deque under a lock, futures of the API's event loop. Both sides are one object."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence

from service.broker import Job, QueueState, Result, WorkerInfo
from service.errors import NotReady, QueueFull


class LocalBroker:
    """ApiSide and WorkerSide. Holds at most `size` jobs and `size_bytes` compressed bytes that are not finished."""

    def __init__(self, size: int, size_bytes: int) -> None:
        self._size, self._size_bytes = size, size_bytes
        self._waiting: deque[Job] = deque()
        self._held: dict[str, Job] = {}
        self._futures: dict[str, asyncio.Future[Result]] = {}
        self._workers: list[WorkerInfo] = []
        self._bytes = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = threading.Condition()

    async def start(self) -> None:
        """Answer into the running event loop."""
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Cancel every future that is still open."""
        with self._changed:
            open_jobs = list(self._futures)
        await self.cancel(open_jobs)
        self._loop = None

    async def submit(self, jobs: Sequence[Job]) -> list[asyncio.Future[Result]]:
        """Accept all jobs or none. Raises QueueFull, NotReady."""
        size = sum(len(job.image) for job in jobs)
        with self._changed:
            if {job.model for job in jobs} - {None, *(worker.digest for worker in self._workers)}:
                raise NotReady("no worker has the model that is asked for")
            depth = len(self._waiting) + len(self._held)
            if depth + len(jobs) > self._size or (depth and self._bytes + size > self._size_bytes):
                raise QueueFull(retry_after=max(1, math.ceil(self._oldest_age())))
            futures = [asyncio.get_running_loop().create_future() for _ in jobs]
            self._futures.update({job.id: future for job, future in zip(jobs, futures, strict=True)})
            self._waiting.extend(jobs)
            self._bytes += size
            self._changed.notify_all()
        return futures

    async def cancel(self, job_ids: Collection[str]) -> None:
        """Drop those that wait, forget the futures of all."""
        gone = set(job_ids)
        with self._changed:
            futures = [self._futures.pop(job_id, None) for job_id in gone]
            self._bytes -= sum(len(job.image) for job in self._waiting if job.id in gone)
            self._waiting = deque(job for job in self._waiting if job.id not in gone)
        for future in futures:
            if future is not None:
                future.cancel()

    async def state(self) -> QueueState:
        """Depth and age."""
        with self._changed:
            return QueueState(len(self._waiting) + len(self._held), self._oldest_age())

    async def workers(self) -> list[WorkerInfo]:
        """The one worker, when it is there."""
        with self._changed:
            return list(self._workers)

    async def ready(self) -> bool:
        """Whether it is there."""
        return bool(await self.workers())

    def announce(self, worker: WorkerInfo) -> None:
        """Be the worker."""
        with self._changed:
            self._workers = [worker]

    def leave(self) -> None:
        """Be it no longer."""
        with self._changed:
            self._workers = []

    def claim(self, most: int, wait: float) -> list[Job]:
        """Take what waits, oldest first."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting), wait)
            jobs = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            self._held.update({job.id: job for job in jobs})
            return jobs

    def cancelled(self, job_ids: Collection[str]) -> set[str]:
        """Those without a future."""
        with self._changed:
            return {job_id for job_id in job_ids if job_id not in self._futures}

    def finish(self, results: Sequence[Result]) -> None:
        """Resolve the futures from whatever thread this is."""
        with self._changed:
            for result in results:
                self._bytes -= len(self._held.pop(result.job_id).image)
            answers = [(self._futures.pop(result.job_id, None), result) for result in results]
            loop = self._loop
        for future, result in answers:
            if future is not None and loop is not None and not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, future, result)

    def _oldest_age(self) -> float:
        return time.monotonic() - self._waiting[0].submitted if self._waiting else 0.0


def _resolve(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():
        future.set_result(result)
