"""Requests and responses of a comparison 1:1."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.schemas.faces import Digest, Share
from service.schemas.fields import Far, ScoreName, Similarity, SubjectName, Thresholds
from service.schemas.probes import FaceUsed, ProbeOptions


class VerifyOptions(ProbeOptions):
    """Options of a comparison 1:1."""

    far: float | None = Field(
        None, gt=0, le=0.5, description="false accept rate of `matched`; the server's own when left out"
    )


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
