"""Image → candidate face regions: a small fully convolutional network over an image pyramid, or Selective Search.

The levels of the pyramid are model.runtime.pyramid's.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from model import boxes as boxes_
from model.boxes import Array, Indices
from model.runtime.pyramid import MIN_FACE, STRIDE, Level, pyramid
from model.structures import Proposals
from model.warps import Image

UNIT = 32.0
"""Side in pixels of the face that the network's size output 0 stands for."""
MERGED = 0.3
"""IoU with the best candidate of a face from which another one is of the same face. What lies inside a larger one stays
apart: merged too, 3 of 903 faces were lost (docs/log.md, 'fewer crops')."""
MEMBERS = 0.5
"""IoU with the best candidate of a face from which another one counts for the place of their box."""
CANDIDATES = 8192
"""Most cells of an image that are compared with each other."""
LIKELY = 0.2
"""Score from which a candidate is looked at in any case."""
FAINT = 0.1
"""Score from which a candidate is looked at where a photo shows no sure face: most of the missed faces had no box above
LIKELY. Of 19 missed ones 11 are found so (docs/log.md, 'a screening network that has seen what is offered')."""


@dataclass(frozen=True)
class Offer:
    """Candidate regions of images: square boxes, those of an image together and best first.

    `likely` has the candidates from LIKELY on, where what looks like one face is one box where that is possible;
    `every` has those from FAINT on, each for itself. `smallest` is to an enlarged level what `likely` is to the others:
    its candidates are kept apart, since among the others they would take the place of some larger ones.
    """

    likely: Proposals
    every: Proposals
    smallest: Proposals = field(default_factory=Proposals.none)

    def with_smallest(self, proposals: Proposals) -> Proposals:
        """Return proposals and the smallest candidates in one, those of an image together and best first."""
        both = Proposals.cat([proposals, self.smallest])
        return both[np.lexsort((-both.scores, both.image_index))]


class Proposer(Protocol):
    """Finds candidate regions in images."""

    def propose(self, images: Sequence[Image], min_sizes: Sequence[float | None]) -> Offer:
        """Return the candidate regions of all images; a least size of None leaves the size free."""


def decode(output: Array, level: Level, threshold: float) -> tuple[Array, Array]:
    """Network output [4, H, W] → scores [N] ≥ threshold and square boxes [N, 4] in pixels of the image."""
    logits = output[0, slice(*level.rows), slice(*level.columns)]
    row, column = np.nonzero(logits >= math.log(threshold / (1 - threshold)))
    scores = 1 / (1 + np.exp(-logits[row, column]))
    row = row + level.rows[0]
    column = column + level.columns[0]
    dx, dy, log_side = output[1:, row, column]
    x = column * STRIDE + STRIDE / 2 + dx * UNIT + level.x
    y = row * STRIDE + STRIDE / 2 + dy * UNIT + level.y
    side = UNIT * np.exp(np.clip(log_side, -2, 2))
    boxes = boxes_.around(np.stack([x, y], axis=1), side[:, None]) / level.scale
    small = side / level.scale <= level.largest
    return scores[small], boxes[small].astype(np.float32)


