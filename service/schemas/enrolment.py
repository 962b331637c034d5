"""Requests and responses of an enrolment."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from service.schemas.faces import Digest, Problem
from service.schemas.fields import Similarity, SubjectName
from service.schemas.probes import Choice, FaceUsed, ProbeOptions
from service.schemas.subjects import Outlier, SubjectResponse

OnConflict = Literal["report", "refuse", "ignore"]


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
