"""Sort faces into people: average linkage on their similarity, where two faces of one photo are never one person.

The mean similarity between the faces of two clusters decides whether they are one person. The two clusters that are
most alike are joined first, until no pair reaches the threshold. A cosine and its calibrated log odds are a linear map
of each other, so the average of one is the average of the other, and a threshold for one false accept rate stands for
both. Averaging is what makes it robust: a single pair of look-alikes joins two people under single linkage
(connected components), but hardly moves a mean.

Faces of low quality look like each other more than like their owners. They wait until the clusters stand, join the
best one or stay out, and never start a cluster.

Numpy only, so that a process without torch can sort faces.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.identity.calibration import Calibration
from model.identity.pooling_bias import units_of

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

CLUSTER_FAR = 1e-3
"""False accept rate of single pairs whose threshold the mean similarity of two clusters must reach to be joined."""
QUALITY_GATE = 0.25
"""Quality from which a face may start a cluster by default; the same as enrolment's."""


@dataclass(frozen=True)
class Cluster:
    """One person's faces. `faces` are indices into the input, most typical first; `similarity` belongs to each."""

    faces: tuple[int, ...]
    similarity: tuple[float, ...]  # mean similarity of each face to the cluster's other faces
    exemplar: int  # index of the face of sufficient quality that is most like the others
    cohesion: float  # mean similarity over all pairs of the cluster's faces


@dataclass(frozen=True)
class Clustering:
    """Every input face is in exactly one of the three: a cluster of two or more, alone, or left out for its quality."""

    clusters: tuple[Cluster, ...]  # largest first
    single: tuple[int, ...]
    left_out: tuple[int, ...]
    threshold: float


def clustering_threshold(calibration: Calibration, far: float = CLUSTER_FAR) -> float:
    """Return the mean similarity from which two clusters are one person, for a false accept rate of single pairs."""
    return calibration.threshold(far)


def cluster_faces(
    vectors: Floats,
    photos: Sequence[Hashable],
    threshold: float,
    quality: Sequence[float] | Floats | None = None,
    gate: float = QUALITY_GATE,
) -> Clustering:
    """Sort faces with vectors [N, D] into people; `photos` names the photo of each face, `quality` is 0–1.

    Faces below the quality `gate` may only join clusters of better faces; without `quality` all faces are good enough.
    The order of the input makes no difference to which faces are together. Memory is 4 · N² bytes and time grows as
    N². Raises ValueError for inputs of different lengths and for vectors that are zero or not finite.
    """
    vectors = np.asarray(vectors, np.float32)
    if vectors.ndim != 2 or len(vectors) != len(photos):
        raise ValueError(f"{len(photos)} faces need as many vectors, not an array of shape {vectors.shape}")
    scores = np.ones(len(photos)) if quality is None else np.asarray(quality, np.float64)
    if scores.shape != (len(photos),) or np.isnan(scores).any():
        raise ValueError(f"{len(photos)} faces need as many qualities, not an array of shape {scores.shape}")
    if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
        raise ValueError("the vector of a face must be finite and not zero")
    order, photo_numbers = _canonical_order(vectors, photos)
    units = units_of(vectors[order]) if len(order) else vectors
    good = scores[order] >= gate
    members = _join_good_faces(units, photo_numbers, np.flatnonzero(good), threshold)
    clusters = [faces for faces in members if len(faces) > 1]
    single = [faces[0] for faces in members if len(faces) == 1]
    left_out = _join_poor_faces(units, photo_numbers, clusters, np.flatnonzero(~good), threshold)
    described = [_describe(units, faces, good, order) for faces in clusters]
    return Clustering(
        clusters=tuple(sorted(described, key=lambda cluster: (-len(cluster.faces), -cluster.cohesion))),
        single=tuple(sorted(int(order[i]) for i in single)),
        left_out=tuple(sorted(int(order[i]) for i in left_out)),
        threshold=threshold,
    )


