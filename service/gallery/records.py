"""What is inside the encrypted bytes of a collection and of a subject, as msgpack."""

from __future__ import annotations

import json
from dataclasses import dataclass

import msgspec
import numpy as np

from service.gallery import Medium, Place, Policy, Subject, Vector
from service.gallery.errors import SubjectDamaged


@dataclass(frozen=True)
class CollectionMeta:
    """The description of a collection; `staged` is when this copy of it was begun, in seconds since 1970."""

    name: str
    model: str
    dimension: int
    created: float
    policy: Policy
    staged: float

    def packed(self) -> bytes:
        """Return the description as bytes, which are encrypted to be stored."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def unpacked(cls, data: bytes) -> CollectionMeta:
        """Return the description that packed() made these bytes of. Raises ValueError for other bytes."""
        return msgspec.msgpack.decode(data, type=cls)


class _Medium(msgspec.Struct, array_like=True, frozen=True):
    """A medium as packed; files of version 1 say of a photo only whether there is one."""

    id: str
    vectors: bytes
    quality: bytes
    added: float
    used: bool
    photo: bytes | bool | None
    place: Place | None = None


class _Subject(msgspec.Struct, array_like=True, frozen=True):
    """A subject as packed: all but what stands beside it, which is expiry, model and template."""

    id: str
    metadata: str
    created: float
    updated: float
    ttl: float | None
    media: list[_Medium]


def pack_subject(subject: Subject) -> bytes:
    """Return everything of a subject but expiry, model and template as bytes."""
    media = [
        _Medium(m.id, _floats(m.vectors), _floats(m.quality), m.added, m.used, m.photo_digest, m.place)
        for m in subject.media
    ]
    metadata = json.dumps(dict(subject.metadata), allow_nan=False)
    return msgspec.msgpack.encode(_Subject(subject.id, metadata, subject.created, subject.updated, subject.ttl, media))


def unpack_subject(data: bytes) -> Subject:
    """Return the subject that pack_subject() was given, without expiry, model and template. Raises SubjectDamaged."""
    try:
        packed = msgspec.msgpack.decode(data, type=_Subject)
        media = tuple(_unpack_medium(medium) for medium in packed.media)
        metadata = json.loads(packed.metadata)
    except (ValueError, RecursionError) as error:
        raise SubjectDamaged from error
    return Subject(packed.id, metadata, packed.created, packed.updated, None, packed.ttl, "", media, None)


def _unpack_medium(packed: _Medium) -> Medium:
    quality = np.frombuffer(packed.quality, np.float32)
    vectors = np.frombuffer(packed.vectors, np.float32).reshape(len(quality), -1)
    digest = b"" if packed.photo is True else packed.photo or None
    return Medium(packed.id, vectors, quality, packed.added, packed.used, digest, packed.place)


def _floats(values: Vector) -> bytes:
    return np.ascontiguousarray(values, np.float32).tobytes()
