"""POST /v1/videos: a video in, the faces in it out, each followed through time. A long video becomes a job."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from service.config import Settings
from service.errors import TooManyImages, VideoNeedsJob
from service.gallery.errors import NoFace
from service.http.auth import require_role
from service.http.job_access import begin_job, new_job, status_of
from service.http.options import PROBLEM_RESPONSES, Responses, merge_options
from service.http.probes import model_scoring
from service.http.tracks import video_response
from service.http.uploads import read_upload, request_body
from service.http.videos import track_video
from service.jobs import Item
from service.jobs.tracks import video_limits
from service.schemas.jobs import JobStatus
from service.schemas.videos import VideoOptions, VideoResponse
from service.wire import Options

ACCEPTED: Responses = {202: {"model": JobStatus, "description": "a long video: the job that will have its tracks"}}
router = APIRouter(tags=["faces"], responses=PROBLEM_RESPONSES)


@router.post(
    "/v1/videos",
    response_model=VideoResponse,
    responses=ACCEPTED,
    openapi_extra=request_body(VideoOptions.model_json_schema()["properties"], video=True),
)
async def follow(request: Request, query: Annotated[VideoOptions, Query()]) -> VideoResponse | Response:
    """Find the faces of a video (mp4, mov, webm, GIF, WebP) and follow each through its time.

    So many frames as `FACE_VIDEO_FRAMES` says are looked at, evenly spread over the video. A video without a face is an
    error. A video that plays for longer than `FACE_VIDEO_AT_ONCE` seconds is answered with 202 and a job, whose only
    result has the same answer as `video`.
    """
    settings: Settings = request.app.state.settings
    upload = await read_upload(request, settings)
    options = merge_options(query, upload)
    if len(upload.images) != 1:
        raise TooManyImages("send one video")
    if options.template:
        require_role(request, "verify")
    (data,) = upload.images
    model = (await model_scoring(request)).model
    try:
        video = await track_video(request, data, model, settings.video_at_once)
    except VideoNeedsJob:
        job_options = Options(video=video_limits(settings, settings.video_timeout), template=options.template)
        stored = await begin_job(request, new_job(request, 1, job_options), [Item(image=data)])
        return JSONResponse(status_of(stored), 202, {"Location": f"/v1/jobs/{stored.id}"})
    if not video.tracks:
        raise NoFace("no face was found in the video")
    return video_response(video, with_templates=options.template)
