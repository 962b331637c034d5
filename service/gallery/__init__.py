"""Who is enrolled: collections of subjects, each with media and a template; the types, the errors, what a store does.

    Gallery (gallery.py)   names, pooling, sealing, search; synchronous, any thread
      ├ Index (search.py)  templates in memory, float16, exact
      └ Store (store.py)   sealed bytes under keyed tags: SqliteStore, RedisStore

A subject is one row, written whole or not at all, so nothing can be half enrolled. The index is only a copy: each
search first asks the store for the collection's version and catches up, so no enrolment or deletion is missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.errors import ServiceError

Vector = NDArray[np.float32]
Mode = Literal["media", "median", "quality"]
Item = TypeVar("Item")

MAX_MEDIA = 200
"""Media of one subject."""
MAX_FRAMES = 1000
"""Frames of one medium."""
MAX_METADATA = 16 << 10
"""Bytes of one subject's metadata as JSON."""
MAX_NAME = 256
"""Bytes of a collection's or subject's name in UTF-8."""


# -- errors -----------------------------------------------------------------------------------------------------------


class CollectionNotFound(ServiceError):
    """No collection of that name."""

    status, code, title = 404, "collection_not_found", "No such collection"


class SubjectNotFound(ServiceError):
    """No subject of that name in the collection."""

    status, code, title = 404, "subject_not_found", "No such subject in this collection"


class MediumNotFound(ServiceError):
    """The subject has no such medium."""

    status, code, title = 404, "medium_not_found", "The subject has no such medium"


class NoTemplate(ServiceError):
    """The subject has no media yet."""

    status, code, title = 409, "no_template", "The subject has no media yet"


class CollectionExists(ServiceError):
    """The name is taken."""

    status, code, title = 409, "collection_exists", "There is a collection of that name already"


class ModelMismatch(ServiceError):
    """The templates were made with another model."""

    status, code, title = 409, "model_mismatch", "The templates were made with another model"


class NotCalibrated(ServiceError):
    """Nothing tells what the model's similarities mean."""

    status, code, title = 503, "not_calibrated", "The model has no calibration"


class NoFace(ServiceError):
    """No face in a photo that must show one."""

    status, code, title = 422, "no_face", "No face was found in the photo"


class SeveralFaces(ServiceError):
    """More than the one face that the caller said there is."""

    status, code, title = 422, "several_faces", "The photo shows several faces"


class NoSuchFace(ServiceError):
    """The caller's number is beyond the faces found."""

    status, code, title = 422, "no_such_face", "The photo has no face of this number"


class LowQuality(ServiceError):
    """The face would make a bad template."""

    status, code, title = 422, "low_quality", "The face is not good enough to enrol"


class InvalidName(ServiceError):
    """A name is empty, too long, or cannot be part of an URL's path."""

    status, code, title = 422, "invalid_name", "Names are 1 to 256 bytes without / and control characters, not . or .."


class InvalidSubject(ServiceError):
    """Metadata or media that cannot be stored."""

    status, code, title = 422, "invalid_subject", "The subject's data are not valid"


class TooMuchForOneSubject(ServiceError):
    """More media or metadata than one subject may have."""

    status, code, title = 413, "subject_too_large", "Too much for one subject"


class InvalidExport(ServiceError):
    """The file is no export, is damaged, or the passphrase is another."""

    status, code, title = 422, "invalid_export", "Not an export of a collection, or not its passphrase"


class Busy(ServiceError):
    """Too many writers on one subject."""

    status, code, title = 503, "gallery_busy", "Too many changes of one thing at once, try again"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, {"Retry-After": "1"})


class StorageFull(ServiceError):
    """No room; what was stored is intact."""

    status, code, title = 507, "storage_full", "The gallery's storage is full"


class StorageUnavailable(ServiceError):
    """The store cannot be reached."""

    status, code, title = 503, "storage_unavailable", "The gallery's storage cannot be reached"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, {"Retry-After": "2"})


# -- what callers see -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Policy:
    """How a collection pools and what it keeps; seconds."""

    mode: Mode = "media"
    reject_below: float | None = None  # similarity to the other media below which one is left out of the template
    keep_photos: bool = False
    ttl: float | None = None  # a subject is forgotten so long after its last change, unless it has its own


@dataclass(frozen=True)
class Collection:
    """A named set of subjects whose templates were all made by one model."""

    name: str
    model: str  # digest
    dimension: int
    created: float  # seconds since 1970
    policy: Policy
    subjects: int


@dataclass(frozen=True, eq=False)
class NewMedium:
    """F frames to enrol: vectors [F, D] (projected, not necessarily of unit length) and quality [F], 0–1.

    The id tells repetitions: enrolling it again replaces it.
    """

    id: str
    vectors: Vector
    quality: Vector
    photo: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Medium:
    """A medium as enrolled."""

    id: str
    vectors: Vector = field(repr=False)
    quality: Vector
    added: float
    used: bool  # False: an outlier, not in the template
    photo: bool  # whether the photo was kept


@dataclass(frozen=True, eq=False)
class Subject:
    """A person as enrolled; template [D] of unit length, None without media."""

    id: str
    metadata: Mapping[str, Any] = field(repr=False)
    created: float
    updated: float
    expires: float | None
    ttl: float | None
    model: str
    media: tuple[Medium, ...] = field(repr=False)
    template: Vector | None = field(repr=False)


@dataclass(frozen=True)
class Match:
    """A subject compared with a probe; similarity −1 … 1 to a template of so many media."""

    subject: str
    similarity: float
    media: int
    metadata: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Part of a listing; `cursor` asks for the next part, None when this is the last."""

    items: list[Item]
    cursor: str | None


@dataclass(frozen=True)
class Part:
    """Part `number` of `of` of every collection, from 0. Raises ValueError for no such part."""

    number: int = 0
    of: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.of:
            raise ValueError(f"there is no part {self.number + 1} of {self.of}")

    def holds(self, serial: int) -> bool:
        """Whether a subject belongs to it."""
        return serial % self.of == self.number


WHOLE = Part()


@dataclass(frozen=True)
class Receipt:
    """What was deleted and when; holds no name. With a whole collection media and photos go uncounted: None."""

    id: str
    at: float
    subjects: int
    media: int | None
    photos: int | None
