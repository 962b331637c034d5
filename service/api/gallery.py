"""Collections and their subjects, and what all routes about them share. A blocking gallery, called in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote_to_bytes

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from service.access import needs
from service.api.faces import RESPONSES
from service.api.probes import (
    scoring,
)
from service.audit import Audited
from service.errors import NotReady
from service.gallery import Collection, CollectionExists, ModelMismatch, Policy, Receipt, Subject
from service.gallery.gallery import Gallery
from service.gallery.scoring import Scoring
from service.identity_schemas import (
    CollectionOut,
    Collections,
    MediumOut,
    PolicyAsked,
    ReceiptOut,
    SubjectAsked,
    SubjectOut,
    Subjects,
    Template,
)
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


def names_in(raw_path: bytes) -> bool:
    """Whether a path's names come through: a quoted / would make it another resource's, and not all bytes are UTF-8."""
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        return False
    return b"%2f" not in raw_path.lower()


async def serving(request: Request, collection: str) -> Scoring:
    """The collection's own model while a worker has it, else the model that answers now. Raises NotReady, InvalidName.

    So a collection of an older model is served until its people are enrolled again, if workers of both are there.
    """
    return await scoring(request, await stored(request, lambda gallery: gallery.model(collection)))


async def under_own_model(request: Request, collection: str, work: Callable[[Scoring], Awaitable[Done]]) -> Done:
    """Does it under the collection's model, and again when another took its place meanwhile. Raises ModelMismatch."""
    answering = await serving(request, collection)
    try:
        return await work(answering)
    except ModelMismatch:
        now = await serving(request, collection)
        if now.model == answering.model:
            raise
        return await work(now)


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
    answering = await serving(request, collection)
    policy = Policy(**asked.model_dump()) if asked else None
    found, new = await stored(
        request, lambda gallery: gallery.put_collection(collection, answering.model, answering.dimension, policy)
    )
    if asked and asked.model_fields_set and found.policy != policy:
        raise CollectionExists("there is a collection of that name with another policy")
    return JSONResponse(shown_collection(found, await _model(request)).model_dump(), 201 if new else 200)


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
    return Subjects(subjects=[shown_subject(found) for found in page.items], cursor=page.cursor)


@router.put("/{collection}/subjects/{subject}", dependencies=[ENROL], response_model=SubjectOut)
async def put_subject(
    request: Request, collection: str, subject: str, asked: Annotated[SubjectAsked | None, Body()] = None
) -> Response:
    """A new subject: 201; one that is there: 200, its media stay; metadata and ttl are set when given."""
    asked = asked or SubjectAsked(metadata=None, ttl=None)
    found, new = await stored(
        request, lambda gallery: gallery.put_subject(collection, subject, asked.metadata, asked.ttl)
    )
    return JSONResponse(shown_subject(found).model_dump(), 201 if new else 200)


@router.get("/{collection}/subjects/{subject}", dependencies=[ENROL])
async def get_subject(request: Request, collection: str, subject: str) -> SubjectOut:
    """One subject, without the template."""
    return shown_subject(await stored(request, lambda gallery: gallery.subject(collection, subject)))


@router.delete("/{collection}/subjects/{subject}", dependencies=[ENROL])
async def delete_subject(request: Request, collection: str, subject: str) -> ReceiptOut:
    """Forgets a subject with all media and photos."""
    return receipt(request, await stored(request, lambda gallery: gallery.delete_subject(collection, subject)))


@router.get("/{collection}/subjects/{subject}/template", dependencies=[ADMIN])
async def get_template(request: Request, collection: str, subject: str) -> Template:
    """The subject's template, to be compared elsewhere by the same model."""

    def find(gallery: Gallery) -> Template:
        model = gallery.collection(collection).model
        media = sum(medium.used for medium in gallery.subject(collection, subject).media)
        return Template.of(model, gallery.template(collection, subject, model), max(media, 1))

    return await stored(request, find)


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


def shown_subject(found: Subject) -> SubjectOut:
    """As callers see it."""
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
