"""Media of subjects: photos are enrolled, kept and deleted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from service.config import Settings
from service.errors import ServiceError
from service.gallery import NewMedium
from service.gallery.checks import clean_name
from service.gallery.errors import ModelMismatch
from service.gallery.gallery import Gallery
from service.http.conflicts import check_conflicts
from service.http.gallery_access import GALLERY_RESPONSES, in_gallery_thread, retry_on_model_change, reviewed_subject
from service.http.options import merge_options
from service.http.probes import Probe, low_quality, probe_photos
from service.http.uploads import read_upload, request_body
from service.schemas.enrolment import Enrolled, EnrolOptions, EnrolResponse, NotEnrolled
from service.schemas.faces import Problem
from service.schemas.subjects import SubjectResponse

router = APIRouter(prefix="/v1/collections", tags=["identity"], responses=GALLERY_RESPONSES)


@router.post(
    "/{collection}/subjects/{subject}/media",
    openapi_extra=request_body(EnrolOptions.model_json_schema()["properties"], video=True),
)
async def enrol(
    request: Request, collection: str, subject: str, query: Annotated[EnrolOptions, Query()]
) -> EnrolResponse:
    """Add photos or videos to a subject: each is a medium of its own, or all are frames of one that `medium` names.

    A photo of several people is refused unless `face` says which. A photo that cannot be taken is an error; of several,
    each such photo has an `error` in its place and the others are enrolled. Frames of one medium are taken all or none.
    `conflicts` names other subjects whom the faces match, `outliers` the subject's media that do not fit the others.
    """
    settings: Settings = request.app.state.settings
    upload = await read_upload(request, settings)
    options = merge_options(query, upload)
    gate = settings.min_quality if options.min_quality is None else options.min_quality
    async for attempt in retry_on_model_change(request, collection):
        with attempt as scoring:
            probes = await probe_photos(request, upload.images, options.face, scoring.model)
            outcomes = [(low_quality(probe, gate) or probe) if isinstance(probe, Probe) else probe for probe in probes]
            media = _media(upload.images, outcomes, options)
            conflicts = await check_conflicts(request, collection, subject, outcomes, options.on_conflict, scoring)
            stored = await in_gallery_thread(
                request, Gallery.add_media, collection, subject, scoring.model, media, options.create
            )
            photos = [
                _photo_response(photo, outcome, options, gate)
                for photo, outcome in zip(upload.images, outcomes, strict=True)
            ]
            subject_answer = await reviewed_subject(request, stored)
            return EnrolResponse(
                subject=subject_answer,
                photos=photos,
                model=stored.model,
                conflicts=conflicts,
                outliers=subject_answer.outliers,
            )
    raise ModelMismatch


@router.delete("/{collection}/subjects/{subject}/media/{medium}")
async def delete_medium(request: Request, collection: str, subject: str, medium: str) -> SubjectResponse:
    """Delete one medium and its photo; the template is made again from those left."""
    stored = await in_gallery_thread(request, Gallery.delete_medium, collection, subject, medium)
    return await reviewed_subject(request, stored)


@router.get(
    "/{collection}/subjects/{subject}/media/{medium}/photo",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
async def get_photo(request: Request, collection: str, subject: str, medium: str) -> Response:
    """Return a photo that was kept, as it was sent."""
    photo = await in_gallery_thread(request, Gallery.photo, collection, subject, medium)
    return Response(photo, media_type="application/octet-stream")


def medium_id(photo: bytes, choice: str | int) -> str:
    """Return the id of a photo's medium: the same for the same photo, another for another than its largest face."""
    digest = hashlib.sha256(photo).hexdigest()[:32]
    return f"{digest}-{choice}" if isinstance(choice, int) and choice else digest


def _media(photos: Sequence[bytes], outcomes: Sequence[Probe | ServiceError], options: EnrolOptions) -> list[NewMedium]:
    """Return a medium for each good photo, or one of all photos.

    A photo is kept only if it is its medium's only photo. Raises the first error when no photo is good, or not every
    photo of one medium.
    """
    good = [(photo, o) for photo, o in zip(photos, outcomes, strict=True) if isinstance(o, Probe)]
    errors = [outcome for outcome in outcomes if isinstance(outcome, ServiceError)]
    if errors and (not good or options.medium is not None):
        raise errors[0]
    if options.medium is None:
        media = {medium_id(photo, options.face): (photo, probe) for photo, probe in good}
        return [NewMedium(name, p.frames, p.frame_quality, photo) for name, (photo, p) in media.items()]
    photo_to_keep = good[0][0] if len(good) == 1 and options.face in ("largest", "only", 0) else None
    probes = [probe for _, probe in good]
    vectors = np.concatenate([probe.frames for probe in probes])
    return [
        NewMedium(options.medium, vectors, np.concatenate([probe.frame_quality for probe in probes]), photo_to_keep)
    ]


def _photo_response(
    photo: bytes, outcome: Probe | ServiceError, options: EnrolOptions, gate: float
) -> Enrolled | NotEnrolled:
    if isinstance(outcome, ServiceError):
        return NotEnrolled(error=Problem.model_validate(outcome.problem()))
    face = outcome.face_used(gate)
    return Enrolled(
        box=face.box,
        quality=face.quality,
        faces_seen=face.faces_seen,
        medium=clean_name(options.medium or medium_id(photo, options.face)),
    )
