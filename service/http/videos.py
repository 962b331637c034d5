"""A video as one medium: a worker samples its frames, they are analyzed as photos, and its faces are followed."""

from __future__ import annotations

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from service.config import Settings
from service.errors import ServiceError
from service.formats import sniff_video
from service.http.submit import analyze_photos, submit_one
from service.jobs.tracks import FRAME_OPTIONS, TrackedVideo, follow, following_threshold, video_header, video_limits
from service.queue import Producer
from service.wire import Analysis, Options, VideoFrame

POOLED = 8
"""Frames of a track that are pooled, the best ones: more say hardly more."""
SAMPLING = 0.9
"""Share of the time until the deadline in which the frames of a video are to be there."""


def is_video(data: bytes) -> bool:
    """Return whether a file is a video, or a picture that may be animated, by its first bytes."""
    return sniff_video(data) is not None or data.startswith(b"GIF8") or _is_animated_webp(data)


async def track_video(request: Request, video: bytes, model: str, at_once: float | None = None) -> TrackedVideo:
    """Follow the faces of a video. Raises the ServiceError of a video that cannot be used, QueueFull, NotReady.

    One that plays for longer than `at_once` seconds raises VideoNeedsJob.
    """
    settings: Settings = request.app.state.settings
    frames = await _sampled(request, video, model, at_once)
    results: list[tuple[float, Analysis]] = []
    errors: list[ServiceError] = []
    count = settings.job_images_at_once
    for start in range(0, len(frames), count):
        batch = frames[start : start + count]
        outcomes = await analyze_photos(request, [frame.image for frame in batch], FRAME_OPTIONS, model)
        for frame, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, ServiceError):
                errors.append(outcome)
            else:
                results.append((frame.time, outcome.analysis))
    if errors:  # frames that we encoded ourselves: it is the service that failed
        raise errors[0]
    producer: Producer = request.app.state.producer
    threshold = following_threshold(await producer.model_card(model))
    return await run_in_threadpool(follow, model, results, threshold)


async def _sampled(request: Request, video: bytes, model: str, at_once: float | None) -> list[VideoFrame]:
    """Return frames of a video, evenly spread.

    Raises NotAnImage, ImageBroken, ImageTooLarge, VideoTooLong, VideoNeedsJob.
    """
    settings: Settings = request.app.state.settings
    header = await run_in_threadpool(video_header, video, settings)
    limits = video_limits(settings, settings.timeout * SAMPLING, at_once)
    return (await submit_one(request, video, header, Options(video=limits), model)).frames


def _is_animated_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and bool(data[20] & 2) if len(data) > 20 else False
