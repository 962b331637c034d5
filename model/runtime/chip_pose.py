"""Head pose read twice, of the region and of the chip: the mean of both."""

from __future__ import annotations

import numpy as np

from model.boxes import Array

SHARE = 0.6
"""What counts of the chip's reading of faces that look ahead (docs/log.md, 'read twice')."""
PROFILE_SHARE = 1.0
PROFILE_YAWS = (35.0, 60.0)
"""What counts of the chip's reading of faces in profile, from the second yaw on, in degrees; between both it rises.

Only the chips' head has learnt profiles in number: 60° and more aside the region's reading is 21° off, the chip's 7°
(docs/log.md, 'a smile is in stage 5').
"""


def mean_pose(of_regions: Array, of_chips: Array, matrices: Array) -> Array:
    """Return the mean of two readings [K, 3] of roll, pitch and yaw in degrees; rolls are in (-180, 180].

    A chip's roll is what is left of it there: `matrices` [K, 2, 3] map the photo to the chips and turn the faces.
    """
    turns = np.rad2deg(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    difference = of_chips - of_regions
    difference[:, 0] = (difference[:, 0] - turns + 180) % 360 - 180
    aside = np.interp(np.abs(of_chips[:, 2]), PROFILE_YAWS, (SHARE, PROFILE_SHARE))
    pose = of_regions + aside[:, None] * difference
    pose[:, 0] = 180 - (180 - pose[:, 0]) % 360
    return np.asarray(pose, np.float32)
