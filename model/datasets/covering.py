"""Covers faces with drawn masks, sunglasses, hands and objects, and tells which landmarks can no longer be seen.

A covering is an opacity [H, W] and a colour [H, W, 3]. Visibility becomes 0 where a landmark's pixel is more than half
covered: it then means 'can be seen in the photo', not only 'faces the camera'. The loader calls `cover` on a crop with
its landmarks in the crop's pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from model import landmarks as markup
from model.datasets import Array
from model.geometry import Image

KINDS = ("mask", "sunglasses", "hand", "object")
"""What can be drawn over a face."""
CHANCES = (0.35, 0.25, 0.25, 0.15)
"""How often `cover` draws each kind when none is asked for."""
LEAST_VISIBLE = 5
"""A covering that leaves fewer landmarks in sight is drawn anew: what is left would be no face to find."""

_TRIES = 8
_EYES = (7, 10)
_NOSE = 14
_CHIN = 20
_SHIFT = 4  # binary digits after the point in the coordinates that OpenCV draws with
_CLOTH = (
    (235, 238, 240),
    (150, 195, 225),
    (25, 25, 28),
    (6, 6, 8),
    (2, 2, 2),
    (45, 45, 60),
    (120, 125, 130),
    (200, 60, 60),
    (40, 60, 120),
    (230, 200, 210),
)
_SKIN = ((255, 224, 196), (238, 195, 160), (214, 160, 120), (165, 110, 75), (110, 70, 48), (70, 45, 35))

Opacity = NDArray[np.uint8]  # [H, W], 255 where nothing of the face shines through
Colours = NDArray[np.float32]  # [H, W, 3] RGB
Covering = tuple[Opacity, Colours]


def cover(
    photo: Image, points: Array, visibility: Array, rng: np.random.Generator, kind: str | None = None
) -> tuple[Image, Array]:
    """Draw one covering over the face with landmarks [21, 2] of a photo [H, W, 3]; return photo and visibility.

    Without a `kind` of KINDS one is drawn by CHANCES. Landmarks that were hidden before stay hidden, unlabelled ones
    (NaN) stay so unless they are covered. The inputs are not changed; they come back as they are when no covering of
    several tries leaves LEAST_VISIBLE landmarks in sight. Raises ValueError for an unknown kind.
    """
    if kind is not None and kind not in _DRAW:
        raise ValueError(f"no covering of kind {kind!r}: choose one of {', '.join(KINDS)}")
    if not np.isfinite(points).all():
        return photo, visibility
    seen_before = np.nan_to_num(np.asarray(visibility, np.float32), nan=1.0)
    for _ in range(_TRIES):
        opacity, colours = _DRAW[kind or str(rng.choice(KINDS, p=CHANCES))](photo, points, seen_before, rng)
        opacity = np.asarray(cv2.GaussianBlur(opacity, (0, 0), rng.uniform(0.4, 1.0)), np.uint8)
        hidden = covered(opacity, points)
        if (hidden & (seen_before > 0.5)).any() and ((seen_before > 0.5) & ~hidden).sum() >= LEAST_VISIBLE:
            return _blend(photo, opacity, colours, rng), np.where(hidden, 0, visibility).astype(np.float32)
    return photo, visibility


def covered(opacity: Opacity, points: Array) -> NDArray[np.bool_]:
    """Return which landmarks [21] lie where the opacity is over a half; those outside the photo do not."""
    height, width = opacity.shape
    column, row = np.floor(points).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    at = opacity[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    return np.asarray(inside & (at > 127))


def draw_mask(photo: Image, points: Array, _known: Array, rng: np.random.Generator) -> Covering:
    """Draw a cloth mask from the nose (sometimes from under it) over the mouth to below the chin, with its straps."""
    eyes = points[list(_EYES)].mean(axis=0)
    nose = points[_NOSE]
    chin = points[_CHIN]
    down = chin - eyes
    below_nose = rng.random() < 0.12
    top = nose + 0.12 * down if below_nose else eyes + rng.uniform(0.35, 0.85) * (nose - eyes)
    below = rng.uniform(0.06, 0.15) * down
    outline = [top] + [chin + below + share * (points[16] - points[12]) for share in (-0.08, 0.08)]
    if not below_nose:
        outline += [nose + 0.06 * (nose - eyes), points[13], points[15]]
    straps = []
    slack = rng.uniform(0.55, 0.7) if below_nose else rng.uniform(0.1, 0.35)
    for ear, mouth in ((12, 17), (16, 19)):
        side = points[ear] + slack * (points[mouth] - points[ear])
        jaw = points[ear] + 0.62 * (chin - points[ear]) + 0.04 * down
        jaw += 0.18 * (points[ear] - (points[12] + points[16]) / 2)
        outline += [side + 0.08 * down, jaw, points[mouth]]
        straps += [(side + 0.1 * down, points[ear] - 0.08 * down), (jaw, points[ear] + 0.08 * down)]
    opacity = np.zeros(photo.shape[:2], np.uint8)
    thickness = max(1, round(0.025 * float(np.linalg.norm(down))))
    for start, end in straps:
        _line(opacity, start, end, thickness)
    hull = np.asarray(cv2.convexHull(np.asarray(outline, np.float32))[:, 0], np.float32)
    _polygon(opacity, _rounded(hull))
    colours = _shaded(photo.shape[:2], _jittered(_CLOTH, rng), (points[12] + points[16]) / 2, down, rng)
    for share in np.linspace(0.35, 0.85, int(rng.integers(0, 4))):  # the pleats
        middle = top + share * (chin - top)
        across = (points[16] - points[12]) * 0.45
        line = np.zeros(photo.shape[:2], np.uint8)
        _line(line, middle - across, middle + across, thickness)
        colours *= 1 - 0.18 * (line[..., None] / np.float32(255))
    return opacity, colours


def draw_sunglasses(photo: Image, points: Array, seen_before: Array, rng: np.random.Generator) -> Covering:
    """Draw dark glasses: a lens on each eye that can be seen, the bridge between them and the temples to the ears."""
    eyes = points[list(_EYES)].mean(axis=0)
    height = float(np.linalg.norm(points[_CHIN] - eyes))
    across = points[11] - points[6]
    size = rng.uniform(0.75, 1.05)
    square = rng.random() < 0.5
    opacity = np.zeros(photo.shape[:2], np.uint8)
    thickness = max(1, round(rng.uniform(0.02, 0.05) * height))
    angle = float(np.degrees(np.arctan2(across[1], across[0])))
    for outer, centre, inner, ear in ((6, 7, 8, 12), (11, 10, 9, 16)):
        if seen_before[centre] < 0.3:
            continue
        half = np.array([max(np.linalg.norm(points[outer] - points[inner]), 0.12 * height), 0.32 * height]) * size
        half[1] *= rng.uniform(0.5, 0.75)
        middle = points[centre] + 0.03 * (points[_CHIN] - eyes)
        if square:
            _polygon(opacity, _rounded(_rectangle(middle, 0.88 * half, angle)))
        else:
            _ellipse(opacity, middle, half, angle)
        _line(opacity, middle, points[ear] - 0.05 * (points[_CHIN] - eyes), thickness)
    if seen_before[7] >= 0.3 and seen_before[10] >= 0.3:
        _line(opacity, points[7], points[10], thickness)
    tint = rng.uniform(0, 45, 3) if rng.random() < 0.85 else rng.uniform(0, 160, 3)
    colours = _shaded(photo.shape[:2], tint.astype(np.float32), eyes, points[_CHIN] - eyes, rng)
    if rng.random() < 0.5:  # something mirrors in the lenses
        gleam = np.zeros(photo.shape[:2], np.uint8)
        start = points[7] + rng.normal(0, 0.08, 2) * height
        _line(gleam, start, start + rng.normal(0, 0.5, 2) * height, 2 * thickness)
        colours += gleam[..., None].astype(np.float32) * np.float32(rng.uniform(0.1, 0.5))
    return opacity, colours


def draw_hand(photo: Image, points: Array, seen_before: Array, rng: np.random.Generator) -> Covering:
    """Draw a hand with three to five fingers over some part of the face, and its arm, which leaves the photo."""
    eyes = points[list(_EYES)].mean(axis=0)
    height = float(np.linalg.norm(points[_CHIN] - eyes))
    targets = (eyes, points[7], points[10], points[18], points[_NOSE], points[_CHIN], (points[12] + points[17]) / 2)
    tip = targets[int(rng.integers(len(targets)))] + rng.normal(0, 0.12, 2) * height
    # Arms come from below and from the sides, seldom from above.
    angle = rng.normal(np.pi / 2, 0.9)
    away = np.array([np.cos(angle), np.sin(angle)])
    palm = tip + away * height * rng.uniform(0.55, 0.9)
    width = height * rng.uniform(0.13, 0.19)
    skin = _skin(photo, points, seen_before, rng)
    opacity = np.zeros(photo.shape[:2], np.uint8)
    light = np.ones(photo.shape[:2], np.float32)
    reach = float(max(photo.shape)) * 2
    for start, end, thickness in (
        (palm, palm + away * reach, 2.6 * width),
        *(
            (palm + side * 0.85 * width * _normal(away), tip + side * spread * _normal(away) + length, width)
            for side, spread, length in _fingers(rng, width, away)
        ),
    ):
        part = np.zeros(photo.shape[:2], np.uint8)
        _line(part, start, end, max(2, round(float(thickness))))
        inside = cv2.distanceTransform(part, cv2.DIST_L2, 3) / max(float(thickness) / 2, 1)
        light = np.where(part > 127, 0.62 + 0.38 * np.sqrt(np.clip(inside, 0, 1)), light).astype(np.float32)
        opacity = np.maximum(opacity, part)
    _ellipse(opacity, palm, np.array([2.2 * width, 2.0 * width]), float(np.degrees(angle)))
    colours = _shaded(photo.shape[:2], skin, palm, away * height, rng) * light[..., None]
    return opacity, colours


def draw_object(photo: Image, points: Array, _known: Array, rng: np.random.Generator) -> Covering:
    """Draw a thing in front of the face: a turned rectangle or an ellipse of any colour, plain, striped or speckled."""
    extent = float(np.ptp(points, axis=0).max())
    centre = points[int(rng.integers(markup.COUNT))] + rng.normal(0, 0.15, 2) * extent
    half = extent * np.exp(rng.uniform(np.log(0.12), np.log(0.5), 2))
    angle = rng.uniform(0, 180)
    opacity = np.zeros(photo.shape[:2], np.uint8)
    if rng.random() < 0.5:
        _polygon(opacity, _rectangle(centre, half, angle))
    else:
        _ellipse(opacity, centre, half, angle)
    grey = rng.uniform(0, 255)
    colour = grey + rng.uniform(0, 1) * (rng.uniform(0, 255, 3) - grey)
    colours = _shaded(photo.shape[:2], colour, centre, rng.normal(0, 1, 2) * extent, rng)
    if rng.random() < 0.4:
        along = np.radians(angle)
        y, x = np.mgrid[: photo.shape[0], : photo.shape[1]].astype(np.float32)
        wave = np.sin((x * np.cos(along) + y * np.sin(along)) / (extent * rng.uniform(0.01, 0.06)))
        colours = np.where(wave[..., None] > 0.3, rng.uniform(0, 255, 3).astype(np.float32), colours)
    return opacity, colours.astype(np.float32)


_DRAW: dict[str, Callable[[Image, Array, Array, np.random.Generator], Covering]] = dict(
    zip(KINDS, (draw_mask, draw_sunglasses, draw_hand, draw_object), strict=True)
)


def _blend(photo: Image, opacity: Opacity, colours: Colours, rng: np.random.Generator) -> Image:
    noise = rng.normal(0, rng.uniform(0, 6), photo.shape[:2])[..., None]
    share = opacity[..., None].astype(np.float32) / 255
    return np.clip(photo * (1 - share) + (colours.clip(0, 255) + noise) * share, 0, 255).astype(np.uint8)


def _shaded(
    shape: tuple[int, ...], colour: Array, origin: Array, direction: Array, rng: np.random.Generator
) -> Colours:
    """Return the colour [H, W, 3], lighter or darker along the direction as far as it is long, and across it."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    length = max(float(np.linalg.norm(direction)), 1.0)
    along, across = (np.asarray(d) / length for d in (direction, _normal(direction)))
    first, second = ((x - origin[0]) * d[0] + (y - origin[1]) * d[1] for d in (along, across))
    light = 1 + (rng.normal(0, 0.12) * first + rng.normal(0, 0.2) * second) / length
    return np.asarray(np.clip(light, 0.35, 1.3)[..., None] * np.asarray(colour, np.float32), np.float32)


