"""/v1/jobs: photos now, results later. The body as for /v1/faces, or a zip archive, or JSON lines."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from service.api.faces import RESPONSES, merged
from service.api.uploads import BINARY, read_upload, request_body
from service.config import Settings
from service.errors import UploadTimeout
from service.jobs import BulkJob, Item, JobNotFound, JobStore, Once, archive
from service.jobs.runner import JobRunner
from service.schemas import JobAnswer, JobOptions, JobQuery, JobStatus
from service.webhooks import Webhooks

router = APIRouter(tags=["jobs"])
BULK = {kind: {"schema": BINARY} for kind in (archive.ZIP[0], archive.LINES[0])}


def _body() -> dict[str, Any]:
    found = request_body(JobQuery.model_json_schema()["properties"])
    found["requestBody"]["content"] |= BULK
    return found


@router.post("/v1/jobs", status_code=202, response_model=JobStatus, responses=RESPONSES, openapi_extra=_body())
async def create(
    request: Request,
    query: Annotated[JobQuery, Query()],
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Response:
    """Accept photos, a few or many, to be analysed when there is room.

    With an Idempotency-Key the same request is accepted once, however often it is sent.
    """
    state = request.app.state
    settings: Settings = state.settings
    items, chosen = await _read(request, query, settings)
    if chosen.webhook is not None:
        webhooks: Webhooks = state.webhooks
        webhooks.check(chosen.webhook)
    options = JobOptions(**chosen.model_dump(exclude={"webhook"}))
    owner = _owner(request)
    job = BulkJob(
        uuid.uuid4().hex, request.scope["request_id"], owner, time.time(), len(items), options, chosen.webhook
    )
    once = await run_in_threadpool(_once, idempotency_key, job, items) if idempotency_key else None
    store: JobStore = state.jobs
    kept = await store.create(job, items, once)
    if kept.id == job.id:
        runner: JobRunner = state.runner
        runner.begin(kept)
    return JSONResponse(_status(kept), 202, {"Location": f"/v1/jobs/{kept.id}"})


@router.get("/v1/jobs/{job_id}", responses=RESPONSES)
async def read(
    request: Request,
    job_id: str,
    start: Annotated[int, Query(ge=0, description="index of the first item shown")] = 0,
    limit: Annotated[int, Query(ge=0, le=1000, description="so many items at most")] = 100,
) -> JobAnswer:
    """How far a job is, and the results that are there."""
    job = await _find(request, job_id)
    store: JobStore = request.app.state.jobs
    results = await store.results(job.id, start, limit)
    return JobAnswer.model_validate(_status(job) | {"results": results})


@router.delete("/v1/jobs/{job_id}", status_code=204, responses=RESPONSES)
async def delete(request: Request, job_id: str) -> None:
    """Stop a job, and forget it with its photos and results."""
    job = await _find(request, job_id)
    store: JobStore = request.app.state.jobs
    await store.delete(job.id)


async def _find(request: Request, job_id: str) -> BulkJob:
    store: JobStore = request.app.state.jobs
    job = await store.job(job_id)
    if job is None or job.owner != _owner(request):
        raise JobNotFound
    return job


def _owner(request: Request) -> str:
    key = getattr(request.state, "key", None)
    return key.id if key else ""


def _status(job: BulkJob) -> dict[str, Any]:
    known = {"id": job.id, "status": job.status, "total": job.total, "done": job.done, "failed": job.failed}
    return known | {"created": job.created, "ended": job.ended}


def _once(key: str, job: BulkJob, items: Sequence[Item]) -> Once:
    """The key as its owner's, and a digest of everything else."""
    digest = hashlib.sha256(f"{job.options.model_dump_json()} {job.webhook}".encode())
    for item in items:
        digest.update(hashlib.sha256(repr((item.name, item.error)).encode() + item.image).digest())
    return Once(hashlib.sha256(f"{job.owner} {key}".encode()).hexdigest(), digest.hexdigest())


async def _read(request: Request, query: JobQuery, settings: Settings) -> tuple[list[Item], JobQuery]:
    """The photos and the options. Raises what the body deserves."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    most = settings.job_images
    if kind not in (*archive.ZIP, *archive.LINES):
        upload = await read_upload(request, settings.model_copy(update={"max_images": most}))
        return [Item(image=image) for image in upload.images], merged(query, upload)
    try:
        async with asyncio.timeout(settings.upload_timeout):
            body = await request.body()
    except TimeoutError as error:
        raise UploadTimeout from error
    if kind in archive.LINES:
        return await run_in_threadpool(archive.from_lines, body, most), query
    limits = most, settings.max_bytes, settings.job_bytes
    return await run_in_threadpool(archive.from_zip, body, *limits), query
