"""Ellipses and rectangles as polygons: their overlap, for FDDB, whose faces are ellipses."""

from __future__ import annotations

import numpy as np

from model.evaluate.metrics import Floats

CORNERS = 128
"""Of the polygon that stands for an ellipse: its area is 0.04 % less than the ellipse's."""


def ellipse_polygon(ellipse: Floats, corners: int = CORNERS) -> Floats:
    """Return the polygon [corners, 2] of an ellipse [5] (radii, angle in radians, centre), counter-clockwise (y up)."""
    first, second, angle, x, y = ellipse
    turn = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    along = first * np.cos(turn)
    across = second * np.sin(turn)
    cosine = np.cos(angle)
    sine = np.sin(angle)
    return np.stack([along * cosine - across * sine + x, along * sine + across * cosine + y], axis=1)


def box_polygon(box: Floats) -> Floats:
    """Return the polygon [4, 2] of a box xyxy [4], counter-clockwise for y upwards."""
    x1, y1, x2, y2 = box
    return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float64)


def area(polygon: Floats) -> float:
    """Return the area of a polygon [P, 2]; 0 for fewer than three corners."""
    if len(polygon) < 3:
        return 0.0
    x, y = polygon.T
    return abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())) / 2


def clip(polygon: Floats, window: Floats) -> Floats:
    """Return the part of a convex polygon [P, 2] inside another [Q, 2] of the same sense (Sutherland, Hodgman 1974)."""
    for start, end in zip(window, np.roll(window, -1, axis=0), strict=True):
        if not len(polygon):
            break
        edge = end - start
        side = edge[0] * (polygon[:, 1] - start[1]) - edge[1] * (polygon[:, 0] - start[0])
        if (side >= 0).all():
            continue
        following = np.roll(polygon, -1, axis=0)
        next_side = np.roll(side, -1)
        inside = side >= 0
        crossing = inside != (next_side >= 0)
        along = side / np.where(crossing, side - next_side, 1.0)
        cut = polygon + (following - polygon) * along[:, None]
        polygon = np.stack([polygon, cut], axis=1)[np.stack([inside, crossing], axis=1)]
    return polygon


def polygon_iou(first: Floats, second: Floats) -> float:
    """Return the intersection over union of two convex polygons of one sense."""
    if (first.max(axis=0) <= second.min(axis=0)).any() or (second.max(axis=0) <= first.min(axis=0)).any():
        return 0.0
    many, few = (first, second) if len(first) >= len(second) else (second, first)
    common = area(clip(many, few))
    union = area(first) + area(second) - common
    return common / union if union > 0 else 0.0
