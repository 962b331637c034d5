"""What chips say of landmarks, visibility and pose, brought back to the photo and joined with the regions' readings."""

from __future__ import annotations

import numpy as np

from model.boxes import Array

POSE_SHARE = 0.8
"""Weight of the chip's reading of the pose, 0–1, for faces that look ahead; the region's reading has the rest
(docs/log.md, 'Landmarks of the chip')."""
PROFILE_POSE_SHARE = 1.0
"""The same for faces in profile. Only the chips' head has learnt from many profiles: of yaws of 60° and more the
region's reading is 21° off, the chip's 7° (docs/log.md, 'The pose of profiles')."""
LANDMARKS_SHARE = 1.0
"""Weight of the chip's reading of the landmarks, 0–1, for faces that look ahead (docs/log.md, 'Landmarks of the
chip')."""
PROFILE_LANDMARKS_SHARE = 0.5
"""The same for faces in profile: of 190 made ones the region's landmarks are 3.22 % off, the chip's 3.15 %, their mean
2.98 %."""
PROFILE_YAWS = (35.0, 60.0)
"""Yaws in degrees between which these weights go from those of faces that look ahead to those of profiles."""


def mean_pose(of_regions: Array, of_chips: Array, matrices: Array) -> Array:
    """Return the weighted mean of two readings [K, 3] of roll, pitch and yaw in degrees; rolls are in (-180, 180].

    A chip's roll is what is left of it there: `matrices` [K, 2, 3] map the photo to the chips and turn the faces.
    """
    turns = np.rad2deg(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    difference = of_chips - of_regions
    difference[:, 0] = (difference[:, 0] - turns + 180) % 360 - 180
    shares = np.interp(np.abs(of_chips[:, 2]), PROFILE_YAWS, (POSE_SHARE, PROFILE_POSE_SHARE))
    pose = of_regions + shares[:, None] * difference
    pose[:, 0] = 180 - (180 - pose[:, 0]) % 360
    return np.asarray(pose, np.float32)


def mean_landmarks(of_regions: Array, of_chips: Array, matrices: Array, size: int, yaws: Array) -> Array:
    """Return the weighted mean of two readings [K, 21, 2] of the landmarks, in pixels of the photo.

    Those of chips are in sides of the chip, `size` pixels; `matrices` [K, 2, 3] are the similarities from the photo to
    the chips. `yaws` [K] in degrees say how much each reading counts. Where the region's landmarks lie in one point,
    the chip shows nothing and its reading does not count.
    """
    linear = matrices[:, :, :2].astype(np.float64)
    scales = _scales(matrices)
    shares = np.interp(np.abs(yaws), PROFILE_YAWS, (LANDMARKS_SHARE, PROFILE_LANDMARKS_SHARE)) * (scales > 0)
    # The inverse of a turn and a scale is the turn back, which row vectors take without transposing, over the scale.
    back = linear / np.maximum(scales, 1e-12)[:, None, None] ** 2
    in_photos = (of_chips * size - matrices[:, None, :, 2]) @ back
    return np.asarray(of_regions + shares[:, None, None] * (in_photos - of_regions), np.float32)


def combined_visibility(of_regions: Array, of_chips: Array, places: Array, matrices: Array) -> Array:
    """Return the visibility 0–1 [K, 21] of landmarks: the chip's reading where they lie in it, else the region's.

    `places` [K, 21, 2] are the landmarks in sides of the chip; the chin is often below it. `matrices` [K, 2, 3] are
    those that cut the chips: where all landmarks lie in one point, the chip shows nothing. Within the chip a mean
    with the region's reading would be no better (docs/log.md, 'Visibility of the chip').
    """
    in_chips = ((places >= 0) & (places <= 1)).all(axis=2) & (_scales(matrices) > 0)[:, None]
    return np.where(in_chips, of_chips, of_regions).astype(np.float32)


def _scales(matrices: Array) -> Array:
    """Return how many pixels of a chip one of the photo becomes [K]: 0 where all landmarks lay in one point."""
    return np.hypot(matrices[:, 0, 0].astype(np.float64), matrices[:, 1, 0])
