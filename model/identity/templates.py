"""Many descriptors of one person → one template: media and median pooling, quality weights, outlier rejection.

Frames of one medium (a video, one photo) are averaged first, then media, so that a long video does not outvote the
photos (the paper, section IV-C; Sankaranarayanan et al. 2016, section 4). Pooling is a mean before the one division
to unit length, so a linear projection such as the TPE's may come before it or after: the template is the same.
Numpy only, so that a process without torch can pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Mode = Literal["media", "median", "quality"]
MODES: tuple[Mode, ...] = ("media", "median", "quality")

_NEGLIGIBLE = 1e-6
"""A pooled vector this short beside its parts is cancellation, not a direction."""


@dataclass(frozen=True, eq=False)
class Medium:
    """F frames of one person in one medium: descriptors [F, D], of unit length or projected; quality [F], 0–1.

    Raises ValueError without frames, for other shapes, and for a descriptor that is not finite or is zero.
    """

    descriptors: Floats
    quality: Floats | None = None  # None: all equally good

    def __post_init__(self) -> None:
        descriptors = np.asarray(self.descriptors)
        if descriptors.ndim != 2 or not len(descriptors):
            raise ValueError(f"a medium needs descriptors [F, D], got {descriptors.shape}")
        if not np.isfinite(descriptors).all() or not descriptors.any(axis=1).all():
            raise ValueError("a descriptor must be finite and not zero")
        if self.quality is not None:
            quality = np.asarray(self.quality)
            if quality.shape != (len(descriptors),) or not ((quality >= 0) & (quality <= 1)).all():
                raise ValueError("a medium needs one quality of 0–1 for each frame")


@dataclass(frozen=True, eq=False)
class Template:
    """Vector float32 [D] of unit length, and which of the media went into it."""

    vector: NDArray[np.float32]
    used: tuple[bool, ...]


def pool(media: Sequence[Medium], mode: Mode = "media", reject_below: float | None = None) -> Template:
    """Pool a person's media into a template; the order of media and frames makes no difference, nor do repeated ones.

    `media`: mean over each medium's frames, then over media. `median`: element-wise median over all frames.
    `quality`: both means weighted by quality. With `reject_below`, a medium less similar than that to the mean of the
    others is left out, the least similar first, while three or more remain. Raises ValueError without media, for media
    of different dimensions and for descriptors that cancel out.
    """
    if mode not in MODES:
        raise ValueError(f"the mode must be one of {', '.join(MODES)}, not {mode!r}")
    if not media:
        raise ValueError("a template needs at least one medium")
    if len({np.shape(medium.descriptors)[1] for medium in media}) > 1:
        raise ValueError("all descriptors of a template must have one dimension")
    frames = [_distinct(*_frames(medium)) for medium in media]
    weighted = mode == "quality"
    means = np.stack([_mean(vectors, quality if weighted else None) for vectors, quality in frames])
    weights = np.array([quality.max() for _, quality in frames])
    used = _agreeing(means, reject_below) if reject_below is not None else np.ones(len(media), bool)
    if mode == "median":
        vectors = np.concatenate([vectors for (vectors, _), kept in zip(frames, used, strict=True) if kept])
        pooled = np.median(_distinct(vectors, np.ones(len(vectors)))[0], axis=0)
    else:
        distinct, quality = _distinct(means[used], weights[used])
        pooled = _mean(distinct, quality if weighted else None)
    return Template(_unit(pooled, float(np.abs(means).max())).astype(np.float32), tuple(used.tolist()))


def cosine(first: Floats, second: Floats) -> float:
    """Return the similarity of two vectors [D], −1 … 1, whatever their lengths. Raises ValueError for a zero vector."""
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    if lengths == 0:
        raise ValueError("a zero vector has no direction")
    return float(np.clip(np.dot(first, second) / lengths, -1, 1))


def _frames(medium: Medium) -> tuple[Floats, Floats]:
    vectors = np.asarray(medium.descriptors, np.float64)
    return vectors, np.ones(len(vectors)) if medium.quality is None else np.asarray(medium.quality, np.float64)


def _distinct(vectors: Floats, quality: Floats) -> tuple[Floats, Floats]:
    """Return each different row once, in one order whatever the order given, with the best quality any copy has."""
    rows, inverse = np.unique(vectors, axis=0, return_inverse=True)
    best = np.zeros(len(rows))
    np.maximum.at(best, inverse.reshape(-1), quality)
    return rows, best


def _mean(vectors: Floats, weights: Floats | None) -> Floats:
    if weights is None or not weights.any():
        return np.asarray(vectors.mean(axis=0))
    return np.asarray(weights @ vectors / weights.sum())


def _unit(vector: Floats, scale: float) -> Floats:
    length = np.linalg.norm(vector)
    if length <= _NEGLIGIBLE * scale:
        raise ValueError("the descriptors cancel out: they cannot be of one person")
    return np.asarray(vector / length)


def _agreeing(means: Floats, floor: float) -> NDArray[np.bool_]:
    """Return which media [M] are left when the one least like the others is dropped as long as it is below floor."""
    units, group = np.unique(means, axis=0, return_inverse=True)
    lengths = np.linalg.norm(units, axis=1, keepdims=True)
    units = units / np.where(lengths > 0, lengths, 1)
    is_kept = np.ones(len(units), bool)
    while is_kept.sum() > 2:
        others = units[is_kept].sum(axis=0) - units[is_kept]
        lengths = np.linalg.norm(others, axis=1)
        similarity = (others * units[is_kept]).sum(axis=1) / np.where(lengths > 0, lengths, 1)
        worst = int(similarity.argmin())
        if similarity[worst] >= floor:
            break
        is_kept[np.flatnonzero(is_kept)[worst]] = False
    return np.asarray(is_kept[group.reshape(-1)])
