"""Collections on the move: export, import, merge, and enrolling their people again under a new model."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Header, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from service.admin_schemas import ExportAsked, MergeAsked, Merged, Renewed
from service.api.gallery import ADMIN, STORED, shown_collection, stored
from service.api.probes import Probe, probes, scoring
from service.audit import Audited
from service.config import Settings
from service.errors import InvalidRequest, QueueFull, ServiceError, UploadTimeout
from service.gallery import Vector
from service.gallery.gallery import Gallery
from service.gallery.renewal import Kept, renew
from service.gallery.transfer import export, import_, merge
from service.identity_schemas import CollectionOut

router = APIRouter(prefix="/v1/collections", tags=["identity"], route_class=Audited, responses=STORED)
IN_MEMORY = 32 << 20
"""Bytes of an export beyond which the sealed file waits on disk."""
CHUNK = 1 << 20
OCTETS = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
BINARY_BODY = {"requestBody": {"required": True, "content": OCTETS}}


@router.post(
    "/{collection}/export",
    dependencies=[ADMIN],
    response_class=Response,
    responses={200: {"content": OCTETS}},
)
async def export_collection(request: Request, collection: str, asked: ExportAsked) -> Response:
    """The whole collection with media and kept photos as one file, sealed under a passphrase."""

    def write(gallery: Gallery) -> BinaryIO:
        file: BinaryIO = tempfile.SpooledTemporaryFile(IN_MEMORY)  # type: ignore[assignment]  # noqa: SIM115
        export(gallery, collection, asked.passphrase, file)
        file.seek(0)
        return file

    file = await stored(request, write)
    headers = {"Content-Disposition": 'attachment; filename="collection.faces"'}
    return StreamingResponse(_read(file), media_type="application/octet-stream", headers=headers)


@router.post("/{collection}/import", dependencies=[ADMIN], response_model=CollectionOut, openapi_extra=BINARY_BODY)
async def import_collection(
    request: Request, collection: str, face_passphrase: Annotated[str, Header(max_length=1000)]
) -> Response:
    """An exported file as a new collection of this name: all of it or nothing. Its model stays the one it had."""
    settings: Settings = request.app.state.settings
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        try:
            async with asyncio.timeout(settings.upload_timeout):
                async for chunk in request.stream():
                    await asyncio.to_thread(file.write, chunk)
        except TimeoutError as error:
            raise UploadTimeout from error
        file.seek(0)
        passphrase = _text(face_passphrase)
        found = await stored(
            request,
            lambda gallery: import_(gallery, file, passphrase, collection),  # type: ignore[arg-type]
        )
    answering = await scoring(request)
    return JSONResponse(shown_collection(found, answering.model).model_dump(), 201)


@router.post("/{collection}/merge", dependencies=[ADMIN])
async def merge_collections(request: Request, collection: str, asked: MergeAsked) -> Merged:
    """Adds all subjects and media of another collection to this one, which keeps its own where both have them."""
    if asked.source == collection:
        raise InvalidRequest("a collection cannot be merged into itself")
    return Merged(subjects=await stored(request, lambda gallery: merge(gallery, asked.source, collection)))


@router.post("/{collection}/re-enrol", dependencies=[ADMIN])
async def re_enrol(request: Request, collection: str, drop: bool = False) -> Renewed:
    """Enrols everybody again from their kept photos under the model that answers now, then switches over in one step.

    Until then the old templates serve. Whoever has not all photos kept must come again: then nothing is switched,
    unless `drop` says that they may stay as subjects without a template.
    """
    answering, loop = await scoring(request), asyncio.get_running_loop()

    def describe(kept: list[Kept]) -> list[Vector | ServiceError]:
        return asyncio.run_coroutine_threadsafe(_describe(request, kept, answering.model), loop).result()

    found = await stored(
        request, lambda gallery: renew(gallery, collection, answering.model, answering.dimension, describe, drop)
    )
    return Renewed(done=found.done, moved=found.moved, must_come_again=found.missing, model=answering.model)


async def _describe(request: Request, kept: list[Kept], model: str) -> list[Vector | ServiceError]:
    """Vectors [D] of photos under a model, patiently: other work goes first while the queue is full."""
    settings: Settings = request.app.state.settings
    found: list[Vector | ServiceError] = []
    for start in range(0, len(kept), settings.max_images):
        part = kept[start : start + settings.max_images]
        for item in part:
            while True:
                try:
                    (outcome,) = await probes(request, [item.photo], item.face, model)
                    break
                except QueueFull:
                    await asyncio.sleep(1)
            found.append(outcome.vector if isinstance(outcome, Probe) else outcome)
    return found


def _read(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk


def _text(header: str) -> str:
    """A header's bytes as the UTF-8 they were sent as."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header
