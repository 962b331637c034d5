"""FDDB (Jain and Learned-Miller 2010): discrete and continuous ROC over 10 folds (section IV-A, Fig. 6c).

Faces are ellipses. At each score threshold the detections of a photo are assigned to its faces one to one so that the
sum of IoUs is largest (the Hungarian method, as the benchmark's own program). A detection's discrete score is 1 when
its IoU exceeds 0.5, its continuous score is the IoU; the true positive rate is the sum of scores over all faces of the
ten folds, and detections whose discrete score is 0 are the false positives. `discrete_at_N` and `continuous_at_N` are
the rates at most N false positives in, never interpolated.

Our boxes are squares. The map from a box to an ellipse (radii, centre, in units of the side; the axis upright and
turned by the face's roll) is the median over the right detections of the nine other folds; `box_…` figures are of the
plain squares. With --folds DIR the photos of fold k are analyzed by DIR/fold-k.safetensors (01 … 10), each fine-tuned
on the other nine (recipes/archives/fddb.json), as in the paper; else one checkpoint does all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.datasets.photo import Photo, ellipse_boxes
from model.datasets.readers import fddb
from model.evaluate import metrics
from model.evaluate.ellipses import box_polygon, ellipse_polygon, polygon_iou
from model.evaluate.result import Figure, Plot, Result
from model.evaluate.run import Run
from model.runtime.limits import LOW_SCORE
from model.runtime.pipeline import Analyzer

FALSE_POSITIVES = (100, 500, 1000, 2000)
PLAIN = np.array([0.6, 0.45, 0.0, 0.0])
"""The map where no other fold has a right detection: radii and shift of the centre down and right, in sides."""


@dataclass(frozen=True, eq=False)
class Detections:
    """What is found in one photo: boxes [N, 4], scores [N], roll [N] in degrees."""

    boxes: metrics.Floats
    scores: metrics.Floats
    roll: metrics.Floats


@dataclass(frozen=True, eq=False)
class Curve:
    """False positives [T], discrete and continuous true positive rates [T], each threshold from above; starts at 0."""

    false_positives: metrics.Floats
    discrete: metrics.Floats
    continuous: metrics.Floats

    def at(self, false_positives: int) -> tuple[float, float]:
        """Return the discrete and the continuous rate at the last threshold with at most so many false positives."""
        last = int(np.flatnonzero(self.false_positives <= false_positives)[-1])
        return float(self.discrete[last]), float(self.continuous[last])


def evaluate(run: Run) -> Result:
    """Raises FileNotFoundError without `fddb` or without a fold's checkpoint."""
    photos = run.some(fddb.read_photos(run.root("fddb")))
    detections: list[Detections] = []
    for fold in sorted({photo.fold for photo in photos}):
        fold_samples = [photo.sample for photo in photos if photo.fold == fold]
        analyzed = run_of_fold(run, fold).analyze(fold_samples, f"fddb: fold {fold}", min_score=LOW_SCORE)
        detections += [Detections(a.faces.boxes, a.faces.scores, a.faces.pose[:, 0]) for a in analyzed]
    return score(detections, sorted(photos, key=lambda photo: photo.fold))


def run_of_fold(run: Run, fold: int) -> Run:
    """Return the run with the checkpoint fine-tuned for this fold; the run itself where there are none by fold."""
    if run.folds is None:
        return run
    weights = run.folds / f"fold-{fold:02d}.safetensors"
    return Run(Analyzer(replace(run.analyzer.config, weights=weights)), run.data, run.limit)


def score(detections: Sequence[Detections], photos: Sequence[Photo]) -> Result:
    """Return the protocol's result for the detections of each photo."""
    shapes = {fold: fit(detections, photos, fold) for fold in {photo.fold for photo in photos}}
    fitted = [ellipses(f, shapes[p.fold]) for f, p in zip(detections, photos, strict=True)]
    curve = roc(detections, photos, lambda i, k: ellipse_polygon(fitted[i][k]))
    box_curve = roc(detections, photos, lambda i, k: box_polygon(detections[i].boxes[k]))
    figures = []
    for prefix, one in (("", curve), ("box_", box_curve)):
        for limit in FALSE_POSITIVES:
            discrete, continuous = one.at(limit)
            figures += [
                Figure(f"{prefix}discrete_at_{limit}", 100 * discrete),
                Figure(f"{prefix}continuous_at_{limit}", 100 * continuous),
            ]
    lines = {
        "discrete": (curve.false_positives, curve.discrete),
        "continuous": (curve.false_positives, curve.continuous),
    }
    return Result(
        "fddb", len(photos), tuple(figures), plots=(Plot("roc", "false positives", "true positive rate", lines),)
    )


