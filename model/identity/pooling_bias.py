"""How much higher templates score strangers than single photos do, in Fisher's z = artanh(score).

What a photo adds by chance is averaged out of a template; two people's templates are as alike as these two are.
One template against photos: nearly the same shift at every rate, (1 − 1/media) of one number. Two templates: both
shifts, and a share of z beyond that, which the product of both (1 − 1/media) takes part in.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]
Described = tuple[Floats, Integers]
"""Unit vectors [N, D], and whose they are."""

POOLED = (2, 3, 4, 6)
"""Media of the templates that are measured."""


def fisher_z(scores: Any) -> Any:
    """Return Fisher's z of scores −1 … 1."""
    return np.arctanh(np.clip(np.asarray(scores, np.float64), -1 + 1e-7, 1 - 1e-7))


def units_of(vectors: Floats) -> Floats:
    """Return the vectors [N, D] scaled to unit length."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def pooling_shifts(vectors: Floats, subjects: Integers, rng: np.random.Generator, rate: float) -> tuple[float, float]:
    """Return how far, in z, a template scores strangers higher than a photo does, and how much further two; at least 0.

    Scores are compared where a share `rate` of them is reached: a template's with those of its own photos, two
    templates' with what the first shift alone would make of the photos'.
    """
    vectors = np.asarray(vectors, np.float32)
    subjects = np.asarray(subjects)
    every = units_of(vectors), subjects
    pooled: dict[float, tuple[Described, Described]] = {}  # 1 − 1/media → templates, and the photos they are made of
    for media in POOLED:
        members = _grouped(subjects, media, rng)
        if len(np.unique(subjects[members[:, 0]])) > 1:
            templates = units_of(vectors[members].mean(axis=1)), subjects[members[:, 0]]
            pooled[1 - 1 / media] = templates, (every[0][members.ravel()], subjects[members.ravel()])
    shifts = [_level(templates, every, rate) - _level(photos, every, rate) for templates, photos in pooled.values()]
    one = _slope(list(pooled), shifts)
    parts = []
    growths = []
    for (first, (templates, photos)), (second, (others, theirs)) in combinations_with_replacement(pooled.items(), 2):
        beyond = _level(templates, others, rate) - one * (first + second)
        parts.append(first * second)
        growths.append(beyond / max(_level(photos, theirs, rate), 1e-6) - 1)
    return one, _slope(parts, growths)


def _grouped(subjects: Integers, media: int, rng: np.random.Generator) -> Integers:
    """Draw photos [T, media] of one person each, without replacement."""
    groups = [
        rows[: len(rows) // media * media].reshape(-1, media)
        for rows in (rng.permutation(np.flatnonzero(subjects == subject)) for subject in np.unique(subjects))
    ]
    return np.concatenate(groups)


def _level(first: Described, second: Described, rate: float) -> float:
    """Return the z that a share `rate` of the scores between strangers reaches."""
    scores = (first[0] @ second[0].T)[first[1][:, None] != second[1][None]]
    return float(fisher_z(np.quantile(scores, 1 - rate)))


def _slope(parts: Sequence[float], shifts: Sequence[float]) -> float:
    """Return the slope of the line through 0, at least 0."""
    return max(float(np.dot(parts, shifts) / np.dot(parts, parts)), 0.0) if shifts else 0.0
