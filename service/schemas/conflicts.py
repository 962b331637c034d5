"""Responses to requests for the conflicts in a collection."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.schemas.identity import Outlier, Similarity


class SubjectsConflict(BaseModel):
    """Two subjects who match each other, as a search for one of them says: perhaps one person under two names."""

    subjects: tuple[str, str]
    similarity: Similarity
    threshold: Similarity


class SubjectOutlier(Outlier):
    """A medium of a subject that does not fit the subject's others."""

    subject: str


class CollectionConflicts(BaseModel):
    """The conflicts of some subjects of a collection; `cursor` asks for those of the next."""

    conflicts: list[SubjectsConflict] = Field(description="most similar first, each pair once")
    outliers: list[SubjectOutlier] = Field(description="least similar first")
    checked: int = Field(description="subjects that were looked at")
    cursor: str | None
    model: str
