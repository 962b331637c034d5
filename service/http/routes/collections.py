"""Routes of collections and of the subjects in them."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import JSONResponse

from service.gallery import Policy, Subject
from service.gallery.errors import CollectionExists, CollectionNotFound
from service.gallery.gallery import Gallery
from service.gallery.renaming import rename_subject
from service.gallery.upkeep import rotate
from service.http.gallery_access import (
    GALLERY_RESPONSES,
    collection_response,
    current_model,
    in_gallery_thread,
    receipt_response,
    reviewed_subject,
    scoring_for,
    subject_response,
)
from service.keys import Key
from service.schemas.admin import KeyRotated
from service.schemas.collections import CollectionResponse, Collections, PolicyOptions, ReceiptResponse
from service.schemas.probes import Template
from service.schemas.subjects import NewName, SubjectOptions, SubjectResponse, Subjects

router = APIRouter(prefix="/v1/collections", tags=["identity"], responses=GALLERY_RESPONSES)
Limit = Annotated[int, Query(ge=1, le=1000, description="how many entries this part may have")]
Cursor = Annotated[str | None, Query(max_length=200, description="the `cursor` of the part before")]
log = logging.getLogger(__name__)


# -- collections ------------------------------------------------------------------------------------------------------


@router.get("")
async def list_collections(request: Request, cursor: Cursor = None, limit: Limit = 100) -> Collections:
    """List the collections that the caller's key reaches, in a stable, arbitrary order."""
    page = await in_gallery_thread(request, Gallery.collections, cursor, limit)
    model = await current_model(request)
    key: Key | None = request.state.key
    visible = [collection for collection in page.items if key is None or key.reaches(collection.name)]
    return Collections(
        collections=[collection_response(collection, model) for collection in visible],
        cursor=page.cursor,
        damaged=[name for name in page.damaged if key is None or key.reaches(name)],
    )


@router.put("/{collection}", response_model=CollectionResponse, responses={201: {"model": CollectionResponse}})
async def put_collection(
    request: Request, collection: str, options: Annotated[PolicyOptions | None, Body()] = None
) -> Response:
    """Make a collection under the model that answers now: 201; the same again: 200; another policy: 409."""
    scoring = await scoring_for(request, collection)
    policy = Policy(**options.model_dump()) if options else None
    stored, new = await in_gallery_thread(
        request, Gallery.put_collection, collection, scoring.model, scoring.dimension, policy
    )
    if options and options.model_fields_set and stored.policy != policy:
        raise CollectionExists("there is a collection of that name with another policy")
    response = collection_response(stored, await current_model(request))
    return JSONResponse(response.model_dump(), 201 if new else 200)


@router.get("/{collection}")
async def get_collection(request: Request, collection: str) -> CollectionResponse:
    """Describe a collection: its model, policy and number of subjects."""
    stored = await in_gallery_thread(request, Gallery.collection, collection)
    return collection_response(stored, await current_model(request))


@router.delete("/{collection}")
async def delete_collection(request: Request, collection: str) -> ReceiptResponse:
    """Delete a collection and the key that could open what remains of it."""
    return receipt_response(request, await in_gallery_thread(request, Gallery.delete_collection, collection))


@router.post("/{collection}/rotate-key")
async def rotate_collection_key(request: Request, collection: str) -> KeyRotated:
    """Encrypt a collection under a new key while it is in use; the old key and all it encrypted are deleted."""
    return KeyRotated(damaged=await in_gallery_thread(request, _rotate, collection))


def _rotate(gallery: Gallery, collection: str) -> list[str]:
    return rotate(gallery.encrypted, collection)


# -- subjects ---------------------------------------------------------------------------------------------------------


@router.get("/{collection}/subjects")
async def list_subjects(request: Request, collection: str, cursor: Cursor = None, limit: Limit = 100) -> Subjects:
    """List all subjects in a stable, arbitrary order; `damaged` names those that cannot be read."""
    page = await in_gallery_thread(request, Gallery.subjects, collection, cursor, limit)
    return Subjects(
        subjects=[subject_response(subject) for subject in page.items], cursor=page.cursor, damaged=page.damaged
    )


@router.put(
    "/{collection}/subjects/{subject}",
    response_model=SubjectResponse,
    responses={201: {"model": SubjectResponse}},
)
async def put_subject(
    request: Request, collection: str, subject: str, options: Annotated[SubjectOptions | None, Body()] = None
) -> Response:
    """Make a subject: 201; one that exists keeps its media: 200. Metadata and ttl are set when they are sent."""
    options = options or SubjectOptions.model_validate({})
    stored, new = await in_gallery_thread(
        request,
        Gallery.put_subject,
        collection,
        subject,
        options.metadata,
        options.ttl,
        clear_ttl=options.ttl is None and "ttl" in options.model_fields_set,
    )
    return JSONResponse(subject_response(stored).model_dump(), 201 if new else 200)


@router.get("/{collection}/subjects/{subject}")
async def get_subject(request: Request, collection: str, subject: str) -> SubjectResponse:
    """Describe one subject, without its template."""
    return await reviewed_subject(request, await in_gallery_thread(request, Gallery.subject, collection, subject))


@router.delete("/{collection}/subjects/{subject}")
async def delete_subject(request: Request, collection: str, subject: str) -> ReceiptResponse:
    """Delete a subject with all media and photos."""
    return receipt_response(request, await in_gallery_thread(request, Gallery.delete_subject, collection, subject))


@router.post("/{collection}/subjects/{subject}/rename")
async def rename(request: Request, collection: str, subject: str, options: NewName) -> SubjectResponse:
    """Give a subject another name; it keeps its media. A name that is taken: 409."""
    renamed = await in_gallery_thread(request, _rename, collection, subject, options.name)
    return await reviewed_subject(request, renamed)


def _rename(gallery: Gallery, collection: str, old: str, new: str) -> Subject:
    """Rename a subject and return it. Raises as rename_subject()."""
    rename_subject(gallery, collection, old, new)
    return gallery.subject(collection, new)


@router.get("/{collection}/subjects/{subject}/template")
async def get_template(request: Request, collection: str, subject: str) -> Template:
    """Return the subject's template, to be compared elsewhere by the same model."""
    return await in_gallery_thread(request, _template, collection, subject)


def _template(gallery: Gallery, collection: str, subject: str) -> Template:
    model = gallery.model(collection)
    if model is None:
        raise CollectionNotFound
    media = sum(medium.used for medium in gallery.subject(collection, subject).media)
    return Template.of(model, gallery.template(collection, subject, model), max(media, 1))
