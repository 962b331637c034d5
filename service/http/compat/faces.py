"""What the mappings of other products' APIs share: analysis of one photo, search for its faces, adding one of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from fastapi import Request

from service.config import Settings
from service.errors import ServiceError
from service.gallery import Metadata, NewMedium, Place, SearchResult, Vector
from service.gallery.checks import unit_vector
from service.gallery.errors import CollectionNotFound, MediumNotFound, ModelMismatch, NoFace
from service.gallery.gallery import Gallery
from service.gallery.scoring import Scoring, similarity
from service.http.compat.face_ids import FaceIds
from service.http.compat.scale import Scale
from service.http.compat.stored_faces import StoredFace, faces_of, new_face_id
from service.http.gallery_access import in_gallery_thread, tells_scores
from service.http.matches import limit_probes, search_gallery_for_all
from service.http.probes import Probe, faces_of_photo, low_quality, model_scoring
from service.http.submit import analyze_photos
from service.keys import Key
from service.wire import AnalysisResult, FaceResult, Options

SEARCHED = 100
"""Faces of a photo that are searched, the largest ones."""
SPARE = 10
"""Candidates beyond those asked for: the scale takes the number of a subject's photos into account."""
FIVE = ("left_eye_centre", "right_eye_centre", "nose_tip", "mouth_left", "mouth_right")
"""The landmarks that other products have in common, by our names."""


@dataclass(frozen=True)
class PlacedMatch:
    """A subject that a face may show, with the similarity as a share on another product's scale.

    `one_photo` is the threshold of a search that would hold if the subject had one photo.
    """

    subject: str
    share: float
    matched: bool
    metadata: Metadata
    one_photo: float


async def analyze_photo(request: Request, photo: bytes, options: Options, model: str | None = None) -> AnalysisResult:
    """Return the analysis of one photo. Raises the ServiceError that says why there is none."""
    (outcome,) = await analyze_photos(request, [photo], options, model)
    if isinstance(outcome, ServiceError):
        raise outcome
    return outcome


async def analyze_face_photo(
    request: Request, photo: bytes, options: Options, model: str | None = None
) -> AnalysisResult:
    """Return the analysis of a photo that shows a face. Raises NoFace, and what analyze_photo() raises."""
    result = await analyze_photo(request, photo, options, model)
    if not result.analysis.faces:
        raise NoFace
    return result


def probes_of(result: AnalysisResult) -> list[Probe]:
    """Return all faces of a photo that was analyzed for its vectors, largest first."""
    return faces_of_photo(result.analysis, result.model)


def similarity_share(
    request: Request, first: Vector, second: Vector, scoring: Scoring, scale: Scale, coarse: bool = False
) -> float:
    """Return the similarity of two vectors [D] as a share on a scale, whose recommended value is at FACE_FAR.

    Raises NotCalibrated, InvalidSubject.
    """
    settings: Settings = request.app.state.settings
    calibration = scoring.calibrated()
    return scale.place(similarity(first, second), calibration.threshold(settings.far), calibration, coarse)


def sent_vector(numbers: Sequence[float], scoring: Scoring) -> Vector:
    """Return an embedding that a caller sent as a vector [D] of unit length. Raises InvalidSubject."""
    longest = float(np.finfo(np.float32).max)
    return unit_vector(
        np.clip(np.asarray(numbers, np.float64), -longest, longest).astype(np.float32), scoring.dimension
    )


def check_scope(request: Request, collection: str) -> None:
    """Raise CollectionNotFound for a collection that the caller's key does not reach."""
    key: Key | None = request.state.key
    if key is not None and not key.reaches(collection):
        raise CollectionNotFound


def searched_faces(request: Request, limit: int) -> int:
    """Return how many faces of a photo are searched at most, given the caller's limit, 0 for none."""
    settings: Settings = request.app.state.settings
    ceiling = SEARCHED if tells_scores(request) else min(SEARCHED, settings.probes_per_minute)
    return min(limit, ceiling) if limit else ceiling


