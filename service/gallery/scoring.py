"""What a similarity means under the model that answers: thresholds, probability, the verdict. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model import templates
from model.calibration import Calibration
from service.broker import WorkerInfo
from service.errors import NotReady
from service.gallery import InvalidSubject, Mode, NotCalibrated, Vector


@dataclass(frozen=True)
class Scoring:
    """A model by its digest: what it compares (`tpe` or `cosine`), how many numbers a vector has, what scores mean."""

    model: str
    score: str
    dimension: int
    calibration: Calibration | None

    @classmethod
    def of(cls, workers: Sequence[WorkerInfo]) -> Scoring:
        """That of the newest worker. Raises NotReady when there is none."""
        for worker in reversed(workers):
            if found := worker.info.get("identity"):
                calibration = Calibration.from_dict(found["calibration"]) if found["calibration"] else None
                return cls(worker.digest, found["score"], found["dimension"], calibration)
        raise NotReady("no worker is ready")

    def calibrated(self) -> Calibration:
        """Raises NotCalibrated."""
        if self.calibration is None:
            raise NotCalibrated(
                "the model's checkpoint has no calibration, so nothing tells what its similarities mean: "
                "join one by model.checkpoint, or make one by `allinone-face calibrate` and set FACE_CALIBRATION"
            )
        return self.calibration

    def thresholds(self, *media: int) -> dict[str, float]:
        """Similarity by false accept rate, as text: '0.01', '0.001', '0.0001'; by the media pooled on either side."""
        calibration = self.calibrated()
        return {f"{t.far:g}": calibration.threshold(t.far, media) for t in calibration.thresholds}

    def verdict(self, similarity: float, far: float, *media: int) -> dict[str, Any]:
        """All that is said of a comparison 1:1."""
        calibration = self.calibrated()
        threshold = calibration.threshold(far, media)
        return {
            "similarity": similarity,
            "probability": calibration.probability(similarity, media=media),
            "matched": similarity >= threshold,
            "far": far,
            "threshold": threshold,
            "thresholds": self.thresholds(*media),
            "score": self.score,
            "model": self.model,
        }

    def identification(self, people: int, fpir: float, *media: int) -> float:
        """The threshold of 1:N among so many people."""
        return self.calibrated().identification_threshold(people, fpir, media)


def pool(vectors: Sequence[Vector], quality: Sequence[float], mode: Mode = "media") -> Vector:
    """One vector [D] of unit length of several [D]. Raises InvalidSubject when they cancel out or differ in D."""
    try:
        media = [templates.Medium(v[None], np.array([q], np.float32)) for v, q in zip(vectors, quality, strict=True)]
        return templates.pool(media, mode).vector
    except ValueError as error:
        raise InvalidSubject(str(error)) from error


def similarity(first: Vector, second: Vector) -> float:
    """Cosine, −1 … 1. Raises InvalidSubject for a zero vector or other dimensions."""
    if first.shape != second.shape:
        raise InvalidSubject("the two templates have not as many numbers")
    try:
        return templates.cosine(first, second)
    except ValueError as error:
        raise InvalidSubject(str(error)) from error
