"""One person under two names: pairs of stored subjects who match each other, as a search for one of them says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service.gallery import SearchResult, Subject, Vector
from service.gallery.matching import distinct_media
from service.gallery.scoring import Scoring

CANDIDATES = 10
"""Most similar subjects that are looked at first; more where all of them match."""

Search = Callable[[Vector, int], SearchResult]
"""A search of the subject's collection for a template [D], for so many subjects."""


@dataclass(frozen=True)
class FoundConflict:
    """Another subject who matches, by its id; the similarity reaches the threshold of a search."""

    other: str
    similarity: float
    threshold: float


def find_conflicts(search: Search, subject: Subject, scoring: Scoring, fpir: float) -> list[FoundConflict]:
    """Return the conflicts of one subject with those whose names come after it, so that each pair is named once.

    Raises what the search raises, NotCalibrated.
    """
    if subject.template is None:
        return []
    media = distinct_media(subject.media)
    count = CANDIDATES
    while True:
        result = search(subject.template, count)
        candidates = [match for match in result.matches if match.subject != subject.id]
        thresholds = [scoring.identification(result.gallery_size, fpir, match.media, media) for match in candidates]
        matching = [pair for pair in zip(candidates, thresholds, strict=True) if pair[0].similarity >= pair[1]]
        if len(matching) < len(candidates) or count >= result.gallery_size:
            return [
                FoundConflict(match.subject, match.similarity, threshold)
                for match, threshold in matching
                if match.subject > subject.id
            ]
        count *= 4  # all candidates match: there may be more
