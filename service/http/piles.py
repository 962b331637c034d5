"""A pile of faces, out of photos or of templates that callers send, sorted into people.

photos ─ analyze ┐
                 ├→ Pile ─ sort_pile → Clustering ─ clusters_response → JSON
templates ───────┘
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import Request
from msgspec import Meta

from model.identity.clusters import Cluster, Clustering
from service.config import Settings
from service.errors import InvalidRequest, NoImage, ServiceError
from service.gallery import Vector
from service.gallery.checks import unit_vector
from service.gallery.clustering import cluster_people
from service.gallery.errors import InvalidSubject, ModelMismatch, TooManyFaces
from service.gallery.scoring import Scoring
from service.http.auth import require_role
from service.http.probes import Probe, faces_of_photo
from service.http.submit import analyze_photos
from service.schemas.clusters import (
    ClusteredFace,
    ClusterResponse,
    ClustersResponse,
    DuplicateImage,
    FaceReference,
    LeftOut,
    SingleFace,
    UnreadImage,
)
from service.schemas.faces import Problem
from service.wire import Options

SHORTEST_VECTOR = 8
"""Letters of the shortest vector in base64: one number."""


@dataclass(eq=False)
class Pile:
    """Faces to sort. `photos` names the photo of each face; `errors` are photos that could not be analyzed."""

    faces: list[FaceReference] = field(default_factory=list)
    photos: list[Hashable] = field(default_factory=list)
    vectors: list[Vector] = field(default_factory=list, repr=False)
    quality: list[float] = field(default_factory=list)
    reasons: list[list[str]] = field(default_factory=list)
    errors: list[UnreadImage] = field(default_factory=list)
    duplicates: list[DuplicateImage] = field(default_factory=list)

    def add_photo(self, image: int, probes: Sequence[Probe], gate: float) -> None:
        """Add the faces of the photo with the number `image`, with what keeps them below the quality `gate`."""
        for face, probe in enumerate(probes):
            self.faces.append(FaceReference(image=image, face=face, box=probe.box))
            self.photos.append(image)
            self.vectors.append(probe.vector)
            self.quality.append(probe.quality.overall)
            self.reasons.append(probe.quality.reasons(gate))

    def check_size(self, max_faces: int) -> None:
        """Raise TooManyFaces for a pile of more faces than that."""
        if len(self.faces) > max_faces:
            raise TooManyFaces(f"at most {max_faces:,} faces can be sorted at a time")


def sort_pile(pile: Pile, scoring: Scoring, gate: float) -> Clustering:
    """Sort a pile into people; blocks. Raises NotCalibrated, InvalidSubject."""
    return cluster_people(scoring, pile.vectors, pile.photos, pile.quality, gate)


def find_duplicates(contents: Iterable[bytes]) -> list[DuplicateImage]:
    """Return which of several contents are the same as an earlier one."""
    first_numbers: dict[bytes, int] = {}
    duplicates = []
    for number, content in enumerate(contents):
        same_as = first_numbers.setdefault(hashlib.sha256(content).digest(), number)
        if content and same_as != number:
            duplicates.append(DuplicateImage(image=number, same_as=same_as))
    return duplicates


async def pile_of_photos(request: Request, photos: Sequence[bytes], max_faces: int, model: str) -> Pile:
    """Return the faces of photos. Raises TooManyFaces, and a photo's error when no photo could be analyzed."""
    settings: Settings = request.app.state.settings
    options = Options(max_faces=max_faces, landmarks=False, template=True)
    pile = Pile(duplicates=find_duplicates(photos))
    at_once = settings.job_images_at_once  # so that one pile does not fill the queue
    for start in range(0, len(photos), at_once):
        outcomes = await analyze_photos(request, photos[start : start + at_once], options, model)
        for number, outcome in enumerate(outcomes, start):
            if not isinstance(outcome, ServiceError):
                pile.add_photo(number, faces_of_photo(outcome.analysis, outcome.model), settings.min_quality)
            elif outcome.status >= 500 or len(photos) == 1:
                raise outcome
            else:
                pile.errors.append(UnreadImage(image=number, error=Problem.model_validate(outcome.problem())))
        pile.check_size(settings.cluster_faces)
    return pile


# -- templates --------------------------------------------------------------------------------------------------------


