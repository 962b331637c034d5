"""What the network says of a marked face: the mean over the region proposals that overlap it (section IV-B, IV-D).

The paper takes landmarks, smile and gender as the mean over proposals with IoU > 0.5 with the test face. Here every
such proposal goes through both stages alone: its landmarks and pose from the first pass; smile, gender, age and
descriptor from the face aligned by those landmarks, and its mirror image. A face that no proposal overlaps has no
answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from model import geometry
from model import landmarks as markup
from model.datasets import Array, Sample
from model.datasets.store import read_photo
from model.evaluate import metrics
from model.geometry import Image
from model.pipeline import Analyzer

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
    """Box [4] of a face of which only some of the 21 points [21, 2] are known (NaN: not): the canonical face laid
    over them, then our own rule from landmarks to box. Raises ValueError for fewer than two points.
    """
    known = np.flatnonzero(np.isfinite(points).all(axis=1))
    if len(known) < 2:
        raise ValueError("a face needs two points to be placed")
    canonical = torch.from_numpy(markup.CANONICAL)
    found = torch.from_numpy(np.asarray(points[known], np.float32))
    matrix = geometry.similarity(canonical[torch.from_numpy(known)][None], found[None])
    box: Array = geometry.box_from_landmarks(geometry.transform(canonical[None], matrix))[0].numpy()
    return box


def answers(analyzer: Analyzer, samples: Sequence[Sample], title: str) -> list[Answer | None]:
    """The answer for each sample's box, in order; None where no proposal overlaps it. Samples of a photo share a pass.

    Raises ValueError for a sample without a box.
    """
    together: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        if sample.box is None:
            raise ValueError(f"{sample.name}: no box is marked")
        together.setdefault(str(sample.path), []).append(index)
    found: list[Answer | None] = [None] * len(samples)
    for indices in tqdm(together.values(), title, unit="photo", disable=None, leave=False):
        photo = read_photo(samples[indices[0]].path)
        proposals = analyzer.propose(photo).boxes
        boxes = np.stack([np.asarray(samples[i].box, np.float32) for i in indices])
        for index, answer in zip(indices, of_boxes(analyzer, photo, proposals, boxes), strict=True):
            found[index] = answer
    return found


@torch.inference_mode()
def of_boxes(analyzer: Analyzer, photo: Image, proposals: Tensor, boxes: Array) -> list[Answer | None]:
    """Answers for marked boxes [N, 4] of one photo from its proposals [K, 4] (squares)."""
    overlap = metrics.iou(proposals.numpy(), boxes) > IOU
    used = torch.from_numpy(np.flatnonzero(overlap.any(axis=1)))
    if not len(used):
        return [None] * len(boxes)
    points, pose = _first_stage(analyzer, photo, proposals[used])
    second = _second_stage(analyzer, photo, points)
    results: list[Answer | None] = []
    for mine in overlap[used.numpy()].T:
        chosen = torch.from_numpy(np.flatnonzero(mine))
        if not len(chosen):
            results.append(None)
            continue
        smile, female, age = (float(second[name][chosen].mean()) for name in ("smile", "gender", "age"))
        descriptor = F.normalize(second["descriptor"][chosen].mean(dim=0), dim=0).numpy()
        place, angles = points[chosen].mean(dim=0).numpy(), pose[chosen].mean(dim=0).numpy()
        results.append(Answer(len(chosen), place, angles, smile, female, age, descriptor))
    return results


def _first_stage(analyzer: Analyzer, photo: Image, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Landmarks [K, 21, 2] in pixels and pose [K, 3] of square boxes [K, 4]."""
    crops = _crops(analyzer, photo, geometry.region_matrices(boxes, _size(analyzer)))
    outputs = analyzer.read(crops, ("landmarks", "pose"))
    centre, side = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    return outputs["landmarks"] * side[:, None] + centre[:, None], outputs["pose"]


def _second_stage(analyzer: Analyzer, photo: Image, points: Tensor) -> dict[str, Tensor]:
    """Smile, gender, age [K] and descriptor [K, 512] of the aligned faces, averaged with their mirror images'."""
    chips = _crops(analyzer, photo, geometry.alignment_matrices(points, _size(analyzer)))
    wanted = ("smile", "gender", "age", "descriptor")
    outputs = analyzer.read(torch.cat([chips, chips.flip(3)]), wanted)
    outputs["descriptor"] = F.normalize(outputs["descriptor"], dim=1)
    return {name: value.view(2, len(points), *value.shape[1:]).mean(dim=0) for name, value in outputs.items()}


def _size(analyzer: Analyzer) -> int:
    return int(analyzer.info["input_size"])


def _crops(analyzer: Analyzer, photo: Image, matrices: Tensor) -> Tensor:
    return geometry.crop([photo], torch.zeros(len(matrices), dtype=torch.int64), matrices, _size(analyzer))
