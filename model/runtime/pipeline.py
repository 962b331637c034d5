"""Analyzer: images → faces, by the networks of a checkpoint. model/runtime/lane.py has the steps.

NumPy only: PyTorch is imported where an engine needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from model.checkpoint_file import SHIPPED, CheckpointError, CheckpointFile, read_checkpoint_file, terms_of_use
from model.identity.age_range import AgeRanges
from model.runtime.engines import open_engine
from model.runtime.engines.protocol import DESCRIBE, DETECT
from model.runtime.first_pass import FirstPass
from model.runtime.lane import Lane
from model.runtime.limits import DEFAULT_LIMITS, Limits
from model.runtime.memory import trim_heap
from model.runtime.proposals import LIKELY
from model.structures import Faces, Proposals
from model.warps import Image

SIDE_BY_SIDE_FROM = 3
"""Images from which on lanes share them. Of two one would often wait for the other, on half of the threads."""


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
        size = int(file.network["input_size"])
        self.frame = str(file.network.get("frame", "canonical"))  # of the chips for the second pass, model.landmarks
        dense = config.proposals == "dense"
        lane = partial(Lane, size=size, frame=self.frame, dense=dense, refines=config.refine, medians=config.medians)
        self._whole = lane(self.engine)
        self._lanes = [lane(networks) for networks in self.engine.lanes]
        self._threads = ThreadPoolExecutor(max(len(self._lanes), 1), "lane")
        self.engine.warm_up()
        self.info: dict[str, Any] = {
            "preset": file.config.get("preset"),
            "input_size": size,
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
        if len(images) < SIDE_BY_SIDE_FROM or not self._lanes:
            return self._whole.analyze(images, each, timings)
        return self._side_by_side(images, each, timings)

    def _side_by_side(
        self, images: Sequence[Image], limits: Sequence[Limits], timings: dict[str, float]
    ) -> list[Faces]:
        """Share the images out to the lanes; the seconds of a stage are those of the lane that took longest."""
        waiting = iter(shared_out(len(images), len(self._lanes)))  # a list's iterator gives a part to one thread only
        faces: list[Faces] = [Faces.empty()] * len(images)

        def work(lane: Lane) -> dict[str, float]:
            seconds: dict[str, float] = {}
            for part in waiting:
                faces[part] = lane.analyze(images[part], limits[part], seconds)
            return seconds

        running = [self._threads.submit(work, lane) for lane in self._lanes]
        wait(running)  # for all of them, also where one fails: a lane has one user at a time
        for lane in running:
            for stage, seconds in lane.result().items():
                timings[stage] = max(timings.get(stage, 0.0), seconds)
        return faces

    @property
    def first_pass(self) -> FirstPass:
        """Return the first pass over single images."""
        return self._whole.first_pass

    def release_memory(self) -> None:
        """Give memory that was needed for the last photos alone back to the system; call it when there is no work."""
        self.engine.release_memory()
        trim_heap()

    def propose(self, image: Image, min_size: float | None = None) -> Proposals:
        """The candidate regions of one image that are looked at in any case, each for itself, best first."""
        every = self._whole.proposer.propose([image], [min_size]).every
        return every[every.scores >= LIKELY]


def _check_complete(file: CheckpointFile) -> None:
    """Raise CheckpointError for a network that lacks an output the pipeline needs."""
    network = file.network
    missing = {*DETECT, *DESCRIBE} - {*network.get("local", ()), *network.get("deep", ()), "descriptor"}
    if missing or not network.get("identity"):
        raise CheckpointError(f"the checkpoint's network lacks {sorted(missing) or 'an identity branch'}")


def shared_out(count: int, lanes: int) -> list[slice]:
    """Return the parts of `count` images, large ones first, so that lanes that take one after the other end together.

    No part but the last has fewer than two images, since crops go through the networks in batches.
    """
    parts: list[slice] = []
    start = 0
    while start < count:
        size = max(2, -(-(count - start) // lanes))
        parts.append(slice(start, min(start + size, count)))
        start += size
    return parts
