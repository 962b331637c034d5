"""What is compared of two faces: the checkpoint's TPE projection of descriptors, and what similarities of it mean."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.identity.calibration import Calibration
from model.identity.projection import LearnedProjection, Source

Score = Literal["tpe", "cosine"]


@dataclass(frozen=True, eq=False)
class Identity:
    """One checkpoint's way from descriptors to vectors whose cosine is the similarity; calibration None: unknown."""

    projection: LearnedProjection | None
    calibration: Calibration | None
    dimension: int

    @property
    def score(self) -> Score:
        """Return 'tpe' for a checkpoint with that part, else 'cosine'."""
        return "tpe" if self.projection else "cosine"

    def vectors(self, descriptors: ArrayLike) -> NDArray[np.float32]:
        """Return vectors [N, dimension] of descriptors [N, 512]; TPE's are not of unit length, and can be pooled."""
        return self.projection.project(descriptors) if self.projection else np.asarray(descriptors, np.float32)

    def described(self) -> dict[str, Any]:
        """Return score, dimension and calibration as JSON types, for callers in other processes."""
        calibration = self.calibration.as_dict() if self.calibration else None
        return {"score": self.score, "dimension": self.dimension, "calibration": calibration}


def of(loaded: Source, calibration: Path | None = None) -> Identity:
    """Return the Identity of a checkpoint, with the checkpoint's calibration or one that model.tools.calibrate wrote.

    Raises FileNotFoundError, ValueError for a file of another model or score.
    """
    projection = LearnedProjection.of(loaded)
    score = "tpe" if projection else "cosine"
    if calibration is not None:
        loaded_calibration: Calibration | None = read_calibration(calibration, loaded.digest)
    else:
        stored = loaded.config.get("calibration")
        loaded_calibration = Calibration.from_dict(stored) if stored else None
    if loaded_calibration is not None and loaded_calibration.score != score:
        raise ValueError(
            f"the calibration is for the score {loaded_calibration.score!r}, the checkpoint's is {score!r}"
        )
    dimension = len(projection.weight) if projection else 512
    return Identity(projection, loaded_calibration, dimension)


def read_calibration(path: Path, digest: str) -> Calibration:
    """Read what write_calibration() wrote. Raises FileNotFoundError, ValueError for other content or another model."""
    try:
        document = json.loads(path.read_text())
        model = document["model"]
        calibration = document["calibration"]
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no calibration at {path}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} is no calibration") from error
    if model != digest:
        raise ValueError(f"{path.name} is the calibration of model {str(model)[:12]}, this one is {digest[:12]}")
    return Calibration.from_dict(calibration)


def write_calibration(path: Path, digest: str, calibration: Calibration) -> None:
    """Write a calibration as JSON, with the model it belongs to."""
    path.write_text(json.dumps({"model": digest, "calibration": calibration.as_dict()}, indent=1) + "\n")
