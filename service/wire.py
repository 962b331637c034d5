"""What the API, the queue and the worker exchange, each type declared once.

    Options, ImageHeader ─AnalysisRequest→ queue → worker ─AnalysisResult | AnalysisFailure→ queue → API → JSON

msgspec checks the types when bytes are decoded. The fields of Analysis and FaceResult are the JSON of the API (see
service.schemas.faces), already rounded. What holds photos or biometric data shows none of it when it is printed.
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field
from msgspec.structs import force_setattr

from model.identity.calibration import Calibration

Format = Literal["JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "HEIF", "TIFF", "JXL", "MP4", "WEBM"]

Part = Literal["eyes", "nose", "mouth"]
"""A part of a face that may be covered."""

FACTORS = ("sharpness", "size", "pose", "exposure", "visibility")
"""The factors of a face's quality; the whole is as good as the worst of them."""
LOW_QUALITY = {
    "sharpness": "too blurred",
    "size": "too small",
    "pose": "turned too far away",
    "exposure": "too dark, too bright or too flat",
    "visibility": "too much is hidden",
}
"""What is wrong with a face whose factor is low."""


class Private(Struct, frozen=True):
    """A struct that holds photos or biometric data: its repr() names the type and nothing else."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Options(Struct, frozen=True, omit_defaults=True):
    """What the caller wants to know about a photo, and what the API itself wants of the worker.

    `max_faces` 0 means all. `min_size` and `min_score` None leave the smallest box and the lowest score to the model.
    With `quality` each face carries its quality, with `template` also the vector that is compared; with `orientation`
    auto the analysis says how the photo is turned. With `video` the answer is the frames of a video, not its faces.
    """

    max_faces: int = 100
    min_size: float | None = None
    min_score: float | None = None
    descriptor: bool = False
    landmarks: bool = True
    template: bool = False
    quality: bool = False
    orientation: Literal["exif", "auto"] = "exif"
    video: VideoLimits | None = None


class VideoLimits(Struct, frozen=True):
    """What may be done with a video.

    `frames` are taken of it, evenly spread; a longer one than `seconds`, one of more than `decoded` frames or of frames
    of more than `pixels`, and one whose decoding takes longer than `work_seconds` is refused. With `at_once` one that
    plays for longer than so many seconds, or takes too long, needs a job (VideoNeedsJob).
    """

    frames: int
    seconds: float
    decoded: int
    pixels: int
    work_seconds: float
    at_once: float | None = None


class ImageHeader(Struct, frozen=True, omit_defaults=True):
    """What the first bytes of an image say about it; width and height are as stored, before the EXIF orientation.

    `start` is where the compressed data of a JPEG begin. `held` are the bytes that decoding it holds in memory.
    """

    format: Format
    width: int
    height: int
    orientation: int = 1
    channels: int = 3
    bits: int = 8
    transparent: bool = False
    animated: bool = False
    scans: int = 1
    start: int = 0
    held: int = 0

    @property
    def pixels(self) -> int:
        """Return width × height."""
        return self.width * self.height


class AnalysisRequest(Private, frozen=True):
    """One photo to analyze.

    `submitted` and `deadline` are readings of time.monotonic() in the process that holds the request; a queue between
    machines sends the time that is left and sets both again on arrival. `attempt` counts deliveries from 1: on every
    earlier one the worker was lost. `model` is the digest of the model that must answer; None leaves the choice to the
    queue, which makes the same one for all requests of one submit(). `trace` is the W3C traceparent, or empty.
    """

    id: str
    request_id: str
    image: bytes
    header: ImageHeader
    options: Options
    submitted: float
    deadline: float
    attempt: int = 1
    model: str | None = None
    trace: str = ""

    @property
    def pixels(self) -> int:
        """Return the photo's width × height, as its header says."""
        return self.header.pixels


class Box(Struct, frozen=True):
    """Pixels of the upright photo, origin top left; a box may reach beyond the photo."""

    x: float
    y: float
    width: float
    height: float


class Landmark(Struct, frozen=True):
    """One of the 21 points: pixels of the upright photo, visibility 0–1."""

    name: str
    x: float
    y: float
    visibility: float


