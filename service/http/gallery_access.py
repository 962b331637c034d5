"""What all routes about the gallery share: calls in threads, the model that answers, and what callers see of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Concatenate, ParamSpec, TypeVar

from fastapi import Request

from service.errors import NotReady
from service.gallery import Collection, Receipt, Subject
from service.gallery.errors import ModelMismatch
from service.gallery.gallery import Gallery
from service.gallery.outliers import find_outliers
from service.gallery.resources import Resources
from service.gallery.scoring import Scoring, Verdict
from service.http.options import PROBLEM_RESPONSES, Responses
from service.http.probes import Probe, model_scoring
from service.keys import Key
from service.schemas.collections import CollectionResponse, PolicyOptions, ReceiptResponse
from service.schemas.comparisons import ComparisonResponse
from service.schemas.faces import Problem
from service.schemas.subjects import MediumResponse, Outlier, SubjectResponse

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
GALLERY_RESPONSES: Responses = PROBLEM_RESPONSES | {
    401: {"model": Problem, "description": "no valid API key, where they are on"},
    403: {"model": Problem, "description": "the API key lacks the role, or the request comes from elsewhere"},
    404: {"model": Problem, "description": "no such collection, subject or medium"},
    409: {"model": Problem, "description": "the name is taken, or the templates are of another model"},
    507: {"model": Problem, "description": "the storage is full; what was stored is intact"},
}
TEMPLATE_REFERENCE = {"$ref": "#/components/schemas/Template"}
TEMPLATE = {"template": TEMPLATE_REFERENCE}


async def in_gallery_thread(
    request: Request,
    method: Callable[Concatenate[Gallery, Arguments], Result],
    *arguments: Arguments.args,
    **options: Arguments.kwargs,
) -> Result:
    """Call a method of the gallery in a thread. Raises StorageUnavailable, VaultLocked and what the method raises."""
    resources: Resources = request.app.state.resources
    return await asyncio.to_thread(lambda: method(resources.gallery, *arguments, **options))


async def scoring_for(request: Request, collection: str) -> Scoring:
    """Return the scoring of the collection's own model while a worker has it, else of the model that answers now.

    So a collection of an older model is served until its people are enrolled again, if workers of both are there.
    Raises NotReady, InvalidName.
    """
    return await model_scoring(request, await in_gallery_thread(request, Gallery.model, collection))


async def current_model(request: Request) -> str | None:
    """Return the digest of the model that answers now, None while there is none."""
    try:
        return (await model_scoring(request)).model
    except NotReady:
        return None


class ModelAttempt:
    """A try under one model. As a context manager it swallows ModelMismatch, so that another can be tried."""

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        self.mismatch: ModelMismatch | None = None

    def __enter__(self) -> Scoring:
        return self.scoring

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> bool:
        if isinstance(error, ModelMismatch):
            self.mismatch = error
        return self.mismatch is not None


async def retry_on_model_change(request: Request, collection: str) -> AsyncIterator[ModelAttempt]:
    """Yield a try under the collection's model, and another if a new model took its place meanwhile.

    Raises ModelMismatch when it did not.
    """
    attempt = ModelAttempt(await scoring_for(request, collection))
    yield attempt
    mismatch = attempt.mismatch
    while mismatch is not None:
        newer = await scoring_for(request, collection)
        if newer.model == attempt.scoring.model:
            raise mismatch
        attempt = ModelAttempt(newer)
        yield attempt
        mismatch = attempt.mismatch


def tells_scores(request: Request) -> bool:
    """Return whether the caller may see scores of people who do not match, exact scores, and metadata.

    A key that may only compare and search could piece templates together from exact scores.
    """
    key: Key | None = getattr(request.state, "key", None)
    return key is None or key.grants("enrol") or key.grants("templates")


# -- what callers see -------------------------------------------------------------------------------------------------


def comparison_response(scoring: Scoring, verdict: Verdict, probes: list[Probe], gate: float) -> ComparisonResponse:
    """Return a comparison as callers see it, and of its faces what keeps them below the quality `gate`."""
    return ComparisonResponse(
        similarity=verdict.similarity,
        probability=verdict.probability,
        matched=verdict.matched,
        far=verdict.far,
        threshold=verdict.threshold,
        thresholds=verdict.thresholds,
        score=scoring.score,
        model=scoring.model,
        faces=[probe.face_used(gate) for probe in probes],
    )


def receipt_response(request: Request, receipt: Receipt) -> ReceiptResponse:
    """Return a receipt as callers see it; its number goes into the audit log too."""
    request.state.receipt = receipt.id
    return ReceiptResponse(
        receipt=receipt.id, at=receipt.at, subjects=receipt.subjects, media=receipt.media, photos=receipt.photos
    )


def collection_response(collection: Collection, model: str | None) -> CollectionResponse:
    """Return a collection as callers see it; `model` is the one that answers now."""
    policy = collection.policy
    return CollectionResponse(
        name=collection.name,
        model=collection.model,
        current=collection.model == model,
        dimension=collection.dimension,
        created=collection.created,
        policy=PolicyOptions(
            mode=policy.mode, reject_below=policy.reject_below, keep_photos=policy.keep_photos, ttl=policy.ttl
        ),
        subjects=collection.subjects,
    )


async def reviewed_subject(request: Request, subject: Subject) -> SubjectResponse:
    """Return a subject as callers see it, with its outliers where its model has a calibration and a worker."""
    response = subject_response(subject)
    try:
        scoring = await model_scoring(request, subject.model)
    except NotReady:
        return response
    if scoring.model != subject.model or scoring.calibration is None:
        return response
    outliers = await asyncio.to_thread(find_outliers, subject, scoring.calibration)
    outlier_responses = [Outlier(medium=each.medium, similarity=each.similarity) for each in outliers]
    return response.model_copy(update={"outliers": outlier_responses})


def subject_response(subject: Subject) -> SubjectResponse:
    """Return a subject as callers see it, not looking for outliers."""
    media = [
        MediumResponse(
            id=m.id, frames=len(m.vectors), quality=float(m.quality.max()), added=m.added, used=m.used, photo=m.photo
        )
        for m in subject.media
    ]
    return SubjectResponse(
        id=subject.id,
        metadata=dict(subject.metadata),
        created=subject.created,
        updated=subject.updated,
        expires=subject.expires,
        template=subject.template is not None,
        media=media,
        model=subject.model,
    )
