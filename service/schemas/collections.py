"""Requests and responses about collections, and receipts of deletions."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from service.schemas.fields import Cursor, Epoch, TimeToLive
from service.schemas.names import Mode


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
    ttl: TimeToLive | None = Field(None, description="seconds without a change after which a subject expires")


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


class ReceiptResponse(BaseModel):
    """What was deleted and when; the audit log holds its number too."""

    receipt: str = Field(description="number of the deletion")
    at: Epoch
    subjects: int = Field(description="how many subjects were deleted")
    media: int | None = Field(description="null of a whole collection: all that its subjects had, uncounted")
    photos: int | None = Field(description="null of a whole collection, as `media`")
