"""From the index's candidates to matches: as they stand in the store now, scored in full precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.gallery import Match, Subject, Vector
from service.gallery.indices import Nearest
from service.gallery.sealed import Handle, SealedStore

SPARE = 8
"""Candidates beyond those asked for, which the index's rounding may have put behind."""


def match(subject: Subject, template: Vector, probe: Vector) -> Match:
    """A subject with its template [D] against a probe [D], both of unit length."""
    similarity, media = float(np.clip(probe @ template, -1, 1)), sum(medium.used for medium in subject.media)
    return Match(subject.id, similarity, media, subject.metadata)


def best(sealed: SealedStore, nearest: Nearest, handle: Handle, probe: Vector, count: int) -> list[Match]:
    """The `count` subjects of a collection most similar to a probe [D] of unit length, best first."""
    size, reach = nearest.caught_up(handle), count + SPARE
    while True:
        found = _matches(sealed, handle, nearest.serials(handle, probe, reach), probe)
        if len(found) >= count or reach >= size:
            return found[:count]
        reach *= 4  # many of the best are gone by now


def _matches(sealed: SealedStore, handle: Handle, serials: Sequence[int], probe: Vector) -> list[Match]:
    found = []
    for row in sealed.store.rows_by_serial(handle.id, serials):
        subject = None if sealed.over(row) else sealed.read(handle, row)
        if subject is not None and subject.template is not None:
            found.append(match(subject, subject.template, probe))
    return sorted(found, key=lambda one: (-one.similarity, one.subject))
