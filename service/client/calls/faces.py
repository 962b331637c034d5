"""Calls that touch no collection: faces in photos, comparisons, templates, jobs, the model."""

from __future__ import annotations

import io
import zipfile
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, cast

import httpx
from pydantic import JsonValue

from service.client.call import Call, Option, as_model, as_nothing, collection_path, pair_body, segment
from service.client.errors import FaceError
from service.client.photos import Photo, Photos, as_list, file_parts, read_photo
from service.schemas.clusters import ClustersResponse, ClusterTemplate
from service.schemas.comparisons import ComparisonResponse
from service.schemas.faces import AnalysesResponse, AnalysisResponse, Model
from service.schemas.jobs import JobResponse, JobStatus
from service.schemas.names import Mode
from service.schemas.probes import Template, TemplateResponse
from service.schemas.videos import VideoResponse

FaceChoice: TypeAlias = Literal["largest", "only"] | int
"""Which face of a photo: the largest, the only one, or a number from 0 with the largest first."""
Orientation: TypeAlias = Literal["exif", "auto"]
"""How the answer tells which way a photo is turned: by EXIF alone, or with `auto` by its faces as well."""
JOB_RESULTS_AT_ONCE = 1000
"""Results of a job that one answer may hold."""


def analyze(
    photo: Photo,
    *,
    max_faces: int | None = None,
    min_size: float | None = None,
    min_score: float | None = None,
    descriptor: bool | None = None,
    landmarks: bool | None = None,
    quality: bool | None = None,
    orientation: Orientation | None = None,
) -> Call[AnalysisResponse]:
    """Find and describe every face of a photo; `analyze_many` does so for a list of photos."""
    params = _analysis_params(max_faces, min_size, min_score, descriptor, landmarks, quality, orientation)
    return Call("POST", "/v1/faces", as_model(AnalysisResponse), params, files=file_parts(photo))


def analyze_many(
    photos: Sequence[Photo],
    *,
    max_faces: int | None = None,
    min_size: float | None = None,
    min_score: float | None = None,
    descriptor: bool | None = None,
    landmarks: bool | None = None,
    quality: bool | None = None,
    orientation: Orientation | None = None,
) -> Call[AnalysesResponse]:
    """Find and describe every face of several photos, answered in their order; a bad photo has an `error` there."""
    params = _analysis_params(max_faces, min_size, min_score, descriptor, landmarks, quality, orientation)
    reader = as_model(AnalysesResponse)
    if len(photos) == 1:  # a form with one photo would be answered as one photo
        images = [b64encode(read_photo(photos[0])).decode()]
        return Call("POST", "/v1/faces", reader, params, json={"images": list(images)})
    return Call("POST", "/v1/faces", reader, params, files=file_parts(photos))


def submit_video(video: Photo, *, template: bool | None = None) -> Call[VideoResponse | JobStatus]:
    """Find the faces of a video and follow each through its time; of a long video, return the job that does it.

    `template=True` adds a template of each face.
    """
    return Call("POST", "/v1/videos", _tracks_or_job, {"template": template}, files=file_parts(video))


def video_of(job: JobResponse) -> VideoResponse:
    """Return the tracks in the finished job of a long video. Raises FaceError for a video that could not be used."""
    (result,) = job.results
    if result.video is None:
        assert result.error is not None
        raise FaceError(result.error.status, result.error.code, result.error.detail)
    return result.video


def _tracks_or_job(response: httpx.Response) -> VideoResponse | JobStatus:
    kind = JobStatus if response.status_code == httpx.codes.ACCEPTED else VideoResponse
    return kind.model_validate_json(response.content)


def compare(
    first: Photo | Template, second: Photo | Template, *, face: FaceChoice | None = None, far: float | None = None
) -> Call[ComparisonResponse]:
    """Compare two faces, each a photo or a template; `far` is the false accept rate of `matched`."""
    body = pair_body(first, second)
    params = {"face": face, "far": far}
    return Call("POST", "/v1/compare", as_model(ComparisonResponse), params, files=body.files, json=body.json)


