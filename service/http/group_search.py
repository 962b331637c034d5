"""Search for all faces of one photo: each face by itself, a subject given to one face only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fastapi import Request

from service.config import Settings
from service.gallery import SearchResult
from service.gallery.scoring import Scoring
from service.http.gallery_access import tells_scores
from service.http.matches import coarse_match, limit_probes, match_response, search_gallery_for_all
from service.http.probes import MAX_FACES, Probe, probe_all_faces
from service.schemas.search import GroupSearchResponse, MatchResponse, SearchedFace, SearchOptions


async def search_all_faces(
    request: Request, collection: str, photo: bytes, options: SearchOptions, fpir: float, scoring: Scoring
) -> GroupSearchResponse:
    """Search a collection for every face of a photo. Raises NoFace, and what a search for one face raises.

    Each face counts as a search for callers who may only compare and search.
    """
    settings: Settings = request.app.state.settings
    exact = tells_scores(request)
    max_faces = MAX_FACES if exact else min(MAX_FACES, settings.probes_per_minute)
    probes = await probe_all_faces(request, photo, max_faces, scoring.model)
    for _ in probes[1:]:  # the first was counted before the photo was analyzed
        limit_probes(request, collection)
    spare = len(probes) if options.exclusive else 0  # so many subjects may belong to other faces
    vectors = [probe.vector for probe in probes]
    results = await asyncio.to_thread(
        search_gallery_for_all, request, collection, scoring.model, vectors, options.limit + spare
    )
    size = results[-1].gallery_size
    rows = [_matches(scoring, result, fpir) for result in results]
    if options.exclusive:
        rows = give_subjects_to_best_faces(rows)
    if not exact:
        rows = [[coarse_match(match) for match in row if match.matched] for row in rows]
    return GroupSearchResponse(
        faces=[
            _face(probe, row[: options.limit], scoring.identification(size, fpir, 1), settings.min_quality)
            for probe, row in zip(probes, rows, strict=True)
        ],
        more=probes[0].faces_seen > len(probes),
        faces_seen=probes[0].faces_seen,
        fpir=fpir,
        gallery_size=size,
        thresholds=scoring.thresholds(1),
        score=scoring.score,
        model=scoring.model,
    )


def give_subjects_to_best_faces(rows: Sequence[Sequence[MatchResponse]]) -> list[list[MatchResponse]]:
    """Return each face's matches without the subjects who match another face of the photo better.

    Nobody is in a photo twice. Of faces that are equally similar the first has the subject.
    """
    owners: dict[str, tuple[float, int]] = {}
    for number, row in enumerate(rows):
        for match in row:
            best = owners.get(match.subject)
            if match.matched and (best is None or match.similarity > best[0]):
                owners[match.subject] = match.similarity, number
    return [
        [match for match in row if match.subject not in owners or owners[match.subject][1] == number]
        for number, row in enumerate(rows)
    ]


def _matches(scoring: Scoring, result: SearchResult, fpir: float) -> list[MatchResponse]:
    size = result.gallery_size
    return [match_response(match, scoring.identification(size, fpir, match.media, 1)) for match in result.matches]


def _face(probe: Probe, matches: list[MatchResponse], threshold: float, gate: float) -> SearchedFace:
    face_used = probe.face_used(gate)
    return SearchedFace(
        box=face_used.box,
        score=probe.score,
        quality=face_used.quality,
        matches=matches,
        threshold=threshold,
        matched=any(match.matched for match in matches),
    )
