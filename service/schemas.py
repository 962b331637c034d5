"""What callers send and get: the JSON of the API, and the rounding of its numbers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PlainSerializer


def rounded(digits: int) -> PlainSerializer:
    """Serialises with so many digits after the point."""
    return PlainSerializer(lambda value: round(value, digits), return_type=float)


Pixels = Annotated[FiniteFloat, rounded(2)]
Degrees = Annotated[FiniteFloat, rounded(2)]
Years = Annotated[FiniteFloat, rounded(2)]
Share = Annotated[FiniteFloat, Field(ge=0, le=1), rounded(4)]
Component = Annotated[FiniteFloat, rounded(6)]


class Options(BaseModel):
    """What to look for and what to answer; as query parameters, form fields or JSON fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_faces: int = Field(100, ge=1, le=1000, description="the largest so many faces of an image")
    min_size: float = Field(16, ge=1, le=100_000, description="shorter side of the smallest box, pixels")
    min_score: float | None = Field(
        None, ge=0, le=1, description="lowest detection score; the model's own when left out"
    )
    descriptor: bool = Field(False, description="answer with the 512-d descriptor")
    landmarks: bool = Field(True, description="answer with the 21 landmarks")


class JobOptions(Options):
    """What travels with a job: the caller's options, and what the API itself wants of the worker."""

    template: bool = Field(False, description="each face with its quality and the vector that is compared")


class JobQuery(Options):
    """Options of an asynchronous job."""

    webhook: str | None = Field(None, max_length=2000, description="called when the job has ended; a listed host only")


class Box(BaseModel):
    """Pixels of the upright image, origin top left; may reach beyond the image."""

    x: Pixels
    y: Pixels
    width: Pixels
    height: Pixels


class Landmark(BaseModel):
    """One of the 21 points."""

    name: str
    x: Pixels
    y: Pixels
    visibility: Share


class Pose(BaseModel):
    """Degrees. yaw > 0: nose to the image's right; pitch > 0: nose up; roll > 0: clockwise in the image."""

    roll: Degrees
    pitch: Degrees
    yaw: Degrees


class Face(BaseModel):
    """One face and everything about it."""

    box: Box
    score: Share
    landmarks: list[Landmark] | None = Field(None, description="absent when `landmarks` is false")
    pose: Pose
    smile: Share
    gender: Literal["female", "male"]
    female: Share
    age: Years = Field(description="years")
    descriptor: list[Component] | None = Field(None, description="512 numbers of unit length, only when asked for")


class Analysis(BaseModel):
    """The faces of one image, largest first; width and height are those of the upright image."""

    width: int
    height: int
    faces: list[Face]


class Problem(BaseModel):
    """What went wrong (RFC 9457). `code` is stable, `detail` is for people."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    request_id: str | None = None
    errors: list[dict[str, Any]] | None = None


class ImageProblem(BaseModel):
    """In place of an image's faces when that image, of several, could not be analysed."""

    error: Problem


TIMINGS = (
    "Milliseconds by stage; the model's stages are those of the batch the image was in. "
    "Of several images each stage shows its longest."
)


class AnalysisAnswer(Analysis):
    """The answer to a request with one image."""

    model: str = Field(description="digest of the model's weights")
    timings_ms: dict[str, float] = Field(description=TIMINGS)


class AnalysesAnswer(BaseModel):
    """The answer to a request with several images, in their order."""

    images: list[Analysis | ImageProblem]
    model: str | None = Field(description="digest of the model's weights; null when no image could be analysed")
    timings_ms: dict[str, float] = Field(description=TIMINGS)


class JobStatus(BaseModel):
    """How far an asynchronous job is; times are seconds since 1970."""

    id: str
    status: Literal["running", "done"]
    total: int = Field(description="photos")
    done: int = Field(description="photos with a result")
    failed: int = Field(description="of these, those that have an error")
    created: float
    ended: float | None


class JobItem(BaseModel):
    """What became of one photo of a job."""

    index: int
    name: str | None = Field(None, description="its name in the archive, or the line's")
    analysis: Analysis | None = None
    model: str | None = Field(None, description="digest of the model's weights")
    error: Problem | None = None


class JobAnswer(JobStatus):
    """A job with results, in the order of its photos; those that are missing are still to come."""

    results: list[JobItem]


class Model(BaseModel):
    """The model that answers, and the limits that hold."""

    digest: str
    info: dict[str, Any]
    workers: int = Field(description="workers alive with this model")
    limits: dict[str, int | float]


class Health(BaseModel):
    """Alive or ready."""

    status: Literal["ok", "ready"]
