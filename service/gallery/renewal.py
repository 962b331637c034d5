"""A collection under a new model: everybody enrolled again from the photos that were kept, then one switch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from service.errors import ServiceError
from service.gallery import Busy, CollectionNotFound, InvalidSubject, Medium, Subject, Vector
from service.gallery.gallery import Gallery
from service.gallery.records import pooled
from service.gallery.sealed import Handle, SealedStore
from service.gallery.upkeep import ROUNDS, copy_changes

_NUMBERED = re.compile(r"[0-9a-f]{32}-(\d{1,2})")


@dataclass(frozen=True)
class Kept:
    """A kept photo and which of its faces was enrolled, 0 the largest."""

    photo: bytes = field(repr=False)
    face: int


@dataclass(frozen=True)
class Renewal:
    """What became of it; `missing` are the subjects whose photos are not all there. Not done: nothing was switched."""

    done: bool
    moved: int
    missing: list[str] = field(repr=False)


Describe = Callable[[list[Kept]], Sequence[Vector | ServiceError]]


def renew(
    gallery: Gallery, collection: str, model: str, dimension: int, describe: Describe, drop: bool = False
) -> Renewal:
    """Copies a collection while it is in use, each medium described anew by `model`, and puts the copy in its place.

    With `drop` those who must come again stay as subjects with the media that could be moved, maybe none. Raises
    CollectionNotFound, Busy when it is changed faster than it can be copied, and what `describe` raises; nothing is
    switched then.
    """
    sealed = gallery.sealed
    first = sealed.find(collection)
    if first is None:
        raise CollectionNotFound
    if first.head.model == model:
        return Renewal(True, 0, [])
    head = replace(first.head, model=model, dimension=dimension, staged=sealed.clock())
    staged = sealed.create(head, staged=True)
    assert staged is not None
    moving = _Moving(sealed, describe)
    try:
        for _ in range(ROUNDS):
            old = sealed.find(collection)
            if old is None or old.id != first.id:
                raise CollectionNotFound
            moving.since = copy_changes(sealed, old, staged, moving.since, moving.names, moving.copy)
            missing = sorted(moving.missing & set(moving.names.values()))
            if missing and not drop:
                sealed.discard(staged)
                return Renewal(False, 0, missing)
            if sealed.publish(staged, replacing=old):
                return Renewal(True, len(moving.names) - len(missing), missing)
        raise Busy
    except BaseException:
        sealed.discard(staged)
        raise


@dataclass(eq=False)
class _Moving:
    sealed: SealedStore
    describe: Describe
    since: int = 0
    names: dict[int, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    def copy(self, subject: Subject, photos: dict[str, bytes], staged: Handle) -> Subject:
        """The subject under the new model."""
        kept = [m for m in subject.media if m.id in photos]
        found = self.describe([Kept(photos[m.id], _face(m.id)) for m in kept]) if kept else []
        media = list(_moved(kept, found))
        self.missing.discard(subject.id)
        if len(media) < len(subject.media):
            self.missing.add(subject.id)
        moved = replace(subject, media=tuple(media), template=None, model=staged.head.model)
        try:
            return pooled(moved, staged.head.policy)
        except InvalidSubject:
            self.missing.add(subject.id)
            return replace(moved, media=())


def _moved(media: Iterable[Medium], found: Sequence[Vector | ServiceError]) -> Iterable[Medium]:
    """Those whose photo could be described."""
    for medium, vector in zip(media, found, strict=True):
        if isinstance(vector, ServiceError):
            if vector.status >= 500:
                raise vector
        else:
            yield replace(medium, vectors=np.asarray(vector, np.float32)[None])


def _face(medium: str) -> int:
    found = _NUMBERED.fullmatch(medium)
    return int(found[1]) if found else 0