def template(photos: Photos, *, face: FaceChoice | None = None, mode: Mode | None = None) -> Call[TemplateResponse]:
    """Make one template of one or several photos of a person; the server keeps nothing of it."""
    params = {"face": face, "mode": mode}
    return Call("POST", "/v1/templates", as_model(TemplateResponse), params, files=file_parts(photos))


def clusters(
    faces: Photos | Sequence[ClusterTemplate], *, collection: str | None = None, max_faces: int | None = None
) -> Call[ClustersResponse]:
    """Sort the faces of photos, or templates, into people; a collection names those who are its subjects.

    The server keeps nothing of them.
    """
    path = "/v1/clusters" if collection is None else f"{collection_path(collection)}/clusters"
    params = {"max_faces": max_faces}
    entries: Sequence[object] = as_list(cast(Photos, faces))
    templates = [face for face in entries if isinstance(face, ClusterTemplate)]
    if templates:
        body: JsonValue = {"templates": [template.model_dump(exclude_none=True) for template in templates]}
        return Call("POST", path, as_model(ClustersResponse), params, json=body)
    return Call("POST", path, as_model(ClustersResponse), params, files=file_parts(cast(Photos, faces)))


def model() -> Call[Model]:
    """Return the model that answers, and the server's limits."""
    return Call("GET", "/v1/model", as_model(Model))


# -- jobs -------------------------------------------------------------------------------------------------------------


def submit_job(
    photos: Photos | Mapping[str, Photo],
    *,
    max_faces: int | None = None,
    min_size: float | None = None,
    min_score: float | None = None,
    descriptor: bool | None = None,
    landmarks: bool | None = None,
    quality: bool | None = None,
    orientation: Orientation | None = None,
    cluster: bool | None = None,
    webhook: str | None = None,
    idempotency_key: str | None = None,
) -> Call[JobStatus]:
    """Submit photos as a job, analyzed when there is room; photos given by name have their names in the results.

    `cluster=True` sorts their faces into people: `wait_for_job` returns them as `clusters`.
    """
    params = _analysis_params(max_faces, min_size, min_score, descriptor, landmarks, quality, orientation)
    params |= {"webhook": webhook, "cluster": cluster}
    headers: dict[str, str | bytes] = {"Idempotency-Key": idempotency_key.encode()} if idempotency_key else {}
    reader = as_model(JobStatus)
    if isinstance(photos, Mapping):
        archive = _archive(photos)
        headers |= {"Content-Type": "application/zip"}
        return Call("POST", "/v1/jobs", reader, params, content=archive, headers=headers)
    return Call("POST", "/v1/jobs", reader, params, files=file_parts(as_list(photos)), headers=headers)


def job(job_id: str, *, start: int | None = None, limit: int | None = None) -> Call[JobResponse]:
    """Return how far a job is, and at most `limit` of its results, from number `start` on."""
    return Call("GET", f"/v1/jobs/{segment(job_id)}", as_model(JobResponse), {"start": start, "limit": limit})


def delete_job(job_id: str) -> Call[None]:
    """Stop a job, and delete it with its photos and results."""
    return Call("DELETE", f"/v1/jobs/{segment(job_id)}", as_nothing)


def _analysis_params(
    max_faces: int | None,
    min_size: float | None,
    min_score: float | None,
    descriptor: bool | None,
    landmarks: bool | None,
    quality: bool | None,
    orientation: Orientation | None,
) -> dict[str, Option]:
    return {
        "max_faces": max_faces,
        "min_size": min_size,
        "min_score": min_score,
        "descriptor": descriptor,
        "landmarks": landmarks,
        "quality": quality,
        "orientation": orientation,
    }


def _archive(photos: Mapping[str, Photo]) -> bytes:
    """Return a zip archive of the photos under their names, without compressing them again."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, photo in photos.items():
            archive.writestr(name, read_photo(photo))
    return file.getvalue()