def roc(
    detections: Sequence[Detections], photos: Sequence[Photo], polygon: Callable[[int, int], metrics.Floats]
) -> Curve:
    """Return the curve; polygon(i, k) is the region of detection k of photo i. Raises ValueError for no marked face."""
    faces = sum(len(photo.boxes) for photo in photos)
    if not faces:
        raise ValueError("the ROC needs at least one marked face")
    changes: list[tuple[float, int, float, float]] = []  # score, false positives, discrete, continuous: what it adds
    for i, (detected, photo) in enumerate(zip(detections, photos, strict=True)):
        overlaps = np.zeros((len(detected.boxes), len(photo.boxes)))
        regions = [polygon(i, k) for k in range(len(detected.boxes))]
        for j, ellipse in enumerate(photo.ellipses if photo.ellipses is not None else ()):
            face = ellipse_polygon(ellipse)
            overlaps[:, j] = [polygon_iou(region, face) for region in regions]
        changes += curve_steps(detected.scores, overlaps)
    order = sorted(changes, key=lambda change: -change[0])
    scores = np.array([change[0] for change in order])
    added = np.array([change[1:] for change in order], np.float64).reshape(-1, 3)
    last = np.diff(scores, append=-np.inf) != 0
    sums = np.vstack([np.zeros(3), np.cumsum(added, axis=0)[last]]) if order else np.zeros((1, 3))
    return Curve(sums[:, 0], sums[:, 1] / faces, sums[:, 2] / faces)


def curve_steps(scores: metrics.Floats, overlaps: metrics.Floats) -> list[tuple[float, int, float, float]]:
    """Return what each threshold of one photo adds to false positives, discrete and continuous score."""
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - an extra that the other protocols do without

    steps = []
    last_totals = (0, 0.0, 0.0)
    for threshold in np.unique(scores)[::-1]:
        accepted = overlaps[scores >= threshold]
        pairs = accepted[linear_sum_assignment(accepted, maximize=True)]
        right = float((pairs > 0.5).sum())
        totals = (len(accepted) - int(right), right, float(pairs.sum()))
        steps.append(
            (float(threshold), totals[0] - last_totals[0], totals[1] - last_totals[1], totals[2] - last_totals[2])
        )
        last_totals = totals
    return steps


def fit(detections: Sequence[Detections], photos: Sequence[Photo], fold: int) -> metrics.Floats:
    """Return radii and shift of the centre [4], in box sides: medians over the right detections of the other folds."""
    shapes = []
    for detected, photo in zip(detections, photos, strict=True):
        if photo.fold == fold or photo.ellipses is None or not len(photo.ellipses) or not len(detected.boxes):
            continue
        overlaps = metrics.iou(detected.boxes, ellipse_boxes(photo.ellipses))
        for k in np.flatnonzero(overlaps.max(axis=1) >= 0.5):
            ellipse = photo.ellipses[int(overlaps[k].argmax())]
            box = detected.boxes[k]
            side = box[2] - box[0]
            centre = (box[:2] + box[2:]) / 2
            shapes.append([*(np.sort(ellipse[:2])[::-1] / side), *((ellipse[3:] - centre) / side)])
    return np.median(shapes, axis=0) if shapes else PLAIN


def ellipses(detections: Detections, shape: metrics.Floats) -> metrics.Floats:
    """Return the ellipses [N, 5] of one photo's boxes under the fitted map."""
    if not len(detections.boxes):
        return np.zeros((0, 5))
    side = detections.boxes[:, 2:3] - detections.boxes[:, :1]
    centre = (detections.boxes[:, :2] + detections.boxes[:, 2:]) / 2
    angle = np.pi / 2 + np.deg2rad(detections.roll)[:, None]
    return np.concatenate([side * shape[:2], angle, centre + side * shape[2:]], axis=1)
