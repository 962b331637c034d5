"""Collections → subjects → media: enrol, verify, search. A blocking gallery, called in threads."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from service.access import needs
from service.api.faces import RESPONSES, merged
from service.api.probes import (
    Probe,
    all_probes,
    check_model,
    good_enough,
    pooled,
    probes,
    scoring,
    template_in,
)
from service.api.uploads import read_upload, request_body
from service.audit import Audited
from service.config import Settings
from service.errors import InvalidRequest, NotReady, ServiceError
from service.gallery import Collection, CollectionExists, NewMedium, Policy, Receipt, Subject, Vector
from service.gallery.gallery import Gallery
from service.gallery.scoring import Scoring
from service.identity_schemas import (
    CollectionOut,
    Collections,
    EnrolAnswer,
    EnrolAsked,
    MediumOut,
    PolicyAsked,
    ReceiptOut,
    SearchAnswer,
    SearchAsked,
    SubjectAsked,
    SubjectOut,
    Subjects,
    Template,
    VerifyAnswer,
    VerifyAsked,
)
from service.metrics import Metrics
from service.schemas import Problem

Done = TypeVar("Done")
STORED: dict[int | str, dict[str, Any]] = RESPONSES | {
    401: {"model": Problem, "description": "no valid API key"},
    403: {"model": Problem, "description": "the key lacks the role"},
    404: {"model": Problem, "description": "no such collection, subject or medium"},
    409: {"model": Problem, "description": "the templates are another model's, or the name is taken"},
    507: {"model": Problem, "description": "the storage is full; what was stored is intact"},
}
router = APIRouter(prefix="/v1/collections", tags=["identity"], route_class=Audited, responses=STORED)
Limit = Annotated[int, Query(ge=1, le=1000, description="most entries of this part")]
Cursor = Annotated[str | None, Query(max_length=200, description="where the last part ended")]
VERIFY, ENROL, ADMIN = (Depends(needs(role)) for role in ("verify", "enrol", "admin"))
TEMPLATE = {"template": Template.model_json_schema()}


async def stored(request: Request, work: Callable[[Gallery], Done]) -> Done:
    """Does something with the gallery, in a thread. Raises StorageUnavailable, VaultLocked and what it raises."""
    return await asyncio.to_thread(lambda: work(request.app.state.opening.gallery))


# -- collections ------------------------------------------------------------------------------------------------------


@router.get("", dependencies=[ENROL])
async def list_collections(request: Request, cursor: Cursor = None, limit: Limit = 100) -> Collections:
    """All collections, in an order of no meaning."""
    page = await stored(request, lambda gallery: gallery.collections(cursor, limit))
    model = await _model(request)
    return Collections(collections=[shown_collection(found, model) for found in page.items], cursor=page.cursor)


@router.put("/{collection}", dependencies=[ADMIN], response_model=CollectionOut)
async def put_collection(
    request: Request, collection: str, asked: Annotated[PolicyAsked | None, Body()] = None
) -> Response:
    """A new collection under the model that answers now: 201; the same again: 200. Raises 409 for another policy."""
    answering = await scoring(request)
    policy = Policy(**asked.model_dump()) if asked else None
    found, new = await stored(
        request, lambda gallery: gallery.put_collection(collection, answering.model, answering.dimension, policy)
    )
    if asked and asked.model_fields_set and found.policy != policy:
        raise CollectionExists("there is a collection of that name with another policy")
    return JSONResponse(shown_collection(found, answering.model).model_dump(), 201 if new else 200)


@router.get("/{collection}", dependencies=[ENROL])
async def get_collection(request: Request, collection: str) -> CollectionOut:
    """One collection."""
    found = await stored(request, lambda gallery: gallery.collection(collection))
    return shown_collection(found, await _model(request))


@router.delete("/{collection}", dependencies=[ADMIN])
async def delete_collection(request: Request, collection: str) -> ReceiptOut:
    """Forgets a collection and the key that could open what remains of it."""
    return receipt(request, await stored(request, lambda gallery: gallery.delete_collection(collection)))


# -- subjects ---------------------------------------------------------------------------------------------------------


@router.get("/{collection}/subjects", dependencies=[ENROL])
async def list_subjects(request: Request, collection: str, cursor: Cursor = None, limit: Limit = 100) -> Subjects:
    """All subjects, in an order of no meaning."""
    page = await stored(request, lambda gallery: gallery.subjects(collection, cursor, limit))
    return Subjects(subjects=[_subject(found) for found in page.items], cursor=page.cursor)


@router.put("/{collection}/subjects/{subject}", dependencies=[ENROL], response_model=SubjectOut)
async def put_subject(
    request: Request, collection: str, subject: str, asked: Annotated[SubjectAsked | None, Body()] = None
) -> Response:
    """A new subject: 201; one that is there: 200, its media stay; metadata and ttl are set when given."""
    asked = asked or SubjectAsked(metadata=None, ttl=None)
    found, new = await stored(
        request, lambda gallery: gallery.put_subject(collection, subject, asked.metadata, asked.ttl)
    )
    return JSONResponse(_subject(found).model_dump(), 201 if new else 200)


@router.get("/{collection}/subjects/{subject}", dependencies=[ENROL])
async def get_subject(request: Request, collection: str, subject: str) -> SubjectOut:
    """One subject, without the template."""
    return _subject(await stored(request, lambda gallery: gallery.subject(collection, subject)))


@router.delete("/{collection}/subjects/{subject}", dependencies=[ENROL])
async def delete_subject(request: Request, collection: str, subject: str) -> ReceiptOut:
    """Forgets a subject with all media and photos."""
    return receipt(request, await stored(request, lambda gallery: gallery.delete_subject(collection, subject)))


@router.get("/{collection}/subjects/{subject}/template", dependencies=[ADMIN])
async def get_template(request: Request, collection: str, subject: str) -> Template:
    """The subject's template, to be compared elsewhere by the same model."""

    def find(gallery: Gallery) -> Template:
        model = gallery.collection(collection).model
        return Template.of(model, gallery.template(collection, subject, model))

    return await stored(request, find)


