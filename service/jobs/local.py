"""Jobs inside one process: forgotten when it ends. All calls come from one event loop."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import msgpack
from msgspec.structs import replace
from typing_extensions import override

from service.errors import QueueFull
from service.jobs import IdempotencyConflict, IdempotencyKey, Item, ItemResult, Job, JobStore, ResultsTooLarge
from service.jobs.budget import Budget


@dataclass
class _StoredJob:
    job: Job
    items: dict[int, Item]
    expires: float
    size: int
    deliveries: Counter[int] = field(default_factory=Counter)
    results: dict[int, bytes] = field(default_factory=dict)


class LocalJobs(JobStore):
    """JobStore. At most `max_open` jobs are open; each is kept for `seconds` after it came and after its end.

    Beyond the budget's bytes a new job is refused while jobs are open, and the oldest finished jobs are forgotten.
    """

    def __init__(self, max_open: int, seconds: float, budget: Budget) -> None:
        self._max_open = max_open
        self._seconds = seconds
        self._budget = budget
        self._jobs: dict[str, _StoredJob] = {}  # oldest first
        self._idempotency: dict[str, tuple[str, str]] = {}

    @override
    async def create(self, job: Job, items: Sequence[Item], idempotency_key: IdempotencyKey | None) -> Job:
        self._forget_expired()
        digest, known_id = self._idempotency.get(idempotency_key.key, ("", "")) if idempotency_key else ("", "")
        if idempotency_key and known_id in self._jobs:
            if digest != idempotency_key.digest:
                raise IdempotencyConflict
            return self._jobs[known_id].job
        if sum(stored.job.ended is None for stored in self._jobs.values()) >= self._max_open:
            raise QueueFull("too many jobs are open", retry_after=10)
        size = sum(len(item.image) for item in items)
        self._make_room(job.owner, size)
        self._jobs[job.id] = _StoredJob(job, dict(enumerate(items)), time.monotonic() + self._seconds, size)
        if idempotency_key:
            self._idempotency[idempotency_key.key] = (idempotency_key.digest, job.id)
        return job

    def _make_room(self, owner: str, size: int) -> None:
        """Forget the oldest finished jobs until `size` more bytes fit. Raises QueueFull where that is not enough."""
        for only_own in (True, False):
            limit = self._budget.per_owner if only_own else self._budget.total
            for job_id, stored in list(self._jobs.items()):
                if self._bytes(owner if only_own else None) + size <= limit:
                    break
                if stored.job.ended is not None and (not only_own or stored.job.owner == owner):
                    del self._jobs[job_id]
            if self._bytes(owner if only_own else None) + size > limit:
                raise QueueFull("jobs hold too many bytes; fetch and delete finished ones", retry_after=10)

    def _bytes(self, owner: str | None) -> int:
        return sum(stored.size for stored in self._jobs.values() if owner in (None, stored.job.owner))

    @override
    async def job(self, job_id: str) -> Job | None:
        self._forget_expired()
        stored = self._jobs.get(job_id)
        return stored.job if stored else None

    @override
    async def results(self, job_id: str, start: int, limit: int) -> list[ItemResult]:
        results = self._jobs[job_id].results if job_id in self._jobs else {}
        rows = [results[index] for index in range(start, start + limit) if index in results]
        return [msgpack.decode(row, type=ItemResult) for row in rows]

    @override
    async def pending(self, job_id: str) -> list[int]:
        return sorted(self._jobs[job_id].items) if job_id in self._jobs else []

    @override
    async def item(self, job_id: str, index: int) -> tuple[Item, int] | None:
        stored = self._jobs.get(job_id)
        item = stored.items.get(index) if stored else None
        if stored is None or item is None:
            return None
        stored.deliveries[index] += 1
        return item, stored.deliveries[index]

    @override
    async def put_back(self, job_id: str, index: int) -> None:
        if job_id in self._jobs:
            self._jobs[job_id].deliveries[index] -= 1

    @override
    async def put(self, job_id: str, result: ItemResult) -> bool:
        stored = self._jobs.get(job_id)
        if stored is None:
            return False
        item = stored.items.pop(result.index, None)
        if item is not None:
            row = msgpack.encode(result)  # bytes, since objects take many times their memory
            stored.size -= len(item.image)
            if stored.size + len(row) > self._budget.per_owner:
                result = ItemResult(result.index, result.name, error=ResultsTooLarge().problem())
                row = msgpack.encode(result)
            stored.results[result.index] = row
            stored.size += len(row)
            failed = stored.job.failed + (result.error is not None)
            stored.job = replace(stored.job, done=stored.job.done + 1, failed=failed)
        return True

    @override
    async def end(self, job_id: str) -> Job | None:
        stored = self._jobs.get(job_id)
        if stored is None:
            return None
        stored.job = replace(stored.job, ended=time.time())
        stored.expires = time.monotonic() + self._seconds
        self._forget_beyond_budget(stored.job)
        return stored.job

    def _forget_beyond_budget(self, latest: Job) -> None:
        """Forget the oldest finished jobs, but never the latest, until what is kept fits the budget again."""
        for job_id, stored in list(self._jobs.items()):
            is_over = self._bytes(None) > self._budget.total or (
                stored.job.owner == latest.owner and self._bytes(latest.owner) > self._budget.per_owner
            )
            if is_over and stored.job.ended is not None and job_id != latest.id:
                del self._jobs[job_id]

    @override
    async def close(self, job_id: str) -> None:
        """Do nothing: no other process could adopt the job."""

    @override
    async def delete(self, job_id: str) -> bool:
        return self._jobs.pop(job_id, None) is not None

    @override
    async def renew(self, job_id: str) -> bool:
        self._forget_expired()
        return job_id in self._jobs

    @override
    async def adopt(self) -> Job | None:
        return None  # this process owns them all

    @override
    async def disconnect(self) -> None:
        """Do nothing: there are no connections."""

    def _forget_expired(self) -> None:
        now = time.monotonic()
        for job_id in [job_id for job_id, stored in self._jobs.items() if stored.expires < now]:
            del self._jobs[job_id]
        self._idempotency = {key: row for key, row in self._idempotency.items() if row[1] in self._jobs}
