"""Requests and responses of following the faces of a video."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from service.schemas.faces import Box, DetectionScore, Digest, FaceQuality, Seconds
from service.schemas.probes import Template


class VideoOptions(BaseModel):
    """Options of a request with a video."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: bool = Field(False, description="answer with a template of each track; needs the role `verify`")


class TrackedFace(BaseModel):
    """A face in one of the frames that were looked at."""

    time: Seconds = Field(description="seconds from the start")
    box: Box
    score: DetectionScore


class BestFace(TrackedFace):
    """The face of a track that has the highest quality."""

    quality: FaceQuality


class VideoTrack(BaseModel):
    """One face, followed through the frames of a video."""

    id: int = Field(description="number of the track, from 0")
    first: Seconds = Field(description="when it is seen first, in seconds from the start")
    last: Seconds = Field(description="when it is seen last, in seconds from the start")
    best: BestFace
    faces: list[TrackedFace] = Field(description="in the order of time")
    template: Template | None = Field(None, description="of the track's best faces; only when asked for")


class VideoResponse(BaseModel):
    """The faces of a video, followed through the frames that were looked at; the track of the largest face first."""

    width: int = Field(description="of the frames that were looked at, upright; large ones are shrunk to 1920 pixels")
    height: int = Field(description="of these frames")
    times: list[Seconds] = Field(description="of the frames that were looked at, in seconds from the start")
    tracks: list[VideoTrack]
    model: Digest