# -- media ------------------------------------------------------------------------------------------------------------


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
    outcomes: list[Probe | ServiceError] = []
    for outcome in await probes(request, upload.images, asked.face):
        low = good_enough(outcome, gate) if isinstance(outcome, Probe) else None
        outcomes.append(low or outcome)
    good = [(photo, o) for photo, o in zip(upload.images, outcomes, strict=True) if isinstance(o, Probe)]
    errors = [outcome for outcome in outcomes if isinstance(outcome, ServiceError)]
    if errors and (not good or asked.medium is not None):
        raise errors[0]
    if len({probe.model for _, probe in good}) > 1:
        raise NotReady("workers with different models answered; the service is changing its model")
    media = _media(good, asked)
    model = good[0][1].model
    found = await stored(
        request, lambda gallery: gallery.add_media(collection, subject, model, list(media.values()), asked.create)
    )
    entries = [
        {"error": o.problem()}
        if isinstance(o, ServiceError)
        else o.used(gate) | {"medium": asked.medium or medium_id(photo, asked.face)}
        for photo, o in zip(upload.images, outcomes, strict=True)
    ]
    return {"subject": _subject(found), "photos": entries, "model": model}


@router.delete("/{collection}/subjects/{subject}/media/{medium}", dependencies=[ENROL])
async def delete_medium(request: Request, collection: str, subject: str, medium: str) -> SubjectOut:
    """Forgets one medium and its photo; the template is pooled anew from those left."""
    return _subject(await stored(request, lambda gallery: gallery.delete_medium(collection, subject, medium)))


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


# -- verify and search ------------------------------------------------------------------------------------------------


@router.post(
    "/{collection}/subjects/{subject}/verify",
    dependencies=[VERIFY],
    response_model=VerifyAnswer,
    openapi_extra=request_body(VerifyAsked.model_json_schema()["properties"] | TEMPLATE),
)
async def verify(
    request: Request, collection: str, subject: str, query: Annotated[VerifyAsked, Query()]
) -> dict[str, Any]:
    """Is this the subject? A photo, several of one person, or a template."""
    settings: Settings = request.app.state.settings
    asked, answering, vector, faces = await _probe_of(request, query)
    similarity = await stored(request, lambda gallery: gallery.verify(collection, subject, answering.model, vector))
    return answering.verdict(similarity, asked.far or settings.far) | {"subject": subject, "faces": faces}


