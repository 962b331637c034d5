"""What the routes that make jobs share: a new job of the caller, its beginning, and what callers see of it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

from fastapi import Request

from service.jobs import IdempotencyKey, Item, Job, JobNotFound, JobStore
from service.jobs.runner import JobRunner
from service.wire import Options


def owner_of(request: Request) -> str:
    """Return the id of the caller's API key, whose jobs only it can see; empty where API keys are off."""
    key = getattr(request.state, "key", None)
    return key.id if key else ""


def new_job(request: Request, total: int, options: Options) -> Job:
    """Return a new job of the caller with `total` items, which is not begun yet."""
    return Job(uuid.uuid4().hex, request.scope["request_id"], owner_of(request), time.time(), total, options)


async def begin_job(
    request: Request, job: Job, items: Sequence[Item], idempotency_key: IdempotencyKey | None = None
) -> Job:
    """Keep a job and work on it from now on; return it, or the one that came with the same Idempotency-Key before.

    Raises QueueFull, IdempotencyConflict.
    """
    store: JobStore = request.app.state.jobs
    stored = await store.create(job, items, idempotency_key)
    if stored.id == job.id:
        runner: JobRunner = request.app.state.runner
        runner.begin(stored)
    return stored


async def find_job(request: Request, job_id: str) -> Job:
    """Return a job of the caller. Raises JobNotFound for another's too."""
    store: JobStore = request.app.state.jobs
    job = await store.job(job_id)
    if job is None or job.owner != owner_of(request):
        raise JobNotFound
    return job


def status_of(job: Job) -> dict[str, object]:
    """Return how far a job is, as callers see it (JobStatus)."""
    return {
        "id": job.id,
        "status": job.status,
        "total": job.total,
        "done": job.done,
        "failed": job.failed,
        "created": job.created,
        "ended": job.ended,
    }
