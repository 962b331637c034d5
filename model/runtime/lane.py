"""From photos to faces on one engine, step by step (Fig. 5 of the paper).

    images ─ propose ─ screen ─ look ─ refine (IRP) ─ suppress (L-NMS) ─ align ─ describe (second pass) ─ Faces

Everything between is flat: crops of all images in one batch, with a column that says which image each came from.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from model import boxes as boxes_
from model import warps
from model.runtime.chip_pose import mean_pose
from model.runtime.detections import Detections, hide_outside, merge_faces
from model.runtime.engines.protocol import CHIP_POSE, Networks
from model.runtime.first_pass import FirstPass
from model.runtime.limits import LOW_SCORE, MIN_SIZE, Limits
from model.runtime.proposals import DenseProposer, Proposer, SelectiveSearchProposer, searched_min_size
from model.structures import Faces
from model.warps import Image


class Lane:
    """All steps on networks whose crops have a side of `size` pixels; not thread-safe. Lanes can work side by side.

    `frame` is that of the chips for the second pass (model.landmarks). `dense`, `refines` and `medians` are the
    learnt proposer in place of Selective Search, Iterative Region Proposals, and the medians of L-NMS.
    """

    def __init__(
        self,
        networks: Networks,
        size: int,
        frame: str,
        *,
        dense: bool = True,
        refines: bool = True,
        medians: bool = True,
    ) -> None:
        self._networks = networks
        self._size = size
        self._frame = frame
        self._medians = medians
        self.proposer: Proposer = DenseProposer(networks.propose) if dense else SelectiveSearchProposer()
        self.first_pass = FirstPass(networks, size, refines=refines)

    def analyze(self, images: Sequence[Image], limits: Sequence[Limits], timings: dict[str, float]) -> list[Faces]:
        """Return the faces of each image uint8 [H, W, 3] RGB, largest first; `timings` gains seconds by stage."""
        with _clock(timings, "propose"):
            offer = self.proposer.propose(images, [limit.min_size for limit in limits])
        with _clock(timings, "detect"):
            low = np.array([min(LOW_SCORE, limit.min_score) for limit in limits], np.float32)
            detections = self.first_pass(images, offer, low)
            found = [merge_faces(detections.of(i), medians=self._medians) for i in range(len(images))]
            kept = [_limit(faces, limit) for faces, limit in zip(found, limits, strict=True)]
        described = self._describe(images, hide_outside(Detections.cat([faces for faces, _ in kept]), images), timings)
        ends = np.cumsum([len(faces) for faces, _ in kept]).tolist()
        return [
            replace(
                described[end - len(faces) : end],
                seen=seen,
                searched_min_size=searched_min_size(image, limit.min_size),
            )
            for image, limit, (faces, seen), end in zip(images, limits, kept, ends, strict=True)
        ]

    def _describe(self, images: Sequence[Image], faces: Detections, timings: dict[str, float]) -> Faces:
        """Second pass: every face on the canonical frame."""
        if not len(faces):
            return Faces.empty()
        with _clock(timings, "align"):
            matrices = warps.alignment_matrices(faces.landmarks, self._size, self._frame)
            chips = warps.crop(images, faces.image_index, matrices, self._size)
        with _clock(timings, "attributes"):
            outputs = self._networks.describe(chips)
        pose = faces.pose
        if CHIP_POSE in outputs:
            pose = mean_pose(pose, outputs[CHIP_POSE], matrices)
        return Faces(
            faces.boxes,
            faces.scores,
            faces.landmarks,
            faces.visibility,
            pose,
            outputs["smile"],
            outputs["gender"],
            np.maximum(outputs["age"], 0),
            outputs["descriptor"],
        )


def _limit(faces: Detections, limit: Limits) -> tuple[Detections, int]:
    """Faces within the limits, largest first, and how many there were before the most that are wanted were taken."""
    large = boxes_.sides(faces.boxes).min(axis=1) >= (MIN_SIZE if limit.min_size is None else limit.min_size)
    faces = faces[(faces.scores >= limit.min_score) & large]
    order = np.argsort(-boxes_.area(faces.boxes), kind="stable")
    return faces[order[: limit.max_faces]], len(order)


@contextmanager
def _clock(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - start