class Pose(Struct, frozen=True):
    """The rotation of a head in degrees; service.schemas.faces.Pose says which way is positive."""

    roll: float
    pitch: float
    yaw: float


class AgeRange(Struct, frozen=True):
    """Years between which the true age lies for four of five faces like those the model was calibrated on."""

    low: float
    high: float


class Quality(Struct, frozen=True):
    """How good a face is for enrolment, each factor 0–1; `overall` is the worst of them, whatever was passed for it."""

    sharpness: float
    size: float
    pose: float
    exposure: float
    visibility: float
    overall: float = 0.0

    def __post_init__(self) -> None:
        force_setattr(self, "overall", min(self.factors().values()))

    def factors(self) -> dict[str, float]:
        """Return the factors by their names in FACTORS, each 0–1."""
        return {name: getattr(self, name) for name in FACTORS}

    def reasons(self, gate: float) -> list[str]:
        """Return what keeps the face below the quality `gate`, worst first; empty for a face that passes."""
        worst_first = sorted((value, name) for name, value in self.factors().items())
        return [f"{name}: {LOW_QUALITY[name]}" for value, name in worst_first if value < gate]


class FaceResult(Private, frozen=True, omit_defaults=True):
    """One face. `quality` and `vector` (float32, little-endian) are there where Options asked for them.

    `age_range` is there where the model's checkpoint has the ranges; `occluded` are the parts that cannot be seen.
    """

    box: Box
    score: float
    pose: Pose
    smile: float
    gender: Literal["female", "male"]
    female: float
    age: float
    age_range: AgeRange | None = None
    landmarks: list[Landmark] | None = None
    descriptor: list[float] | None = None
    occluded: tuple[Part, ...] = ()
    quality: Quality | None = None
    vector: bytes | None = None


class Analysis(Private, frozen=True):
    """The faces of one photo, largest first; width and height are those of the upright photo.

    `more` tells that max_faces left smaller faces out, `faces_seen` how many there are with these. Faces were looked
    for from `searched_min_size` pixels on. `turned` is by how many degrees clockwise the photo is turned, by the faces,
    None without any; it is there where Options asked for it.
    """

    width: int
    height: int
    faces: list[FaceResult]
    more: bool = False
    faces_seen: int = 0
    searched_min_size: float | None = None
    turned: Literal[0, 90, 180, 270] | UnsetType | None = UNSET


class VideoFrame(Private, frozen=True):
    """One frame of a video as JPEG, and its time in seconds from the start."""

    time: float
    image: bytes


class AnalysisResult(Private, frozen=True, tag="result"):
    """The analysis of the request with this id by the model of this digest; `timings` are seconds by stage.

    Where `Options.video` asked for them, the `frames` of a video instead.
    """

    id: str
    model: str
    analysis: Analysis
    timings: dict[str, float] = field(default_factory=dict)
    frames: list[VideoFrame] = field(default_factory=list)


class AnalysisFailure(Struct, frozen=True, tag="failure"):
    """Why the request with this id has no analysis: the code and detail of a ServiceError."""

    id: str
    model: str
    code: str
    detail: str = ""
    timings: dict[str, float] = field(default_factory=dict)


AnalysisOutcome = AnalysisResult | AnalysisFailure
"""The answer to an AnalysisRequest."""


class ModelCard(Struct, frozen=True):
    """What API processes must know about a model; published once, when the first of its workers starts.

    `score` names what is compared (`tpe` or `cosine`) and `dimension` how many numbers a vector has. Without a
    `calibration` nobody can tell what its similarities mean. `license` and `use` are the terms of its weights, where
    they are known.
    """

    digest: str
    score: str
    dimension: int
    calibration: Calibration | None = None
    preset: str | None = None
    input_size: int = 0
    parameters: int = 0
    tasks: tuple[str, ...] = ()
    license: str | None = None
    use: str | None = None


class WorkerInfo(Struct, frozen=True):
    """A live worker: the digest of its model, the id of that model's card, and how it runs.

    `key_ids` are the ids of the queue keys with which it opens encrypted photos.
    """

    id: str
    model: str
    card: str = ""
    device: str = ""
    dtype: str = ""
    engine: str = ""
    proposals: str = ""
    key_ids: tuple[str, ...] = ()
