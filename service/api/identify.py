"""Who is this, and is this really them? Probes against collections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request

from service.api.faces import merged
from service.api.gallery import STORED, TEMPLATE, VERIFY, stored, under_own_model
from service.api.probes import all_probes, check_model, pooled, template_in
from service.api.uploads import read_upload, request_body
from service.audit import Audited
from service.config import Settings
from service.errors import InvalidRequest
from service.gallery import Match, Vector
from service.gallery.opening import Opening
from service.gallery.scoring import Scoring
from service.identity_schemas import SearchAnswer, SearchAsked, VerifyAnswer, VerifyAsked
from service.metrics import Metrics

router = APIRouter(prefix="/v1/collections", tags=["identity"], route_class=Audited, responses=STORED)


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
    asked, probe_under = await _probe_of(request, query)

    async def find(answering: Scoring) -> dict[str, Any]:
        vector, faces, media = await probe_under(answering)
        match = await stored(request, lambda gallery: gallery.verify(collection, subject, answering.model, vector))
        verdict = answering.verdict(match.similarity, asked.far or settings.far, match.media, media)
        return verdict | {"subject": subject, "faces": faces}

    return await under_own_model(request, collection, find)


@router.post(
    "/{collection}/search",
    dependencies=[VERIFY],
    response_model=SearchAnswer,
    openapi_extra=request_body(SearchAsked.model_json_schema()["properties"] | TEMPLATE),
)
async def search(request: Request, collection: str, query: Annotated[SearchAsked, Query()]) -> dict[str, Any]:
    """Who is this? The most similar subjects, best first; a photo, several of one person, or a template."""
    settings: Settings = request.app.state.settings
    asked, probe_under = await _probe_of(request, query)
    fpir = asked.fpir or settings.fpir

    async def find(answering: Scoring) -> dict[str, Any]:
        vector, faces, media = await probe_under(answering)
        matches, size = await asyncio.to_thread(_found, request, collection, answering.model, vector, asked.limit)
        found = []
        for match in matches:
            threshold = answering.identification(size, fpir, match.media, media)
            told = {"subject": match.subject, "similarity": match.similarity, "metadata": match.metadata}
            found.append(told | {"threshold": threshold, "matched": match.similarity >= threshold})
        return {
            "matches": found,
            "threshold": answering.identification(size, fpir, media),
            "fpir": fpir,
            "gallery_size": size,
            "thresholds": answering.thresholds(media),
            "score": answering.score,
            "model": answering.model,
            "faces": faces,
        }

    return await under_own_model(request, collection, find)


def _found(request: Request, collection: str, model: str, vector: Vector, limit: int) -> tuple[list[Match], int]:
    """The best matches and how many people there are; blocking."""
    opening: Opening = request.app.state.opening
    metrics: Metrics = request.app.state.metrics
    with metrics.search_duration.time():
        matches = opening.searching.search(collection, model, vector, limit)
    return matches, opening.gallery.collection(collection).subjects


AskedOf = TypeVar("AskedOf", VerifyAsked, SearchAsked)
Under = Callable[[Scoring], Awaitable[tuple[Vector, list[dict[str, Any]], int]]]
"""The probe [D], the faces it is made of, and how many media are pooled in it, by a model."""


async def _probe_of(request: Request, query: AskedOf) -> tuple[AskedOf, Under]:
    """What is asked, and what makes the probe. Raises InvalidRequest."""
    settings: Settings = request.app.state.settings
    upload = await read_upload(request, settings, image_needed=False)
    template = template_in(upload)
    asked = merged(query, upload)
    if (template is None) == (not upload.images):
        raise InvalidRequest("send either photos or a template")

    async def under(answering: Scoring) -> tuple[Vector, list[dict[str, Any]], int]:
        answering.calibrated()  # before the work
        if template is not None:
            return check_model(template, answering), [], template.media
        found = await all_probes(request, upload.images, asked.face, answering.model)
        return pooled(found), [probe.used(settings.min_quality) for probe in found], len(found)

    return asked, under