def _canonical_order(vectors: Floats, photos: Sequence[Hashable]) -> tuple[Integers, Integers]:
    """Return an order [N] of the faces that follows from their content alone, and the photo number [N] in that order.

    Rounding and ties then come out alike however the input is ordered. Photos sort by the vectors of their faces.
    """
    digests = [hashlib.sha256(row.tobytes()).digest() for row in vectors]
    of_photo: dict[Hashable, list[bytes]] = {}
    for photo, digest in zip(photos, digests, strict=True):
        of_photo.setdefault(photo, []).append(digest)
    keys = {photo: b"".join(sorted(members)) for photo, members in of_photo.items()}
    ranked = sorted(range(len(digests)), key=lambda i: (digests[i], keys[photos[i]]))
    numbers: dict[Hashable, int] = {}
    for i in ranked:
        numbers.setdefault(photos[i], len(numbers))
    return np.array(ranked, np.int64), np.array([numbers[photos[i]] for i in ranked], np.int64)


def _join_good_faces(units: Floats, photos: Integers, rows: Integers, threshold: float) -> list[list[int]]:
    """Return the members of every cluster of the faces `rows`, clusters of one included.

    Nearest-neighbour chains (Murtagh 1983): follow the most similar cluster until two name each other, and join these.
    A joined cluster is never more similar to a third than its more similar part was, also where −∞ forbids a join, so
    the result is that of always joining the best pair. A cluster whose best partner is below the threshold is final.
    """
    good_units = units[rows]
    # The product of one array with itself is exactly symmetric; without that, chains may not end.
    similarity = good_units @ good_units.T
    for number in np.unique(photos[rows]):
        together = np.flatnonzero(photos[rows] == number)
        similarity[np.ix_(together, together)] = -np.inf
    members = {i: [int(row)] for i, row in enumerate(rows)}
    final: list[list[int]] = []
    chain: list[int] = []
    while members:
        if not chain:
            chain.append(next(iter(members)))
        last = chain[-1]
        nearest = int(similarity[last].argmax())
        before = chain[-2] if len(chain) > 1 else None
        if before is not None and similarity[last, before] >= similarity[last, nearest]:
            nearest = before  # of equal ones the one before, so that chains end
        if not similarity[last, nearest] >= threshold:
            final.append(members.pop(last))
            similarity[last] = -np.inf
            similarity[:, last] = -np.inf
            chain.pop()
        elif nearest == before:
            del chain[-2:]
            _merge(similarity, members, before, last)
        else:
            chain.append(nearest)
    return final


def _merge(similarity: Floats, members: dict[int, list[int]], target: int, source: int) -> None:
    """Join cluster `source` to `target`. Its similarity to others is the mean over faces, or −∞ where either's is."""
    sizes = len(members[target]), len(members[source])
    row = (similarity[target] * sizes[0] + similarity[source] * sizes[1]) / sum(sizes)
    row[[target, source]] = -np.inf
    similarity[target] = row
    similarity[:, target] = row
    similarity[source] = -np.inf
    similarity[:, source] = -np.inf
    members[target] += members.pop(source)


def _join_poor_faces(
    units: Floats, photos: Integers, clusters: list[list[int]], rows: Integers, threshold: float
) -> list[int]:
    """Add each face of low quality to the most similar cluster that reaches the threshold; return those left out.

    The most similar pair of face and cluster goes first. Only the good faces of a cluster count, so that what joined
    before makes no difference.
    """
    photos_of_cluster = [set(photos[faces].tolist()) for faces in clusters]
    centres = np.stack([units[faces].mean(axis=0) for faces in clusters]) if clusters else np.zeros((0, units.shape[1]))
    similarity = units[rows] @ centres.T
    pairs = np.argwhere(similarity >= threshold)
    waiting = dict.fromkeys(int(row) for row in rows)
    for row, column in pairs[np.argsort(-similarity[pairs[:, 0], pairs[:, 1]], kind="stable")]:
        face = int(rows[row])
        photo = int(photos[rows[row]])
        if face in waiting and photo not in photos_of_cluster[column]:
            clusters[column].append(face)
            photos_of_cluster[column].add(photo)
            del waiting[face]
    return list(waiting)


def _describe(units: Floats, faces: list[int], good: NDArray[np.bool_], order: Integers) -> Cluster:
    """Return the cluster of the faces [M] with input indices, the mean similarities and the exemplar."""
    others = len(faces) - 1
    similarity = (units[faces] @ units[faces].sum(axis=0) - 1) / others
    ranked = np.argsort(-similarity, kind="stable")
    exemplar = next(int(i) for i in ranked if good[faces[i]])
    return Cluster(
        faces=tuple(int(order[faces[i]]) for i in ranked),
        similarity=tuple(float(similarity[i]) for i in ranked),
        exemplar=int(order[faces[exemplar]]),
        cohesion=float(similarity.mean()),
    )
