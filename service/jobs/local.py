"""Jobs inside one process: gone when it ends. All calls come from one event loop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from service.errors import QueueFull
from service.jobs import BulkJob, IdempotencyConflict, Item, Once


@dataclass
class _Kept:
    job: BulkJob
    items: dict[int, Item]
    expires: float
    results: dict[int, dict[str, Any]] = field(default_factory=dict)


class LocalJobs:
    """JobStore. At most `most` jobs are open; each is kept for `seconds` after it came and after its end."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._kept: dict[str, _Kept] = {}
        self._once: dict[str, tuple[str, str]] = {}

    async def create(self, job: BulkJob, items: Sequence[Item], once: Once | None) -> BulkJob:
        """Keep it, or find the one that came with this key."""
        self._forget()
        digest, known = self._once.get(once.key, ("", "")) if once else ("", "")
        if once and known in self._kept:
            if digest != once.digest:
                raise IdempotencyConflict
            return self._kept[known].job
        if sum(kept.job.ended is None for kept in self._kept.values()) >= self._most:
            raise QueueFull("too many jobs are open", retry_after=10)
        self._kept[job.id] = _Kept(job, dict(enumerate(items)), time.monotonic() + self._seconds)
        if once:
            self._once[once.key] = (once.digest, job.id)
        return job

    async def job(self, job_id: str) -> BulkJob | None:
        """The job."""
        self._forget()
        kept = self._kept.get(job_id)
        return kept.job if kept else None

    async def results(self, job_id: str, start: int, limit: int) -> list[dict[str, Any]]:
        """Those that are there."""
        found = self._kept[job_id].results if job_id in self._kept else {}
        return [found[index] for index in range(start, start + limit) if index in found]

    async def todo(self, job_id: str) -> list[int]:
        """Items without a result."""
        return sorted(self._kept[job_id].items) if job_id in self._kept else []

    async def item(self, job_id: str, index: int) -> Item | None:
        """An item that is to do."""
        return self._kept[job_id].items.get(index) if job_id in self._kept else None

    async def put(self, job_id: str, index: int, result: dict[str, Any]) -> bool:
        """An item's result."""
        kept = self._kept.get(job_id)
        if kept is None:
            return False
        if kept.items.pop(index, None) is not None:
            kept.results[index] = result
            kept.job = replace(kept.job, done=kept.job.done + 1, failed=kept.job.failed + ("error" in result))
        return True

    async def end(self, job_id: str) -> BulkJob | None:
        """All is done."""
        kept = self._kept.get(job_id)
        if kept is None:
            return None
        kept.job, kept.expires = replace(kept.job, ended=time.time()), time.monotonic() + self._seconds
        return kept.job

    async def close(self, job_id: str) -> None:
        """Nothing: there is nobody else."""

    async def delete(self, job_id: str) -> bool:
        """Forget it."""
        return self._kept.pop(job_id, None) is not None

    async def renew(self, job_id: str) -> bool:
        """Whether it is there."""
        self._forget()
        return job_id in self._kept

    async def adopt(self) -> BulkJob | None:
        """Never: who owns them all is this process."""
        return None

    async def disconnect(self) -> None:
        """Nothing is open."""

    def _forget(self) -> None:
        now = time.monotonic()
        for job_id in [job_id for job_id, kept in self._kept.items() if kept.expires < now]:
            del self._kept[job_id]
        self._once = {key: row for key, row in self._once.items() if row[1] in self._kept}
