"""What the network says of a marked face: the mean over the region proposals that overlap it (section IV-B, IV-D).

The paper takes landmarks, smile and gender as the mean over proposals with IoU > 0.5 with the test face. Here every
such proposal goes through both stages alone: its landmarks and pose from the first pass; smile, gender, age and
descriptor from the face aligned by those landmarks. A face that no proposal overlaps has no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from model import boxes as boxes_
from model import landmarks as markup
from model import warps
from model.datasets import Array, Sample
from model.datasets.store import read_photo
from model.evaluate import metrics
from model.runtime.pipeline import Analyzer
from model.runtime.second_pass import unit
from model.warps import Image

IOU = 0.5
"""A proposal is of the face when it overlaps it more than this."""


@dataclass(frozen=True, eq=False)
class Answer:
    """Means over a face's proposals, in pixels of the photo and degrees; descriptor of unit length."""

    proposals: int
    landmarks: Array  # [21, 2]
    pose: Array  # [3]
    smile: float
    female: float
    age: float
    descriptor: Array  # [512]


def canonical_box(points: Array) -> Array:
    """Return the box [4] of a face with some of the 21 points [21, 2] known (NaN: not): the canonical face laid
    over them, then our own rule from landmarks to box. Raises ValueError for fewer than two points.
    """
    known = np.flatnonzero(np.isfinite(points).all(axis=1))
    if len(known) < 2:
        raise ValueError("a face needs two points to be placed")
    known_points = np.asarray(points[known], np.float32)
    matrix = warps.similarity(markup.CANONICAL[known][None], known_points[None])
    box: Array = boxes_.from_landmarks(warps.transform(markup.CANONICAL[None], matrix))[0]
    return box


def answers(analyzer: Analyzer, samples: Sequence[Sample], title: str) -> list[Answer | None]:
    """Return the answer for each sample's box, in order; None where no proposal overlaps it. A photo takes one pass.

    Raises ValueError for a sample without a box.
    """
    together: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        if sample.box is None:
            raise ValueError(f"{sample.name}: no box is marked")
        together.setdefault(str(sample.path), []).append(index)
    results: list[Answer | None] = [None] * len(samples)
    for indices in tqdm(together.values(), title, unit="photo", disable=None, leave=False):
        photo = read_photo(samples[indices[0]].path)
        proposals = analyzer.propose(photo).boxes
        boxes = np.stack([np.asarray(samples[i].box, np.float32) for i in indices])
        for index, answer in zip(indices, of_boxes(analyzer, photo, proposals, boxes), strict=True):
            results[index] = answer
    return results


def of_boxes(analyzer: Analyzer, photo: Image, proposals: Array, boxes: Array) -> list[Answer | None]:
    """Return the answers for marked boxes [N, 4] of one photo from its proposals [K, 4] (squares)."""
    overlap = metrics.iou(proposals, boxes) > IOU
    used_proposals = np.flatnonzero(overlap.any(axis=1))
    if not len(used_proposals):
        return [None] * len(boxes)
    points, pose = _first_stage(analyzer, photo, proposals[used_proposals])
    second = _second_stage(analyzer, photo, points)
    results: list[Answer | None] = []
    for overlaps in overlap[used_proposals].T:
        own_proposals = np.flatnonzero(overlaps)
        if not len(own_proposals):
            results.append(None)
            continue
        smile, female, age = (float(second[name][own_proposals].mean()) for name in ("smile", "gender", "age"))
        descriptor = unit(second["descriptor"][own_proposals].mean(axis=0))
        place = points[own_proposals].mean(axis=0)
        angles = pose[own_proposals].mean(axis=0)
        results.append(Answer(len(own_proposals), place, angles, smile, female, age, descriptor))
    return results


def _first_stage(analyzer: Analyzer, photo: Image, boxes: Array) -> tuple[Array, Array]:
    """Return the landmarks [K, 21, 2] in pixels and the pose [K, 3] of square boxes [K, 4]."""
    outputs = analyzer.engine.detect(_crops(analyzer, photo, warps.region_matrices(boxes, _size(analyzer))))
    return outputs["landmarks"] * boxes_.sides(boxes)[:, None] + boxes_.centres(boxes)[:, None], outputs["pose"]


def _second_stage(analyzer: Analyzer, photo: Image, points: Array) -> dict[str, Array]:
    """Return smile, gender, age [K] and descriptor [K, 512] of the aligned faces."""
    chips = _crops(analyzer, photo, warps.alignment_matrices(points, _size(analyzer), analyzer.frame))
    return analyzer.second_pass(chips)


def _size(analyzer: Analyzer) -> int:
    return int(analyzer.info["input_size"])


def _crops(analyzer: Analyzer, photo: Image, matrices: Array) -> Image:
    return warps.crop([photo], np.zeros(len(matrices), np.int64), matrices, _size(analyzer))
