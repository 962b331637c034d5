"""Requests and responses of asynchronous jobs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from service.schemas.clusters import ClustersResponse
from service.schemas.conflicts import CollectionConflicts
from service.schemas.faces import Analysis, AnalyzeOptions, Problem
from service.schemas.fields import Epoch
from service.schemas.videos import VideoResponse


class JobOptions(AnalyzeOptions):
    """Options of an asynchronous job."""

    webhook: str | None = Field(None, max_length=2000, description="called when the job has ended; a listed host only")
    cluster: bool = Field(False, description="sort the faces into people when the job is done; needs the role `verify`")


class JobStatus(BaseModel):
    """How far an asynchronous job is; times are seconds since 1970."""

    id: str = Field(description="of its address, /v1/jobs/{id}")
    status: Literal["running", "done"] = Field(description="`done`: every photo has a result or an error")
    total: int = Field(description="photos, or other parts of its work")
    done: int = Field(description="photos with a result")
    failed: int = Field(description="of these, those that have an error")
    created: Epoch
    ended: float | None = Field(description="seconds since 1970; null while it runs")


class JobItem(BaseModel):
    """What became of one photo of a job, or of its video."""

    index: int = Field(description="number of the photo, from 0")
    name: str | None = Field(None, description="its name in the archive, or the line's")
    analysis: Analysis | None = Field(None, description="of a photo: its faces")
    model: str | None = Field(None, description="digest of the model's weights")
    error: Problem | None = Field(None, description="why there is no result")
    video: VideoResponse | None = Field(None, description="of a video: the faces that were followed through it")
    conflicts: CollectionConflicts | None = Field(
        None, description="of a collection: what was found among some of its subjects, without who was deleted since"
    )


class JobResponse(JobStatus):
    """A job with results, in the order of its photos; those that are missing are still to come."""

    results: list[JobItem] = Field(description="in the order of the photos, those that exist by now")
    clusters: ClustersResponse | None = Field(
        None, description="with `cluster`, of a job that is done: in answers that show its first results"
    )
    clusters_error: Problem | None = Field(None, description="why the faces could not be sorted")
