"""The 21 AFLW landmarks: names, mirror pairs, the canonical face, and maps from other markups.

'left' is the image's left. Order and canonical face: the AFLW markup; see docs/paper.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NAMES: tuple[str, ...] = (
    "left_brow_outer",
    "left_brow_centre",
    "left_brow_inner",
    "right_brow_inner",
    "right_brow_centre",
    "right_brow_outer",
    "left_eye_outer",
    "left_eye_centre",
    "left_eye_inner",
    "right_eye_inner",
    "right_eye_centre",
    "right_eye_outer",
    "left_ear",
    "nose_left",
    "nose_tip",
    "nose_right",
    "right_ear",
    "mouth_left",
    "mouth_centre",
    "mouth_right",
    "chin",
)
COUNT = len(NAMES)

MIRROR: tuple[int, ...] = (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 16, 15, 14, 13, 12, 19, 18, 17, 20)
"""Point i of a mirrored image is point MIRROR[i] of the original."""

CANONICAL: NDArray[np.float32] = np.array(
    [
        (0.1729, 0.2197),
        (0.2627, 0.1729),
        (0.4149, 0.1856),
        (0.5851, 0.1856),
        (0.7373, 0.1729),
        (0.8271, 0.2197),
        (0.2396, 0.3037),
        (0.3177, 0.3062),
        (0.4008, 0.3151),
        (0.5992, 0.3151),
        (0.6823, 0.3062),
        (0.7604, 0.3037),
        (0.1079, 0.3942),
        (0.3991, 0.5508),
        (0.5000, 0.5014),
        (0.6009, 0.5508),
        (0.8921, 0.3942),
        (0.3430, 0.6678),
        (0.5000, 0.6868),
        (0.6570, 0.6678),
        (0.5000, 0.9205),
    ],
    dtype=np.float32,
)
"""Canonical face in a unit square [21, 2]; times the chip's side it is the framing that the identity trunk knows."""

ALIGNMENT: tuple[int, ...] = (6, 8, 9, 11, 14, 17, 19)
"""The points a face is aligned by: eye corners, nose tip, mouth corners."""

ARCFACE: NDArray[np.float32] = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)],
    dtype=np.float32,
) / np.float32(112)
"""Eye centres, nose tip and mouth corners in a unit square [5, 2]: the framing that the trunk of `mobile` knows."""

EARS: tuple[int, ...] = (12, 16)

MTFL: tuple[int, ...] = (7, 10, 14, 17, 19)
"""Where MTFL's five points (eye centres, nose tip, mouth corners) stand among the 21."""

FRAMES: dict[str, tuple[tuple[int, ...], NDArray[np.float32]]] = {
    "canonical": (ALIGNMENT, CANONICAL[list(ALIGNMENT)]),
    "arcface": (MTFL, ARCFACE),
}
"""Framings of aligned chips: the points a face is aligned by, and where they go in a unit square."""

FROM_68: tuple[tuple[int, ...], ...] = (
    (17,),
    (19,),
    (21,),
    (22,),
    (24,),
    (26,),
    (36,),
    (36, 37, 38, 39, 40, 41),
    (39,),
    (42,),
    (42, 43, 44, 45, 46, 47),
    (45,),
    (1,),
    (31,),
    (30,),
    (35,),
    (15,),
    (48,),
    (62, 66),
    (54,),
    (8,),
)
"""The points of the 68-point markup whose mean is each landmark."""


def from_68(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the 21 points [21, 2] of a 68-point markup [68, 2].

    The markup has no ears: rows EARS are the nearest jaw points, good for a box and not for a landmark.
    Raises ValueError for another shape.
    """
    if points.shape != (68, 2):
        raise ValueError(f"68 points needed, got an array of {points.shape}")
    return np.stack([points[list(members)].mean(axis=0) for members in FROM_68]).astype(np.float32)
