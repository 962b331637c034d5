"""POST /v1/faces: photos in, every face with everything about it out.

read the body → probe every image's header → submit to the broker → wait, until the deadline or until the client leaves
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from service import images
from service.access import Direct, needs
from service.api.uploads import Upload, read_upload, request_body
from service.broker import ApiSide, Job, Result
from service.config import Settings
from service.errors import DeadlineExceeded, InvalidRequest, NotReady, ServiceError, restored
from service.schemas import AnalysesAnswer, AnalysisAnswer, JobOptions, Options

router = APIRouter(tags=["faces"], route_class=Direct)
Asked = TypeVar("Asked", bound=BaseModel)

PROBLEMS = {
    400: "the body is not what its Content-Type says",
    408: "the body did not arrive in time",
    413: "too many bytes, pixels or images",
    415: "not an image, or a Content-Type that is not taken",
    422: "a bad option, no image, or one that cannot be decoded",
    429: "too much work is waiting; Retry-After says when to come again",
    500: "the service failed",
    503: "no worker is ready",
    504: "the deadline passed",
}
REFERENCE = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": REFERENCE} for status, text in PROBLEMS.items()
}


def described(options: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI description of a request with photos whose options stand in the query or in the body."""
    fields = options.model_json_schema()["properties"]
    query = [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in fields.items()]
    return request_body(fields) | {"parameters": query}


@router.post(
    "/v1/faces",
    response_model=AnalysisAnswer | AnalysesAnswer,
    responses=RESPONSES,
    openapi_extra=described(Options),
    dependencies=[Depends(needs("analyze"))],
)
async def analyse(request: Request) -> Response:
    """Find and describe the faces of one photo or of several.

    Options may be query parameters or fields of the form or the JSON body; the body's win. One photo that cannot be
    analysed is an error; of several, each such photo has an `error` in its place and the others are answered.
    """
    started = time.monotonic()
    settings: Settings = request.app.state.settings
    broker: ApiSide = request.app.state.broker
    query = queried(request, Options)
    if not await broker.ready():
        raise NotReady
    upload = await read_upload(request, settings)
    options = merged(query, upload)
    arrived = time.monotonic()
    outcomes = await outcomes_of(request, upload.images, JobOptions(**options.model_dump()))
    timings = _timings([outcome for outcome in outcomes if isinstance(outcome, Result)])
    timings |= {"upload": round(1000 * (arrived - started), 2), "total": round(1000 * (time.monotonic() - started), 2)}
    return Response(to_json(_answer(outcomes, upload.several, timings)), media_type="application/json")


def queried(request: Request, kind: type[Asked]) -> Asked:
    """The query's options, without FastAPI's way to them. Raises RequestValidationError."""
    given = dict(request.query_params) if request.scope["query_string"] else {}
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise RequestValidationError([item | {"loc": ("query", *item["loc"])} for item in error.errors()]) from error


def merged(query: Asked, upload: Upload) -> Asked:
    """The query's options overridden by those in the body. Raises InvalidRequest."""
    if not upload.fields:
        return query
    try:
        body = type(query).model_validate(upload.fields, strict=upload.strict)
    except ValidationError as error:
        raise invalid(error.errors()) from error
    return query.model_copy(update=body.model_dump(exclude_unset=True))


def invalid(found: Sequence[Any]) -> InvalidRequest:
    """Pydantic's findings in one sentence, without the values."""
    return InvalidRequest("; ".join(f"{item['loc'][-1] if item['loc'] else 'body'}: {item['msg']}" for item in found))


def without_input(found: Sequence[Any]) -> list[dict[str, Any]]:
    """Pydantic's findings as data, without the values."""
    return [{"loc": list(item["loc"]), "type": item["type"], "msg": item["msg"]} for item in found]


async def outcomes_of(
    request: Request, photos: Sequence[bytes], options: JobOptions, model: str | None = None
) -> list[Result | ServiceError]:
    """What became of each photo, by the model of a digest or any. Raises QueueFull, NotReady, ClientDisconnect."""
    settings: Settings = request.app.state.settings
    if len(photos) == 1 and images.plain_jpeg(photos[0]):
        probed = [_probe(photos[0], settings)]
    else:
        probed = await run_in_threadpool(lambda: [_probe(photo, settings) for photo in photos])
    now = time.monotonic()
    jobs = [
        Job(
            id=uuid.uuid4().hex,
            request_id=request.scope["request_id"],
            trace=request.scope["trace"],
            image=photo,
            pixels=found.pixels,
            options=options,
            submitted=now,
            deadline=now + settings.timeout,
            model=model,
        )
        for photo, found in zip(photos, probed, strict=True)
        if isinstance(found, images.Header)
    ]
    results = await _wait(request, jobs, settings.timeout) if jobs else {}
    answers = iter([_outcome(results.get(job.id)) for job in jobs])
    return [found if isinstance(found, ServiceError) else next(answers) for found in probed]


def _probe(photo: bytes, settings: Settings) -> images.Header | ServiceError:
    try:
        return images.probe(photo, settings.max_bytes, settings.max_pixels)
    except ServiceError as error:
        return error


def _outcome(result: Result | None) -> Result | ServiceError:
    if result is None:
        return DeadlineExceeded()
    return restored(result.code, result.detail) if result.code else result


async def _wait(request: Request, jobs: Sequence[Job], seconds: float) -> dict[str, Result]:
    """The results that arrive before the deadline. Raises QueueFull, ClientDisconnect."""
    broker: ApiSide = request.app.state.broker
    futures = await broker.submit(jobs)
    leaving = asyncio.ensure_future(_until_gone(request))
    end = time.monotonic() + seconds
    try:
        for future in futures:
            left = max(0.0, end - time.monotonic())
            await asyncio.wait((future, leaving), timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done() and not all(map(_answered, futures)):
                raise ClientDisconnect
        return {future.result().job_id: future.result() for future in futures if _answered(future)}
    finally:
        leaving.cancel()
        if not all(map(_answered, futures)):
            await broker.cancel([job.id for job, future in zip(jobs, futures, strict=True) if not _answered(future)])


def _answered(future: asyncio.Future[Result]) -> bool:
    return future.done() and not future.cancelled()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer(outcomes: Sequence[Result | ServiceError], several: bool, timings: dict[str, float]) -> dict[str, Any]:
    errors = [outcome for outcome in outcomes if isinstance(outcome, ServiceError)]
    ours = [error for error in errors if error.status >= 500]
    if len(errors) == len(outcomes) and (ours or not several):
        raise (ours or errors)[0]
    entries = [
        {"error": outcome.problem()} if isinstance(outcome, ServiceError) else outcome.analysis for outcome in outcomes
    ]
    models = [outcome.model for outcome in outcomes if isinstance(outcome, Result)]
    around = {"model": models[0] if models else None, "timings_ms": timings}
    return {"images": entries, **around} if several else {**(entries[0] or {}), **around}


def _timings(results: Sequence[Result]) -> dict[str, float]:
    stages = {stage: None for result in results for stage in result.timings}
    return {stage: round(1000 * max(r.timings.get(stage, 0.0) for r in results), 2) for stage in stages}
