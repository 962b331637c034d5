"""The measures of the protocols: pure functions of numpy arrays, no photos and no network in sight.

Verification: a pair is accepted when its score is at or above the threshold; FAR and TAR are the accepted shares of the
impostor and the genuine pairs. Detection: PASCAL VOC's matching and average precision (Everingham et al. 2010, all
points). Landmarks: normalised mean error of facts in docs/paper.md (mean point error over √(w·h) of the true box).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
Integers = NDArray[np.integer[Any]]

IGNORED = -1
"""A detection that is neither right nor wrong: it lies where the markup says nothing."""


# -- verification -----------------------------------------------------------------------------------------------------


def roc(scores: Floats, genuine: Flags) -> tuple[Floats, Floats, Floats]:
    """Return false and true accept rates and thresholds, each [T], of pair scores [P]; genuine [P] marks mates.

    Starts at (0, 0, inf) and ends at (1, 1, lowest score); equal scores are accepted together. Raises ValueError
    without a genuine or without an impostor pair.
    """
    scores = np.asarray(scores, dtype=np.float64)
    genuine = np.asarray(genuine, dtype=bool)
    if genuine.all() or not genuine.any():
        raise ValueError("verification needs genuine and impostor pairs")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    mates = genuine[order]
    last = np.diff(ranked, append=-np.inf) != 0  # the last pair of each run of equal scores
    true_accepts = np.cumsum(mates)[last]
    accepts = np.flatnonzero(last) + 1
    far = (accepts - true_accepts) / (~genuine).sum()
    tar = true_accepts / genuine.sum()
    return np.append(0.0, far), np.append(0.0, tar), np.append(np.inf, ranked[last])


def tar_at_far(scores: Floats, genuine: Flags, limits: Sequence[float]) -> Floats:
    """Return the highest true accept rates [L] at false accept rates up to L limits; nothing is interpolated."""
    far, tar, _ = roc(scores, genuine)
    return tar[np.searchsorted(far, np.asarray(limits), side="right") - 1]


def area_under_roc(scores: Floats, genuine: Flags) -> float:
    """Return the chance that a genuine pair scores above an impostor pair, ties counting half."""
    far, tar, _ = roc(scores, genuine)
    return float(np.trapezoid(tar, far))


def best_threshold(scores: Floats, genuine: Flags) -> float:
    """Return the threshold of the highest accuracy, midway to the next lower score; the first such from above."""
    scores = np.asarray(scores, dtype=np.float64)
    genuine = np.asarray(genuine, dtype=bool)
    far, tar, thresholds = roc(scores, genuine)
    right = tar * genuine.sum() + (1 - far) * (~genuine).sum()
    best = int(np.argmax(right))
    below = thresholds[best + 1] if best + 1 < len(thresholds) else thresholds[best] - 1
    above = thresholds[best] if best else below + 1
    return float((above + below) / 2)


def fold_accuracies(scores: Floats, genuine: Flags, folds: Integers) -> tuple[Floats, Floats]:
    """Return accuracy and threshold [F] of each fold, the threshold chosen on the other folds (LFW's protocol)."""
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise ValueError("at least two folds needed: each takes its threshold from the others")
    thresholds = np.array([best_threshold(scores[folds != f], genuine[folds != f]) for f in numbers])
    right = [(scores[folds == f] >= t) == genuine[folds == f] for f, t in zip(numbers, thresholds, strict=True)]
    return np.array([r.mean() for r in right]), thresholds


def all_pairs(descriptors: Floats, subjects: Integers, has_face: Flags) -> tuple[Floats, Flags]:
    """Return scores and genuine flags of all pairs of unit descriptors [N, D]; −1 where a face was not found [N]."""
    first, second = np.triu_indices(len(descriptors), k=1)
    scores = (descriptors @ descriptors.T)[first, second]
    scores = np.where(has_face[first] & has_face[second], scores, -1.0)
    return scores, subjects[first] == subjects[second]


# -- detection --------------------------------------------------------------------------------------------------------


def intersections(first: Floats, second: Floats) -> Floats:
    """Return the common areas [N, M] of xyxy boxes [N, 4] and [M, 4]."""
    first = first.reshape(-1, 1, 4)
    second = second.reshape(1, -1, 4)
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2])
    return np.asarray(np.clip(sides, 0, None).prod(axis=-1))


def iou(first: Floats, second: Floats) -> Floats:
    """Return the intersection over union [N, M] of xyxy boxes [N, 4] and [M, 4]; 0 where a box is empty."""
    common = intersections(first, second)
    union = box_areas(first)[:, None] + box_areas(second)[None] - common
    return np.where(common > 0, common / np.where(union > 0, union, 1), 0.0)


