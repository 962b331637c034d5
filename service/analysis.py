"""Between the service's words and the model's: the settings open it, options limit it, its tensors become data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch

from model import checkpoint, identity, quality
from model.landmarks import NAMES
from model.pipeline import Analyzer, AnalyzerConfig, Limits
from model.structures import Faces
from service import images
from service.config import Settings
from service.schemas import Analysis, Box, Face, Landmark, Options, Pose


def load_analyzer(settings: Settings) -> Analyzer:
    """The model as the settings ask for. Raises FileNotFoundError, CheckpointError or ValueError."""
    if settings.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {settings.device}: no CUDA device is there")
    config = AnalyzerConfig(
        weights=settings.weights, device=settings.device, dtype=settings.dtype, proposals=settings.proposals
    )
    with _alone():
        analyzer = Analyzer(config)
    if settings.calibration:
        load_identity(analyzer, settings)
    return analyzer


def load_identity(analyzer: Analyzer, settings: Settings) -> identity.Identity:
    """What the analyzer's descriptors are compared by. Raises FileNotFoundError or ValueError for a bad calibration."""
    with _alone():
        loaded = checkpoint.load(analyzer.config.weights or checkpoint.SHIPPED)
        return identity.of(loaded, settings.calibration)


@contextmanager
def _alone() -> Iterator[None]:
    """Without helpers of this thread's own: with those of two threads OpenMP has more than there are cores.

    Then its waits sleep instead of spinning, for good, and the thread that analyses is a sixth slower.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def limits(options: Options) -> Limits:
    """The model's limits from a caller's options; what the caller left out is the model's own."""
    chosen = options.model_dump(include={"min_size", "max_faces", "min_score"}, exclude_none=True)
    return Limits(**chosen)


def wire(faces: Faces, width: int, height: int, options: Options) -> dict[str, Any]:
    """Tensors to what JSON and msgpack can carry, rounded (see schemas.Analysis). The only place that does it."""
    columns = {
        "box": faces.boxes, "score": faces.scores, "points": faces.landmarks, "visibility": faces.visibility,
        "pose": faces.pose, "smile": faces.smile, "female": faces.female, "age": faces.age,
    }  # fmt: skip
    if options.descriptor:
        columns["descriptor"] = faces.descriptor
    rows = {name: column.float().cpu().tolist() for name, column in columns.items()}
    found = [_face({name: row[i] for name, row in rows.items()}, options.landmarks) for i in range(len(faces))]
    return Analysis(width=width, height=height, faces=found).model_dump(exclude_none=True)


def _face(row: dict[str, Any], landmarks: bool) -> Face:
    x1, y1, x2, y2 = row["box"]
    roll, pitch, yaw = row["pose"]
    marks = zip(NAMES, row["points"], row["visibility"], strict=True)
    return Face(
        box=Box(x=x1, y=y1, width=x2 - x1, height=y2 - y1),
        score=_share(row["score"]),
        landmarks=[Landmark(name=n, x=x, y=y, visibility=_share(v)) for n, (x, y), v in marks] if landmarks else None,
        pose=Pose(roll=roll, pitch=pitch, yaw=yaw),
        smile=_share(row["smile"]),
        gender="female" if row["female"] >= 0.5 else "male",
        female=_share(row["female"]),
        age=row["age"],
        descriptor=row.get("descriptor"),
    )


def _share(value: float) -> float:
    """A probability, with float error beyond 0 and 1 cut off; NaN stays and is refused by the schema."""
    return value if math.isnan(value) else min(1.0, max(0.0, value))


def with_template(
    analysis: dict[str, Any], faces: Faces, image: images.Pixels, known: identity.Identity
) -> dict[str, Any]:
    """The analysis with each face's quality and the vector that is compared."""
    vectors = known.vectors(faces.descriptor).tolist()
    for face, found, vector in zip(analysis["faces"], quality.assess(image, faces), vectors, strict=True):
        face["quality"] = {"overall": found.overall, "reasons": found.reasons(1.0), **asdict(found)}
        face["vector"] = vector
    return analysis
