"""A whole collection looked through for conflicts, part by part, by a job that may take hours.

What a part keeps names nobody: subjects and media stand there as their keyed tags, which mean nothing without the
collection's key and are resolved when somebody asks. So whoever is deleted meanwhile is not in the answer, and with the
collection its key is gone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

from msgspec import Struct, field

from service.gallery import Subject
from service.gallery.conflicts import find_conflicts
from service.gallery.encrypted import EncryptedStore
from service.gallery.encrypted_collections import OpenCollection, Outdated
from service.gallery.errors import CollectionNotFound, SubjectDamaged
from service.gallery.gallery import Gallery
from service.gallery.outliers import find_outliers
from service.gallery.scoring import Scoring
from service.gallery.searchers import ScatteredSearch

PART = 100
"""About how many subjects one part of a review looks at."""
MOST_PARTS = 1000
"""Parts of one collection; beyond, they have more subjects."""
_STEP = 100
_PLACES = 1 << 32
"""Tags are keyed hashes: by their first four bytes they lie evenly spread."""


class ReviewPart(Struct, frozen=True):
    """The subjects of a collection whose tags lie behind `after` and up to `last`, with it; no `last`: to the end."""

    collection: str
    after: bytes
    last: bytes


class TaggedPair(Struct, frozen=True, array_like=True):
    """Two subjects who match each other, by their tags."""

    first: bytes
    second: bytes
    similarity: float
    threshold: float


class TaggedOutlier(Struct, frozen=True, array_like=True):
    """A medium that does not fit its subject, by both tags."""

    subject: bytes
    medium: bytes
    similarity: float


class PartReview(Struct, frozen=True):
    """The conflicts and outliers in a part of the collection with this id, whose templates are of this model."""

    name: str
    collection: bytes
    model: str
    checked: int = 0
    pairs: list[TaggedPair] = field(default_factory=list)
    outliers: list[TaggedOutlier] = field(default_factory=list)


class ResolvedReview(Struct, frozen=True):
    """A PartReview by the names of subjects and media, without those that were deleted since."""

    pairs: list[tuple[str, str, TaggedPair]]
    outliers: list[tuple[str, str, TaggedOutlier]]


class ReviewStopped(Exception):
    """The job was stopped in the middle of a part."""


def parts_of(collection: str, subjects: int) -> list[ReviewPart]:
    """Return the parts of a collection of so many subjects, at least one."""
    count = max(1, min(MOST_PARTS, -(-subjects // PART)))
    bounds = [(number * _PLACES // count).to_bytes(5, "big")[1:] for number in range(1, count)]
    return [ReviewPart(collection, after, last) for after, last in zip([b"", *bounds], [*bounds, b""], strict=True)]


def review_part(
    gallery: Gallery,
    search_backend: Gallery | ScatteredSearch,
    part: ReviewPart,
    scoring: Scoring,
    fpir: float,
    stop: threading.Event,
) -> PartReview:
    """Look through one part; blocks. Raises ReviewStopped, CollectionNotFound, and what a search raises."""
    calibration = scoring.calibrated()
    opened = gallery.encrypted.require(part.collection)
    tag = opened.cipher.tag
    review = PartReview(part.collection, opened.id, scoring.model)
    checked = 0
    for subject in _subjects(gallery.encrypted, opened, part):
        if stop.is_set():
            raise ReviewStopped
        checked += 1
        subject_tag = tag(subject.id)
        conflicts = find_conflicts(
            lambda vector, count: search_backend.search(part.collection, scoring.model, vector, count),
            subject,
            scoring,
            fpir,
        )
        review.pairs.extend(
            TaggedPair(subject_tag, tag(each.other), each.similarity, each.threshold) for each in conflicts
        )
        review.outliers.extend(
            TaggedOutlier(subject_tag, tag(each.medium), each.similarity)
            for each in find_outliers(subject, calibration)
        )
    return PartReview(review.name, review.collection, review.model, checked, review.pairs, review.outliers)


def resolve(gallery: Gallery, review: PartReview) -> ResolvedReview:
    """Return a review by names instead of tags; blocks. Raises CollectionNotFound if the collection was replaced."""
    opened = gallery.encrypted.require(review.name)
    if opened.id != review.collection:
        raise CollectionNotFound("the collection was deleted, or got a new key or model, since it was looked through")
    subjects_by_tag: dict[bytes, Subject | None] = {}

    def subject(tag: bytes) -> Subject | None:
        if tag not in subjects_by_tag:
            subjects_by_tag[tag] = None
            with suppress(SubjectDamaged, Outdated):
                stored = gallery.encrypted.read_tag(opened, tag)
                subjects_by_tag[tag] = stored.subject if stored is not None else None
        return subjects_by_tag[tag]

    pairs = [
        (first.id, second.id, pair)
        for pair in review.pairs
        if (first := subject(pair.first)) is not None and (second := subject(pair.second)) is not None
    ]
    outliers = [
        (owner.id, medium.id, outlier)
        for outlier in review.outliers
        if (owner := subject(outlier.subject)) is not None
        for medium in owner.media
        if opened.cipher.tag(medium.id) == outlier.medium
    ]
    return ResolvedReview(pairs, outliers)


def _subjects(encrypted: EncryptedStore, opened: OpenCollection, part: ReviewPart) -> Iterator[Subject]:
    """Yield the subjects of a part that can be read. Raises CollectionNotFound when another took its place."""
    after = part.after
    while rows := encrypted.store.rows(opened.id, after, _STEP):
        for row in rows:
            if part.last and row.tag > part.last:
                return
            try:
                stored = encrypted.read_row(opened, row)
            except SubjectDamaged:
                continue
            except Outdated as error:
                raise CollectionNotFound("the collection got a new key or model meanwhile") from error
            if stored is not None:
                yield stored.subject
        after = rows[-1].tag
