"""Analyzer: images → faces, in two stages (Fig. 5 of the paper).

    images ─ propose ─ screen ─ look ─ refine (IRP) ─ suppress (L-NMS) ─ align ─ describe (second pass) ─ Faces

Everything between is flat: crops of all images in one batch, with a column that says which image each came from.
NumPy only: PyTorch is imported where an engine needs it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from model import boxes as boxes_
from model import warps
from model.checkpoint_file import SHIPPED, CheckpointError, CheckpointFile, read_checkpoint_file, terms_of_use
from model.identity.age_range import AgeRanges
from model.runtime.chip_readings import combined_visibility, mean_landmarks, mean_pose
from model.runtime.detections import Detections, hide_outside, merge_faces
from model.runtime.engines import open_engine
from model.runtime.engines.protocol import CHIP_LANDMARKS, CHIP_POSE, CHIP_VISIBILITY, DESCRIBE, DETECT
from model.runtime.first_pass import FirstPass
from model.runtime.limits import DEFAULT_LIMITS, LOW_SCORE, MIN_SIZE, Limits
from model.runtime.memory import trim_heap
from model.runtime.proposals import (
    LIKELY,
    DenseProposer,
    Proposer,
    SelectiveSearchProposer,
)
from model.runtime.pyramid import searched_min_size
from model.runtime.second_pass import SecondPass, mirror_lengths_of
from model.structures import Faces, Proposals
from model.warps import Image


@dataclass(frozen=True)
class AnalyzerConfig:
    """Where and how the network runs; `weights` None is the shipped checkpoint.

    `dtype` auto is float32 for all that is reported. `threads` 0 is all cores. `cache` is where converted networks are
    kept, None the user's cache.
    """

    weights: Path | None = None
    device: str = "cpu"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    proposals: Literal["dense", "selective-search"] = "dense"
    refine: bool = True  # IRP
    medians: bool = True  # L-NMS' medians; without them each face is its best detection
    engine: Literal["auto", "openvino", "torch"] = "auto"
    threads: int = 0
    cache: Path | None = None


class Analyzer:
    """One checkpoint on one device. Not thread-safe: one thread a device.

    Raises FileNotFoundError without weights, CheckpointError for unfit ones, ValueError for a bad configuration.
    """

    def __init__(self, config: AnalyzerConfig = AnalyzerConfig()) -> None:
        file = read_checkpoint_file(config.weights or SHIPPED)
        self.config = config
        self.digest = file.digest
        _check_complete(file)
        self.engine = open_engine(file, config)
        self.age_ranges = AgeRanges.of(file.config)
        self._size = int(file.network["input_size"])
        self.frame = str(file.network.get("frame", "canonical"))  # of the chips for the second pass, model.landmarks
        self._proposer: Proposer = SelectiveSearchProposer()
        if config.proposals == "dense":
            self._proposer = DenseProposer(self.engine.propose)
        self.first_pass = FirstPass(self.engine, self._size, refines=config.refine)
        self.second_pass = SecondPass(self.engine, mirror_lengths_of(file.config))
        self.engine.warm_up()
        self.info: dict[str, Any] = {
            "preset": file.config.get("preset"),
            "input_size": self._size,
            "parameters": file.parameters("network"),
            "tasks": [*file.network["local"], *file.network["deep"], "identity"],
            "proposals": config.proposals,
            "engine": self.engine.name,
            "dtype": self.engine.precision["identity"],
            "precision": self.engine.precision,
            "device": config.device,
            **terms_of_use(file),
        }

    def analyze(
        self,
        images: Sequence[Image],
        limits: Limits | Sequence[Limits] = DEFAULT_LIMITS,
        timings: dict[str, float] | None = None,
    ) -> list[Faces]:
        """Faces of each image uint8 [H, W, 3] RGB, largest first; `timings` gains seconds by stage.

        An image's result does not depend on the others in the call. Raises ValueError for another kind of array.
        """
        for image in images:
            if image.dtype != "uint8" or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
                raise ValueError(f"images must be uint8 [H, W, 3], got {image.dtype} {image.shape}")
        each = [limits] * len(images) if isinstance(limits, Limits) else list(limits)
        if len(each) != len(images):
            raise ValueError(f"{len(images)} images but {len(each)} limits")
        timings = timings if timings is not None else {}
        if not images:
            return []
        with _clock(timings, "propose"):
            offer = self._proposer.propose(images, [limit.min_size for limit in each])
        with _clock(timings, "detect"):
            low = np.array([min(LOW_SCORE, limit.min_score) for limit in each], np.float32)
            detections = self.first_pass(images, offer, low)
            found = [merge_faces(detections.of(i), medians=self.config.medians) for i in range(len(images))]
            kept = [_limit(faces, limit) for faces, limit in zip(found, each, strict=True)]
        described = self._describe(images, Detections.cat([faces for faces, _ in kept]), timings)
        ends = np.cumsum([len(faces) for faces, _ in kept]).tolist()
        return [
            replace(
                described[end - len(faces) : end],
                seen=seen,
                searched_min_size=searched_min_size(image, limit.min_size),
            )
            for image, limit, (faces, seen), end in zip(images, each, kept, ends, strict=True)
        ]

    def release_memory(self) -> None:
        """Give memory that was needed for the last photos alone back to the system; call it when there is no work."""
        self.engine.release_memory()
        trim_heap()

    def propose(self, image: Image, min_size: float | None = None) -> Proposals:
        """The candidate regions of one image that are looked at in any case, each for itself, best first."""
        offer = self._proposer.propose([image], [min_size])
        return offer.with_smallest(offer.every[offer.every.scores >= LIKELY])

    def _describe(self, images: Sequence[Image], faces: Detections, timings: dict[str, float]) -> Faces:
        """Second pass: every face on the canonical frame."""
        if not len(faces):
            return Faces.empty()
        with _clock(timings, "align"):
            matrices = warps.alignment_matrices(faces.landmarks, self._size, self.frame)
            chips = warps.crop(images, faces.image_index, matrices, self._size)
        with _clock(timings, "attributes"):
            outputs = self.second_pass(chips)
        landmarks, visibility, pose = faces.landmarks, faces.visibility, faces.pose
        if CHIP_POSE in outputs:
            pose = mean_pose(pose, outputs[CHIP_POSE], matrices)
        if CHIP_LANDMARKS in outputs:
            landmarks = mean_landmarks(landmarks, outputs[CHIP_LANDMARKS], matrices, self._size, pose[:, 2])
            visibility = combined_visibility(visibility, outputs[CHIP_VISIBILITY], outputs[CHIP_LANDMARKS], matrices)
        return Faces(
            faces.boxes,
            faces.scores,
            landmarks,
            hide_outside(visibility, landmarks, faces.image_index, images),
            pose,
            outputs["smile"],
            outputs["gender"],
            np.maximum(outputs["age"], 0),
            outputs["descriptor"],
        )


def _check_complete(file: CheckpointFile) -> None:
    """Raise CheckpointError for a network that lacks an output the pipeline needs."""
    network = file.network
    missing = {*DETECT, *DESCRIBE} - {*network.get("local", ()), *network.get("deep", ()), "descriptor"}
    if missing or not network.get("identity"):
        raise CheckpointError(f"the checkpoint's network lacks {sorted(missing) or 'an identity branch'}")


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
