"""Requests and responses about subjects and their media."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from service.schemas.faces import Digest, Share
from service.schemas.fields import Cursor, Epoch, Similarity, SubjectName, TimeToLive


class SubjectOptions(BaseModel):
    """The request that makes or changes a subject: metadata, and the time to live."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    metadata: dict[str, JsonValue] | None = Field(None, description="a JSON object of the caller's, kept encrypted")
    ttl: TimeToLive | None = Field(
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
