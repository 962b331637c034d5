"""Asynchronous jobs: many photos accepted at once, analysed when there is room, kept for a while with their results.

POST /v1/jobs ─archive→ Items ─store→ runner (items through the broker, a few at once) ─store→ GET /v1/jobs/{id}

One store interface, two stores: in this process, and in Redis, where another API process goes on with a job whose own
is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from service.errors import ServiceError
from service.schemas import JobOptions


class JobNotFound(ServiceError):
    """No such job, or its time is over."""

    status, code, title = 404, "job_not_found", "No such job"


class IdempotencyConflict(ServiceError):
    """The key came before, with something else."""

    status, code, title = 409, "idempotency_conflict", "This Idempotency-Key was used for another job"


@dataclass(frozen=True)
class Item:
    """One photo, or what is wrong with the entry that should be one; `name` is the caller's."""

    name: str | None = field(default=None, repr=False)
    image: bytes = field(default=b"", repr=False)
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class BulkJob:
    """A job. `created` and `ended` are seconds since 1970; a deleted job is no more."""

    id: str
    request_id: str
    owner: str
    created: float
    total: int
    options: JobOptions
    webhook: str | None = None
    done: int = 0
    failed: int = 0
    ended: float | None = None

    @property
    def status(self) -> Literal["running", "done"]:
        """Where it is."""
        return "running" if self.ended is None else "done"


@dataclass(frozen=True)
class Once:
    """An Idempotency-Key, hashed with its owner, and a digest of all that came with it."""

    key: str
    digest: str


class JobStore(Protocol):
    """Keeps jobs. Raises NotReady when it cannot be reached."""

    async def create(self, job: BulkJob, items: Sequence[Item], once: Once | None) -> BulkJob:
        """Keep it, owned by this process; or the one that came with this key. Raises QueueFull, IdempotencyConflict."""

    async def job(self, job_id: str) -> BulkJob | None:
        """The job."""

    async def results(self, job_id: str, start: int, limit: int) -> list[dict[str, Any]]:
        """Results of items `start` … `start + limit` that are there, in order."""

    async def todo(self, job_id: str) -> list[int]:
        """Items without a result."""

    async def item(self, job_id: str, index: int) -> Item | None:
        """An item that is to do."""

    async def put(self, job_id: str, index: int, result: dict[str, Any]) -> bool:
        """An item's result; its photo is forgotten. False when the job is no more."""

    async def end(self, job_id: str) -> BulkJob | None:
        """All is done."""

    async def close(self, job_id: str) -> None:
        """All that follows is done too: nobody needs to go on with it."""

    async def delete(self, job_id: str) -> bool:
        """Forget it; whether it was there."""

    async def renew(self, job_id: str) -> bool:
        """Stay its owner. False when the job is no more."""

    async def adopt(self) -> BulkJob | None:
        """Become the owner of one that has lost its own."""

    async def disconnect(self) -> None:
        """Let go of what was opened; the jobs stay as they are."""
