"""Responses to requests for the conflicts in a collection."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.schemas.faces import Digest
from service.schemas.fields import Cursor, Similarity, SubjectName
from service.schemas.subjects import Outlier


class SubjectsConflict(BaseModel):
    """Two subjects who match each other, as a search for one of them says: perhaps one person under two names."""

    subjects: tuple[str, str] = Field(description="names of the two")
    similarity: Similarity = Field(description="of their templates")
    threshold: Similarity = Field(description="from which they match")


class SubjectOutlier(Outlier):
    """A medium of a subject that does not fit the subject's others."""

    subject: SubjectName


class CollectionConflicts(BaseModel):
    """The conflicts of some subjects of a collection; `cursor` asks for those of the next."""

    conflicts: list[SubjectsConflict] = Field(description="most similar first, each pair once")
    outliers: list[SubjectOutlier] = Field(description="least similar first")
    checked: int = Field(description="subjects that were looked at")
    cursor: Cursor
    model: Digest
