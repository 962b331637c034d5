"""From the index's candidates to matches: the subjects as the store holds them now, scored in full precision."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from service.gallery import Match, Medium, SearchResult, Subject, Vector
from service.gallery.encrypted import EncryptedStore
from service.gallery.encrypted_collections import OpenCollection
from service.gallery.errors import SubjectDamaged
from service.gallery.indexes.template_indexes import TemplateIndexes

SPARE = 8
"""Further candidates of the index that are scored exactly: its rounding may have misplaced them."""
SAME_PHOTO = 0.995
"""Media that are more similar than that are copies of one photo: together they say no more than one of them."""
log = logging.getLogger(__name__)


def match(subject: Subject, template: Vector, probe: Vector) -> Match:
    """Compare a subject's template [D] with a probe [D], both of unit length."""
    similarity = float(np.clip(probe @ template, -1, 1))
    return Match(subject.id, similarity, distinct_media(subject.media), subject.metadata)


def distinct_media(media: Sequence[Medium]) -> int:
    """Return how many media are pooled in a template, copies of one photo counted once.

    The threshold rises with the number of media, and copies must not raise it.
    """
    vectors = [medium.vectors.mean(0) for medium in media if medium.used]
    if not vectors:
        return 0
    means = np.stack(vectors)
    means = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    copies = np.tril(means @ means.T > SAME_PHOTO, -1)
    return int((~copies.any(axis=1)).sum())


def best_matches(
    encrypted: EncryptedStore, indexes: TemplateIndexes, collection: OpenCollection, probes: Vector, count: int
) -> list[SearchResult]:
    """Return for each of the probes [P, D] of unit length the `count` subjects most similar to it, best first.

    All probes are compared with the templates in one matrix product. Raises Outdated when another collection took this
    one's place meanwhile.
    """
    size = indexes.catch_up(collection)
    reach = count + SPARE
    results: dict[int, SearchResult] = {}
    while len(results) < len(probes):
        unanswered = [number for number in range(len(probes)) if number not in results]
        for number, serials in zip(unanswered, indexes.nearest(collection, probes[unanswered], reach), strict=True):
            matches = _matches(encrypted, collection, serials, probes[number])
            if len(matches) >= count or reach >= size:
                results[number] = SearchResult(matches[:count], size)
        reach *= 4  # for those of whose best many are gone by now
    return [results[number] for number in range(len(probes))]


def _matches(
    encrypted: EncryptedStore, collection: OpenCollection, serials: Sequence[int], probe: Vector
) -> list[Match]:
    matches = []
    for row in encrypted.store.rows_by_serial(collection.id, serials):
        try:
            stored = encrypted.read_row(collection, row)
        except SubjectDamaged:
            log.error("a damaged subject was left out of a search", extra={"tag": row.tag.hex()})
            continue
        if stored is not None and stored.subject.template is not None:
            matches.append(match(stored.subject, stored.subject.template, probe))
    return sorted(matches, key=lambda match: (-match.similarity, match.subject))
