"""A collection under a new model: everybody enrolled again from the photos that were kept, then one switch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from service.errors import ServiceError
from service.gallery import Medium, Subject, Vector
from service.gallery.checks import with_template
from service.gallery.encrypted import EncryptedStore, StoredSubject
from service.gallery.errors import Busy, CollectionNotFound, InvalidSubject
from service.gallery.gallery import Gallery
from service.gallery.records import CollectionMeta
from service.gallery.staged import StagedCollection
from service.gallery.upkeep import ROUNDS, Copier

_FACE_NUMBER = re.compile(r"[0-9a-f]{32}-(\d{1,2})")


@dataclass(frozen=True)
class KeptPhoto:
    """A kept photo and which of its faces was enrolled, 0 the largest."""

    photo: bytes = field(repr=False)
    face: int


@dataclass(frozen=True)
class Renewal:
    """What became of a re-enrolment; `missing` are the subjects of whom not every photo was kept.

    When it is not done, nothing was switched.
    """

    done: bool
    moved: int
    missing: list[str] = field(repr=False)


Describe = Callable[[list[KeptPhoto]], Sequence[Vector | ServiceError]]
"""Makes the vectors [D] of photos under the new model."""


def renew(
    gallery: Gallery, collection: str, model: str, dimension: int, describe: Describe, drop: bool = False
) -> Renewal:
    """Copy a collection while it is in use, each medium described again by `model`, and put the copy in its place.

    With `drop` those who must come again stay as subjects with the media that could be moved, maybe none. Raises
    CollectionNotFound, Busy when it is changed faster than it can be copied, and what `describe` raises; nothing is
    switched then.
    """
    encrypted = gallery.encrypted
    original = encrypted.require(collection)
    if original.meta.model == model:
        return Renewal(True, 0, [])
    with StagedCollection(encrypted, replace(original.meta, model=model, dimension=dimension)) as staged:
        enrolment = _Enrolment(encrypted, staged.collection.meta, describe)
        copier = Copier(encrypted, staged, enrolment.convert)
        for _ in range(ROUNDS):
            current = encrypted.require(collection)
            if current.id != original.id:
                raise CollectionNotFound
            copier.catch_up(current)
            missing = sorted((enrolment.missing & set(copier.names.values())) | copier.damaged)
            if missing and not drop:
                return Renewal(False, 0, missing)
            if staged.publish(replacing=current):
                return Renewal(True, len(copier.names) - len(missing), missing)
    raise Busy


@dataclass(eq=False)
class _Enrolment:
    """Enrols subjects again under a new model; `missing` are those of whom a photo is missing."""

    encrypted: EncryptedStore
    meta: CollectionMeta
    describe: Describe
    missing: set[str] = field(default_factory=set)

    def convert(self, stored: StoredSubject) -> Subject:
        """Return the subject with templates of the new model, and note whether photos of it are missing."""
        subject = stored.subject
        photos = dict(self.encrypted.photos(stored))
        media = [medium for medium in subject.media if medium.id in photos]
        vectors = self.describe([KeptPhoto(photos[m.id], _face_number(m.id)) for m in media]) if media else []
        described_media = tuple(_described(media, vectors))
        self.missing.discard(subject.id)
        if len(described_media) < len(subject.media):
            self.missing.add(subject.id)
        renewed = replace(subject, media=described_media, template=None, model=self.meta.model)
        try:
            return with_template(renewed, self.meta.policy)
        except InvalidSubject:
            self.missing.add(subject.id)
            return replace(renewed, media=())


def _described(media: Sequence[Medium], vectors: Sequence[Vector | ServiceError]) -> Iterator[Medium]:
    """Yield the media whose photo could be described, with the new vectors. Raises an error of the service itself."""
    for medium, vector in zip(media, vectors, strict=True):
        if not isinstance(vector, ServiceError):
            yield replace(medium, vectors=np.asarray(vector, np.float32)[None])
        elif vector.status >= 500:
            raise vector


def _face_number(medium: str) -> int:
    match = _FACE_NUMBER.fullmatch(medium)
    return int(match[1]) if match else 0
