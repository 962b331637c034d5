"""Requests and responses of a search, for one face or for all faces of a photo."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from service.schemas.faces import Box, DetectionScore, Digest
from service.schemas.fields import ScoreName, Similarity, SubjectName, Thresholds
from service.schemas.probes import Choice, FaceUsed, Quality, told_as

Fpir = Annotated[float, Field(description="share of searches for strangers that may match somebody, as applied")]
GallerySize = Annotated[int, Field(description="how many subjects were searched")]
Matches = Annotated[list["MatchResponse"], Field(description="the most similar first")]


class SearchOptions(BaseModel):
    """Options of a search 1:N."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    face: Annotated[
        Choice | Literal["all"], told_as("Input should be 'largest', 'only', 'all' or a number from 0 to 99")
    ] = Field(
        "largest",
        description="which face of a photo: the largest, the only one, a number from 0, largest first, or all of one "
        "photo, each searched by itself",
    )
    limit: int = Field(10, ge=1, le=1000, description="most matches, of each face")
    fpir: float | None = Field(
        None, gt=0, le=0.5, description="share of strangers who may match somebody; the server's own when left out"
    )
    exclusive: bool = Field(
        True, description="with `face=all`: a subject is given to one face of the photo only, the most similar"
    )


class MatchResponse(BaseModel):
    """One candidate of a search, with the threshold from which it matches."""

    subject: SubjectName
    similarity: Similarity = Field(description="of the face to the subject's template, −1 to 1")
    threshold: Similarity = Field(description="from which this subject matches: the more media, the higher")
    matched: bool = Field(description="whether the similarity is at or above the threshold")
    metadata: dict[str, JsonValue] | None = Field(description="null for a key that may only compare and search")


class SearchResponse(BaseModel):
    """Candidates, best first.

    `threshold` holds `fpir` at this gallery's size for subjects of one medium, `thresholds` are theirs in 1:1. A
    template of several media scores strangers higher, so each match has a threshold of its own.
    """

    matches: Matches
    threshold: Similarity = Field(description="from which a subject of one medium matches")
    fpir: Fpir
    gallery_size: GallerySize
    thresholds: Thresholds
    score: ScoreName
    model: Digest
    faces: list[FaceUsed] = Field(description="of the photos, in order")


class SearchedFace(BaseModel):
    """One face of a photo and who it may be, best first."""

    box: Box
    score: DetectionScore
    quality: Quality
    matches: Matches
    threshold: Similarity = Field(description="holds `fpir` for this face, for subjects of one medium")
    matched: bool = Field(description="whether one of the matches is at or above its threshold")


class GroupSearchResponse(BaseModel):
    """All faces of one photo, largest first, each searched by itself: `fpir` is the share of strange faces."""

    faces: list[SearchedFace] = Field(description="the largest first")
    more: bool = Field(False, description="whether smaller faces were left out: at most 100 are searched")
    faces_seen: int = Field(description="how many faces the photo shows")
    fpir: Fpir
    gallery_size: GallerySize
    thresholds: Thresholds
    score: ScoreName
    model: Digest