class DenseProposer:
    """The learnt proposer. `network` maps batches of levels of one size to its outputs: see Engine.propose().

    Faces from the least size up; at most `limit` boxes an image, from which those that overlap a better one by more
    than `overlap` are left out.
    """

    def __init__(
        self,
        network: Callable[[Sequence[Image]], Sequence[Array]],
        overlap: float = 0.5,
        limit: int = 1024,
    ) -> None:
        self._network = network
        self.overlap = overlap
        self.limit = limit

    def propose(self, images: Sequence[Image], min_sizes: Sequence[float | None]) -> Offer:
        """Return the candidate regions of all images."""
        groups: dict[tuple[int, ...], list[Level]] = defaultdict(list)
        for index, (image, min_size) in enumerate(zip(images, min_sizes, strict=True)):
            for level in pyramid(image, min_size, index):
                groups[level.pixels.shape].append(level)
        batches = [_stack([level.pixels for level in group]) for group in groups.values()]
        usual: list[list[tuple[Array, Array]]] = [[] for _ in images]
        enlarged: list[list[tuple[Array, Array]]] = [[] for _ in images]
        for group, outputs in zip(groups.values(), self._network(batches), strict=True):
            for level, output in zip(group, outputs, strict=True):
                (enlarged if level.scale > 1 else usual)[level.index].append(decode(output, level, FAINT))
        offers = [self._select(index, cells) for index, cells in enumerate(usual)]
        smallest = [self._select(index, cells).likely for index, cells in enumerate(enlarged) if cells]
        likely = Proposals.cat([offer.likely for offer in offers])
        every = Proposals.cat([offer.every for offer in offers])
        return Offer(likely, every, Proposals.cat([Proposals.none(), *smallest]))

    def _select(self, index: int, parts: Sequence[tuple[Array, Array]]) -> Offer:
        """Return what the cells of some levels of one image offer: their scores [N] and boxes [N, 4]."""
        scores, boxes = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        best = np.argsort(-scores, kind="stable")[:CANDIDATES]
        scores = scores[best]
        boxes = boxes[best]
        every = boxes_.suppress(boxes, scores, self.overlap)[0]
        likely = scores >= LIKELY
        keep, means = merged(boxes[likely], scores[likely])
        return Offer(
            Proposals(np.full(len(keep), index), means, scores[keep])[: self.limit],
            Proposals(np.full(len(every), index), boxes[every], scores[every])[: self.limit],
        )


def merged(boxes: Array, scores: Array) -> tuple[Indices, Array]:
    """The candidates [N] of each face as one: the indices of the best ones, and the boxes that they become.

    A box is the mean of its face's candidates that overlap the best one by MEMBERS, by score. On 82 validation photos
    this takes 4.7 crops a photo instead of 6.7 and the landmarks' error stays (docs/log.md, 'fewer crops').
    """
    keep, owner = boxes_.suppress(boxes, scores, MERGED)
    close = boxes_.iou_of_pairs(boxes, boxes[keep[owner]]) >= MEMBERS if len(keep) else np.zeros(0, bool)
    weights = np.bincount(owner[close], scores[close], len(keep))[:, None]
    sums = [np.bincount(owner[close], scores[close] * boxes[close, side], len(keep)) for side in range(4)]
    return keep, (np.stack(sums, axis=1) / weights).astype(np.float32)


def _stack(levels: Sequence[Image]) -> Image:
    return np.stack(levels) if len(levels) > 1 else np.ascontiguousarray(levels[0])[None]


class SelectiveSearchProposer:
    """Selective Search (Uijlings et al. 2013), OpenCV contrib's fast mode, as in the paper.

    Boxes carry no score of their own: each gets 1. Seconds an image; images are shrunk to `side` pixels first.
    """

    def __init__(self, side: int = 400, limit: int = 2000) -> None:
        self.side = side
        self.limit = limit

    def propose(self, images: Sequence[Image], min_sizes: Sequence[float | None]) -> Offer:
        """Return the candidate regions of all images, largest first; without scores none can be merged."""
        found = Proposals.cat([self._one(i, *item) for i, item in enumerate(zip(images, min_sizes, strict=True))])
        return Offer(found, found)

    def _one(self, index: int, image: Image, min_size: float | None) -> Proposals:
        scale = min(1.0, self.side / max(image.shape[:2]))
        size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
        boxes: Array = np.zeros((0, 4), np.float32)
        if min(size) >= 8:
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
            search.setBaseImage(np.ascontiguousarray(small[:, :, ::-1]))
            search.switchToSelectiveSearchFast()
            # OpenCV returns the regions in random order, some twice.
            xywh = np.unique(np.asarray(search.process(), np.float32).reshape(-1, 4), axis=0) / scale
            boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
            ratio = xywh[:, 2] / np.maximum(xywh[:, 3], 1)
            boxes = boxes_.square(boxes[(ratio > 0.5) & (ratio < 2)]).astype(np.float32)
            boxes = boxes[boxes[:, 2] - boxes[:, 0] >= (min_size or MIN_FACE) * 0.8]
            boxes = boxes[np.argsort(-boxes_.area(boxes), kind="stable")[: self.limit]]
        return Proposals(np.full(len(boxes), index), boxes, np.ones(len(boxes), np.float32))
