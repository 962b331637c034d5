"""POST /v1/faces: photos in, every face with everything about it out."""

from __future__ import annotations

import time
from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import Response
from msgspec import json, to_builtins

from service.config import Settings
from service.errors import NotReady, ServiceError
from service.http.options import PROBLEM_RESPONSES, describe_options, merge_options, query_options
from service.http.submit import analyze_photos
from service.http.uploads import read_upload
from service.queue import Producer
from service.schemas.faces import AnalysesResponse, AnalysisResponse, FacesOptions
from service.wire import AnalysisResult, Options

router = APIRouter(tags=["faces"])


@router.post(
    "/v1/faces",
    response_model=AnalysisResponse | AnalysesResponse,
    responses=PROBLEM_RESPONSES,
    openapi_extra=describe_options(FacesOptions),
)
async def analyze(request: Request) -> Response:
    """Find and describe the faces of one photo or of several.

    Options may be query parameters or fields of the form or the JSON body; the body's win. One photo that cannot be
    analyzed is an error; of several, each such photo has an `error` in its place and the others are answered.
    """
    started = time.monotonic()
    settings: Settings = request.app.state.settings
    queue: Producer = request.app.state.producer
    query = query_options(request, FacesOptions)
    if not await queue.ready():
        raise NotReady
    upload = await read_upload(request, settings)
    options = merge_options(query, upload)
    received = time.monotonic()
    outcomes = await analyze_photos(request, upload.images, Options(**options.model_dump(exclude={"as_list"})))
    timings = _milliseconds([outcome for outcome in outcomes if isinstance(outcome, AnalysisResult)])
    timings["upload"] = round(1000 * (received - started), 2)
    timings["total"] = round(1000 * (time.monotonic() - started), 2)
    return Response(
        json.encode(_body(outcomes, upload.is_list or options.as_list, timings)), media_type="application/json"
    )


def _body(
    outcomes: Sequence[AnalysisResult | ServiceError], is_list: bool, timings: dict[str, float]
) -> dict[str, object]:
    """Return the answer. Raises the only photo's error, or our own when no photo of several could be analyzed."""
    errors = [outcome for outcome in outcomes if isinstance(outcome, ServiceError)]
    server_errors = [error for error in errors if error.status >= 500]
    if len(errors) == len(outcomes) and (server_errors or not is_list):
        raise (server_errors or errors)[0]
    entries: list[dict[str, object]] = [
        {"error": outcome.problem()} if isinstance(outcome, ServiceError) else to_builtins(outcome.analysis)
        for outcome in outcomes
    ]
    models = [outcome.model for outcome in outcomes if isinstance(outcome, AnalysisResult)]
    common: dict[str, object] = {"model": models[0] if models else None, "timings_ms": timings}
    return {"images": entries, **common} if is_list else {**entries[0], **common}


def _milliseconds(results: Sequence[AnalysisResult]) -> dict[str, float]:
    """Return milliseconds by stage; of several photos each stage's longest."""
    longest: dict[str, float] = {}
    for result in results:
        for stage, seconds in result.timings.items():
            longest[stage] = max(longest.get(stage, 0.0), seconds)
    return {stage: round(1000 * seconds, 2) for stage, seconds in longest.items()}
