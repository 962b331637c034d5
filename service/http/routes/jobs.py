"""/v1/jobs: photos now, results later. The body as for /v1/faces, or a zip archive, or JSON lines."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from msgspec.structs import replace
from starlette.concurrency import run_in_threadpool

from service.config import Settings
from service.errors import ServiceError
from service.gallery.errors import ModelMismatch
from service.gallery.resources import Resources
from service.http.auth import require_role
from service.http.conflicts import reviewed_conflicts
from service.http.job_access import begin_job, find_job, new_job, status_of
from service.http.options import PROBLEM_RESPONSES, merge_options
from service.http.piles import Pile, clusters_response, find_duplicates, sort_pile
from service.http.probes import faces_of_photo, model_scoring
from service.http.tracks import video_response
from service.http.uploads import BINARY, OpenApi, UnreadablePhoto, read_upload, request_body
from service.jobs import IdempotencyKey, Item, ItemResult, Job, JobStore, archive
from service.outbound.webhooks import Webhooks
from service.schemas.clusters import ClustersResponse, DuplicateImage, UnreadImage
from service.schemas.faces import Problem
from service.schemas.jobs import JobOptions, JobResponse, JobStatus
from service.wire import Options

router = APIRouter(tags=["jobs"])
BULK = {kind: {"schema": BINARY} for kind in (archive.ZIP[0], archive.LINES[0])}


def _body() -> OpenApi:
    description = request_body(JobOptions.model_json_schema()["properties"])
    description["requestBody"]["content"] |= BULK
    return description


@router.post("/v1/jobs", status_code=202, response_model=JobStatus, responses=PROBLEM_RESPONSES, openapi_extra=_body())
async def create_job(
    request: Request,
    query: Annotated[JobOptions, Query()],
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Response:
    """Accept photos, a few or many, to be analyzed when there is room.

    With an Idempotency-Key the same request is accepted once, however often it is sent.
    """
    state = request.app.state
    settings: Settings = state.settings
    items, job_options = await _read(request, query, settings)
    if job_options.webhook is not None:
        webhooks: Webhooks = state.webhooks
        webhooks.check(job_options.webhook)
    if job_options.cluster:
        require_role(request, "verify")
    options = Options(**job_options.model_dump(exclude={"webhook", "cluster"}), template=job_options.cluster)
    job = replace(new_job(request, len(items), options), webhook=job_options.webhook, cluster=job_options.cluster)
    if job_options.cluster:
        duplicates = await run_in_threadpool(find_duplicates, [item.image for item in items])
        job = replace(job, duplicates=tuple((duplicate.image, duplicate.same_as) for duplicate in duplicates))
    hashed_key = await run_in_threadpool(_hashed_key, idempotency_key, job, items) if idempotency_key else None
    stored = await begin_job(request, job, items, hashed_key)
    return JSONResponse(status_of(stored), 202, {"Location": f"/v1/jobs/{stored.id}"})


@router.get("/v1/jobs/{job_id}", responses=PROBLEM_RESPONSES)
async def get_job(
    request: Request,
    job_id: str,
    start: Annotated[int, Query(ge=0, description="index of the first item shown")] = 0,
    limit: Annotated[int, Query(ge=0, le=1000, description="how many items are shown at most")] = 100,
) -> JobResponse:
    """Show how far a job is, and the results that exist by now."""
    job = await find_job(request, job_id)
    store: JobStore = request.app.state.jobs
    results = await store.results(job.id, start, limit)
    job_items = await run_in_threadpool(lambda: [_job_item(request, job, result) for result in results])
    response = JobResponse.model_validate(status_of(job) | {"results": job_items})
    if not job.cluster or job.status != "done" or start or not limit:
        return response
    try:
        return response.model_copy(update={"clusters": await _clusters(request, job)})
    except ServiceError as error:
        return response.model_copy(update={"clusters_error": Problem.model_validate(error.problem())})


@router.delete("/v1/jobs/{job_id}", status_code=204, responses=PROBLEM_RESPONSES)
async def delete_job(request: Request, job_id: str) -> None:
    """Stop a job, and delete it with its photos and results."""
    job = await find_job(request, job_id)
    store: JobStore = request.app.state.jobs
    await store.delete(job.id)


def _job_item(request: Request, job: Job, result: ItemResult) -> dict[str, object]:
    """Return a result as callers see it (JobItem); blocks."""
    job_item: dict[str, object] = msgspec.to_builtins(replace(result, video=None, review=None))
    if result.video is not None:
        job_item["video"] = video_response(result.video, with_templates=job.options.template)
    if result.review is not None:
        resources: Resources = request.app.state.resources
        try:
            job_item["conflicts"] = reviewed_conflicts(resources.gallery, result.review)
        except ServiceError as error:  # what was looked through is not there any more
            job_item["error"] = error.problem()
    return job_item


async def _clusters(request: Request, job: Job) -> ClustersResponse:
    """Sort the faces of a job that is done into people. Raises NotReady, NotCalibrated, TooManyFaces."""
    settings: Settings = request.app.state.settings
    store: JobStore = request.app.state.jobs
    results = await store.results(job.id, 0, job.total)
    scoring = await model_scoring(request, next((result.model for result in results if result.model), None))
    scoring.calibrated()
    pile = Pile(duplicates=[DuplicateImage(image=image, same_as=first) for image, first in job.duplicates])
    for result in results:
        if result.analysis is not None and result.model == scoring.model:
            pile.add_photo(result.index, faces_of_photo(result.analysis, result.model), settings.min_quality)
        else:
            problem = result.error or ModelMismatch("another model than the job's first answered for it").problem()
            pile.errors.append(UnreadImage(image=result.index, error=Problem.model_validate(problem)))
    pile.check_size(settings.cluster_faces)
    clustering = await run_in_threadpool(sort_pile, pile, scoring, settings.min_quality)
    return clusters_response(pile, clustering, scoring.model)


def _hashed_key(key: str, job: Job, items: Sequence[Item]) -> IdempotencyKey:
    """Return the key, hashed with its owner, and a digest of everything else that came with it."""
    digest = hashlib.sha256(msgspec.json.encode(job.options) + f" {job.webhook}".encode())
    for item in items:
        digest.update(hashlib.sha256(repr((item.name, item.error)).encode() + item.image).digest())
    return IdempotencyKey(hashlib.sha256(f"{job.owner} {key}".encode()).hexdigest(), digest.hexdigest())


async def _read(request: Request, query: JobOptions, settings: Settings) -> tuple[list[Item], JobOptions]:
    """Return the photos and the options. Raises the error of a body that cannot be read."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    max_images = settings.job_images
    if kind not in (*archive.ZIP, *archive.LINES):
        upload = await read_upload(request, settings.model_copy(update={"max_images": max_images}))
        return [_item(image) for image in upload.images], merge_options(query, upload)
    body = await request.body()
    if kind in archive.LINES:
        return await run_in_threadpool(archive.from_lines, body, max_images), query
    limits = max_images, settings.max_bytes, settings.job_bytes
    return await run_in_threadpool(archive.from_zip, body, *limits), query


def _item(photo: bytes) -> Item:
    return Item(error=photo.error.problem()) if isinstance(photo, UnreadablePhoto) else Item(image=photo)