@router.post(
    "/{collection}/search",
    dependencies=[VERIFY],
    response_model=SearchAnswer,
    openapi_extra=request_body(SearchAsked.model_json_schema()["properties"] | TEMPLATE),
)
async def search(request: Request, collection: str, query: Annotated[SearchAsked, Query()]) -> dict[str, Any]:
    """Who is this? The most similar subjects, best first; a photo, several of one person, or a template."""
    settings: Settings = request.app.state.settings
    metrics: Metrics = request.app.state.metrics
    asked, answering, vector, faces = await _probe_of(request, query)
    calibration = answering.calibrated()

    def find(gallery: Gallery) -> tuple[list[Any], int]:
        searching = request.app.state.opening.searching
        with metrics.search_duration.time():
            matches = searching.search(collection, answering.model, vector, asked.limit)
        return matches, gallery.collection(collection).subjects

    matches, size = await stored(request, find)
    fpir = asked.fpir or settings.fpir
    threshold = calibration.identification_threshold(size, fpir)
    found = [
        {"subject": m.subject, "similarity": m.similarity, "matched": m.similarity >= threshold, "metadata": m.metadata}
        for m in matches
    ]
    around = {"threshold": threshold, "fpir": fpir, "gallery_size": size, "thresholds": answering.thresholds()}
    return {"matches": found, **around, "score": answering.score, "model": answering.model, "faces": faces}


AskedOf = TypeVar("AskedOf", VerifyAsked, SearchAsked)


async def _probe_of(request: Request, query: AskedOf) -> tuple[AskedOf, Scoring, Vector, list[dict[str, Any]]]:
    """What is asked, under which model, the probe [D] and the faces it was made of."""
    settings: Settings = request.app.state.settings
    upload = await read_upload(request, settings, image_needed=False)
    template = template_in(upload)
    asked = merged(query, upload)
    if (template is None) == (not upload.images):
        raise InvalidRequest("send either photos or a template")
    if template is not None:
        answering = await scoring(request)
        answering.calibrated()
        return asked, answering, check_model(template, answering), []
    (await scoring(request)).calibrated()  # before the work
    found = await all_probes(request, upload.images, asked.face)
    faces = [probe.used(settings.min_quality) for probe in found]
    return asked, await scoring(request, found[0].model), pooled(found), faces


def medium_id(photo: bytes, choice: str | int) -> str:
    """The id of a photo's medium: the same photo gives the same; another than its largest face is another medium."""
    digest = hashlib.sha256(photo).hexdigest()[:32]
    return f"{digest}-{choice}" if isinstance(choice, int) and choice else digest


def _media(good: list[tuple[bytes, Probe]], asked: EnrolAsked) -> dict[str, NewMedium]:
    """A medium for each photo, or one of all; photos go along only where they tell all of their medium."""
    if asked.medium is None:
        return {
            (name := medium_id(photo, asked.face)): NewMedium(name, probe.vector[None], _floats([probe.quality]), photo)
            for photo, probe in good
        }
    photo = good[0][0] if len(good) == 1 and asked.face in ("largest", "only", 0) else None
    vectors = _floats([probe.vector for _, probe in good])
    return {asked.medium: NewMedium(asked.medium, vectors, _floats([probe.quality for _, probe in good]), photo)}


def _floats(values: Any) -> Vector:
    return np.asarray(values, np.float32)


async def _model(request: Request) -> str | None:
    try:
        return (await scoring(request)).model
    except NotReady:
        return None


def receipt(request: Request, done: Receipt) -> ReceiptOut:
    """As callers see it; its number goes into the audit log too."""
    request.state.receipt = done.id
    return ReceiptOut(receipt=done.id, at=done.at, subjects=done.subjects, media=done.media, photos=done.photos)


def shown_collection(found: Collection, model: str | None) -> CollectionOut:
    """As callers see it; `model` is the one that answers now."""
    policy = PolicyAsked(
        mode=found.policy.mode,
        reject_below=found.policy.reject_below,
        keep_photos=found.policy.keep_photos,
        ttl=found.policy.ttl,
    )
    return CollectionOut(
        name=found.name,
        model=found.model,
        current=found.model == model,
        dimension=found.dimension,
        created=found.created,
        policy=policy,
        subjects=found.subjects,
    )


def _subject(found: Subject) -> SubjectOut:
    media = [
        MediumOut(
            id=m.id, frames=len(m.vectors), quality=float(m.quality.max()), added=m.added, used=m.used, photo=m.photo
        )
        for m in found.media
    ]
    return SubjectOut(
        id=found.id,
        metadata=dict(found.metadata),
        created=found.created,
        updated=found.updated,
        expires=found.expires,
        template=found.template is not None,
        media=media,
        model=found.model,
    )
