"""Between the service's types and the model's: settings open a model, options limit it, its tensors become results."""

from __future__ import annotations

import math

import numpy as np
from msgspec import UNSET
from msgspec.structs import replace

from model.checkpoint_file import SHIPPED, read_checkpoint_file
from model.identity import comparison
from model.identity.age_range import AgeRanges
from model.landmarks import NAMES
from model.runtime import quality
from model.runtime.limits import Limits
from model.runtime.pipeline import Analyzer, AnalyzerConfig
from model.structures import Faces
from service import images
from service.config import Settings
from service.wire import FACTORS, AgeRange, Analysis, Box, FaceResult, Landmark, ModelCard, Options, Part, Pose, Quality

OCCLUDABLE: dict[Part, tuple[tuple[int, ...], ...]] = {
    "eyes": ((6, 7, 8), (9, 10, 11)),
    "nose": ((13, 14, 15),),
    "mouth": ((17, 18, 19),),
}
"""The landmarks of the parts that may be covered, by side where there are two."""
MIN_VISIBILITY = 0.5
"""Mean visibility of a part's landmarks from which it counts as visible, 0–1."""
PIXEL_DIGITS = 2
DEGREE_DIGITS = 2
YEAR_DIGITS = 2
SHARE_DIGITS = 4
DESCRIPTOR_DIGITS = 6


def load_analyzer(settings: Settings) -> Analyzer:
    """Load the model that the settings name. Raises FileNotFoundError, CheckpointError or ValueError."""
    analyzer = Analyzer(
        AnalyzerConfig(
            weights=settings.weights,
            device=settings.device,
            dtype=settings.dtype,
            proposals=settings.proposals,
            engine=settings.engine,
            threads=settings.threads,
            cache=settings.data_dir / "openvino",
        )
    )
    if settings.calibration:
        load_identity(analyzer, settings)
    return analyzer


def load_identity(analyzer: Analyzer, settings: Settings) -> comparison.Identity:
    """Load projection and calibration for the analyzer's descriptors. Raises FileNotFoundError, ValueError."""
    return comparison.of(read_checkpoint_file(analyzer.config.weights or SHIPPED), settings.calibration)


def model_card(analyzer: Analyzer, identity: comparison.Identity) -> ModelCard:
    """Return what API processes must know about the model."""
    info = analyzer.info
    return ModelCard(
        digest=analyzer.digest,
        score=identity.score,
        dimension=identity.dimension,
        calibration=identity.calibration,
        preset=info["preset"],
        input_size=info["input_size"],
        parameters=info["parameters"],
        tasks=tuple(info["tasks"]),
        license=info["license"],
        use=info["use"],
    )


def limits(options: Options) -> Limits:
    """Return the model's limits for a caller's options; what the caller left out is the model's own."""
    if options.min_score is None:
        return Limits(min_size=options.min_size, max_faces=options.max_faces)
    return Limits(min_score=options.min_score, min_size=options.min_size, max_faces=options.max_faces)


def analysis_of(
    faces: Faces, width: int, height: int, options: Options, age_ranges: AgeRanges | None = None
) -> Analysis:
    """Return N faces of an upright photo as lists, rounded. Raises ValueError for a number that is not finite."""
    columns = {
        "box": faces.boxes,
        "score": faces.scores,
        "points": faces.landmarks,
        "visibility": faces.visibility,
        "pose": faces.pose,
        "smile": faces.smile,
        "female": faces.female,
        "age": faces.age,
    }
    if options.descriptor:
        columns["descriptor"] = faces.descriptor
    for name, column in columns.items():
        if not np.isfinite(column).all():
            raise ValueError(f"the model's {name} of a face is not a finite number")
    return Analysis(
        width,
        height,
        [_face(columns, number, options, age_ranges) for number in range(len(faces))],
        more=faces.more,
        faces_seen=faces.seen,
        searched_min_size=round(faces.searched_min_size, PIXEL_DIGITS),
        turned=faces.turned() if options.orientation == "auto" else UNSET,
    )


def _face(rows: dict[str, images.Floats], number: int, options: Options, age_ranges: AgeRanges | None) -> FaceResult:
    x1, y1, x2, y2 = rows["box"][number].tolist()
    roll, pitch, yaw = (round(angle, DEGREE_DIGITS) for angle in rows["pose"][number].tolist())
    female = float(rows["female"][number])
    age = float(rows["age"][number])
    return FaceResult(
        box=Box(*(round(value, PIXEL_DIGITS) for value in (x1, y1, x2 - x1, y2 - y1))),
        score=_share(float(rows["score"][number])),
        pose=Pose(roll, pitch, yaw),
        smile=_share(float(rows["smile"][number])),
        gender="female" if female >= 0.5 else "male",
        female=_share(female),
        age=round(age, YEAR_DIGITS),
        age_range=None if age_ranges is None else _age_range(age_ranges, age),
        landmarks=_landmarks(rows["points"][number], rows["visibility"][number]) if options.landmarks else None,
        occluded=_occluded(rows["visibility"][number]),
        descriptor=_components(rows["descriptor"][number]) if options.descriptor else None,
    )


def _occluded(visibility: images.Floats) -> tuple[Part, ...]:
    """Return the parts of which no side is visible: a face in profile hides one eye by itself."""
    return tuple(
        part
        for part, sides in OCCLUDABLE.items()
        if max(float(visibility[list(points)].mean()) for points in sides) < MIN_VISIBILITY
    )


def _age_range(ranges: AgeRanges, age: float) -> AgeRange:
    low, high = ranges.range(age)
    return AgeRange(round(low, YEAR_DIGITS), round(high, YEAR_DIGITS))


def _landmarks(points: images.Floats, visibility: images.Floats) -> list[Landmark]:
    marks = zip(NAMES, points.tolist(), visibility.tolist(), strict=True)
    return [
        Landmark(name, round(x, PIXEL_DIGITS), round(y, PIXEL_DIGITS), _share(visible))
        for name, (x, y), visible in marks
    ]


def _components(descriptor: images.Floats) -> list[float]:
    return [round(value, DESCRIPTOR_DIGITS) for value in descriptor.tolist()]


def _share(value: float) -> float:
    """Return a probability, rounded, with float error beyond 0 and 1 cut off."""
    return round(min(1.0, max(0.0, value)), SHARE_DIGITS)


def with_quality(analysis: Analysis, faces: Faces, image: images.Pixels) -> Analysis:
    """Return the analysis with the quality of each face added."""
    rows = zip(analysis.faces, quality.assess(image, faces), strict=True)
    return replace(analysis, faces=[replace(face, quality=_quality(assessed)) for face, assessed in rows])


def with_templates(analysis: Analysis, faces: Faces, image: images.Pixels, identity: comparison.Identity) -> Analysis:
    """Return the analysis with each face's quality and the vector that is compared."""
    rows = zip(with_quality(analysis, faces, image).faces, identity.vectors(faces.descriptor), strict=True)
    return replace(analysis, faces=[replace(face, vector=np.asarray(vector, "<f4").tobytes()) for face, vector in rows])


def _quality(assessed: quality.Quality) -> Quality:
    factors = {name: round(float(getattr(assessed, name)), SHARE_DIGITS) for name in FACTORS}
    if not all(math.isfinite(value) for value in factors.values()):
        raise ValueError("a face's quality is not a finite number")
    return Quality(**factors)
