"""Media of subjects: photos enrolled, kept and forgotten."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from service.api.faces import merged
from service.api.gallery import ENROL, STORED, shown_subject, stored, under_own_model
from service.api.probes import Probe, good_enough, probes
from service.api.uploads import read_upload, request_body
from service.audit import Audited
from service.config import Settings
from service.errors import ServiceError
from service.gallery import NewMedium, Subject, Vector
from service.gallery.scoring import Scoring
from service.identity_schemas import EnrolAnswer, EnrolAsked, SubjectOut

router = APIRouter(prefix="/v1/collections", tags=["identity"], route_class=Audited, responses=STORED)


@router.post(
    "/{collection}/subjects/{subject}/media",
    dependencies=[ENROL],
    response_model=EnrolAnswer,
    openapi_extra=request_body(EnrolAsked.model_json_schema()["properties"]),
)
async def enrol(
    request: Request, collection: str, subject: str, query: Annotated[EnrolAsked, Query()]
) -> dict[str, Any]:
    """Adds photos to a subject: each is a medium of its own, or all are frames of one that `medium` names.

    A photo that cannot be taken is an error; of several, each such photo has an `error` in its place and the others
    are enrolled. Frames of one medium are taken all or none.
    """
    settings: Settings = request.app.state.settings
    upload = await read_upload(request, settings)
    asked = merged(query, upload)
    gate = settings.min_quality if asked.min_quality is None else asked.min_quality

    async def add(answering: Scoring) -> tuple[Subject, Sequence[Probe | ServiceError]]:
        outcomes = _gated(await probes(request, upload.images, asked.face, answering.model), gate)
        media = _media(upload.images, outcomes, asked)
        return await stored(
            request, lambda gallery: gallery.add_media(collection, subject, answering.model, media, asked.create)
        ), outcomes

    found, outcomes = await under_own_model(request, collection, add)
    entries = [
        {"error": o.problem()}
        if isinstance(o, ServiceError)
        else o.used(gate) | {"medium": asked.medium or medium_id(photo, asked.face)}
        for photo, o in zip(upload.images, outcomes, strict=True)
    ]
    return {"subject": shown_subject(found), "photos": entries, "model": found.model}


@router.delete("/{collection}/subjects/{subject}/media/{medium}", dependencies=[ENROL])
async def delete_medium(request: Request, collection: str, subject: str, medium: str) -> SubjectOut:
    """Forgets one medium and its photo; the template is pooled anew from those left."""
    return shown_subject(await stored(request, lambda gallery: gallery.delete_medium(collection, subject, medium)))


@router.get(
    "/{collection}/subjects/{subject}/media/{medium}/photo",
    dependencies=[ENROL],
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
async def get_photo(request: Request, collection: str, subject: str, medium: str) -> Response:
    """A photo that was kept, as it was sent."""
    photo = await stored(request, lambda gallery: gallery.photo(collection, subject, medium))
    return Response(photo, media_type="application/octet-stream")


def medium_id(photo: bytes, choice: str | int) -> str:
    """The id of a photo's medium: the same photo gives the same; another than its largest face is another medium."""
    digest = hashlib.sha256(photo).hexdigest()[:32]
    return f"{digest}-{choice}" if isinstance(choice, int) and choice else digest


def _gated(outcomes: Sequence[Probe | ServiceError], gate: float) -> list[Probe | ServiceError]:
    """With an error in place of each face that is not good enough."""
    return [(good_enough(o, gate) or o) if isinstance(o, Probe) else o for o in outcomes]


def _media(photos: Sequence[bytes], outcomes: Sequence[Probe | ServiceError], asked: EnrolAsked) -> list[NewMedium]:
    """A medium for each good photo, or one of all; photos go along only where they tell all of their medium.

    Raises the first error when no photo is good, or not all of one medium's.
    """
    good = [(photo, o) for photo, o in zip(photos, outcomes, strict=True) if isinstance(o, Probe)]
    errors = [outcome for outcome in outcomes if isinstance(outcome, ServiceError)]
    if errors and (not good or asked.medium is not None):
        raise errors[0]
    if asked.medium is None:
        media = {medium_id(photo, asked.face): (photo, probe) for photo, probe in good}
        return [NewMedium(name, p.vector[None], _floats([p.quality]), photo) for name, (photo, p) in media.items()]
    kept = good[0][0] if len(good) == 1 and asked.face in ("largest", "only", 0) else None
    vectors = _floats([probe.vector for _, probe in good])
    return [NewMedium(asked.medium, vectors, _floats([probe.quality for _, probe in good]), kept)]


def _floats(values: Any) -> Vector:
    return np.asarray(values, np.float32)
