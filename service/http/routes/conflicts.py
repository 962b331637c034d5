"""Conflicts in what a collection holds: one person under two names, and media that do not fit their subject."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from msgspec.structs import replace

from service.config import Settings
from service.gallery import SearchResult, Subject, Vector
from service.gallery.conflicts import find_conflicts
from service.gallery.gallery import Gallery
from service.gallery.outliers import find_outliers
from service.gallery.review import parts_of
from service.gallery.scoring import Scoring
from service.http.conflicts import conflicts_response
from service.http.gallery_access import GALLERY_RESPONSES, in_gallery_thread, scoring_for
from service.http.job_access import begin_job, new_job, status_of
from service.http.matches import search_gallery
from service.jobs import Item
from service.schemas.conflicts import CollectionConflicts, SubjectOutlier, SubjectsConflict
from service.schemas.jobs import JobStatus
from service.wire import Options

router = APIRouter(prefix="/v1/collections", tags=["identity"], responses=GALLERY_RESPONSES)


@router.get("/{collection}/conflicts")
async def list_conflicts(
    request: Request,
    collection: str,
    cursor: Annotated[str | None, Query(description="the `cursor` of the part before")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="how many subjects this part looks at")] = 100,
) -> CollectionConflicts:
    """Find subjects who match each other, and media that do not fit their subject, part by part.

    Each part looks at some subjects and compares them with all of the collection; `cursor` asks for the next part.
    """
    scoring = await scoring_for(request, collection)
    scoring.calibrated()
    page = await in_gallery_thread(request, Gallery.subjects, collection, cursor, limit)
    return await asyncio.to_thread(_review, request, collection, page.items, page.cursor, scoring)


@router.post("/{collection}/conflicts", status_code=202, response_model=JobStatus)
async def review_collection(request: Request, collection: str) -> Response:
    """Look through a whole collection for conflicts, as a job: for large collections.

    Each result of the job has the `conflicts` of some subjects with all of the collection. The job keeps no names:
    whoever is deleted meanwhile is not in its answers.
    """
    scoring = await scoring_for(request, collection)
    scoring.calibrated()
    reviewed = await in_gallery_thread(request, Gallery.collection, collection)
    parts = [Item(review=part) for part in parts_of(reviewed.name, reviewed.subjects)]
    job = replace(new_job(request, len(parts), Options()), review=True)
    stored = await begin_job(request, job, parts)
    return JSONResponse(status_of(stored), 202, {"Location": f"/v1/jobs/{stored.id}"})


def _review(
    request: Request, collection: str, subjects: list[Subject], cursor: str | None, scoring: Scoring
) -> CollectionConflicts:
    settings: Settings = request.app.state.settings
    conflicts: list[SubjectsConflict] = []
    outliers: list[SubjectOutlier] = []

    def search(vector: Vector, count: int) -> SearchResult:
        return search_gallery(request, collection, scoring.model, vector, count)

    for subject in subjects:
        conflicts += [
            SubjectsConflict(subjects=(subject.id, each.other), similarity=each.similarity, threshold=each.threshold)
            for each in find_conflicts(search, subject, scoring, settings.fpir)
        ]
        outliers += [
            SubjectOutlier(subject=subject.id, medium=each.medium, similarity=each.similarity)
            for each in find_outliers(subject, scoring.calibrated())
        ]
    return conflicts_response(conflicts, outliers, len(subjects), scoring.model, cursor)
