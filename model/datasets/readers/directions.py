"""Which way a data set counts its angles: measured on its own landmarks, where its documents do not say."""

from __future__ import annotations

import numpy as np

from model.datasets import Array

_LEFT_EYE = 7
_RIGHT_EYE = 10
_NOSE = 14
_MOUTH_LEFT = 17
_MOUTH_RIGHT = 19


def directions(points: Array, pose: Array) -> Array:
    """Return the signs [3] that bring roll, pitch, yaw [N, 3] to ours, by landmarks [N, 21, 2] (NaN: unmarked).

    Ours: roll > 0 clockwise in the image, pitch > 0 nose up, yaw > 0 nose to the image's right. The line of the eyes
    shows the roll, the nose tip's place beside their middle the yaw, its height between eyes and mouth the pitch; the
    sign that agrees with the labels over all faces is taken, 1 where no face tells.
    """
    eyes = (points[:, _LEFT_EYE] + points[:, _RIGHT_EYE]) / 2
    mouth = (points[:, _MOUTH_LEFT] + points[:, _MOUTH_RIGHT]) / 2
    across = points[:, _RIGHT_EYE] - points[:, _LEFT_EYE]
    angle = np.arctan2(across[:, 1], across[:, 0])
    right, down = (np.stack([np.cos(angle + turn), np.sin(angle + turn)], axis=1) for turn in (0, np.pi / 2))
    width = np.linalg.norm(across, axis=1).clip(min=1e-6)
    aside = ((points[:, _NOSE] - eyes) * right).sum(axis=1) / width
    above = -((points[:, _NOSE] - (eyes + mouth) / 2) * down).sum(axis=1) / width
    return np.array([_sign(shown, pose[:, axis]) for axis, shown in enumerate((angle, above, aside))])


def _sign(shown: Array, labelled: Array) -> float:
    both_labelled = np.isfinite(shown) & np.isfinite(labelled)
    if both_labelled.sum() < 2:
        return 1.0
    # Both vary about a mean that is no zero (the nose tip is not half way between eyes and mouth).
    together = (
        (shown[both_labelled] - shown[both_labelled].mean())
        * (labelled[both_labelled] - labelled[both_labelled].mean())
    ).sum()
    return -1.0 if together < 0 else 1.0
