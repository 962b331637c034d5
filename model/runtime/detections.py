"""Regions that went through the network, and how several of one face become one: landmarks-based NMS (HyperFace)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model import boxes as boxes_
from model import landmarks as markup
from model.boxes import Array, Indices
from model.structures import Instances
from model.warps import Image

OVERLAP = 0.4
"""IoU of landmark boxes from which two detections are one face (L-NMS)."""
CONTAINED = 0.7
"""Share of the smaller landmark box inside the larger from which the lower-scoring one is a part of the same face."""
TOP_K = 5
"""Detections of one face whose medians are reported (L-NMS)."""
SHIFT = 0.05
GROWTH = 0.1
TURN = 5.0
"""A face has settled when a look moves its region by less than this: share of its side, logarithm of its side, degrees.
With screened regions these have an NME of 2.20 % of the box on HELEN's 82 validation photos, twice of them 2.22 %."""


@dataclass(frozen=True, eq=False)
class Detections(Instances):
    """K regions that went through the network; landmarks and boxes in image pixels."""

    image_index: Indices  # int64 [K]
    boxes: Array  # [K, 4] from the landmarks
    scores: Array  # [K]
    landmarks: Array  # [K, 21, 2]
    visibility: Array  # [K, 21]
    pose: Array  # [K, 3]
    regions: Array  # [K, 4] squares that were seen
    turns: Array  # [K] degrees by which they were turned

    @classmethod
    def none(cls) -> Self:
        """Return no detections."""
        shapes = ((0, 4), (0,), (0, markup.COUNT, 2), (0, markup.COUNT), (0, 3), (0, 4), (0,))
        return cls(np.zeros(0, np.int64), *(np.zeros(shape, np.float32) for shape in shapes))

    def of(self, image: int) -> Self:
        """Return those of one image."""
        return self[self.image_index == image]

    def next_regions(self) -> tuple[Array, Array]:
        """Return where the faces are by their landmarks: upright squares [K, 4] and their turns [K] in degrees."""
        turns = self.pose[:, 0]
        return boxes_.upright(self.landmarks, turns), turns

    def settled(self) -> NDArray[np.bool_]:
        """Whether each face [K] lies where the network looked for it, so that a second look would see the same."""
        regions, turns = self.next_regions()
        side = boxes_.sides(self.regions)[:, 0]
        shift = np.linalg.norm(boxes_.centres(regions) - boxes_.centres(self.regions), axis=1) / side
        growth = np.abs(np.log(boxes_.sides(regions)[:, 0] / side))
        turned = np.abs((turns - self.turns + 180) % 360 - 180)
        still: NDArray[np.bool_] = (shift < SHIFT) & (growth < GROWTH) & (turned < TURN)
        return still


def best_of_each_face(detections: Detections, count: int, contained: float = 1.1) -> Detections:
    """At most `count` detections of what looks like one face, best first within each image.

    A detection that shares more than `contained` of the smaller area with a better one is of the same face, too.
    """
    kept = []
    for index in np.unique(detections.image_index):
        mine = np.flatnonzero(detections.image_index == index)
        mine = mine[np.argsort(-detections.scores[mine], kind="stable")]
        for _ in range(count):
            if not len(mine):
                break
            best, _ = boxes_.suppress(detections.boxes[mine], detections.scores[mine], OVERLAP, contained)
            kept.append(mine[best])
            mine = np.delete(mine, best)
    return detections[np.concatenate(kept)] if kept else detections


def merge_faces(detections: Detections, *, medians: bool = True) -> Detections:
    """One image's faces, best first: each its best detection, with the medians over its best TOP_K ones."""
    kept, owner = boxes_.suppress(detections.boxes, detections.scores, OVERLAP, CONTAINED)
    best = detections[kept]
    if not medians or len(kept) == len(detections):
        return best
    points = best.landmarks.copy()
    visibility = best.visibility.copy()
    pose = best.pose.copy()
    for number, face in enumerate(kept.tolist()):
        close = boxes_.iou(detections.boxes[face][None], detections.boxes)[0] > OVERLAP
        members = np.flatnonzero((owner == number) & close)
        if len(members) > 1:
            top = members[np.argsort(-detections.scores[members], kind="stable")[:TOP_K]]
            points[number] = np.median(detections.landmarks[top], axis=0)
            visibility[number] = np.median(detections.visibility[top], axis=0)
            pose[number] = median_pose(detections.pose[top], best.pose[number])
    return replace(best, boxes=boxes_.from_landmarks(points), landmarks=points, visibility=visibility, pose=pose)


def median_pose(poses: Array, near: Array) -> Array:
    """Return the median roll, pitch, yaw [3] of poses [K, 3]; rolls are compared as turns away from that of `near`.

    Without this the median of 179° and −179° would be 0°.
    """
    turns = np.column_stack([(poses[:, 0] - near[0] + 180) % 360 - 180, poses[:, 1:]])
    roll, pitch, yaw = np.median(turns, axis=0)
    return np.array([(roll + near[0] + 180) % 360 - 180, pitch, yaw], np.float32)


def hide_outside(visibility: Array, landmarks: Array, image_index: Indices, images: Sequence[Image]) -> Array:
    """Return the visibility [K, 21] of landmarks [K, 21, 2]: 0 outside their images, whatever the network says."""
    edges = np.array([image.shape[1::-1] for image in images], np.float32).reshape(-1, 2)
    inside = ((landmarks >= 0) & (landmarks <= edges[image_index][:, None])).all(axis=2)
    return np.where(inside, visibility, np.float32(0))


def inside_better(boxes: Array) -> NDArray[np.bool_]:
    """Which of one image's boxes [N], best first, lie inside a better one by CONTAINED of their area."""
    shares = boxes_.intersection(boxes, boxes) / np.maximum(boxes_.area(boxes)[:, None], 1e-9)
    return np.asarray((np.tril(shares, -1) > CONTAINED).any(axis=1))


def covered(boxes: Array, faces: Array) -> NDArray[np.bool_]:
    """Which of the boxes [N] lie inside one of the faces [M] by CONTAINED of their area."""
    shares = boxes_.intersection(boxes, faces) / np.maximum(boxes_.area(boxes)[:, None], 1e-9)
    return np.asarray((shares > CONTAINED).any(axis=1))