def _skin(photo: Image, points: Array, seen_before: Array, rng: np.random.Generator) -> Array:
    """Return the colour of the hand: mostly that of the face around its nose, else one of some skin colours."""
    column, row = np.floor(points[_NOSE]).astype(int)
    inside = 1 <= row < photo.shape[0] - 1 and 1 <= column < photo.shape[1] - 1
    if rng.random() < 0.7 and inside and seen_before[_NOSE] > 0.5:
        nose = photo[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3)
        return np.asarray(np.median(nose, axis=0) * np.exp(rng.normal(0, 0.1)) + rng.normal(0, 5, 3), np.float32)
    return _jittered(_SKIN, rng)


def _fingers(rng: np.random.Generator, width: float, away: Array) -> list[tuple[float, float, Array]]:
    """Return for each finger its place across the palm in widths, its spread in pixels, and how much shorter it is."""
    count = int(rng.integers(3, 6))
    spread = rng.uniform(0.85, 1.35)
    sides = np.arange(count) - (count - 1) / 2
    return [(float(s), spread * width, away * width * (0.35 * abs(s) + rng.uniform(0, 0.5))) for s in sides]


def _jittered(palette: tuple[tuple[int, int, int], ...], rng: np.random.Generator) -> Array:
    colour = np.asarray(palette[int(rng.integers(len(palette)))]) * np.exp(rng.normal(0, 0.08))
    return np.asarray(np.clip(colour + rng.normal(0, 8, 3), 0, 255), np.float32)


