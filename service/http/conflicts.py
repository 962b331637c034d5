"""Does a face that is to be enrolled already belong to another subject of the collection?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fastapi import Request

from service.config import Settings
from service.errors import ServiceError
from service.gallery.checks import clean_name
from service.gallery.conflicts import CANDIDATES
from service.gallery.errors import IdentityConflict, NotCalibrated
from service.gallery.gallery import Gallery
from service.gallery.review import PartReview, resolve
from service.gallery.scoring import Scoring
from service.gallery.searchers import SearcherMissing
from service.http.matches import search_gallery
from service.http.probes import Probe
from service.schemas.conflicts import CollectionConflicts, SubjectOutlier, SubjectsConflict
from service.schemas.enrolment import Conflict, OnConflict


async def check_conflicts(
    request: Request,
    collection: str,
    subject: str,
    outcomes: Sequence[Probe | ServiceError],
    on_conflict: OnConflict,
    scoring: Scoring,
) -> list[Conflict] | None:
    """Return the other subjects whom the faces match, most similar first; None where nobody could or should look.

    Raises IdentityConflict for `refuse` when there are any; for `refuse` NotCalibrated and SearcherMissing too, for
    `report` an enrolment goes on without an answer. Faces are enrolled at the same time without seeing each other.
    """
    if on_conflict == "ignore":
        return None
    vectors = [outcome.vector for outcome in outcomes if isinstance(outcome, Probe)]
    own_name = clean_name(subject)
    settings: Settings = request.app.state.settings

    def search() -> dict[str, float]:
        similarities: dict[str, float] = {}
        for vector in vectors:
            result = search_gallery(request, collection, scoring.model, vector, CANDIDATES)
            for match in result.matches:
                threshold = scoring.identification(result.gallery_size, settings.fpir, match.media, 1)
                if match.subject != own_name and match.similarity >= threshold:
                    similarities[match.subject] = max(match.similarity, similarities.get(match.subject, -1.0))
        return similarities

    try:
        scoring.calibrated()
        similarities = await asyncio.to_thread(search)
    except (NotCalibrated, SearcherMissing):
        if on_conflict == "refuse":
            raise
        return None
    if similarities and on_conflict == "refuse":
        raise IdentityConflict("nothing was stored; a search for the face tells whose it is")
    ranked = sorted(similarities.items(), key=lambda item: (-item[1], item[0]))
    return [Conflict(subject=name, similarity=similarity) for name, similarity in ranked]


def reviewed_conflicts(gallery: Gallery, review: PartReview) -> CollectionConflicts:
    """Return the review of a part of a collection as callers see it; blocks.

    Whoever was deleted since is left out. Raises CollectionNotFound.
    """
    resolved = resolve(gallery, review)
    return conflicts_response(
        [
            SubjectsConflict(subjects=(first, second), similarity=pair.similarity, threshold=pair.threshold)
            for first, second, pair in resolved.pairs
        ],
        [
            SubjectOutlier(subject=subject, medium=medium, similarity=outlier.similarity)
            for subject, medium, outlier in resolved.outliers
        ],
        review.checked,
        review.model,
    )


def conflicts_response(
    conflicts: list[SubjectsConflict],
    outliers: list[SubjectOutlier],
    checked: int,
    model: str,
    cursor: str | None = None,
) -> CollectionConflicts:
    """Return conflicts as callers see them, the most similar and the least fitting first."""
    return CollectionConflicts(
        conflicts=sorted(conflicts, key=lambda conflict: -conflict.similarity),
        outliers=sorted(outliers, key=lambda outlier: outlier.similarity),
        checked=checked,
        cursor=cursor,
        model=model,
    )
