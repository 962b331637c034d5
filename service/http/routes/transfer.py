"""Collections on the move: export, import, merge, and enrolling their people again under a new model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from service.errors import InvalidRequest, QueueFull, ServiceError
from service.gallery import Collection, Vector
from service.gallery.checks import clean_name
from service.gallery.errors import CollectionNotFound
from service.gallery.gallery import Gallery
from service.gallery.reenrol import KeptPhoto, renew
from service.gallery.resources import Resources
from service.gallery.transfer import export, import_, merge
from service.http.gallery_access import GALLERY_RESPONSES, collection_response, current_model, in_gallery_thread
from service.http.probes import Probe, model_scoring, probe_photos
from service.http.transfers import Transfers
from service.keys import Key
from service.schemas.admin import ExportOptions, Merged, MergeOptions, Renewed
from service.schemas.collections import CollectionResponse

router = APIRouter(prefix="/v1/collections", tags=["identity"], responses=GALLERY_RESPONSES)
CHUNK = 1 << 18
OCTETS = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
BINARY_BODY = {"requestBody": {"required": True, "content": OCTETS}}


@router.post("/{collection}/export", response_class=Response, responses={200: {"content": OCTETS}})
async def export_collection(request: Request, collection: str, options: ExportOptions) -> Response:
    """Return the whole collection with media and kept photos as one file, encrypted under a passphrase.

    The file is made while it is sent; one that ends early is refused by an import.
    """
    await in_gallery_thread(request, Gallery.collection, collection)
    headers = {"Content-Disposition": 'attachment; filename="collection.faces"'}
    content = _exported(request, collection, options.passphrase)
    return StreamingResponse(content, media_type="application/octet-stream", headers=headers)


async def _exported(request: Request, collection: str, passphrase: str) -> AsyncIterator[bytes]:
    """Yield an export: a thread writes it into a pipe that holds little, so that none of it waits in memory."""
    transfers: Transfers = request.app.state.transfers
    async with transfers.places:
        reader, writer = _pipe()
        work = transfers.start(_write_export, request.app.state.resources, collection, passphrase, writer)
        try:
            while chunk := await transfers.start(reader.read, CHUNK):
                yield chunk
            await work
        finally:
            transfers.start(reader.close)  # if the client left, the other thread's next write fails
            with suppress(OSError, ServiceError):
                await asyncio.shield(work)  # which closes the other end


def _write_export(resources: Resources, collection: str, passphrase: str, writer: BinaryIO) -> None:
    with writer:
        export(resources.gallery, collection, passphrase, writer)


@router.post(
    "/{collection}/import",
    status_code=201,
    response_model=CollectionResponse,
    openapi_extra=BINARY_BODY,
)
async def import_collection(
    request: Request, collection: str, face_passphrase: Annotated[str, Header(max_length=1000)]
) -> Response:
    """Import an exported file as a new collection of this name, all of it or nothing; its model stays the one it had.

    The file may have any size: it is read while it arrives.
    """
    transfers: Transfers = request.app.state.transfers
    passphrase = _utf8_header(face_passphrase)
    async with transfers.places:
        reader, writer = _pipe()
        work = transfers.start(_read_import, request.app.state.resources, reader, passphrase, collection)
        try:
            with suppress(BrokenPipeError):  # the import has failed, and says why below
                async for chunk in request.stream():
                    await transfers.start(writer.write, chunk)
        finally:  # an upload that failed is an import that failed, but it is the upload that is told
            await asyncio.shield(asyncio.gather(transfers.start(writer.close), work, return_exceptions=True))
        stored = await work
    return JSONResponse(collection_response(stored, await current_model(request)).model_dump(), 201)


def _read_import(resources: Resources, reader: BinaryIO, passphrase: str, collection: str) -> Collection:
    with reader:
        return import_(resources.gallery, reader, passphrase, collection)


@router.post("/{collection}/merge")
async def merge_collections(request: Request, collection: str, options: MergeOptions) -> Merged:
    """Add all subjects and media of another collection to this one, which keeps its own where both have them."""
    if clean_name(options.source) == clean_name(collection):
        raise InvalidRequest("a collection cannot be merged into itself")
    key: Key | None = request.state.key
    if key is not None and not key.reaches(options.source):
        raise CollectionNotFound
    return Merged(subjects=await in_gallery_thread(request, merge, options.source, collection))


@router.post("/{collection}/re-enrol")
async def re_enrol(request: Request, collection: str, drop: bool = False) -> Renewed:
    """Enrol everybody again from their kept photos under the model that answers now, then switch over in one step.

    Until then the old templates serve. Whoever has not all photos kept must come again: then nothing is switched,
    unless `drop` says that they may stay as subjects without a template.
    """
    scoring = await model_scoring(request)
    loop = asyncio.get_running_loop()

    def describe(photos: list[KeptPhoto]) -> list[Vector | ServiceError]:
        return asyncio.run_coroutine_threadsafe(_describe(request, photos, scoring.model), loop).result()

    renewal = await in_gallery_thread(request, renew, collection, scoring.model, scoring.dimension, describe, drop)
    return Renewed(done=renewal.done, moved=renewal.moved, must_come_again=renewal.missing, model=scoring.model)


async def _describe(request: Request, photos: list[KeptPhoto], model: str) -> list[Vector | ServiceError]:
    """Return the vectors [D] of photos under a model; while the queue is full, other work goes first."""
    vectors: list[Vector | ServiceError] = []
    for item in photos:
        while True:
            try:
                (outcome,) = await probe_photos(request, [item.photo], item.face, model)
                break
            except QueueFull:
                await asyncio.sleep(1)
        vectors.append(outcome.vector if isinstance(outcome, Probe) else outcome)
    return vectors


def _pipe() -> tuple[BinaryIO, BinaryIO]:
    """Return both ends of a pipe: what is written to the second is read from the first."""
    reader, writer = os.pipe()
    return os.fdopen(reader, "rb"), os.fdopen(writer, "wb")


def _utf8_header(header: str) -> str:
    """Return a header's bytes as the UTF-8 that they were sent as."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header
