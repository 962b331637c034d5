"""What a similarity means under the model that answers: thresholds, probability, the verdict. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from model.identity import templates
from model.identity.calibration import Calibration
from service.gallery import Vector
from service.gallery.errors import InvalidSubject, NotCalibrated
from service.schemas.names import Mode, Score
from service.wire import ModelCard


@dataclass(frozen=True)
class Verdict:
    """What can be said of a comparison 1:1; `thresholds` are similarities by false accept rate, as text."""

    similarity: float
    probability: float
    matched: bool
    far: float
    threshold: float
    thresholds: dict[str, float]


@dataclass(frozen=True)
class Scoring:
    """A model by its digest: what it compares (`tpe` or `cosine`), how many numbers a vector has, what scores mean."""

    model: str
    score: Score
    dimension: int
    calibration: Calibration | None

    @classmethod
    def of(cls, card: ModelCard) -> Scoring:
        """Return the scoring of a model by its card."""
        return cls(card.digest, cast(Score, card.score), card.dimension, card.calibration)

    def calibrated(self) -> Calibration:
        """Return the model's calibration. Raises NotCalibrated when it has none."""
        if self.calibration is None:
            raise NotCalibrated(
                "the model's checkpoint has no calibration, so nothing tells what its similarities mean: "
                "join one by model.checkpoint, or make one by `allinone-face calibrate` and set FACE_CALIBRATION"
            )
        return self.calibration

    def thresholds(self, *media: int) -> dict[str, float]:
        """Return similarities by false accept rate, '0.01', '0.001', '0.0001', for so many media on either side."""
        calibration = self.calibrated()
        return {f"{t.far:g}": calibration.threshold(t.far, media) for t in calibration.thresholds}

    def verdict(self, similarity: float, far: float, *media: int) -> Verdict:
        """Judge a similarity at the false accept rate `far`, for so many media on either side. Raises NotCalibrated."""
        calibration = self.calibrated()
        threshold = calibration.threshold(far, media)
        return Verdict(
            similarity=similarity,
            probability=calibration.probability(similarity, media=media),
            matched=similarity >= threshold,
            far=far,
            threshold=threshold,
            thresholds=self.thresholds(*media),
        )

    def identification(self, people: int, fpir: float, *media: int) -> float:
        """Return the threshold of a search among so many people, at a false positive rate. Raises NotCalibrated."""
        return self.calibrated().identification_threshold(people, fpir, media)


def pool_vectors(vectors: Sequence[Vector], quality: Sequence[float], mode: Mode = "media") -> Vector:
    """Pool several vectors [D] into one of unit length. Raises InvalidSubject when they cancel out or differ in D."""
    try:
        media = [templates.Medium(v[None], np.array([q], np.float32)) for v, q in zip(vectors, quality, strict=True)]
        return templates.pool(media, mode).vector
    except ValueError as error:
        raise InvalidSubject(str(error)) from error


def similarity(first: Vector, second: Vector) -> float:
    """Return the cosine of two vectors [D], −1 … 1. Raises InvalidSubject for a zero vector or different dimensions."""
    if first.shape != second.shape:
        raise InvalidSubject("the two templates have different dimensions")
    try:
        return templates.cosine(first, second)
    except ValueError as error:
        raise InvalidSubject(str(error)) from error
