"""Harmed photos: faces still found when photos are small, dark, blurred, compressed or turned.

HELEN test, each photo as it is and harmed in four ways: at a quarter of its size; dark (value² × 0.35 with noise of
σ 4); blurred (σ 2.5 pixels of a photo of 500); JPEG of quality 10. The unharmed photos, too, shrunk until the box of
the face has a side of 12 to 24 pixels. And every second of CelebA's validation photos, as it is and turned by 90, 180
and 270° clockwise. `found` is the share of marked faces that a detection at the default settings overlaps with IoU ≥
0.5; `right` is the share found whose landmarks are off by less than a tenth of the box's side in the mean, too, for an
upside-down face is often found with its landmarks the wrong way round. The CelebA photos are of the validation part: no
training has learnt from them, but choices were made on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from tqdm import tqdm

from model import boxes as boxes_
from model import landmarks as markup
from model.datasets import Array, Sample
from model.datasets.readers import celeba
from model.datasets.store import read_photo
from model.evaluate import helen, metrics
from model.evaluate.result import Figure, Result, Row, Table
from model.evaluate.run import BATCH, FOUND_IOU, Run, reference_box
from model.geometry import Image

RIGHT = 0.1
"""Mean landmark error, in sides of the box, below which a face found counts as right."""
COUNTED = np.array([i not in markup.EARS for i in range(markup.COUNT)])
Outcome = tuple[bool, bool]


def quarter(photo: Image, _rng: np.random.Generator) -> Image:
    """Return the photo at a quarter of its width and height."""
    height, width = photo.shape[:2]
    size = (max(1, round(width / 4)), max(1, round(height / 4)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def shrunk(photo: Image, box: Array, side: float) -> Image:
    """Return the photo so small that a box [1, 4] of it has a side of so many pixels; enlarge nothing."""
    scale = min(1.0, side / float(boxes_.sides(box).mean()))
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def dark(photo: Image, rng: np.random.Generator) -> Image:
    """Return the photo as in poor light: squared, dimmed to 0.35, with noise."""
    dimmed = 255 * 0.35 * (photo / 255.0) ** 2
    return np.clip(np.round(dimmed + rng.normal(0, 4, photo.shape)), 0, 255).astype(np.uint8)


def blurred(photo: Image, _rng: np.random.Generator) -> Image:
    """Return the photo out of focus, by as much of its size whatever its size is."""
    return np.asarray(cv2.GaussianBlur(photo, (0, 0), 2.5 * max(photo.shape[:2]) / 500), np.uint8)


def compressed(photo: Image, _rng: np.random.Generator) -> Image:
    """Return the photo after JPEG compression of quality 10."""
    encoded = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


HARMS: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    "quarter": quarter,
    "dark": dark,
    "blurred": blurred,
    "jpeg10": compressed,
}
TURNS = (90, 180, 270)
SIDES = (12, 14, 16, 20, 24)
"""Pixels to which the face is shrunk."""


def turned_samples(run: Run) -> list[Sample]:
    """Return every second validation photo of CelebA whose marked face has its landmarks: 158."""
    photos = celeba.read("celeba_wild", run.root("celeba_wild"))
    return [s for s in photos if s.split == "val" and reference_box(s) is not None][::2]


def evaluate(run: Run) -> Result:
    """Raises FileNotFoundError without `helen` or `celeba_wild`."""
    outcomes: dict[str, list[Outcome]] = {}
    upright = run.some(helen.test_samples(run))
    lying = run.some(turned_samples(run))
    outcomes["plain"] = _judged(run, upright)
    for name in HARMS:
        outcomes[name] = _judged(run, upright, harm=name)
    for side in SIDES:
        outcomes[f"side_{side}"] = _judged(run, upright, side=side)
    for degrees in (0, *TURNS):
        outcomes[f"turned_{degrees}"] = _judged(run, lying, degrees=degrees)
    return score(outcomes, len(upright) + len(lying))


def score(outcomes: dict[str, list[Outcome]], photos: int) -> Result:
    """Return the figures of each harm's faces, found or not and right or not."""
    figures = []
    rows = list[Row]()
    for name, pairs in outcomes.items():
        found_count = sum(found for found, _ in pairs)
        right = sum(right for _, right in pairs)
        share = 100 * found_count / len(pairs) if pairs else np.nan
        figures.append(Figure(f"found_{name}", share))
        rows.append((name, len(pairs), found_count, right, share, 100 * right / len(pairs) if pairs else np.nan))
    table = Table("By harm", ("photos", "faces", "found", "right", "found %", "right %"), rows)
    return Result("harmed", photos, tuple(figures), (table,))


def _judged(
    run: Run, samples: Sequence[Sample], harm: str | None = None, side: int | None = None, degrees: int = 0
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for start in tqdm(range(0, len(samples), BATCH), f"harmed: {harm or side or degrees}", disable=None, leave=False):
        group = samples[start : start + BATCH]
        photos = []
        truths = []
        for number, sample in enumerate(group, start):
            photo, points, box = turn(read_photo(sample.path), sample, degrees)
            before = photo.shape[1::-1]
            if harm is not None:
                photo = HARMS[harm](photo, np.random.default_rng(number))
            if side is not None:
                photo = shrunk(photo, box, side)
            scale = np.array(photo.shape[1::-1]) / before
            photos.append(photo)
            truths.append((points * scale, box * np.tile(scale, 2)))
        results = run.analyzer.analyze(photos)
        for faces, (points, box) in zip(results, truths, strict=True):
            outcomes.append(outcome(faces.boxes, faces.landmarks, points, box))
    return outcomes


def turn(photo: Image, sample: Sample, degrees: int) -> tuple[Image, Array, Array]:
    """Return a sample's photo turned clockwise by quarters, with its landmarks [21, 2] and its face's box [1, 4]."""
    points = np.asarray(sample.landmarks, np.float64)
    box = reference_box(sample)
    assert box is not None
    corners = box.reshape(2, 2).astype(np.float64)
    for _ in range(degrees // 90):
        height = photo.shape[0]
        photo = np.ascontiguousarray(np.rot90(photo, -1))
        points, corners = (np.stack([height - p[:, 1], p[:, 0]], axis=1) for p in (points, corners))
    return photo, points, np.concatenate([corners.min(axis=0), corners.max(axis=0)])[None]


def outcome(boxes: Array, landmarks: Array, points: Array, box: Array) -> Outcome:
    """Return whether the marked face is found, and whether the landmarks of what was found are right."""
    if not len(boxes):
        return False, False
    overlap = metrics.iou(boxes, box)[:, 0]
    best = int(overlap.argmax())
    if overlap[best] < FOUND_IOU:
        return False, False
    error = metrics.normalised_mean_error(landmarks[best][None], points[None], COUNTED, box)[0]
    return True, bool(error < RIGHT)
