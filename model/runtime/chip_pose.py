"""Head pose read twice, of the region and of the chip: the mean of both."""

from __future__ import annotations

import numpy as np

from model.boxes import Array

SHARE = 0.6
"""Weight of the chip's reading, 0–1, for faces that look ahead; the region's reading has the rest (docs/log.md, 'The
pose of profiles')."""
PROFILE_SHARE = 1.0
"""Weight of the chip's reading for faces in profile. Only its head has learnt from many profiles: of yaws of 60° and
more the region's reading is 21° off, the chip's 7° (docs/log.md, 'The pose of profiles')."""
PROFILE_YAWS = (35.0, 60.0)
"""Yaws in degrees between which the weight rises from SHARE to PROFILE_SHARE."""


def mean_pose(of_regions: Array, of_chips: Array, matrices: Array) -> Array:
    """Return the weighted mean of two readings [K, 3] of roll, pitch and yaw in degrees; rolls are in (-180, 180].

    A chip's roll is what is left of it there: `matrices` [K, 2, 3] map the photo to the chips and turn the faces.
    """
    turns = np.rad2deg(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    difference = of_chips - of_regions
    difference[:, 0] = (difference[:, 0] - turns + 180) % 360 - 180
    shares = np.interp(np.abs(of_chips[:, 2]), PROFILE_YAWS, (SHARE, PROFILE_SHARE))
    pose = of_regions + shares[:, None] * difference
    pose[:, 0] = 180 - (180 - pose[:, 0]) % 360
    return np.asarray(pose, np.float32)
