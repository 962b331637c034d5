"""From proposals to the regions that the network looks at: few, well placed and upright.

The screening network drops what is no face and says where a face lies in its region and how it is turned. It looks
twice: the second time at the regions that its first look found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model import boxes as boxes_
from model import warps
from model.boxes import Array, Indices
from model.halvings import Halvings
from model.runtime.detections import Detections
from model.structures import Instances, Proposals
from model.warps import Image

SIZE = 48
"""Side in pixels of the screening network's crops."""
FIRST_SCORE = 0.002
"""Proposal's score times score of the first look below which a region is no face."""
SECOND_SCORE = 0.15
"""The same of the second look, which sees faces upright and in the middle. Of 1,997 validation faces, two thirds of
them turned or harmed, 12 fall below it, 8 below 0.1; with 0.15 a photo of a face takes 1.62 crops of the full network,
with 0.1 1.96 (docs/log.md, 'a screening network that has seen what is offered')."""
FACELIKE_SCORE = 0.5
"""Screening score of a proposal beside all sure faces from which its photo is searched again: among several faces one
that stands on its head is placed wrongly now and then."""
BESIDE = 0.2
"""Share of the smaller of two areas from which a proposal does not lie beside a face."""
OVERLAP = 0.5
"""IoU from which two placed regions are of one face; the better one stays."""

SURE_SCORE = 0.98
"""Score from which a face is sure, by default also that from which it is reported: proposals that lie in it are not
looked at, and its photo is not searched again."""
FAINT_PER_IMAGE = 64
"""Most candidates that are screened where no face is sure; a large photo of roofs and leaves has hundreds."""
DOUBTFUL_SCORE = 0.02
"""Screening score from which a candidate is looked at as it is where no face is sure."""
DOUBTFUL_PER_IMAGE = 6
"""Most candidates that are looked at as they are where no face is sure. Of eleven faces missed in 2,524 training photos
this finds five (docs/log.md, 'a second look at candidates as they are')."""

Screen = Callable[[Image], tuple[Array, Array]]
"""Crops uint8 [K, SIZE, SIZE, 3] → scores [K] and placements [K, 4]: see Engine.screen()."""


@dataclass(frozen=True, eq=False)
class Regions(Instances):
    """K square regions of images, each turned about its centre."""

    image_index: Indices  # int64 [K]
    boxes: Array  # float32 [K, 4] xyxy, pixels
    turns: Array  # float32 [K] degrees, clockwise in the image
    scores: Array  # float32 [K], 0–1, of the proposals that they were

    @classmethod
    def of_proposals(cls, proposals: Proposals) -> Regions:
        """Return the proposals as regions that are not turned."""
        turns = np.zeros(len(proposals), np.float32)
        return cls(proposals.image_index, proposals.boxes, turns, proposals.scores)

    def moved(self, placements: Array) -> Regions:
        """Return the regions where placements [K, 4] say: shift x and y and log side in their own units, degrees."""
        sides = boxes_.sides(self.boxes)[:, :1]
        shift = boxes_.rotations(self.turns) @ (placements[:, :2] * sides)[:, :, None]
        boxes = boxes_.around(boxes_.centres(self.boxes) + shift[:, :, 0], sides * np.exp(placements[:, 2:3]))
        turns = (self.turns + placements[:, 3] + 180) % 360 - 180
        return replace(self, boxes=boxes.astype(np.float32), turns=turns.astype(np.float32))


def screened(screen: Screen, images: Sequence[Halvings], proposals: Proposals) -> tuple[Regions, Array]:
    """Return the proposals that may be faces, each where its face lies and turned upright, one a face.

    And the score [K] of each proposal as it is: how much the first look takes it for a face.
    """
    regions = Regions.of_proposals(proposals)
    looks = []
    for least in (FIRST_SCORE, SECOND_SCORE):
        scores, placements = _looked_at(screen, images, regions)
        looks.append(scores)
        placed = regions.moved(placements)
        likelihood = scores * regions.scores
        likely = (likelihood >= least) & np.isfinite(placed.boxes).all(axis=1)
        regions = one_a_face(placed[likely], likelihood[likely])
    return regions, looks[0]


def doubtful(screen: Screen, images: Sequence[Halvings], proposals: Proposals) -> Proposals:
    """Return those of at most FAINT_PER_IMAGE proposals an image that look most like faces, as they are, best first.

    They are for photos in which screened() led to no face: most of the faces lost there were placed beside themselves.
    """
    proposals = first_of_each_image(proposals, FAINT_PER_IMAGE)
    scores, _ = _looked_at(screen, images, Regions.of_proposals(proposals))
    order = np.lexsort((-scores, proposals.image_index))
    order = order[scores[order] >= DOUBTFUL_SCORE]
    return first_of_each_image(proposals[order], DOUBTFUL_PER_IMAGE)


def _looked_at(screen: Screen, images: Sequence[Halvings], regions: Regions) -> tuple[Array, Array]:
    """Return scores [K] and placements [K, 4] of the screening network for regions of images."""
    if not len(regions):
        return np.zeros(0, np.float32), np.zeros((0, 4), np.float32)
    matrices = warps.region_matrices(regions.boxes, SIZE, regions.turns)
    crops = [images[i].crop(m, SIZE) for i, m in zip(regions.image_index.tolist(), matrices, strict=True)]
    return screen(np.stack(crops))


def one_a_face(regions: Regions, likelihood: Array) -> Regions:
    """Return the likeliest of the regions of each face, those of an image together."""
    kept = [np.zeros(0, np.int64)]
    for index in np.unique(regions.image_index):
        mine = np.flatnonzero(regions.image_index == index)
        kept.append(mine[boxes_.suppress(regions.boxes[mine], likelihood[mine], OVERLAP)[0]])
    return regions[np.concatenate(kept)]


def beside_faces(proposals: Proposals, sure: Detections) -> Proposals:
    """Return the proposals that lie beside the sure faces of their images and are at least half as large as one.

    Much smaller ones are background as a rule, and to search a large photo again for each takes time.
    """
    same = proposals.image_index[:, None] == sure.image_index[None]
    shared = boxes_.intersection(proposals.boxes, sure.boxes)
    areas = boxes_.area(proposals.boxes)[:, None]
    of_faces = boxes_.area(sure.boxes)[None]
    apart = ~(same & (shared > BESIDE * np.minimum(areas, of_faces))).any(axis=1)
    return proposals[apart & (same & (areas >= of_faces / 4)).any(axis=1)]


def without_face(proposals: Proposals, seen: Detections) -> Proposals:
    """Return the proposals of images in which no face is sure."""
    with_face = np.unique(seen.image_index[seen.scores >= SURE_SCORE])
    return proposals[~np.isin(proposals.image_index, with_face)]


def first_of_each_image(proposals: Proposals, count: int) -> Proposals:
    """Return at most `count` proposals of each image: the first ones, which are the best."""
    _, starts, totals = np.unique(proposals.image_index, return_index=True, return_counts=True)
    places = np.arange(len(proposals)) - np.repeat(starts, totals)
    return proposals[places < count]
