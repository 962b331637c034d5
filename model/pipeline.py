"""Analyzer: images → faces, in two stages (Fig. 5 of the paper).

    images ─ propose ─ score ─ refine (IRP) ─ suppress (L-NMS) ─ align ─ second pass on face and mirror ─ Faces

Everything between is flat: crops of all images in one batch, with a column that says which image each came from.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from model import checkpoint, geometry
from model.geometry import Image
from model.inference import Inference
from model.proposals import DenseProposer, ProposalNetwork, SelectiveSearchProposer
from model.structures import Faces, Instances, Proposals

MIN_SCORE = 0.7
"""Default score from which a region is reported as a face: on 315 validation faces recall 100 %, no false alarm on 99
scenes and 0.04 a photo on 50 of things and animals; at 0.9 they are 99.4 %, none and 0.02, at 0.5 100 %, none and
0.08."""
MIN_SIZE = 16.0
"""Default shortest side in pixels: the proposals answer for faces from 20, and boxes refined from them can shrink."""
LOW_SCORE = 0.2
"""Score from which a region is worth refining (HyperFace's low threshold)."""
REFINEMENTS = 2
"""Rounds of Iterative Region Proposals (HyperFace section 3.2)."""
OVERLAP = 0.4
"""IoU of landmark boxes from which two detections are one face (L-NMS)."""
CONTAINED = 0.7
"""Share of the smaller landmark box inside the larger from which the lower-scoring one is a part of the same face."""
TOP_K = 5
"""Detections of one face whose medians are reported (L-NMS)."""
REFINED_PER_FACE = 3
"""Detections of one face that are refined: more cost time and move the medians little."""

_DETECT = ("detection", "landmarks", "visibility", "pose")
_ATTRIBUTES = ("smile", "gender", "age", "descriptor")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Limits:
    """What is wanted of one image: lowest score, shortest box side in pixels, most faces (largest first)."""

    min_score: float = MIN_SCORE
    min_size: float = MIN_SIZE
    max_faces: int = 100


@dataclass(frozen=True)
class AnalyzerConfig:
    """Where and how the network runs; `weights` None is the shipped checkpoint."""

    weights: Path | None = None
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    proposals: Literal["dense", "selective-search"] = "dense"
    refine: bool = True  # IRP
    medians: bool = True  # L-NMS' medians; without them each face is its best detection


@dataclass(frozen=True, eq=False)
class Detections(Instances):
    """K regions that went through the network once; landmarks and boxes in image pixels."""

    image_index: Tensor  # int64 [K]
    boxes: Tensor  # [K, 4] from the landmarks
    scores: Tensor  # [K]
    landmarks: Tensor  # [K, 21, 2]
    visibility: Tensor  # [K, 21]
    pose: Tensor  # [K, 3]


class Analyzer:
    """One checkpoint on one device. Not thread-safe: one thread a device.

    Raises FileNotFoundError without weights, CheckpointError for unfit ones, ValueError for a bad configuration.
    """

    def __init__(self, config: AnalyzerConfig = AnalyzerConfig()) -> None:
        if config.dtype not in _DTYPES:
            raise ValueError(f"dtype must be one of {sorted(_DTYPES)}, not {config.dtype!r}")
        if config.dtype == "float16" and config.device == "cpu":
            raise ValueError("float16 needs a CUDA device; the CPU has float32 and bfloat16")
        loaded = checkpoint.load(config.weights or checkpoint.SHIPPED)
        self.config, self.digest = config, loaded.digest
        network = checkpoint.build_network(loaded)
        missing = {*_DETECT, *_ATTRIBUTES} - {*network.config.local, *network.config.deep, "descriptor"}
        if missing or not network.config.identity:
            raise checkpoint.CheckpointError(
                f"the checkpoint's network lacks {sorted(missing) or 'an identity branch'}"
            )
        dtype = _DTYPES[config.dtype]
        self.read = Inference(network, config.device, dtype)
        self._size = network.config.input_size
        self._proposer = self._build_proposer(loaded)
        for wanted in (_DETECT, _ATTRIBUTES):
            self.read.warm_up(wanted)
        self.info: dict[str, Any] = {
            "preset": loaded.config.get("preset"),
            "input_size": self._size,
            "parameters": sum(p.numel() for p in network.parameters()),
            "tasks": [*network.config.local, *network.config.deep, "identity"],
            "proposals": config.proposals,
            "dtype": config.dtype,
            "device": config.device,
        }

    def _build_proposer(self, loaded: checkpoint.Checkpoint) -> DenseProposer | SelectiveSearchProposer:
        if self.config.proposals == "selective-search":
            return SelectiveSearchProposer()
        if self.config.proposals != "dense":
            raise ValueError(f"proposals must be 'dense' or 'selective-search', not {self.config.proposals!r}")
        network = ProposalNetwork()
        try:
            network.load_state_dict(loaded.part("proposals"))
        except RuntimeError as error:
            raise checkpoint.CheckpointError(f"the proposal network's weights do not fit: {error}") from error
        return DenseProposer(network, self.config.device)

    @torch.inference_mode()
    def analyze(
        self,
        images: Sequence[Image],
        limits: Limits | Sequence[Limits] = Limits(),
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
            proposals = self._proposer.propose(images, [limit.min_size for limit in each])
        with _clock(timings, "detect"):
            low = torch.tensor([min(LOW_SCORE, limit.min_score) for limit in each])
            detections = self._detect(images, proposals.image_index, proposals.boxes)
            detections = self._refine(images, detections, low)
            kept = [_limit(self._suppress(detections, index), limit) for index, limit in enumerate(each)]
        return self._attributes(images, kept, timings)

    @torch.inference_mode()
    def propose(self, image: Image, min_size: float = MIN_SIZE) -> Proposals:
        """The candidate regions of one image, best first."""
        return self._proposer.propose([image], [min_size])

    def _detect(
        self, images: Sequence[Image], image_index: Tensor, boxes: Tensor, roll: Tensor | None = None
    ) -> Detections:
        """One pass over square boxes [K, 4], each turned about its centre by its roll [K] in degrees."""
        if not len(boxes):
            return _no_detections()
        crops = geometry.crop(images, image_index, geometry.region_matrices(boxes, self._size, roll), self._size)
        outputs = self.read(crops, _DETECT)
        centre, side = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        points, pose = outputs["landmarks"] * side[:, None], outputs["pose"]
        if roll is not None:
            points = points @ geometry.rotations(roll).transpose(1, 2)
            pose = torch.stack([(pose[:, 0] + roll + 180) % 360 - 180, pose[:, 1], pose[:, 2]], dim=1)
        points = points + centre[:, None]
        found = geometry.box_from_landmarks(points)
        detections = Detections(image_index, found, outputs["detection"], points, outputs["visibility"], pose)
        # In half precision a far-off region can overflow; what has no extent is no face.
        return detections[found.isfinite().all(dim=1) & (geometry.box_area(found) > 0)]

    def _refine(self, images: Sequence[Image], detections: Detections, low: Tensor) -> Detections:
        """Iterative Region Proposals: the upright box of the landmarks is the next region, twice; both are kept."""
        detections = _best_of_each(detections[detections.scores >= low[detections.image_index]])
        if not self.config.refine:
            return detections
        rounds = [detections]
        for _ in range(REFINEMENTS):
            last = rounds[-1]
            roll = last.pose[:, 0]
            rounds.append(self._detect(images, last.image_index, geometry.upright_boxes(last.landmarks, roll), roll))
        return Detections.cat(rounds[1:])

    def _suppress(self, detections: Detections, index: int) -> Detections:
        """Landmarks-based NMS of one image: for each face the medians over its best detections."""
        mine = detections[detections.image_index == index]
        kept, owner = geometry.suppress(mine.boxes, mine.scores, OVERLAP, CONTAINED)
        if not self.config.medians or not len(kept):
            return mine[kept]
        faces = []
        for number, face in enumerate(kept.tolist()):
            close = geometry.box_iou(mine.boxes[[face]], mine.boxes)[0] > OVERLAP
            members = torch.nonzero((owner == number) & close)[:, 0]
            best = members[torch.argsort(mine.scores[members], descending=True, stable=True)[:TOP_K]]
            points = mine.landmarks[best].quantile(0.5, dim=0)
            faces.append(
                replace(
                    mine[[face]],
                    landmarks=points[None],
                    boxes=geometry.box_from_landmarks(points[None]),
                    visibility=mine.visibility[best].quantile(0.5, dim=0)[None],
                    pose=mine.pose[best].quantile(0.5, dim=0)[None],
                )
            )
        return Detections.cat(faces)

    def _attributes(
        self, images: Sequence[Image], kept: Sequence[Detections], timings: dict[str, float]
    ) -> list[Faces]:
        """Second pass: every face and its mirror on the canonical frame, averaged."""
        faces = Detections.cat(kept)
        if not len(faces):
            return [Faces.empty() for _ in images]
        with _clock(timings, "align"):
            matrices = geometry.alignment_matrices(faces.landmarks, self._size)
            chips = geometry.crop(images, faces.image_index, matrices, self._size)
            pair = torch.cat([chips, chips.flip(3)])
        with _clock(timings, "attributes"):
            outputs = {
                name: value.view(2, len(faces), *value.shape[1:])
                for name, value in self.read(pair, _ATTRIBUTES).items()
            }
            descriptor = F.normalize(F.normalize(outputs["descriptor"], dim=2).mean(dim=0), dim=1)
            smile, female, age = (outputs[name].mean(dim=0) for name in ("smile", "gender", "age"))
        results = Faces(
            faces.boxes,
            faces.scores,
            faces.landmarks,
            faces.visibility,
            faces.pose,
            smile,
            female,
            age.clamp(min=0),
            descriptor,
        )
        return [results[faces.image_index == index] for index in range(len(images))]


def _no_detections() -> Detections:
    shapes = ((0, 4), (0,), (0, 21, 2), (0, 21), (0, 3))
    return Detections(torch.zeros(0, dtype=torch.int64), *(torch.zeros(shape) for shape in shapes))


def _best_of_each(detections: Detections) -> Detections:
    """At most REFINED_PER_FACE detections of what looks like one face, best first within each image."""
    kept = []
    for index in sorted(set(detections.image_index.tolist())):
        mine = torch.nonzero(detections.image_index == index)[:, 0]
        mine = mine[torch.argsort(detections.scores[mine], descending=True, stable=True)]
        overlap = geometry.box_iou(detections.boxes[mine], detections.boxes[mine]) > OVERLAP
        better = overlap.tril(diagonal=-1).sum(dim=1)
        kept.append(mine[better < REFINED_PER_FACE])
    return detections[torch.cat(kept)] if kept else detections


def _limit(detections: Detections, limit: Limits) -> Detections:
    """Score, size and number limits; largest first."""
    side = (detections.boxes[:, 2:] - detections.boxes[:, :2]).amin(dim=1)
    detections = detections[(detections.scores >= limit.min_score) & (side >= limit.min_size)]
    order = torch.argsort(geometry.box_area(detections.boxes), descending=True, stable=True)
    return detections[order[: limit.max_faces]]


@contextmanager
def _clock(timings: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[stage] = timings.get(stage, 0.0) + time.perf_counter() - start
