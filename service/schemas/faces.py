"""Requests and responses of analysis and jobs: the JSON of the API, and the rounding of its numbers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, PlainSerializer


def rounded(digits: int) -> PlainSerializer:
    """Return a serializer that rounds to this many digits after the point."""
    return PlainSerializer(lambda value: round(value, digits), return_type=float)


Pixels = Annotated[FiniteFloat, rounded(2)]
Degrees = Annotated[FiniteFloat, rounded(2)]
Years = Annotated[FiniteFloat, rounded(2)]
Seconds = Annotated[FiniteFloat, rounded(3)]
Share = Annotated[FiniteFloat, Field(ge=0, le=1), rounded(4)]
Component = Annotated[FiniteFloat, rounded(6)]
DetectionScore = Annotated[Share, Field(description="how sure it is that this is a face, 0–1")]
Digest = Annotated[str, Field(description="digest of the model's weights")]


class AnalyzeOptions(BaseModel):
    """What to look for and what to answer: query parameters, form fields or JSON fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_faces: int = Field(100, ge=1, le=1000, description="at most this many faces of a photo, the largest")
    min_size: float | None = Field(
        None,
        ge=1,
        le=100_000,
        description="shorter side of the smallest box, pixels. Left out, large photos are searched for large faces "
        "only, so that they take no longer than others, and small photos for smaller faces; the answer says from which "
        "size on. Faces below 12 pixels are hardly ever found",
    )
    min_score: float | None = Field(
        None, ge=0, le=1, description="lowest detection score; the model's own when left out"
    )
    descriptor: bool = Field(False, description="answer with the 512-d descriptor")
    landmarks: bool = Field(True, description="answer with the 21 landmarks")
    quality: bool = Field(False, description="answer with each face's quality, as enrolment measures it")
    orientation: Literal["exif", "auto"] = Field(
        "exif", description="auto: say in `turned` how the photo is turned, by its faces"
    )


class FacesOptions(AnalyzeOptions):
    """Options of a request for faces."""

    as_list: bool = Field(False, alias="list", description="answer with `images`, a list, also for one photo")


class Box(BaseModel):
    """Pixels of the upright image, origin top left; may reach beyond the image."""

    x: Pixels = Field(description="left edge")
    y: Pixels = Field(description="upper edge")
    width: Pixels = Field(description="pixels")
    height: Pixels = Field(description="pixels")


class Landmark(BaseModel):
    """One of the 21 landmarks of a face: its name, where it is, and how likely it is visible."""

    name: str = Field(description="like `left_eye_centre`; left is the left side of the photo")
    x: Pixels = Field(description="pixels from the left edge of the photo")
    y: Pixels = Field(description="pixels from its upper edge")
    visibility: Share = Field(description="probability that the point can be seen")


class Pose(BaseModel):
    """Degrees. yaw > 0: nose to the image's right; pitch > 0: nose up; roll > 0: clockwise in the image."""

    roll: Degrees = Field(description="degrees; > 0: the head is turned clockwise in the photo")
    pitch: Degrees = Field(description="degrees; > 0: the nose points up")
    yaw: Degrees = Field(description="degrees; > 0: the nose points to the photo's right")


class AgeRange(BaseModel):
    """Years between which the true age lies for four of five faces."""

    low: Years = Field(description="years")
    high: Years = Field(description="years")


class FaceQuality(BaseModel):
    """How good a face is for enrolling; the whole is as good as the worst part."""

    overall: Share = Field(description="the lowest of the others")
    sharpness: Share = Field(description="0: blurred, 1: sharp")
    size: Share = Field(description="0: very small, 1: large enough")
    pose: Share = Field(description="0: turned away, 1: frontal")
    exposure: Share = Field(description="0: too dark or too bright, 1: well exposed")
    visibility: Share = Field(description="0: covered, 1: all of it is seen")


class Face(BaseModel):
    """One face of a photo, with everything that was measured of it."""

    box: Box
    score: DetectionScore
    landmarks: list[Landmark] | None = Field(None, description="absent when `landmarks` is false")
    pose: Pose
    smile: Share = Field(description="probability of a smile")
    gender: Literal["female", "male"] = Field(description="the more probable of the two values that the model has")
    female: Share = Field(description="probability of `female`")
    age: Years = Field(description="years")
    age_range: AgeRange | None = Field(None, description="absent when the model's checkpoint has no ranges")
    descriptor: list[Component] | None = Field(None, description="512 numbers of unit length, only when asked for")
    occluded: list[Literal["eyes", "nose", "mouth"]] | None = Field(
        None, description="parts that are covered or cannot be seen; absent when there are none"
    )
    quality: FaceQuality | None = Field(None, description="only when asked for")


class Analysis(BaseModel):
    """The faces of one image, largest first; width and height are those of the upright image."""

    width: int = Field(description="pixels")
    height: int = Field(description="pixels")
    faces: list[Face] = Field(description="the largest first")
    more: bool = Field(False, description="whether `max_faces` left smaller faces out")
    faces_seen: int = Field(0, description="how many faces the photo shows, those that `max_faces` left out included")
    searched_min_size: float | None = Field(None, description="pixels from which on faces were looked for")
    turned: Literal[0, 90, 180, 270] | None = Field(
        None,
        description="with `orientation=auto`: by how many degrees clockwise the photo is turned, after its EXIF; boxes "
        "and points are in the photo as it was sent. Null without a face",
    )


class Problem(BaseModel):
    """What went wrong (RFC 9457). `code` is stable, `detail` is for people."""

    type: str = Field("about:blank", description="always about:blank; `code` says what it is")
    title: str = Field(description="what went wrong, the same for every error of this code")
    status: int = Field(
        description="the response's status; of one photo of several the status that it would have alone"
    )
    code: str = Field(description="stable, for programs")
    detail: str = Field(description="what went wrong this time, for people")
    request_id: str | None = Field(None, description="as in the header X-Request-ID and in the log")
    errors: list[dict[str, Any]] | None = Field(None, description="of a request that is not valid: where and why")
    boxes: list[Box] | None = Field(None, description="of `several_faces`: where the faces are, the largest first")


class ImageProblem(BaseModel):
    """In place of an image's faces when that image, of several, could not be analyzed."""

    error: Problem


TIMINGS = (
    "Milliseconds by stage; the model's stages are those of the batch the image was in. "
    "Of several images each stage shows its longest."
)


class AnalysisResponse(Analysis):
    """The answer to a request with one image."""

    model: Digest
    timings_ms: dict[str, float] = Field(description=TIMINGS)


class AnalysesResponse(BaseModel):
    """The answer to a request with several images, in their order."""

    images: list[Analysis | ImageProblem] = Field(description="in the order in which they were sent")
    model: str | None = Field(description="digest of the model's weights; null when no image could be analyzed")
    timings_ms: dict[str, float] = Field(description=TIMINGS)


class Model(BaseModel):
    """The model that answers, and the limits that hold."""

    digest: Digest
    info: dict[str, Any] = Field(description="what the model computes and where it runs, with its thresholds")
    workers: int = Field(description="workers alive with this model")
    license: str | None = Field(None, description="licence of the weights, an SPDX expression; null when not known")
    use: str | None = Field(None, description="what the weights may be used for; null when not known")
    limits: dict[str, int | float] = Field(
        description="what requests may have at most, by setting: `max_bytes` is FACE_MAX_BYTES"
    )


class Health(BaseModel):
    """The answer of /livez (`ok`) and of /readyz (`ready`)."""

    status: Literal["ok", "ready"] = Field(
        description="`ok` of a process that is alive, `ready` of one that can answer"
    )
