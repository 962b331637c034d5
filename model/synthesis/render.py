"""Draws triangles with a depth buffer, and tells which points can be seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.datasets import Array

FAR = np.float32(np.inf)


def rasterise(
    vertices: Array, values: Array, triangles: NDArray[np.int32], size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the values [H, W, K] and depths [H, W] of what stands nearest at each pixel's centre.

    Vertices [V, 3] are pixels and depth (smaller is nearer), values [V, K] any numbers, which are interpolated; size is
    height and width. Where nothing stands the depth is infinite and the values are NaN.
    """
    height, width = size
    depths = np.full(size, FAR, np.float32)
    drawn = np.full((*size, values.shape[1]), np.nan, np.float32)
    corners = vertices[triangles]
    tied = np.concatenate([vertices[:, 2:], values], axis=1)[triangles]
    low = np.floor(corners[..., :2].min(axis=1) - 0.5).astype(int).clip(0)
    high = np.ceil(corners[..., :2].max(axis=1) + 0.5).astype(int)
    high = np.minimum(high, (width, height))
    first = corners[:, 1, :2] - corners[:, 0, :2]
    second = corners[:, 2, :2] - corners[:, 0, :2]
    areas = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    for t in np.flatnonzero((np.abs(areas) > 1e-6) & (high > low).all(axis=1)):
        (x0, y0), (x1, y1) = low[t], high[t]
        x = np.arange(x0, x1) + 0.5 - corners[t, 0, 0]
        y = (np.arange(y0, y1) + 0.5 - corners[t, 0, 1])[:, None]
        b = (x * second[t, 1] - y * second[t, 0]) / areas[t]
        c = (y * first[t, 0] - x * first[t, 1]) / areas[t]
        inside = (b >= -1e-6) & (c >= -1e-6) & (b + c <= 1 + 1e-6)
        if not inside.any():
            continue
        origin = tied[t, 0]
        along_b = tied[t, 1] - tied[t, 0]
        along_c = tied[t, 2] - tied[t, 0]
        depth = origin[0] + b * along_b[0] + c * along_c[0]
        window = depths[y0:y1, x0:x1]
        nearer = inside & (depth < window)
        window[nearer] = depth[nearer]
        b = b[nearer, None]
        c = c[nearer, None]
        drawn[y0:y1, x0:x1][nearer] = origin[1:] + b * along_b[1:] + c * along_c[1:]
    return drawn, depths


def normals(vertices: Array, triangles: NDArray[np.int32]) -> Array:
    """Return the unit normals [V, 3] of the vertices, weighted by their triangles' areas; zero without a triangle."""
    corners = vertices[triangles]
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(total, triangles[:, corner], facing)
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9))


def on_surface(points: Array, depths: NDArray[np.float32], reach: int, tolerance: float) -> NDArray[np.bool_]:
    """Return whether each of points [N, 3] lies on the surface in a depth buffer.

    It does when the buffer holds the point's depth, give or take the tolerance, within reach pixels of it. Points
    outside the picture are judged by its nearest pixel.
    """
    height, width = depths.shape
    is_seen = []
    for x, y, depth in points:
        column = int(np.clip(np.floor(x), 0, width - 1))
        row = int(np.clip(np.floor(y), 0, height - 1))
        near = depths[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
        is_seen.append(bool((np.abs(near - depth) <= tolerance).any()))
    return np.array(is_seen)
