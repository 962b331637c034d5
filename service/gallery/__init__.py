"""Who is enrolled: collections of subjects, each with media and a template. This file holds what callers see.

    Gallery (gallery.py)            names, pooling, verification, search; synchronous, callable from any thread
      ├ TemplateIndexes (indexes/)  templates in memory, float16, exact search
      └ EncryptedStore              subjects in clear over encrypted rows, whose versions stand in an encrypted ledger
          └ Store (stores/)         encrypted bytes under keyed tags: SqliteStore, RedisStore

A subject is one row, written whole or not at all, so nothing can be half enrolled. The index is only a copy: each
search first asks the store for the collection's version and catches up, so no enrolment or deletion is missed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from service.schemas.names import Mode

Vector: TypeAlias = NDArray[np.float32]
Metadata: TypeAlias = Mapping[str, JsonValue]
Item = TypeVar("Item")

MAX_MEDIA = 200
"""How many media one subject may have."""
MAX_FRAMES = 1000
"""How many frames one medium may have."""
MAX_METADATA = 16 << 10
"""How many bytes one subject's metadata may have as JSON."""
MAX_DEPTH = 32
"""How many levels of lists and objects metadata may have."""
MAX_NAME = 256
"""How many bytes the name of a collection or subject may have in UTF-8."""


@dataclass(frozen=True)
class Policy:
    """How a collection pools media and what it keeps.

    `reject_below` is the similarity to a subject's other media below which a medium is left out of the template. `ttl`
    is the number of seconds without a change after which a subject expires, unless it has its own.
    """

    mode: Mode = "media"
    reject_below: float | None = None
    keep_photos: bool = False
    ttl: float | None = None


@dataclass(frozen=True)
class Collection:
    """A named set of subjects whose templates were all made by one model.

    `model` is the digest of that model, `created` seconds since 1970.
    """

    name: str
    model: str
    dimension: int
    created: float
    policy: Policy
    subjects: int


@dataclass(frozen=True)
class Place:
    """Where a face was found: its box as shares of the photo's width and height, which may reach beyond the photo.

    `score` is the detection's, 0–1; `photo` an id that the faces of one photo share.
    """

    left: float
    top: float
    width: float
    height: float
    score: float
    photo: str


@dataclass(frozen=True, eq=False)
class NewMedium:
    """F frames to enrol: vectors [F, D] (projected, not necessarily of unit length) and quality [F], 0–1.

    Enrolling a medium of a known id again replaces it. `place` is kept where the caller knows it. `added` is when it
    was enrolled, in seconds since 1970, where that was before.
    """

    id: str
    vectors: Vector = field(repr=False)
    quality: Vector
    photo: bytes | None = field(default=None, repr=False)
    place: Place | None = None
    added: float | None = None


@dataclass(frozen=True, eq=False)
class Medium:
    """A medium as enrolled.

    `used` is False for an outlier, which is not in the template. `photo_digest` is there when the photo was kept.
    """

    id: str
    vectors: Vector = field(repr=False)
    quality: Vector
    added: float
    used: bool
    photo_digest: bytes | None = field(default=None, repr=False)
    place: Place | None = None

    @property
    def photo(self) -> bool:
        """Return whether the medium's photo was kept."""
        return self.photo_digest is not None


@dataclass(frozen=True, eq=False)
class Subject:
    """A person as enrolled; the template [D] has unit length and is None without media."""

    id: str
    metadata: Metadata = field(repr=False)
    created: float
    updated: float
    expires: float | None
    ttl: float | None
    model: str
    media: tuple[Medium, ...] = field(repr=False)
    template: Vector | None = field(repr=False)


@dataclass(frozen=True)
class Match:
    """A subject compared with a probe; the similarity, −1 … 1, is to a template of so many media."""

    subject: str
    similarity: float
    media: int
    metadata: Metadata = field(repr=False)


@dataclass(frozen=True)
class SearchResult:
    """The best matches, best first, and how many templates were searched."""

    matches: list[Match]
    gallery_size: int


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Part of a listing.

    `cursor` asks for the next part and is None when this is the last. `damaged` names entries that cannot be read.
    """

    items: list[Item]
    cursor: str | None
    damaged: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """Part `number`, counted from 0, of `count` parts of every collection. Raises ValueError for no such part."""

    number: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise ValueError(f"there is no part {self.number + 1} of {self.count}")

    def contains(self, serial: int) -> bool:
        """Return whether the subject of a serial number belongs to this part."""
        return serial % self.count == self.number


WHOLE = Part()


@dataclass(frozen=True)
class Receipt:
    """What was deleted and when; it holds no name. Media and photos of a whole collection are not counted: None."""

    id: str
    at: float
    subjects: int
    media: int | None
    photos: int | None


def photo_digest(photo: bytes) -> bytes:
    """Return a digest of a kept photo for its subject's row, so that no older photo takes its place unnoticed."""
    return hashlib.sha256(photo).digest()[:16]
