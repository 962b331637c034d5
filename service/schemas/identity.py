"""Requests and responses about collections, subjects and comparisons: the JSON of the API's identity part."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)
from pydantic_core import PydanticCustomError

from service.schemas.faces import Box, Digest, FaceQuality, Problem, Share, rounded
from service.schemas.names import Mode

if TYPE_CHECKING:
    from service.gallery import Vector

Similarity = Annotated[FiniteFloat, rounded(6)]
SubjectName = Annotated[str, Field(description="name of the subject")]
Epoch = Annotated[float, Field(description="seconds since 1970")]
Cursor = Annotated[str | None, Field(description="asks for the next part; null: this is the last")]
ScoreName = Annotated[
    Literal["tpe", "cosine"],
    Field(description="what the similarities are of: cosine of descriptors, or of vectors by a triplet embedding"),
]
Far = Annotated[float, Field(description="false accept rate that was applied")]
Thresholds = Annotated[
    dict[str, Similarity],
    Field(
        description="similarity from which two faces count as one person, by false accept rate",
        examples=[{"0.001": 0.4}],
    ),
]


def told_as(text: str) -> WrapValidator:
    """Return a validator that says in one sentence what a value of several types should be."""

    def validate(value: object, handler: ValidatorFunctionWrapHandler) -> object:
        try:
            return handler(value)
        except ValidationError as error:
            raise PydanticCustomError("choice", "{text}", {"text": text}) from error

    return WrapValidator(validate)


Choice = Annotated[
    Literal["largest", "only"] | Annotated[int, Field(ge=0, le=99)],
    told_as("Input should be 'largest', 'only' or a number from 0 to 99"),
    Field(description="which face of a photo: the largest, the only one, or a number from 0, largest first"),
]
OnConflict = Literal["report", "refuse", "ignore"]
Seconds = Annotated[float, Field(gt=0, le=1e10)]
MAX_DIMENSION = 4096


class ProbeOptions(BaseModel):
    """Options of every request with photos to compare or enrol."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    face: Choice = "largest"


class EnrolOptions(ProbeOptions):
    """Options of a request that enrols photos; a photo of several people is refused unless `face` says which one."""

    face: Choice = "only"

    medium: str | None = Field(
        None, pattern=r"^[^/]+$", description="all photos are frames of one medium, a video, of this id"
    )
    min_quality: float | None = Field(
        None, ge=0, le=1, description="lowest quality taken; the server's own when left out"
    )
    create: bool = Field(False, description="make the subject when there is none")
    on_conflict: OnConflict = Field(
        "report", description="when a face matches another subject: `report` it, `refuse` the request, `ignore` it"
    )


class VerifyOptions(ProbeOptions):
    """Options of a comparison 1:1."""

    far: float | None = Field(
        None, gt=0, le=0.5, description="false accept rate of `matched`; the server's own when left out"
    )


class TemplatesOptions(ProbeOptions):
    """Options of a template made of photos and handed out."""

    mode: Mode = Field("media", description="how the photos are pooled")


class Template(BaseModel):
    """A face as it is compared. It identifies a person: keep it as you would keep a password."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="digest of the model's weights", max_length=128)
    vector: str = Field(
        repr=False, description="float32 numbers, little-endian, in base64", max_length=8 * MAX_DIMENSION
    )
    media: int = Field(1, ge=1, le=100_000, description="how many are pooled in it: thresholds rise with them")

    @field_validator("vector")
    @classmethod
    def _numbers(cls, value: str) -> str:
        try:
            size = len(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            raise ValueError("not base64") from None
        if not size or size % 4 or size > 4 * MAX_DIMENSION:
            raise ValueError("not a row of float32 numbers")
        return value

    def numbers(self) -> Vector:
        """Return the vector [D] as float32."""
        import numpy as np  # noqa: PLC0415 - the client installs without it

        return np.frombuffer(base64.b64decode(self.vector), "<f4").astype(np.float32)

    @classmethod
    def of(cls, model: str, vector: Vector, media: int) -> Template:
        """Return the template of a vector [D] and the number of media pooled in it."""
        import numpy as np  # noqa: PLC0415 - the client installs without it

        return cls(model=model, media=media, vector=base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode())


class Quality(FaceQuality):
    """How good a face is for enrolling, and why it is not good enough."""

    reasons: list[str] = Field(description="what keeps it below the quality asked for, worst first")


class PolicyOptions(BaseModel):
    """The policy of a collection: how it pools media and what it keeps."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    mode: Mode = Field("media", description="media: mean of media; median: of all frames; quality: weighted mean")
    reject_below: float | None = Field(
        None, ge=-1, le=1, description="a medium less similar than that to the subject's others is left out"
    )
    keep_photos: bool = Field(
        False, description="keep the photos, encrypted, so that another model can enrol them again"
    )
    ttl: Seconds | None = Field(None, description="seconds without a change after which a subject expires")