def _normal(direction: Array) -> Array:
    return np.array([-direction[1], direction[0]])


def _rectangle(centre: Array, half: Array, angle: float) -> Array:
    """Return the corners [4, 2] of a rectangle of half sides [2], its first side turned by so many degrees."""
    turned = ((float(centre[0]), float(centre[1])), (2 * float(half[0]), 2 * float(half[1])), angle)
    return np.asarray(cv2.boxPoints(turned), np.float32)


def _rounded(corners: Array) -> Array:
    """Return the polygon [N, 2] with its corners cut, twice (Chaikin's rule)."""
    for _ in range(2):
        following = np.roll(corners, -1, axis=0)
        corners = np.stack([0.8 * corners + 0.2 * following, 0.2 * corners + 0.8 * following], axis=1).reshape(-1, 2)
    return corners


def _fixed(points: Array) -> NDArray[np.int32]:
    """Return coordinates as OpenCV draws with them: its pixel centres lie at integers, ours at half integers."""
    return np.asarray(np.round((np.clip(points, -9000, 9000) - 0.5) * (1 << _SHIFT)), np.int32)


def _polygon(opacity: Opacity, corners: Array) -> None:
    cv2.fillPoly(opacity, [_fixed(corners)], 255, cv2.LINE_AA, _SHIFT)


def _line(opacity: Opacity, start: Array, end: Array, thickness: int) -> None:
    first, second = (tuple(int(v) for v in _fixed(p)) for p in (start, end))
    cv2.line(opacity, first, second, 255, thickness, cv2.LINE_AA, _SHIFT)


def _ellipse(opacity: Opacity, centre: Array, half: Array, angle: float) -> None:
    axes = tuple(int(v) for v in np.round(np.asarray(half) * (1 << _SHIFT)))
    cv2.ellipse(opacity, tuple(int(v) for v in _fixed(centre)), axes, angle, 0, 360, 255, -1, cv2.LINE_AA, _SHIFT)
