"""What may be stored: names, metadata, media and vectors, checked on every way in."""

from __future__ import annotations

import json
import math
import unicodedata
from dataclasses import replace

import numpy as np
from pydantic import JsonValue

from model.identity import templates
from service.gallery import (
    MAX_DEPTH,
    MAX_FRAMES,
    MAX_MEDIA,
    MAX_METADATA,
    MAX_NAME,
    Metadata,
    NewMedium,
    Place,
    Policy,
    Subject,
    Vector,
)
from service.gallery.errors import InvalidName, InvalidSubject, ModelMismatch, SubjectTooLarge
from service.gallery.records import CollectionMeta

LONGEST_VECTOR = 1e6
"""No descriptor is that long: squares of larger numbers soon do not fit float32."""


def clean_name(name: str) -> str:
    """Return a name in Unicode's normal form C: two ways to write one letter are one name. Raises InvalidName."""
    name = unicodedata.normalize("NFC", name)
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidName from error
    forbidden = any(character == "/" or ord(character) < 32 or ord(character) == 127 for character in name)
    if not 0 < size <= MAX_NAME or forbidden or name in (".", ".."):
        raise InvalidName
    return name


def check_metadata(metadata: Metadata) -> None:
    """Check that metadata are JSON of finite numbers within the limits. Raises InvalidSubject, SubjectTooLarge."""
    try:
        text = json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidSubject("metadata holds half a character (a lone surrogate)") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidSubject("metadata must be a JSON object of finite numbers") from error
    if len(text) > MAX_METADATA:
        raise SubjectTooLarge(f"metadata may have {MAX_METADATA:,} bytes as JSON")
    if _depth(dict(metadata)) > MAX_DEPTH:
        raise InvalidSubject(f"metadata may have {MAX_DEPTH} levels of lists and objects")


def _depth(value: JsonValue) -> int:
    """Return how many lists and objects are within each other; json.dumps() has bounded them already."""
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def check_ttl(ttl: float | None) -> None:
    """Check that a time to live is a positive number of seconds, or None. Raises InvalidSubject."""
    if ttl is not None and not 0 < ttl < math.inf:
        raise InvalidSubject("a time to live is a number of seconds above 0")


def check_model(meta: CollectionMeta, model: str) -> None:
    """Check that vectors are of the collection's model. Raises ModelMismatch."""
    if meta.model != model:
        raise ModelMismatch(
            f"the collection's templates are of model {meta.model[:12]}, this one is {model[:12]}: "
            "re-enrol the collection from its kept photos, enrol its people again in a new one, or serve its own model"
        )


def clean_medium(medium: NewMedium, dimension: int) -> NewMedium:
    """Return a medium with a clean id. Raises InvalidName, InvalidSubject for bad vectors, SubjectTooLarge."""
    if np.ndim(medium.vectors) != 2 or np.shape(medium.vectors)[1] != dimension:
        raise InvalidSubject(f"a descriptor of this collection has {dimension} numbers")
    if len(medium.vectors) > MAX_FRAMES:
        raise SubjectTooLarge(f"a medium may have {MAX_FRAMES} frames")
    check_vectors(medium.vectors)
    try:
        templates.Medium(medium.vectors, medium.quality)
    except ValueError as error:
        raise InvalidSubject(str(error)) from error
    return replace(medium, id=clean_name(medium.id))


def check_vectors(vectors: Vector) -> None:
    """Check that the numbers of vectors [..., D] are finite and below LONGEST_VECTOR. Raises InvalidSubject."""
    if not (np.abs(np.asarray(vectors, np.float64)) < LONGEST_VECTOR).all():  # NaN is not below it either
        raise InvalidSubject(f"the numbers of a descriptor are finite and below {LONGEST_VECTOR:,.0f}")


def check_place(place: Place | None) -> None:
    """Check that a place has finite numbers and a valid photo id. Raises InvalidSubject, InvalidName."""
    if place is None:
        return
    if not all(map(math.isfinite, (place.left, place.top, place.width, place.height))) or not 0 <= place.score <= 1:
        raise InvalidSubject("the place of a face is not of finite numbers")
    clean_name(place.photo)


def unit_vector(vector: Vector, dimension: int) -> Vector:
    """Return a vector [D] at unit length. Raises InvalidSubject for another shape, a zero or an infinite vector."""
    if np.shape(vector) != (dimension,):
        raise InvalidSubject(f"a descriptor has {dimension} numbers")
    check_vectors(vector)
    exact = np.asarray(vector, np.float64)
    length = float(np.linalg.norm(exact))
    if length < 1 / LONGEST_VECTOR:
        raise InvalidSubject("the numbers of a descriptor are not all 0")
    return np.asarray(exact / length, np.float32)


def with_template(subject: Subject, policy: Policy) -> Subject:
    """Return a subject with the template of its media. Raises InvalidSubject if they cancel out, SubjectTooLarge."""
    if len(subject.media) > MAX_MEDIA:
        raise SubjectTooLarge(f"a subject may have {MAX_MEDIA} media")
    if not subject.media:
        return replace(subject, template=None)
    try:
        media = [templates.Medium(m.vectors, m.quality) for m in subject.media]
        template = templates.pool(media, policy.mode, policy.reject_below)
    except ValueError as error:
        raise InvalidSubject(str(error)) from error
    used = tuple(replace(m, used=used) for m, used in zip(subject.media, template.used, strict=True))
    return replace(subject, media=used, template=template.vector)


def checked_subject(subject: Subject, dimension: int) -> Subject:
    """Return a subject that was read from a file with clean names, if it can be stored and answered with.

    Raises InvalidName, InvalidSubject, SubjectTooLarge.
    """
    check_metadata(subject.metadata)
    check_ttl(subject.ttl)
    if not all(map(math.isfinite, (subject.created, subject.updated, subject.expires or 0.0))):
        raise InvalidSubject("a time is not a finite number")
    media = []
    for medium in subject.media:
        clean = clean_medium(NewMedium(medium.id, medium.vectors, medium.quality), dimension)
        if not math.isfinite(medium.added):
            raise InvalidSubject("a time is not a finite number")
        check_place(medium.place)
        media.append(replace(medium, id=clean.id))
    return replace(subject, id=clean_name(subject.id), media=tuple(media))


def cursor_bytes(cursor: str | None) -> bytes:
    """Return where a listing goes on. Raises InvalidSubject for a cursor that no listing returned."""
    try:
        return bytes.fromhex(cursor or "")
    except ValueError as error:
        raise InvalidSubject("the cursor is not one that a listing returned") from error