class CollectionResponse(BaseModel):
    """A collection with its policy and the number of its subjects."""

    name: str = Field(description="name of the collection")
    model: str = Field(description="digest of the model that made its templates")
    current: bool = Field(description="whether that model answers now; if not, see re-enrol")
    dimension: int = Field(description="numbers of a template")
    created: Epoch
    policy: PolicyOptions
    subjects: int = Field(description="how many there are")


class Collections(BaseModel):
    """Part of the listing; `cursor` asks for the next part."""

    collections: list[CollectionResponse]
    cursor: Cursor
    damaged: list[str] = Field([], description="collections that somebody else deleted, put back or changed")


class SubjectOptions(BaseModel):
    """The request that makes or changes a subject: metadata, and the time to live."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    metadata: dict[str, JsonValue] | None = Field(None, description="a JSON object of the caller's, kept encrypted")
    ttl: Seconds | None = Field(
        None, description="seconds without a change after which the subject expires; null: as its collection says"
    )


class NewName(BaseModel):
    """The request that gives a subject another name."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str = Field(min_length=1, max_length=256, pattern=r"^[^/]+$", description="the new name")


class MediumResponse(BaseModel):
    """A photo or video of a subject as it was enrolled."""

    id: str = Field(description="made of the photo, the same for the same photo; or as the request's `medium` says")
    frames: int = Field(description="1, or how many frames of a video it is made of")
    quality: Share = Field(description="of the face, 0–1; of several frames that of the best")
    added: Epoch
    used: bool = Field(description="false: it is too unlike the subject's others and not in the template")
    photo: bool = Field(description="whether the photo is kept")


class Outlier(BaseModel):
    """A medium that does not fit the subject's others: perhaps it shows somebody else."""

    medium: str = Field(description="id of the medium")
    similarity: Similarity = Field(description="to a template of the others")


class SubjectResponse(BaseModel):
    """A person as they are enrolled, without the template."""

    id: SubjectName
    metadata: dict[str, JsonValue] = Field(description="the caller's own")
    created: Epoch
    updated: Epoch
    expires: float | None = Field(
        description="seconds since 1970 at which it is deleted, unless it is changed before; null: never"
    )
    template: bool = Field(description="whether there is one: it needs a medium")
    media: list[MediumResponse]
    model: Digest
    outliers: list[Outlier] | None = Field(
        default=None,
        description="media that do not fit the others, least similar first; null where nobody looked for any",
    )


class Subjects(BaseModel):
    """Part of the listing; `cursor` asks for the next part."""

    subjects: list[SubjectResponse]
    cursor: Cursor
    damaged: list[str] = Field([], description="subjects that cannot be read: somebody changed what is stored of them")


class FaceUsed(BaseModel):
    """The face of a photo that was compared or enrolled, and its quality."""

    box: Box
    quality: Quality
    faces_seen: int = Field(description="how many faces the photo shows")


class Enrolled(FaceUsed):
    """The face of one photo that was enrolled, and the id of its medium."""

    medium: str = Field(description="its id; the same photo again has the same")


class NotEnrolled(BaseModel):
    """In place of a photo that was not enrolled."""

    error: Problem


class Conflict(BaseModel):
    """Another subject whom a face that was enrolled matches, as a search says."""

    subject: SubjectName
    similarity: Similarity = Field(description="of the face to this subject's template")


class EnrolResponse(BaseModel):
    """The subject after an enrolment, and what became of each photo, in order."""

    subject: SubjectResponse
    photos: list[Enrolled | NotEnrolled] = Field(description="in the order in which they were sent")
    model: Digest
    conflicts: list[Conflict] | None = Field(None, description="most similar first; null where nobody looked for any")
    outliers: list[Outlier] | None = Field(None, description="the subject's `outliers`")


class _Verdict(BaseModel):
    matched: bool = Field(description="similarity is at or above threshold")
    far: Far
    threshold: Similarity = Field(description="for the false accept rate `far`, and for as many media as were pooled")
    thresholds: Thresholds
    score: ScoreName
    model: Digest
    faces: list[FaceUsed] = Field(description="of the photos, in order")


class ComparisonResponse(_Verdict):
    """How alike two faces are, and what that means under the model."""

    similarity: Similarity = Field(description="of the two faces, −1 to 1")
    probability: Share = Field(description="that both are one person, if half of all compared pairs are")


class VerifyResponse(_Verdict):
    """The comparison of a probe with a subject.

    A key that may only compare and search gets similarity and probability to 0.01 of a match, and null without one.
    """

    subject: SubjectName
    similarity: Similarity | None = Field(description="of the probe to the subject's template, −1 to 1")
    probability: Share | None = Field(description="that both are one person, if half of all compared pairs are")


class TemplateResponse(BaseModel):
    """A template made of photos; nothing of it is kept here."""

    template: Template
    faces: list[FaceUsed] = Field(description="of the photos, in order")


class ReceiptResponse(BaseModel):
    """What was deleted and when; the audit log holds its number too."""

    receipt: str = Field(description="number of the deletion")
    at: Epoch
    subjects: int = Field(description="how many subjects were deleted")
    media: int | None = Field(description="null of a whole collection: all that its subjects had, uncounted")
    photos: int | None = Field(description="null of a whole collection, as `media`")
