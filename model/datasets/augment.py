"""Random changes to crops that keep their labels true: jitter of the frame, light, blur, resolution, occlusion."""

from __future__ import annotations

import cv2
import numpy as np

from model.datasets import Array
from model.geometry import Image

COARSE = 0.12
"""Share of crops at low resolution."""


def jitter_matrix(size: int, rng: np.random.Generator, angle: float, scale: float, shift: float) -> Array:
    """Return a random affine map [3, 3] of a size × size crop onto itself, from rotation (degrees), scale and shift."""
    radians = np.deg2rad(rng.normal(0, angle))
    factor = np.exp(rng.normal(0, scale))
    cosine = factor * np.cos(radians)
    sine = factor * np.sin(radians)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    centre = np.array([size / 2, size / 2])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre + rng.normal(0, shift, 2) * size - linear @ centre
    return matrix


def mirror_matrix(size: int) -> Array:
    """Return the affine map [3, 3] that mirrors a crop left to right."""
    return np.array([[-1.0, 0.0, size], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def degrade(crop: Image, rng: np.random.Generator, coarse: float = COARSE) -> Image:
    """Change light, contrast and colour, blur, add JPEG noise and a patch, and make a share `coarse` coarse."""
    size = crop.shape[0]
    kind = rng.random() - coarse
    if kind < 0:
        small = int(size * rng.uniform(0.2, 0.7))
        crop = _resize(_resize(crop, small, cv2.INTER_AREA), size, cv2.INTER_LINEAR)
    elif kind < 0.08:
        crop = np.asarray(cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.6, 2.5)), np.uint8)
    elif kind < 0.14:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 60))]
        crop = np.asarray(cv2.imdecode(cv2.imencode(".jpg", crop, quality)[1], cv2.IMREAD_COLOR), np.uint8)
    if rng.random() < 0.08:
        crop = np.repeat(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2).astype(np.uint8)
    if rng.random() < 0.7:
        gain = np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.04, 3))
        levels = np.arange(256)[:, None]
        gamma = np.exp(rng.normal(0, 0.15))
        table = 255 * (levels / 255) ** gamma * gain + rng.normal(0, 10)
        crop = np.asarray(cv2.LUT(crop, np.clip(table, 0, 255).astype(np.uint8)[None]), np.uint8)
    if rng.random() < 0.1:
        crop = crop.copy()
        width, height = (rng.uniform(0.12, 0.35, 2) * size).astype(int)
        x, y = rng.integers(0, size - width), rng.integers(0, size - height)
        crop[y : y + height, x : x + width] = rng.integers(0, 256, 3)
    return crop


def _resize(image: Image, size: int, interpolation: int) -> Image:
    return np.asarray(cv2.resize(image, (size, size), interpolation=interpolation), np.uint8)
