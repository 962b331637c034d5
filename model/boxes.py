"""Boxes and landmarks as NumPy arrays: pure functions. Boxes are xyxy in pixels, pixel centres at half integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BOX_SCALE = 1.155
"""Face box side over the longer side of the landmarks' bounding box: median of the training photos (5 % deviation)."""
BOX_SHIFT = -0.093
"""Shift of the face box's centre down the image, in units of the longer side: fitted with BOX_SCALE."""

BLOCK = 16
"""Boxes that suppress() compares with all others at once."""

Array = NDArray[np.floating[Any]]
Indices = NDArray[np.integer[Any]]


def area(boxes: Array) -> Array:
    """Return the areas [N] of boxes [N, 4]; 0 where a box is inside out."""
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return size[:, 0] * size[:, 1]


def sides(boxes: Array) -> Array:
    """Return the widths and heights [N, 2] of boxes [N, 4]."""
    return boxes[:, 2:] - boxes[:, :2]


def centres(boxes: Array) -> Array:
    """Return the centres [N, 2] of boxes [N, 4]."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def around(centre: Array, side: Array) -> Array:
    """Return squares [N, 4] of sides [N, 1] about centres [N, 2]."""
    return np.concatenate([centre - side / 2, centre + side / 2], axis=1)


def intersection(first: Array, second: Array) -> Array:
    """Return the areas [N, M] that boxes [N, 4] and [M, 4] share."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    size = np.maximum(high - low, 0)
    areas: Array = size[..., 0] * size[..., 1]
    return areas


def iou(first: Array, second: Array) -> Array:
    """Return the intersection over union [N, M] of boxes [N, 4] and [M, 4]; 0 where the union is empty."""
    shared = intersection(first, second)
    return shared / np.maximum(area(first)[:, None] + area(second)[None] - shared, 1e-9)


def iou_of_pairs(first: Array, second: Array) -> Array:
    """Return the intersection over union [N] of the boxes [N, 4] in the same rows."""
    low = np.maximum(first[:, :2], second[:, :2])
    high = np.minimum(first[:, 2:], second[:, 2:])
    shared = area(np.concatenate([low, high], axis=1))
    return shared / np.maximum(area(first) + area(second) - shared, 1e-9)


def overlap(first: Array, second: Array) -> Array:
    """Return the intersection over the smaller area [N, M] of boxes [N, 4], [M, 4]: 1 where one holds the other."""
    smaller = np.minimum(area(first)[:, None], area(second)[None])
    return intersection(first, second) / np.maximum(smaller, 1e-9)


def suppress(boxes: Array, scores: Array, threshold: float, contained: float = 1.1) -> tuple[Indices, Indices]:
    """Suppress boxes greedily (NMS); return indices of the kept boxes, best first, and [N] which of them owns each box.

    A box goes to the first better one with IoU > threshold or overlap over the smaller area > `contained` (over 1:
    never). Ties keep the earlier box. A kept box owns itself; owners count positions among the kept.

    BLOCK boxes at a time are compared with all that follow, so that the memory that a crowd takes grows with the number
    of boxes, not with its square.
    """
    order = np.argsort(-scores, kind="stable")
    boxes = boxes[order]
    sizes = area(boxes)
    owner = np.full(len(boxes), -1, np.int64)
    kept: list[int] = []
    remaining = np.arange(len(boxes))
    while len(remaining):
        block = remaining[:BLOCK]
        shared = intersection(boxes[block], boxes[remaining])
        own, others = sizes[block, None], sizes[None, remaining]
        related = shared > threshold * np.maximum(own + others - shared, 1e-9)
        if contained <= 1:
            related |= shared > contained * np.maximum(np.minimum(own, others), 1e-9)
        owned = np.full(len(remaining), -1, np.int64)
        for place, row in enumerate(related):
            if owned[place] < 0:
                row[place] = True
                owned[row & (owned < 0)] = len(kept)
                kept.append(int(block[place]))
        owner[remaining] = owned
        remaining = remaining[owned < 0]
    owners = np.empty_like(owner)
    owners[order] = owner
    return order[kept], owners


def from_landmarks(points: Array) -> Array:
    """Return the square face boxes [N, 4] of landmarks [N, 21, 2]: a fixed affine map of their bounding box.

    HyperFace needs such a rule and publishes none; this one was fitted to the face boxes of the training photos.
    """
    low = points.min(axis=1)
    high = points.max(axis=1)
    side = (high - low).max(axis=1, keepdims=True)
    centre = (low + high) / 2
    centre[:, 1:] += side * BOX_SHIFT
    return around(centre, side * BOX_SCALE)


def square(boxes: Array) -> Array:
    """Return squares [N, 4] of the same centres and areas."""
    return around(centres(boxes), np.sqrt(area(boxes))[:, None])


def rotations(roll: Array) -> Array:
    """Return linear maps [K, 2, 2] that turn by roll [K] degrees, clockwise in the image for roll > 0."""
    angle = np.deg2rad(roll)
    cosine = np.cos(angle)
    sine = np.sin(angle)
    return np.stack([cosine, -sine, sine, cosine], axis=-1).reshape(-1, 2, 2)


def upright(points: Array, roll: Array) -> Array:
    """Return the from_landmarks() boxes [K, 4] of faces [K, 21, 2] turned upright, turned back by roll [K] degrees.

    What they hold is a region turned by roll about its centre, as warps.region_matrices takes it.
    """
    rotation = rotations(roll)
    boxes = from_landmarks(points @ rotation)
    centre = (centres(boxes)[:, None] @ rotation.transpose(0, 2, 1))[:, 0]
    return around(centre, sides(boxes)[:, :1])
