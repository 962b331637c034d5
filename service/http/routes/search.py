"""Verification and search: probes against one subject of a collection, and against all of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request

from service.config import Settings
from service.errors import InvalidRequest
from service.gallery import Vector
from service.gallery.errors import ModelMismatch
from service.gallery.gallery import Gallery
from service.gallery.scoring import Scoring
from service.http.gallery_access import (
    GALLERY_RESPONSES,
    TEMPLATE,
    comparison_response,
    in_gallery_thread,
    retry_on_model_change,
    tells_scores,
)
from service.http.group_search import search_all_faces
from service.http.matches import COARSE, coarse_match, limit_probes, match_response, search_gallery
from service.http.options import merge_options
from service.http.probes import Probe, probe_every_photo, probe_vector, template_in, template_vector
from service.http.uploads import Upload, read_upload, request_body
from service.schemas.comparisons import VerifyOptions, VerifyResponse
from service.schemas.probes import Choice, Template
from service.schemas.search import GroupSearchResponse, SearchOptions, SearchResponse

router = APIRouter(prefix="/v1/collections", tags=["identity"], responses=GALLERY_RESPONSES)


@router.post(
    "/{collection}/subjects/{subject}/verify",
    openapi_extra=request_body(VerifyOptions.model_json_schema()["properties"] | TEMPLATE, video=True),
)
async def verify(
    request: Request, collection: str, subject: str, query: Annotated[VerifyOptions, Query()]
) -> VerifyResponse:
    """Compare a probe with one subject: a photo, several photos of one person, or a template.

    A key that grants only `verify` learns similarity and probability of a match, to 0.01, and nothing of others.
    """
    settings: Settings = request.app.state.settings
    upload = await read_upload(request, settings, image_needed=False)
    template = template_in(request, upload)
    options = merge_options(query, upload)
    far = strict_rate("far", options.far, settings.far)
    check_sources(upload, template)
    limit_probes(request, collection, subject)
    async for attempt in retry_on_model_change(request, collection):
        with attempt as scoring:
            probe = await _probe(request, upload, template, options.face, scoring)
            match = await in_gallery_thread(request, Gallery.verify, collection, subject, scoring.model, probe.vector)
            verdict = scoring.verdict(match.similarity, far, match.media, probe.media)
            answer = comparison_response(scoring, verdict, probe.probes, settings.min_quality)
            response = VerifyResponse(**dict(answer), subject=match.subject)
            return response if tells_scores(request) else _coarse(response)
    raise ModelMismatch


@router.post(
    "/{collection}/search",
    openapi_extra=request_body(SearchOptions.model_json_schema()["properties"] | TEMPLATE, video=True),
)
async def search(
    request: Request, collection: str, query: Annotated[SearchOptions, Query()]
) -> SearchResponse | GroupSearchResponse:
    """Find the subjects most similar to a photo, several photos of one person, or a template, best first.

    With `face=all` every face of one photo is searched by itself, and the answer has the `faces`, largest first.

    A key that grants only `verify` learns of matches only, without metadata, their similarity to 0.01.
    """
    settings: Settings = request.app.state.settings
    upload = await read_upload(request, settings, image_needed=False)
    template = template_in(request, upload)
    options = merge_options(query, upload)
    fpir = strict_rate("fpir", options.fpir, settings.fpir)
    check_sources(upload, template)
    limit_probes(request, collection)
    if options.face == "all" and len(upload.images) != 1:
        raise InvalidRequest("face=all: send one photo")
    async for attempt in retry_on_model_change(request, collection):
        with attempt as scoring:
            if options.face == "all":
                scoring.calibrated()
                return await search_all_faces(request, collection, upload.images[0], options, fpir, scoring)
            probe = await _probe(request, upload, template, options.face, scoring)
            return await _search_one(request, collection, probe, options.limit, fpir, scoring)
    raise ModelMismatch


def strict_rate(name: str, value: float | None, bound: float) -> float:
    """Return the rate to apply; a looser one than the server's own is refused. Raises InvalidRequest."""
    if value is not None and value > bound:
        raise InvalidRequest(f"{name}: at most {bound:g}, the server's own FACE_{name.upper()}")
    return bound if value is None else value


def check_sources(upload: Upload, template: Template | None) -> None:
    """Raise InvalidRequest unless a request holds either photos or a template."""
    if (template is None) == (not upload.images):
        raise InvalidRequest("send either photos or a template")


@dataclass(frozen=True, eq=False)
class _PooledProbe:
    """A probe [D], the faces it is made of, and how many media are pooled in it."""

    vector: Vector
    probes: list[Probe]
    media: int


async def _probe(
    request: Request, upload: Upload, template: Template | None, choice: Choice, scoring: Scoring
) -> _PooledProbe:
    scoring.calibrated()  # an uncalibrated model is refused before the work
    if template is not None:
        return _PooledProbe(template_vector(template, scoring), [], template.media)
    probes = await probe_every_photo(request, upload.images, choice, scoring.model)
    return _PooledProbe(probe_vector(probes), probes, len(probes))


async def _search_one(
    request: Request, collection: str, probe: _PooledProbe, limit: int, fpir: float, scoring: Scoring
) -> SearchResponse:
    settings: Settings = request.app.state.settings
    result = await asyncio.to_thread(search_gallery, request, collection, scoring.model, probe.vector, limit)
    size = result.gallery_size
    matches = [
        match_response(match, scoring.identification(size, fpir, match.media, probe.media)) for match in result.matches
    ]
    if not tells_scores(request):
        matches = [coarse_match(match) for match in matches if match.matched]
    return SearchResponse(
        matches=matches,
        threshold=scoring.identification(size, fpir, probe.media),
        fpir=fpir,
        gallery_size=size,
        thresholds=scoring.thresholds(probe.media),
        score=scoring.score,
        model=scoring.model,
        faces=[face.face_used(settings.min_quality) for face in probe.probes],
    )


def _coarse(response: VerifyResponse) -> VerifyResponse:
    """Return what a key that may only compare and search learns: nothing but the verdict without a match."""
    scores = {
        name: round(value, COARSE) if response.matched and value is not None else None
        for name, value in (("similarity", response.similarity), ("probability", response.probability))
    }
    return response.model_copy(update=scores)
