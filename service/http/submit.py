"""Submit photos to the queue and wait for their results, until the deadline or until the client disconnects."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from service.config import Settings
from service.errors import DeadlineExceeded, ServiceError, restored
from service.headers import read_header
from service.http.uploads import UnreadablePhoto
from service.queue import Producer
from service.wire import (
    AnalysisFailure,
    AnalysisOutcome,
    AnalysisRequest,
    AnalysisResult,
    ImageHeader,
    Options,
)

SMALL_HEADERS = 1 << 18
"""Bytes of a single photo whose header is read on the event loop: handing it to a thread costs more."""


async def analyze_photos(
    request: Request, photos: Sequence[bytes], options: Options, model: str | None = None
) -> list[AnalysisResult | ServiceError]:
    """Return what became of each photo, analyzed by the model of this digest, or by any.

    Raises QueueFull, NotReady, and ClientDisconnect when the client has left.
    """
    settings: Settings = request.app.state.settings
    headers = await _read_headers(photos, settings)
    requests = [
        _request(request, photo, header, options, model)
        for photo, header in zip(photos, headers, strict=True)
        if isinstance(header, ImageHeader)
    ]
    outcomes = await _wait(request, requests, settings.timeout) if requests else {}
    results = iter([_result(outcomes.get(submitted.id)) for submitted in requests])
    return [header if isinstance(header, ServiceError) else next(results) for header in headers]


async def submit_one(
    request: Request, data: bytes, header: ImageHeader, options: Options, model: str | None = None
) -> AnalysisResult:
    """Return what became of one file whose header is known. Raises the ServiceError that it ended with, QueueFull."""
    settings: Settings = request.app.state.settings
    analysis_request = _request(request, data, header, options, model)
    outcomes = await _wait(request, [analysis_request], settings.timeout)
    result = _result(outcomes.get(analysis_request.id))
    if isinstance(result, ServiceError):
        raise result
    return result


def _request(
    request: Request, data: bytes, header: ImageHeader, options: Options, model: str | None
) -> AnalysisRequest:
    settings: Settings = request.app.state.settings
    now = time.monotonic()
    return AnalysisRequest(
        id=uuid.uuid4().hex,
        request_id=request.scope["request_id"],
        image=data,
        header=header,
        options=options,
        submitted=now,
        deadline=now + settings.timeout,
        model=model,
        trace=request.scope["trace"],
    )


async def _read_headers(photos: Sequence[bytes], settings: Settings) -> list[ImageHeader | ServiceError]:
    """Return each photo's header, or what is wrong with it."""

    def read(photo: bytes) -> ImageHeader | ServiceError:
        if isinstance(photo, UnreadablePhoto):
            return photo.error
        try:
            return read_header(photo, settings.max_bytes, settings.max_pixels, settings.max_decoded)
        except ServiceError as error:
            return error

    if len(photos) == 1 and len(photos[0]) <= SMALL_HEADERS:
        return [read(photos[0])]
    return await run_in_threadpool(lambda: [read(photo) for photo in photos])


def _result(outcome: AnalysisOutcome | None) -> AnalysisResult | ServiceError:
    if outcome is None:
        return DeadlineExceeded()
    return restored(outcome.code, outcome.detail) if isinstance(outcome, AnalysisFailure) else outcome


async def _wait(request: Request, requests: Sequence[AnalysisRequest], seconds: float) -> dict[str, AnalysisOutcome]:
    """Return the outcomes that arrive before the deadline, by request id. Raises QueueFull, ClientDisconnect."""
    queue: Producer = request.app.state.producer
    futures = await queue.submit(requests)
    leaving = asyncio.ensure_future(_until_client_leaves(request))
    end = time.monotonic() + seconds
    try:
        for future in futures:
            seconds_left = max(0.0, end - time.monotonic())
            await asyncio.wait((future, leaving), timeout=seconds_left, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done() and not all(map(_is_answered, futures)):
                raise ClientDisconnect
        return {future.result().id: future.result() for future in futures if _is_answered(future)}
    finally:
        leaving.cancel()
        if not all(map(_is_answered, futures)):
            pairs = zip(requests, futures, strict=True)
            await queue.cancel([analysis_request.id for analysis_request, future in pairs if not _is_answered(future)])


def _is_answered(future: asyncio.Future[AnalysisOutcome]) -> bool:
    return future.done() and not future.cancelled()


async def _until_client_leaves(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
