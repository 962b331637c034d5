"""What callers of collections, subjects and comparisons send and get: the JSON of the API's identity part."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator

from service.gallery import Mode, Vector
from service.schemas import Box, Problem, Share, rounded

Similarity = Annotated[FiniteFloat, rounded(6)]
Thresholds = Annotated[
    dict[str, Similarity],
    Field(
        description="similarity from which two faces count as one person, by false accept rate",
        examples=[{"0.001": 0.4}],
    ),
]
Choice = Annotated[
    Literal["largest", "only"] | Annotated[int, Field(ge=0, le=99)],
    Field(description="which face of a photo: the largest, the only one, or a number from 0, largest first"),
]
Seconds = Annotated[float, Field(gt=0, le=1e10)]
MAX_DIMENSION = 4096


class Asked(BaseModel):
    """What may be asked beside the photos."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    face: Choice = "largest"


class EnrolAsked(Asked):
    """Options of an enrolment."""

    medium: str | None = Field(
        None, pattern=r"^[^/]+$", description="all photos are frames of one medium, a video, of this id"
    )
    min_quality: float | None = Field(
        None, ge=0, le=1, description="lowest quality taken; the server's own when left out"
    )
    create: bool = Field(False, description="make the subject when there is none")


class VerifyAsked(Asked):
    """Options of a comparison 1:1."""

    far: float | None = Field(
        None, gt=0, le=0.5, description="false accept rate of `matched`; the server's own when left out"
    )


class SearchAsked(Asked):
    """Options of a search 1:N."""

    limit: int = Field(10, ge=1, le=1000, description="most matches")
    fpir: float | None = Field(
        None, gt=0, le=0.5, description="share of strangers who may match somebody; the server's own when left out"
    )


class TemplatesAsked(Asked):
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
        """The vector [D]."""
        return np.frombuffer(base64.b64decode(self.vector), "<f4").astype(np.float32)

    @classmethod
    def of(cls, model: str, vector: Vector, media: int) -> Template:
        """From numbers [D] and the media pooled in them."""
        return cls(model=model, media=media, vector=base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode())


class Quality(BaseModel):
    """How good a face is for enrolling; the whole is as good as the worst part."""

    overall: Share
    sharpness: Share
    size: Share
    pose: Share
    exposure: Share
    visibility: Share
    reasons: list[str] = Field(description="what keeps it below the quality asked for, worst first")


class PolicyAsked(BaseModel):
    """How a new collection pools and what it keeps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode = Field("media", description="media: mean of media; median: of all frames; quality: weighted mean")
    reject_below: float | None = Field(
        None, ge=-1, le=1, description="a medium less similar than that to the subject's others is left out"
    )
    keep_photos: bool = Field(False, description="keep the photos, sealed, so that another model can enrol them again")
    ttl: Seconds | None = Field(None, description="seconds without a change after which a subject is forgotten")


class CollectionOut(BaseModel):
    """A collection."""

    name: str
    model: str = Field(description="digest of the model that made its templates")
    current: bool = Field(description="whether that model answers now; if not, see re-enrol")
    dimension: int
    created: float = Field(description="seconds since 1970")
    policy: PolicyAsked
    subjects: int


class Collections(BaseModel):
    """Part of the listing; `cursor` asks for the next part."""

    collections: list[CollectionOut]
    cursor: str | None


class SubjectAsked(BaseModel):
    """What is known of a subject beside the face."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metadata: dict[str, Any] | None = Field(None, description="a JSON object of the caller's, kept sealed")
    ttl: Seconds | None = Field(None, description="seconds without a change after which the subject is forgotten")


class MediumOut(BaseModel):
    """A photo or video as enrolled."""

    id: str
    frames: int
    quality: Share
    added: float
    used: bool = Field(description="false: it is too unlike the subject's others and not in the template")
    photo: bool = Field(description="whether the photo is kept")


class SubjectOut(BaseModel):
    """A person as enrolled."""

    id: str
    metadata: dict[str, Any]
    created: float
    updated: float
    expires: float | None
    template: bool = Field(description="whether there is one: it needs a medium")
    media: list[MediumOut]
    model: str


class Subjects(BaseModel):
    """Part of the listing; `cursor` asks for the next part."""

    subjects: list[SubjectOut]
    cursor: str | None


class FaceUsed(BaseModel):
    """The face of a photo that was taken."""

    box: Box
    quality: Quality


class Enrolled(FaceUsed):
    """What became of one photo."""

    medium: str = Field(description="its id; the same photo again has the same")


class NotEnrolled(BaseModel):
    """In place of a photo that was not enrolled."""

    error: Problem


class EnrolAnswer(BaseModel):
    """The subject after an enrolment, and what became of each photo, in order."""

    subject: SubjectOut
    photos: list[Enrolled | NotEnrolled]
    model: str


class ComparisonAnswer(BaseModel):
    """How alike two faces are, and what that means under the model."""

    similarity: Similarity
    probability: Share = Field(description="that both are one person, when half of the pairs asked about are")
    matched: bool = Field(description="similarity is at or above threshold")
    far: float
    threshold: Similarity = Field(description="for the false accept rate `far`, and for as many media as were pooled")
    thresholds: Thresholds
    score: Literal["tpe", "cosine"]
    model: str
    faces: list[FaceUsed] = Field(description="of the photos, in order")


class VerifyAnswer(ComparisonAnswer):
    """The comparison of a probe with a subject."""

    subject: str


class MatchOut(BaseModel):
    """One candidate of a search."""

    subject: str
    similarity: Similarity
    threshold: Similarity = Field(description="from which this subject matches: the more media, the higher")
    matched: bool
    metadata: dict[str, Any]


class SearchAnswer(BaseModel):
    """Candidates, best first.

    `threshold` holds `fpir` at this gallery's size for subjects of one medium, `thresholds` are theirs in 1:1. A
    template of several media scores strangers higher, so each match has a threshold of its own.
    """

    matches: list[MatchOut]
    threshold: Similarity
    fpir: float
    gallery_size: int
    thresholds: Thresholds
    score: Literal["tpe", "cosine"]
    model: str
    faces: list[FaceUsed]


class TemplateAnswer(BaseModel):
    """A template made of photos; nothing of it is kept here."""

    template: Template
    faces: list[FaceUsed]


class ReceiptOut(BaseModel):
    """What was deleted and when; the audit log holds its number too."""

    receipt: str
    at: float
    subjects: int
    media: int | None = Field(description="null of a whole collection: all that its subjects had, uncounted")
    photos: int | None = Field(description="as media")
