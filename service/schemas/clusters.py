"""Requests and responses of sorting faces into people."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from service.schemas.faces import Box, Digest, Problem
from service.schemas.fields import Similarity


class ClusterOptions(BaseModel):
    """Options of a request to sort faces."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_faces: int = Field(100, ge=1, le=1000, description="at most this many faces of a photo, the largest")


class ClusterTemplate(BaseModel):
    """A face to be sorted that the caller has as a vector. It identifies a person: keep it like a password."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(max_length=256, description="the caller's own name for the face")
    photo: str | None = Field(
        None, max_length=256, description="of which photo it is; two faces of one photo are never one person"
    )
    vector: str = Field(repr=False, description="float32 numbers, little-endian, in base64")
    model: str | None = Field(None, description="digest of the model's weights; left out, the model that answers")
    quality: float = Field(1, ge=0, le=1, description="quality, as enrolment measures it")
    media: int = Field(1, description="of a template made by this service; not used")


class FaceReference(BaseModel):
    """A face by the number of its photo and its own in that photo, both from 0, the largest face first.

    Of templates `image` is the number of the template in the list, `face` is 0, and `id` the caller's name for it.
    """

    image: int = Field(description="number of the photo or template, from 0")
    face: int = Field(description="number of the face in its photo, from 0, the largest first")
    id: str | None = Field(default=None, description="of a template: the caller's name for it")
    box: Box | None = Field(default=None, description="where the face is in its photo; null for a template")


class ClusteredFace(FaceReference):
    """A face that was sorted into a cluster."""

    similarity: Similarity = Field(description="mean similarity to the other faces of the cluster")


class ClusterResponse(BaseModel):
    """The faces of one person, most typical first."""

    id: int = Field(description="number of the cluster, from 0")
    faces: list[ClusteredFace] = Field(description="the most typical first")
    exemplar: FaceReference = Field(description="the face of sufficient quality that is most like the others")
    cohesion: Similarity = Field(description="mean similarity over all pairs")
    subject: str | None = Field(None, description="who of the collection it is; null: nobody, or no collection asked")


class SingleFace(FaceReference):
    """A face that resembles no other: it is the only one of its person."""

    subject: str | None = Field(None, description="who of the collection it is; null: nobody, or no collection asked")


class LeftOut(FaceReference):
    """A face that is not good enough to be told from others, and why."""

    reasons: list[str] = Field(description="what is wrong with it, the worst first")


class UnreadImage(BaseModel):
    """A photo that could not be analyzed, by its number, with the error."""

    image: int = Field(description="number of the photo, from 0")
    error: Problem


class DuplicateImage(BaseModel):
    """A photo or template that is the same as an earlier one; its faces are sorted all the same."""

    image: int = Field(description="number of the photo or template, from 0")
    same_as: int = Field(description="number of the first one")


class ClustersResponse(BaseModel):
    """Faces sorted into people, largest cluster first."""

    clusters: list[ClusterResponse] = Field(description="the largest first")
    single: list[SingleFace] = Field(description="faces that are like no other")
    left_out: list[LeftOut] = Field(description="faces of low quality that fit no cluster")
    errors: list[UnreadImage] = Field(description="photos that could not be analyzed")
    duplicates: list[DuplicateImage] = Field([], description="photos that came more than once")
    threshold: Similarity = Field(description="mean similarity from which two clusters are one person")
    model: Digest
