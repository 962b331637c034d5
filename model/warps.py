"""Affine maps from photos to the crops that the network sees, as NumPy arrays: pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model import boxes as boxes_
from model import landmarks as markup
from model.boxes import Array, Indices

REGION_SCALE = 1.25
"""Side of what the network sees over the side of the region: context that a tight box lacks."""

Image = NDArray[np.uint8]


def region_matrices(boxes: Array, size: int, roll: Array | None = None) -> Array:
    """Return affine maps [K, 2, 3] from photo pixels to size × size crops: each box with REGION_SCALE context.

    A box with a roll [K] is turned about its centre by so many degrees, and its crop shows it upright.
    """
    scale = size / np.maximum(boxes_.sides(boxes) * REGION_SCALE, 1e-3)
    linear = scale[:, :, None] * np.eye(2, dtype=scale.dtype)
    if roll is not None:
        linear = linear @ boxes_.rotations(-roll)
    shift = size / 2 - linear @ boxes_.centres(boxes)[:, :, None]
    return np.concatenate([linear, shift], axis=2)


def similarity(source: Array, target: Array) -> Array:
    """Return the least-squares similarities [N, 2, 3] that take source [N, P, 2] to target [N, P, 2] or [P, 2].

    Rotation, uniform scale and shift without reflection: Umeyama 1991, in closed form for the plane. Degenerate
    sources (all points equal) give the identity rotation at scale 0.
    """
    source = source.astype(np.float64)
    target = np.broadcast_to(target.astype(np.float64), source.shape)
    source_mean = source.mean(axis=1)
    target_mean = target.mean(axis=1)
    x, y = np.moveaxis(source - source_mean[:, None], -1, 0)
    u, v = np.moveaxis(target - target_mean[:, None], -1, 0)
    energy = np.maximum((x * x + y * y).sum(axis=1), 1e-12)
    cosine = (x * u + y * v).sum(axis=1) / energy
    sine = (x * v - y * u).sum(axis=1) / energy
    linear = np.stack([cosine, -sine, sine, cosine], axis=-1).reshape(-1, 2, 2)
    shift = target_mean[:, :, None] - linear @ source_mean[:, :, None]
    return np.concatenate([linear, shift], axis=2).astype(np.float32)


def alignment_matrices(points: Array, size: int, frame: str = "canonical") -> Array:
    """Return affine maps [N, 2, 3] from photo pixels to the size × size chip of a frame, by landmarks [N, 21, 2]."""
    point_indices, places = markup.FRAMES[frame]
    return similarity(points[:, list(point_indices)], places * size)


def transform(points: Array, matrices: Array) -> Array:
    """Return the points [N, P, 2] under affine maps [N, 2, 3]."""
    return points @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]


def warp(image: Image, matrix: NDArray[Any], size: int) -> Image:
    """Return one crop [size, size, 3] of an image under an affine map [2, 3] from image to crop; black outside.

    What shrinks is averaged by area first, so that large faces do not alias. A map without inverse, or of numbers that
    are not finite, shows nothing: black.
    """
    # Plain numbers: arrays this small take longer to make than to compute with, and a photo has some thirty crops.
    (a, b, x), (c, d, y) = np.asarray(matrix, np.float64).tolist()
    determinant = a * d - b * c
    nothing = np.zeros((size, size, image.shape[2]), np.uint8)
    if not math.isfinite(determinant) or abs(determinant) < 1e-9:
        return nothing
    corners = [(u - x, v - y) for u, v in ((0, 0), (size, 0), (size, size), (0, size))]
    columns = [(d * u - b * v) / determinant for u, v in corners]
    rows = [(a * v - c * u) / determinant for u, v in corners]
    if not all(map(math.isfinite, columns + rows)):
        return nothing
    left, top = max(math.floor(min(columns)) - 2, 0), max(math.floor(min(rows)) - 2, 0)
    right = min(math.ceil(max(columns)) + 2, image.shape[1])
    bottom = min(math.ceil(max(rows)) + 2, image.shape[0])
    if right <= left or bottom <= top:
        return nothing
    part = image[top:bottom, left:right]
    x, y = a * left + b * top + x, c * left + d * top + y
    shrink = 1 / abs(determinant) ** 0.5
    if shrink > 1:
        width, height = right - left, bottom - top
        smaller = max(round(width / shrink), 1), max(round(height / shrink), 1)
        across, down = width / smaller[0], height / smaller[1]
        a, b, c, d = a * across, b * down, c * across, d * down
        part = np.asarray(cv2.resize(part, smaller, interpolation=cv2.INTER_AREA), np.uint8)
    # OpenCV puts pixel centres at integers, we at half integers.
    forward = np.array([(a, b, x + (a + b) / 2 - 0.5), (c, d, y + (c + d) / 2 - 0.5)])
    return np.asarray(cv2.warpAffine(part, forward, (size, size), flags=cv2.INTER_LINEAR), dtype=np.uint8)


def crop(images: Sequence[Image], image_index: Indices, matrices: Array, size: int) -> Image:
    """Return crops uint8 [K, size, size, 3] of affine maps [K, 2, 3], each of the image that image_index [K] names."""
    crops = np.empty((len(matrices), size, size, 3), np.uint8)
    for k, (index, matrix) in enumerate(zip(image_index.tolist(), matrices, strict=True)):
        crops[k] = warp(images[index], matrix, size)
    return crops
