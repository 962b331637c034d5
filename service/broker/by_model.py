"""Two models in one process: a queue for each, and the API's side of both as one.

submit ─ jobs pinned to the old model → its queue; all others → the queue of the model that answers
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from service.broker import ApiSide, Job, QueueState, Result, WorkerInfo


@dataclass(frozen=True, eq=False)
class ByModel:
    """ApiSide over two. While the model that answers is not ready, nothing is: the old one never takes its place."""

    main: ApiSide
    old: ApiSide
    old_model: str

    async def start(self) -> None:
        """Start both."""
        await self.main.start()
        await self.old.start()

    async def close(self) -> None:
        """Close both."""
        await self.main.close()
        await self.old.close()

    async def submit(self, jobs: Sequence[Job]) -> list[asyncio.Future[Result]]:
        """Accept all jobs, which are for one model, or none. Raises QueueFull, NotReady."""
        pinned = {job.model for job in jobs} == {self.old_model}
        return await (self.old if pinned else self.main).submit(jobs)

    async def cancel(self, job_ids: Collection[str]) -> None:
        """In both."""
        await self.main.cancel(job_ids)
        await self.old.cancel(job_ids)

    async def state(self) -> QueueState:
        """Of both."""
        main, old = await self.main.state(), await self.old.state()
        age, dead = max(main.oldest_age, old.oldest_age), main.dead_letters + old.dead_letters
        return QueueState(main.depth + old.depth, age, dead)

    async def workers(self) -> list[WorkerInfo]:
        """Those of both, the one that answers last; none while that is not there."""
        main = await self.main.workers()
        return [*await self.old.workers(), *main] if main else []

    async def ready(self) -> bool:
        """Whether the model that answers is there."""
        return await self.main.ready()
