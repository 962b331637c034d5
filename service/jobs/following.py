"""The video of a job: its frames by a worker, their analyses, its faces followed."""

from __future__ import annotations

import asyncio

from starlette.concurrency import run_in_threadpool

from service.config import Settings
from service.gallery.errors import NoFace
from service.headers import read_header
from service.jobs import Item, ItemResult, Job
from service.jobs.submission import Submitter
from service.jobs.tracks import FRAME_OPTIONS, follow, following_threshold, video_header, video_limits
from service.wire import Analysis, Options, VideoFrame


async def followed(submitter: Submitter, settings: Settings, job: Job, index: int, item: Item) -> ItemResult:
    """Return the tracks of a video, with what identifies a person where the job is to answer with templates.

    Raises NoFace, and the ServiceError of a video that cannot be used.
    """
    header = await run_in_threadpool(video_header, item.image, settings)
    sampling = Options(video=video_limits(settings, settings.video_timeout))
    sampled = await submitter.analyzed(job, item.image, header, sampling, seconds=settings.video_timeout)
    frames: list[tuple[float, Analysis]] = []
    count = settings.job_images_at_once
    for start in range(0, len(sampled.frames), count):
        batch = sampled.frames[start : start + count]
        frames += await asyncio.gather(*(_analyzed(submitter, settings, job, frame, sampled.model) for frame in batch))
    threshold = following_threshold(await submitter.model_card(sampled.model))
    video = await run_in_threadpool(follow, sampled.model, frames, threshold)
    if not video.tracks:
        raise NoFace("no face was found in the video")
    return ItemResult(index, item.name, video=video if job.options.template else video.without_vectors())


async def _analyzed(
    submitter: Submitter, settings: Settings, job: Job, frame: VideoFrame, model: str
) -> tuple[float, Analysis]:
    limits = settings.max_bytes, settings.max_pixels, settings.max_decoded
    header = await run_in_threadpool(read_header, frame.image, *limits)
    result = await submitter.analyzed(job, frame.image, header, FRAME_OPTIONS, model)
    return frame.time, result.analysis
