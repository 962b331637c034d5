"""An image's pyramid: the levels that the learnt proposer looks at, each half as large as the one before.

Faces of one octave of sizes are looked for at every level.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from model.halvings import halve
from model.warps import Image

STRIDE = 8
"""Pixels of a level to a cell of the proposer's map."""
SIZES = (20.0, 56.0)
"""Sides of the faces that one pyramid level answers for: a bit more than an octave."""
MIN_FACE = 24.0
"""Side in pixels of the smallest faces that are looked for in an image that is searched at its own size."""
MAX_PIXELS = 1 << 21
"""Pixels at which larger images are searched unless a least size is asked for: 1920×1080 is below."""
MIN_PIXELS = 640 * 480
"""Pixels to which smaller images are enlarged unless a least size is asked for."""
MOST_ENLARGED = 2.0
"""How many times its size an image is searched at most. Of 200 validation faces of 12, 16 and 20 pixels 9, 87 and 97 %
are found at their own size and 94, 98 and 100 % at twice their size (docs/log.md, 'small faces')."""
LEAST_ENLARGED = 1.25
"""An image that would be enlarged by less is searched at its own size."""
ENLARGED_PIXELS = 4 * MAX_PIXELS
"""Most pixels of an image that is enlarged: bounds the memory that a small least size takes."""
TILE = 1024
"""Side of the parts that levels of more than MAX_PIXELS are cut into, so that memory does not grow with the image."""
MARGIN = 96
"""Pixels around a tile that its network sees too: more than the 78 × 78 that one cell of the map depends on."""
PADDING = (123, 117, 104)
"""The colour beyond an image's right and lower edge: the mean that the networks are trained around."""
EVERY = (0, 1 << 30)
"""All rows or columns of a level."""


@dataclass(frozen=True)
class Level:
    """A level of an image's pyramid, or a tile of one: pixels padded to multiples of 32, and where they lie.

    `x`, `y` is the place of the first pixel in the level. Cells outside the ranges `rows` and `columns` belong to
    other tiles. Boxes with a side of more than `largest` pixels of the image are left to other levels.
    """

    index: int
    scale: float
    pixels: Image
    x: int = 0
    y: int = 0
    rows: tuple[int, int] = EVERY
    columns: tuple[int, int] = EVERY
    largest: float = math.inf


def search_scale(height: int, width: int, min_size: float | None) -> float:
    """Return the scale of an image's first level: over 1 a small image is enlarged, so that its small faces are found.

    Without a least size a large image is shrunk to MAX_PIXELS and a small one enlarged to MIN_PIXELS. A least size is
    honoured, but nothing is enlarged to more than MOST_ENLARGED times its size or to more than ENLARGED_PIXELS.
    """
    pixels = height * width
    if min_size is not None:
        wanted = MIN_FACE / max(min_size, 1.0)
    elif pixels > MAX_PIXELS:
        wanted = (MAX_PIXELS / pixels) ** 0.5
    else:
        wanted = max((MIN_PIXELS / pixels) ** 0.5, 1.0)
    scale = float(min(wanted, MOST_ENLARGED, max((ENLARGED_PIXELS / pixels) ** 0.5, 1.0)))
    return 1.0 if 1 < scale < LEAST_ENLARGED else scale


def searched_min_size(image: Image, min_size: float | None) -> float:
    """Return the side in pixels from which faces of the image are looked for."""
    return MIN_FACE / search_scale(image.shape[0], image.shape[1], min_size)


def pyramid(image: Image, min_size: float | None, index: int = 0) -> Iterator[Level]:
    """Yield the levels of an image, largest first.

    An enlarged level only answers for faces that are too small for the others, so that nothing else changes by it.
    """
    scale = search_scale(image.shape[0], image.shape[1], min_size)
    if scale > 1:
        for level in _tiles(_scaled(image, scale), scale, index):
            yield replace(level, largest=MIN_FACE)
        scale = 1.0
    current = _scaled(image, scale)
    while True:
        yield from _tiles(current, scale, index)
        sides = current.shape[:2]
        if max(sides) <= SIZES[0] * 1.5 or min(sides) < SIZES[0] / 2:
            return
        current = halve(current)
        scale = scale / 2


def _scaled(image: Image, scale: float) -> Image:
    """An image at a scale: halved as often as it can be, the rest by interpolation.

    Averages over areas that are no whole number of pixels are slow: 106 ms of processor time from 24 to 2 megapixels,
    14 ms this way (docs/log.md, 'large photos').
    """
    while scale <= 0.5:
        image = halve(image)
        scale = scale * 2
    size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    if scale == 1:
        return image
    interpolation = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)


def _tiles(level: Image, scale: float, index: int) -> Iterator[Level]:
    """Yield a level whole, or cut into squares of TILE with MARGIN around."""
    height, width = level.shape[:2]
    if height * width <= MAX_PIXELS * 1.1:
        yield Level(index, scale, _pad(level))
        return
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            y, x = max(top - MARGIN, 0), max(left - MARGIN, 0)
            part = level[y : top + TILE + MARGIN, x : left + TILE + MARGIN]
            rows = (top - y) // STRIDE, (top - y + TILE) // STRIDE
            columns = (left - x) // STRIDE, (left - x + TILE) // STRIDE
            yield Level(index, scale, _pad(part), x, y, rows, columns)


def _pad(pixels: Image) -> Image:
    """Pad to multiples of 32."""
    bottom = -pixels.shape[0] % 32
    right = -pixels.shape[1] % 32
    if not bottom and not right:
        return pixels
    return np.asarray(cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=PADDING), np.uint8)