async def search_vectors(
    request: Request, collection: str, vectors: Sequence[Vector], count: int, scoring: Scoring, scale: Scale
) -> list[list[PlacedMatch]]:
    """Return for each vector [D] at most `count` subjects, most similar first; none where there is no collection.

    A caller who may only compare and search gets matches alone. The first vector was counted as a search before the
    photo was analyzed, the others are counted here. Raises NotCalibrated, ModelMismatch, RateLimited.
    """
    for _ in vectors[1:]:
        limit_probes(request, collection)
    settings: Settings = request.app.state.settings
    calibration = scoring.calibrated()
    exact = tells_scores(request)

    def placed_matches(result: SearchResult) -> list[PlacedMatch]:
        matches = []
        one_photo = scoring.identification(result.gallery_size, settings.fpir, 1, 1)
        for match in result.matches:
            threshold = scoring.identification(result.gallery_size, settings.fpir, match.media, 1)
            share = scale.place(match.similarity, threshold, calibration, coarse=not exact)
            matched = match.similarity >= threshold
            matches.append(PlacedMatch(match.subject, share, matched, match.metadata, one_photo))
        reported = [match for match in matches if exact or match.matched]
        return sorted(reported, key=lambda match: -match.share)[:count]

    def search() -> list[list[PlacedMatch]]:
        try:
            results = search_gallery_for_all(request, collection, scoring.model, vectors, count + SPARE)
        except CollectionNotFound:
            return [[] for _ in vectors]
        return [placed_matches(result) for result in results]

    return await asyncio.to_thread(search)


def share_of_face(
    request: Request, vector: Vector, scoring: Scoring, scale: Scale
) -> Callable[[Vector, PlacedMatch], float] | None:
    """Return what says how like a vector [D] one face of a matching subject is; None where the caller may not know.

    A face is no more like it than its subject. A caller who may only compare and search could learn more from many
    faces of one person than from one.
    """
    if not tells_scores(request):
        return None
    calibration = scoring.calibrated()
    return lambda face, match: min(match.share, scale.place(similarity(face, vector), match.one_photo, calibration))


async def make_collection(request: Request, collection: str, scoring: Scoring) -> None:
    """Make a collection under a model, if there is none of that name yet. Raises InvalidName, ModelMismatch."""
    await in_gallery_thread(request, Gallery.put_collection, collection, scoring.model, scoring.dimension)


async def stored_face(request: Request, collection: str, identity: str) -> tuple[StoredFace, Scoring]:
    """Return a stored face by its id, and the scoring of the model that made it.

    Raises MediumNotFound, ModelMismatch.
    """
    face = await find_face(request, collection, identity)
    scoring = await model_scoring(request, face.subject.model)
    if scoring.model != face.subject.model:
        raise ModelMismatch
    return face, scoring


async def find_faces(request: Request, collection: str, ids: Collection[str]) -> dict[str, StoredFace]:
    """Return those of the stored faces that are there, by id; none where there is no such collection."""
    face_ids: FaceIds = request.app.state.face_ids
    return await in_gallery_thread(request, lambda gallery: face_ids.find(gallery, collection, ids))


async def find_face(request: Request, collection: str, identity: str) -> StoredFace:
    """Return the stored face of an id. Raises MediumNotFound."""
    for face in (await find_faces(request, collection, [identity])).values():
        return face
    raise MediumNotFound("no face is stored under this id")


async def add_face(
    request: Request,
    collection: str,
    subject: str | None,
    probe: Probe,
    photo: bytes,
    gate: float,
    place: Place | None = None,
) -> StoredFace:
    """Store a face as a medium of a subject, which is made when it is missing; of one named by its id for None.

    Raises LowQuality below the quality `gate`, ModelMismatch, CollectionNotFound, SubjectTooLarge.
    """
    problem = low_quality(probe, gate)
    if problem is not None:
        raise problem
    identity = new_face_id()
    medium = NewMedium(identity, probe.vector[None], np.array([probe.quality.overall], np.float32), photo, place)
    name = subject or identity
    stored = await in_gallery_thread(request, Gallery.add_media, collection, name, probe.model, [medium], create=True)
    return next(face for face in faces_of(stored) if face.id == identity)


def five_points(face: FaceResult) -> list[tuple[float, float]]:
    """Return both eyes, the nose and both corners of the mouth, from the image's left to its right, in pixels."""
    by_name = {mark.name: (mark.x, mark.y) for mark in face.landmarks or []}
    return [by_name[name] for name in FIVE if name in by_name]


def age_bounds(face: FaceResult) -> tuple[int, int]:
    """Return whole years between which the age lies; the estimate twice where the model has no ranges."""
    if face.age_range is None:
        return round(face.age), round(face.age)
    return math.floor(face.age_range.low), math.ceil(face.age_range.high)
