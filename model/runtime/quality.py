"""Is this face good enough to enrol: sharpness, size, pose, exposure, landmark visibility → 0–1, with reasons.

Each factor is 0 where nothing can be recognised and 1 where more would not help; the whole is as good as its worst
part. The ramps are our own choice, looked up on CelebA's training photos; the paper has no such measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model import warps
from model.landmarks import ALIGNMENT, CANONICAL
from model.structures import Faces
from model.warps import Image

GATE = 0.25
"""Quality from which a face may be enrolled by default."""
CHIP = 128
"""Side in pixels of the aligned chip that sharpness and exposure are measured on."""
SIZE_RAMP = (20.0, 80.0)
"""Shorter side of the box in pixels."""
SHARPNESS_RAMP = (0.003, 0.060)
"""Variance of the chip's Laplacian over the variance of its brightness; the ramp is logarithmic."""
YAW_RAMP = (75.0, 25.0)
PITCH_RAMP = (60.0, 20.0)
ROLL_RAMP = (90.0, 30.0)
"""Degrees away from frontal. Alignment undoes roll, which therefore counts late."""
DARK_RAMP = (20.0, 60.0)
BRIGHT_RAMP = (250.0, 215.0)
"""Mean brightness of the face, 0–255."""
CONTRAST_RAMP = (6.0, 20.0)
"""Standard deviation of the face's brightness."""
VISIBILITY_RAMP = (0.2, 0.7)
"""Mean visibility of the points the face is aligned by."""

_REASONS = {
    "sharpness": "too blurred",
    "size": "too small",
    "pose": "turned too far away",
    "exposure": "too dark, too bright or too flat",
    "visibility": "too much is hidden",
}
_INNER = CANONICAL[[i for i in range(len(CANONICAL)) if i not in (12, 16, 20)]]
"""The canonical points without ears and chin: their hull is face whatever the hair or the background."""


@dataclass(frozen=True)
class Quality:
    """The factors of one face, each 0–1."""

    sharpness: float
    size: float
    pose: float
    exposure: float
    visibility: float

    @property
    def overall(self) -> float:
        """0–1: the worst factor."""
        return float(min(getattr(self, field.name) for field in fields(self)))

    def reasons(self, gate: float = GATE) -> list[str]:
        """What keeps this face below the gate, worst first; empty for a face that passes."""
        factors = sorted((getattr(self, name), name) for name in _REASONS)
        return [f"{name}: {_REASONS[name]}" for value, name in factors if value < gate]


def assess(image: Image, faces: Faces) -> list[Quality]:
    """Quality of each of the N faces found in an image uint8 [H, W, 3] RGB; empty for none."""
    matrices = warps.alignment_matrices(faces.landmarks, CHIP)
    boxes = faces.boxes
    pose = np.abs(faces.pose)
    visibility = faces.visibility[:, list(ALIGNMENT)].mean(axis=1)
    found = []
    for box, matrix, (roll, pitch, yaw), visible in zip(boxes, matrices, pose, visibility, strict=True):
        brightness = _face_brightness(image, matrix)
        found.append(
            Quality(
                sharpness=_sharpness(brightness),
                size=_ramp(min(box[2] - box[0], box[3] - box[1]), SIZE_RAMP),
                pose=min(_ramp(yaw, YAW_RAMP), _ramp(pitch, PITCH_RAMP), _ramp(roll, ROLL_RAMP)),
                exposure=_exposure(brightness),
                visibility=_ramp(visible, VISIBILITY_RAMP),
            )
        )
    return found


def _ramp(value: float, ends: tuple[float, float]) -> float:
    """0 at the first end and beyond, 1 at the second and beyond."""
    return float(np.clip((value - ends[0]) / (ends[1] - ends[0]), 0, 1))


def _inner_mask() -> NDArray[np.bool_]:
    mask = np.zeros((CHIP, CHIP), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull((_INNER * CHIP).astype(np.int32)), 1)
    return mask.astype(bool)


_MASK = _inner_mask()


def _face_brightness(image: Image, matrix: NDArray[Any]) -> NDArray[np.float32]:
    """Brightness [CHIP, CHIP], 0–255, of the aligned chip."""
    chip = warps.warp(image, matrix, CHIP)
    return np.asarray(cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY), np.float32)


def _sharpness(brightness: NDArray[np.float32]) -> float:
    edges = np.asarray(cv2.Laplacian(brightness, cv2.CV_32F, ksize=1))[_MASK]
    ratio = max(float(edges.var() / max(brightness[_MASK].var(), 1.0)), 1e-6)
    return _ramp(math.log(ratio), (math.log(SHARPNESS_RAMP[0]), math.log(SHARPNESS_RAMP[1])))


def _exposure(brightness: NDArray[np.float32]) -> float:
    inside = brightness[_MASK]
    mean = float(inside.mean())
    return min(_ramp(mean, DARK_RAMP), _ramp(mean, BRIGHT_RAMP), _ramp(float(inside.std()), CONTRAST_RAMP))
