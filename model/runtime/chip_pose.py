"""Head pose read twice, of the region and of the chip: the mean of both."""

from __future__ import annotations

import numpy as np

from model.boxes import Array

SHARE = 0.4
"""What counts of the chip's reading (docs/log.md, 'read twice')."""


def mean_pose(of_regions: Array, of_chips: Array, matrices: Array) -> Array:
    """Return the mean of two readings [K, 3] of roll, pitch and yaw in degrees; rolls are in (-180, 180].

    A chip's roll is what is left of it there: `matrices` [K, 2, 3] map the photo to the chips and turn the faces.
    """
    turns = np.rad2deg(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    difference = of_chips - of_regions
    difference[:, 0] = (difference[:, 0] - turns + 180) % 360 - 180
    pose = of_regions + SHARE * difference
    pose[:, 0] = 180 - (180 - pose[:, 0]) % 360
    return np.asarray(pose, np.float32)
