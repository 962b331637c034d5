"""What is inside the sealed bytes, and the checks on what callers want stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import msgpack
import numpy as np

from model import templates
from service.gallery import (
    MAX_FRAMES,
    MAX_MEDIA,
    MAX_METADATA,
    MAX_NAME,
    InvalidName,
    InvalidSubject,
    Medium,
    ModelMismatch,
    NewMedium,
    Policy,
    Subject,
    TooMuchForOneSubject,
    Vector,
)


@dataclass(frozen=True)
class Head:
    """What a collection is."""

    name: str
    model: str
    dimension: int
    created: float
    policy: Policy
    staged: float  # when this copy of it was begun

    def packed(self) -> bytes:
        """As bytes."""
        return bytes(msgpack.packb(asdict(self)))

    @classmethod
    def unpacked(cls, data: bytes) -> Head:
        """The reverse."""
        fields = msgpack.unpackb(data)
        return cls(**{**fields, "policy": Policy(**fields["policy"])})


def packed_subject(subject: Subject) -> bytes:
    """All but what stands beside it in the row: expiry, model, template."""
    media = [[m.id, _floats(m.vectors), _floats(m.quality), m.added, m.used, m.photo] for m in subject.media]
    fields = [subject.id, json.dumps(subject.metadata), subject.created, subject.updated, subject.ttl, media]
    return bytes(msgpack.packb(fields))


def unpacked_subject(data: bytes) -> Subject:
    """The reverse."""
    identity, metadata, created, updated, ttl, packed = msgpack.unpackb(data)
    media = []
    for medium, vectors, quality, added, used, photo in packed:
        qualities = np.frombuffer(quality, np.float32)
        rows = np.frombuffer(vectors, np.float32).reshape(len(qualities), -1)
        media.append(Medium(medium, rows, qualities, added, used, photo))
    return Subject(identity, json.loads(metadata), created, updated, None, ttl, "", tuple(media), None)


def pooled(subject: Subject, policy: Policy) -> Subject:
    """With the template of its media. Raises InvalidSubject when they cancel out, TooMuchForOneSubject."""
    if len(subject.media) > MAX_MEDIA:
        raise TooMuchForOneSubject(f"a subject may have {MAX_MEDIA} media")
    if not subject.media:
        return replace(subject, template=None)
    media = [templates.Medium(m.vectors, m.quality) for m in subject.media]
    try:
        template = templates.pool(media, policy.mode, policy.reject_below)
    except ValueError as error:
        raise InvalidSubject(str(error)) from error
    used = tuple(replace(m, used=kept) for m, kept in zip(subject.media, template.used, strict=True))
    return replace(subject, media=used, template=template.vector)


def unit(vector: Vector, dimension: int) -> Vector:
    """A vector [D] at unit length. Raises InvalidSubject for another shape, a zero or an infinite one."""
    vector = np.asarray(vector, np.float32)
    length = float(np.linalg.norm(vector))
    if vector.shape != (dimension,) or not np.isfinite(length) or length == 0:
        raise InvalidSubject(f"a descriptor has {dimension} finite numbers, not all 0")
    return np.asarray(vector / length, np.float32)


def check_name(name: str) -> None:
    """Raises InvalidName."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidName from error
    odd = any(character == "/" or ord(character) < 32 or ord(character) == 127 for character in name)
    if not 0 < size <= MAX_NAME or odd or name in (".", ".."):
        raise InvalidName


def check_model(head: Head, model: str) -> None:
    """Raises ModelMismatch when a collection's templates are another model's."""
    if head.model != model:
        raise ModelMismatch(
            f"the collection's templates are of model {head.model[:12]}, this one is {model[:12]}: "
            "re-enrol the collection from its kept photos, enrol its people again in a new one, or serve its own model"
        )


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raises InvalidSubject for what is no JSON, TooMuchForOneSubject for too much of it."""
    try:
        size = len(json.dumps(metadata, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidSubject("metadata must be a JSON object") from error
    if size > MAX_METADATA:
        raise TooMuchForOneSubject(f"metadata may have {MAX_METADATA:,} bytes as JSON")


def check_medium(medium: NewMedium, dimension: int) -> None:
    """Raises InvalidName for its id, InvalidSubject for unfit vectors, TooMuchForOneSubject for too many frames."""
    check_name(medium.id)
    try:
        templates.Medium(medium.vectors, medium.quality)
    except ValueError as error:
        raise InvalidSubject(str(error)) from error
    if np.shape(medium.vectors)[1] != dimension:
        raise InvalidSubject(f"a descriptor of this collection has {dimension} numbers")
    if len(medium.vectors) > MAX_FRAMES:
        raise TooMuchForOneSubject(f"a medium may have {MAX_FRAMES} frames")


def cursor_bytes(cursor: str | None) -> bytes:
    """Raises InvalidSubject for a cursor that no listing gave."""
    try:
        return bytes.fromhex(cursor or "")
    except ValueError as error:
        raise InvalidSubject("the cursor is none that a listing gave") from error


def _floats(values: Vector) -> bytes:
    return np.ascontiguousarray(values, np.float32).tobytes()
