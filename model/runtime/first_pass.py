"""The first pass: from an offer of regions to detections with landmarks, each looked at until it no longer moves.

screen ─ look ─ look again where no face is sure ─ refine (IRP)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model import boxes as boxes_
from model import warps
from model.boxes import Array, Indices
from model.halvings import Halvings
from model.runtime.detections import CONTAINED, Detections, best_of_each_face, covered, inside_better
from model.runtime.engines.protocol import Engine
from model.runtime.proposals import Offer
from model.runtime.screening import (
    DOUBTFUL_PER_IMAGE,
    FACELIKE_SCORE,
    SURE_SCORE,
    beside_faces,
    doubtful,
    screened,
    without_face,
)
from model.structures import Proposals
from model.warps import Image

GLANCE_FROM = DOUBTFUL_PER_IMAGE + 1
"""Least number of doubtful regions in a call for which a glance is worth its memory: more than one photo has, so that
only batches of a busy worker reach it. An idle worker gives that memory back (Engine.release_memory)."""
GLANCE_SHARE = 0.5
"""Share of the least useful score that a doubtful region must have at a glance, to be looked at properly. Of 776 such
regions both scores differ by 0.06 at most; of the 98 that reach 0.2 all reach 0.15 at a glance."""
REFINEMENTS = 2
"""Most rounds of Iterative Region Proposals (HyperFace section 3.2), each for faces that the last look moved."""
REFINED_PER_FACE = 1
"""Detections of one face that are refined. Three, twice each, have an NME of 2.539 % on 82 validation photos, one with
a second round where it moved 2.506 % (docs/log.md, 'fewer crops')."""


class FirstPass:
    """Detection, landmarks, visibility and pose by an engine whose crops have a side of `size` pixels."""

    def __init__(self, engine: Engine, size: int, *, refines: bool = True) -> None:
        self._engine = engine
        self._size = size
        self._refines = refines

    def __call__(self, images: Sequence[Image], offer: Offer, low: Array) -> Detections:
        """Return what the network sees in regions on offer; `low` [images] is the least score worth refining."""
        return self.refine(images, self.look(images, offer, low), low)

    def look(self, images: Sequence[Image], offer: Offer, low: Array) -> Detections:
        """A first pass over the regions that the screening network places, and over more where it finds no face.

        Photos without a sure face, or with something like a face beside the sure ones, are searched again among the
        candidates as they are, faint ones too, since a small network places some faces beside themselves. What does not
        reach the score `low` [images] is of no use later. The smallest candidates change nothing of all that: what is
        seen of them is added.
        """
        if not self._engine.screens:
            return self._look_at_proposals(images, offer.with_smallest(offer.likely))
        halvings = [Halvings(image) for image in images]
        regions, scores = screened(self._engine.screen, halvings, offer.likely)
        seen = self.detect(images, regions.image_index, regions.boxes, regions.turns)
        # A region on a part of a face, refined, can score a trifle more than the face, and would take its place.
        seen = best_of_each_face(seen, 1, CONTAINED)
        facelike = beside_faces(offer.likely[scores >= FACELIKE_SCORE], seen[seen.scores >= SURE_SCORE])
        doubted = [*without_face(offer.every, seen).image_index, *facelike.image_index]
        again = self._outside_faces(offer.every[np.isin(offer.every.image_index, doubted)], seen, len(images))
        again = doubtful(self._engine.screen, halvings, again)
        smallest, _ = screened(self._engine.screen, halvings, self._outside_faces(offer.smallest, seen, len(images)))
        small = self.detect(images, smallest.image_index, smallest.boxes, smallest.turns)
        return Detections.cat([seen, small, self._look_at_doubtful(images, again, low)])

    def _look_at_doubtful(self, images: Sequence[Image], proposals: Proposals, low: Array) -> Detections:
        """A first pass over proposals that are hardly ever faces.

        Where there are many, and a glance is quicker, those that are plainly no face are left out by it first.
        """
        if self._engine.glances and len(proposals) >= GLANCE_FROM:
            least = GLANCE_SHARE * low[proposals.image_index]
            crops = self._crops(images, proposals.image_index, proposals.boxes)
            proposals = proposals[self._engine.glance(crops) >= least]
        return self.detect(images, proposals.image_index, proposals.boxes)

    def _look_at_proposals(self, images: Sequence[Image], proposals: Proposals) -> Detections:
        """A first pass over the proposals as they are, but not over those that lie in a face that is sure.

        Detections there would be of the same face or parts of it, which L-NMS drops (docs/log.md, 'fewer crops').
        """
        inner = np.concatenate([inside_better(proposals.of(i).boxes) for i in range(len(images))])
        outer = proposals[~inner]
        rest = proposals[inner]
        seen = self.detect(images, outer.image_index, outer.boxes)
        rest = self._outside_faces(rest, seen, len(images))
        return Detections.cat([seen, self.detect(images, rest.image_index, rest.boxes)])

    @staticmethod
    def _outside_faces(proposals: Proposals, seen: Detections, images: int) -> Proposals:
        """Return the proposals that do not lie in a face that is sure."""
        sure = seen[seen.scores >= SURE_SCORE]
        each = [proposals.of(i) for i in range(images)]
        return Proposals.cat([mine[~covered(mine.boxes, sure.of(i).boxes)] for i, mine in enumerate(each)])

    def detect(
        self,
        images: Sequence[Image],
        image_index: Indices,
        regions: Array,
        turns: Array | None = None,
    ) -> Detections:
        """One pass over square regions [K, 4], each turned about its centre by its turn [K] in degrees."""
        if not len(regions):
            return Detections.none()
        outputs = self._engine.detect(self._crops(images, image_index, regions, turns))
        points = outputs["landmarks"] * boxes_.sides(regions)[:, None]
        pose = outputs["pose"]
        if turns is None:
            turns = np.zeros(len(regions), np.float32)
        else:
            points = points @ boxes_.rotations(turns).transpose(0, 2, 1)
            pose = np.column_stack([(pose[:, 0] + turns + 180) % 360 - 180, pose[:, 1:]])
        points = points + boxes_.centres(regions)[:, None]
        faces = boxes_.from_landmarks(points)
        seen = Detections(image_index, faces, outputs["detection"], points, outputs["visibility"], pose, regions, turns)
        # In half precision a far-off region can overflow; what has no extent is no face.
        with np.errstate(invalid="ignore"):
            return seen[np.isfinite(faces).all(axis=1) & (boxes_.area(faces) > 0)]

    def _crops(
        self, images: Sequence[Image], image_index: Indices, regions: Array, turns: Array | None = None
    ) -> Image:
        return warps.crop(images, image_index, warps.region_matrices(regions, self._size, turns), self._size)

    def refine(self, images: Sequence[Image], detections: Detections, low: Array) -> Detections:
        """Iterative Region Proposals: the upright box of the landmarks is the next region, until it no longer moves.

        What the first pass saw in a screened region that settled is not looked at again; other first regions are poorly
        placed.
        """
        last = best_of_each_face(detections[detections.scores >= low[detections.image_index]], REFINED_PER_FACE)
        if not self._refines:
            return last
        rounds = []
        if self._engine.screens:
            settled = last.settled()
            rounds.append(last[settled])
            last = last[~settled]
        for _ in range(REFINEMENTS):
            last = self.detect(images, last.image_index, *last.next_regions())
            rounds.append(last)
            last = last[~last.settled()]
        return Detections.cat(rounds)