def share_inside(first: Floats, second: Floats) -> Floats:
    """Return the share [N, M] of each box [N, 4]'s area that lies in each box [M, 4]; 0 for an empty one."""
    common = intersections(first, second)
    return np.where(common > 0, common / np.maximum(box_areas(first), 1e-12)[:, None], 0.0)


def box_areas(boxes: Floats) -> Floats:
    """Return the areas [N] of xyxy boxes [N, 4]; 0 where a box is inside out."""
    return np.asarray((boxes[..., 2:] - boxes[..., :2]).clip(min=0).prod(axis=-1))


def match(boxes: Floats, scores: Floats, truth: Floats, extras: bool = False, threshold: float = 0.5) -> Integers:
    """Return the verdicts [N] on the detections of one photo: 1 right, 0 wrong, IGNORED.

    As PASCAL VOC: from the highest score down, a detection goes to the true box it overlaps most; it is right when that
    IoU reaches the threshold and the box is not taken yet. With extras the photo holds unmarked faces: a detection with
    less than half of its area in a true box is ignored unless right; a part or a second box of a marked face is wrong.
    """
    verdicts = np.zeros(len(boxes), dtype=np.int64)
    if extras:
        verdicts[share_inside(boxes, truth).max(axis=1, initial=0) < 0.5] = IGNORED
    overlaps = iou(boxes, truth)
    taken = np.zeros(len(truth), dtype=bool)
    if not len(truth):
        return verdicts
    for index in np.argsort(-np.asarray(scores), kind="stable"):
        best = int(overlaps[index].argmax())
        if overlaps[index, best] >= threshold:
            verdicts[index] = int(not taken[best])
            taken[best] = True
    return verdicts


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall [T] at each score that occurs, best first; detections of equal score enter together."""

    precision: Floats
    recall: Floats
    scores: Floats

    @property
    def average_precision(self) -> float:
        """Return the area under the curve, at each recall the best precision from there on (VOC 2010); 0 if empty."""
        envelope = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float((np.diff(self.recall, prepend=0.0) * envelope).sum())


def precision_recall(scores: Floats, verdicts: Integers, faces: int) -> PrecisionRecall:
    """Return the curve of all photos' detections [N] for so many marked faces. Raises ValueError for no faces."""
    if faces < 1:
        raise ValueError("recall needs at least one marked face")
    counted = verdicts != IGNORED
    scores = scores[counted]
    verdicts = verdicts[counted]
    order = np.argsort(-scores, kind="stable")
    last = np.diff(scores[order], append=-np.inf) != 0
    right = np.cumsum(verdicts[order] == 1)[last]
    detections = np.flatnonzero(last) + 1
    return PrecisionRecall(right / detections, right / faces, scores[order][last])


def threshold_for_false_alarms(scores: Floats, photos: int, rate: float) -> float:
    """Return the lowest threshold (accept above) with at most `rate` false alarms a photo; scores are the alarms'.

    0 when there are no more false alarms than that.
    """
    allowed = int(np.floor(rate * photos + 1e-9))
    ranked = np.sort(scores)[::-1]
    return float(ranked[allowed]) if allowed < len(ranked) else 0.0


# -- landmarks, numbers -----------------------------------------------------------------------------------------------


def normalised_mean_error(points: Floats, truth: Floats, counted: Flags, boxes: Floats) -> Floats:
    """Return the NME [N] of landmarks [N, P, 2]: mean distance of the counted points over √(w·h) of boxes [N, 4].

    Raises ValueError for a face without a counted point or with an empty box.
    """
    counted = np.broadcast_to(counted, truth.shape[:2])
    area = box_areas(boxes)
    if not counted.any(axis=1).all() or not (area > 0).all():
        raise ValueError("every face needs a counted point and a box with an area")
    distance = np.linalg.norm(points - truth, axis=-1)
    return np.asarray((distance * counted).sum(axis=1) / counted.sum(axis=1) / np.sqrt(area))


def cumulative(errors: Floats, limits: Floats, total: int) -> Floats:
    """Return the share of `total` faces with an error of at most each limit; faces without an error never are."""
    if total < len(errors) or total < 1:
        raise ValueError(f"{len(errors)} errors of {total} faces")
    return np.searchsorted(np.sort(errors), limits, side="right") / total


def angle_difference(first: Floats, second: Floats) -> Floats:
    """Return the degrees between angles, −180 up to 180."""
    return np.asarray((first - second + 180) % 360 - 180)


def by_group(values: Floats, groups: Sequence[str]) -> dict[str, tuple[int, float]]:
    """Count and mean of the values [N] in each group, groups in the order of their names."""
    names = np.asarray(groups)
    return {str(n): (int((names == n).sum()), float(values[names == n].mean())) for n in np.unique(names)}
