"""Detection on photos whose faces are all marked: PASCAL VOC's average precision (Everingham et al. 2010).

A detection goes to the marked face that it overlaps most; it is right when their IoU reaches 0.5 and no better-scoring
detection has taken that face. One that goes to a difficult face is neither right nor wrong, and a difficult face is not
counted. Precision at a recall is the best at that recall or beyond, all points (VOC 2010).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.datasets.photo import Photo
from model.evaluate import metrics
from model.evaluate.result import Figure, Plot
from model.evaluate.run import Run
from model.runtime.limits import LOW_SCORE

Found = tuple[metrics.Floats, metrics.Floats]
"""Boxes [N, 4] and scores [N] found in a photo."""


def detect(run: Run, photos: Sequence[Photo], title: str) -> list[Found]:
    """Return the detections in each photo from LOW_SCORE up, below which nothing is refined."""
    analyzed = run.analyze([photo.sample for photo in photos], title, min_score=LOW_SCORE)
    return [(a.faces.boxes, a.faces.scores) for a in analyzed]


def match(detections: Found, photo: Photo, threshold: float = 0.5) -> metrics.Integers:
    """Return the verdicts [N] on one photo's detections: 1 right, 0 wrong, IGNORED."""
    boxes, scores = detections
    verdicts = np.zeros(len(boxes), dtype=np.int64)
    if not len(photo.boxes) or not len(boxes):
        return verdicts
    overlaps = metrics.iou(boxes, photo.boxes)
    taken = np.zeros(len(photo.boxes), bool)
    for index in np.argsort(-np.asarray(scores), kind="stable"):
        best = int(overlaps[index].argmax())
        if overlaps[index, best] >= threshold:
            verdicts[index] = metrics.IGNORED if photo.difficult[best] else int(not taken[best])
            taken[best] = True
    return verdicts


def score(detections: Sequence[Found], photos: Sequence[Photo], name: str) -> tuple[list[Figure], Plot]:
    """Average precision and the curve. Raises ValueError when no face counts."""
    faces = sum(int((~photo.difficult).sum()) for photo in photos)
    verdicts = [match(f, p) for f, p in zip(detections, photos, strict=True)]
    scores = np.concatenate([np.zeros(0), *(scores for _, scores in detections)])
    curve = metrics.precision_recall(scores, np.concatenate([np.zeros(0, np.int64), *verdicts]), faces)
    recall = float(curve.recall[-1]) if len(curve.recall) else 0.0
    figures = [
        Figure("ap", 100 * curve.average_precision),
        Figure("recall", 100 * recall),
        Figure("marked_faces", faces, "faces"),
    ]
    return figures, Plot("precision_recall", "recall", "precision", {name: (curve.recall, curve.precision)})