class _Template(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A ClusterTemplate as msgspec decodes it, which takes little memory and stops at the first invalid entry."""

    id: Annotated[str, Meta(min_length=1, max_length=256)]
    vector: Annotated[str, Meta(min_length=SHORTEST_VECTOR)]
    photo: Annotated[str, Meta(max_length=256)] | None = None
    model: str | None = None
    quality: Annotated[float, Meta(ge=0, le=1)] = 1.0
    media: int = 1


def pile_of_templates(request: Request, templates: bytes, scoring: Scoring) -> Pile:
    """Return the faces that a caller, who needs the role `templates` for it, sent as vectors, a JSON list.

    Raises Forbidden, ModelMismatch, InvalidRequest, TooManyFaces.
    """
    require_role(request, "templates")
    settings: Settings = request.app.state.settings
    entries = _decode(templates)
    if len(entries) > settings.cluster_faces:
        raise TooManyFaces(f"at most {settings.cluster_faces:,} faces can be sorted at a time")
    pile = Pile()
    for number, entry in enumerate(entries):
        pile.faces.append(FaceReference(image=number, face=0, id=entry.id))
        pile.photos.append(number if entry.photo is None else entry.photo)
        pile.vectors.append(_vector(number, entry, scoring))
        pile.quality.append(entry.quality)
        is_low = entry.quality < settings.min_quality
        pile.reasons.append([f"quality: {entry.quality:.2f} was sent with it"] if is_low else [])
    pile.duplicates = find_duplicates(vector.tobytes() for vector in pile.vectors)
    return pile


def _decode(templates: bytes) -> list[_Template]:
    """Decode templates. Raises InvalidRequest, which names the invalid entry, and NoImage for an empty list."""
    try:
        entries = msgspec.json.decode(templates, type=list[_Template])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        where = str(error) if isinstance(error, msgspec.ValidationError) else "not JSON"
        raise InvalidRequest(f"templates: a list of objects with `id` and `vector`: {where}") from error
    if not entries:
        raise NoImage("`templates` is empty")
    return entries


def _vector(number: int, entry: _Template, scoring: Scoring) -> Vector:
    """Return a template's numbers [D] at unit length. Raises ModelMismatch, InvalidRequest."""
    if entry.model is not None and entry.model != scoring.model:
        raise ModelMismatch(
            f"template {number} is of model {entry.model[:12]}, it would be compared by {scoring.model[:12]}: "
            "make it again from its photos"
        )
    try:
        numbers = np.frombuffer(base64.b64decode(entry.vector, validate=True), "<f4").astype(np.float32)
        return unit_vector(numbers, scoring.dimension)
    except (ValueError, InvalidSubject) as error:
        raise InvalidRequest(
            f"template {number}: its vector is not {scoring.dimension} finite float32 numbers, not all 0, in base64"
        ) from error


# -- what callers see -------------------------------------------------------------------------------------------------


def clusters_response(
    pile: Pile, clustering: Clustering, model: str, subjects: Mapping[int, str] | None = None
) -> ClustersResponse:
    """Return a sorted pile as callers see it; `subjects` has names by the number of one face of each named person."""
    names = subjects or {}
    return ClustersResponse(
        clusters=[_cluster(number, cluster, pile, names) for number, cluster in enumerate(clustering.clusters)],
        single=[SingleFace(**_place(pile, index), subject=names.get(index)) for index in clustering.single],
        left_out=[LeftOut(**_place(pile, index), reasons=pile.reasons[index]) for index in clustering.left_out],
        errors=pile.errors,
        duplicates=pile.duplicates,
        threshold=clustering.threshold,
        model=model,
    )


def _cluster(number: int, cluster: Cluster, pile: Pile, names: Mapping[int, str]) -> ClusterResponse:
    members = zip(cluster.faces, cluster.similarity, strict=True)
    return ClusterResponse(
        id=number,
        faces=[ClusteredFace(**_place(pile, index), similarity=similarity) for index, similarity in members],
        exemplar=pile.faces[cluster.exemplar],
        cohesion=cluster.cohesion,
        subject=names.get(cluster.exemplar),
    )


def _place(pile: Pile, index: int) -> dict[str, Any]:
    return pile.faces[index].model_dump()
