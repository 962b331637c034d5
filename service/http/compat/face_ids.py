"""Which subject has the face of an id, kept in memory and caught up with the store, as templates are for searches.

Of each face 16 bytes are kept: the beginning of its id, and the number of the subject that had it. What stands there is
a hint, never an answer: whoever asks gets the subjects that may have the face as they are stored now, so that a face
which was deleted or moved is not found where it was.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.gallery import Subject
from service.gallery.encrypted import EncryptedStore, StoredSubject
from service.gallery.encrypted_collections import OpenCollection, Outdated
from service.gallery.errors import CollectionNotFound, SubjectDamaged
from service.gallery.gallery import Gallery
from service.http.compat.stored_faces import StoredFace, faces_of

MAX_COLLECTIONS = 100
"""Collections that are kept; the one not asked for longest makes room."""
ROW = np.dtype([("face", "<u8"), ("serial", "<u8")])
"""The first eight bytes of a face's id, and the serial number of its subject."""

Rows = NDArray[np.void]


@dataclass(eq=False)
class _FaceIndex:
    """The faces of a collection [N], sorted, and the version that they have caught up with."""

    rows: Rows = field(default_factory=lambda: np.empty(0, ROW))
    version: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class FaceIds:
    """Finds stored faces by their ids. Thread-safe; the first call about a collection reads all of it."""

    def __init__(self) -> None:
        self._collections: OrderedDict[bytes, _FaceIndex] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, gallery: Gallery, collection: str, ids: Collection[str]) -> dict[str, StoredFace]:
        """Return those of the faces that are there, by id; none where there is no such collection.

        Raises what reading the collection raises.
        """
        numbers = {text.lower(): number for text in ids if (number := _number(text)) is not None}
        while numbers:
            try:
                opened = gallery.encrypted.require(collection)
                serials = self._serials(gallery.encrypted, opened, list(numbers.values()))
                subjects = list(_subjects(gallery.encrypted, opened, serials))
            except CollectionNotFound:
                break
            except Outdated:  # another collection took this one's place
                continue
            return {face.id: face for subject in subjects for face in faces_of(subject) if face.id in numbers}
        return {}

    def _serials(self, encrypted: EncryptedStore, opened: OpenCollection, faces: list[int]) -> list[int]:
        """Return the serials of the subjects that may have one of the faces."""
        index = self._index(opened.id)
        with index.lock:
            if index.version > opened.row.version:  # somebody restored a backup
                index.rows = np.empty(0, ROW)
                index.version = 0
            if index.version < opened.row.version:
                _catch_up(encrypted, opened, index)
            rows = index.rows
        starts = np.searchsorted(rows["face"], np.array(faces, np.uint64), "left")
        ends = np.searchsorted(rows["face"], np.array(faces, np.uint64), "right")
        return sorted(
            {int(serial) for start, end in zip(starts, ends, strict=True) for serial in rows["serial"][start:end]}
        )

    def _index(self, collection: bytes) -> _FaceIndex:
        with self._lock:
            index = self._collections.setdefault(collection, _FaceIndex())
            self._collections.move_to_end(collection)
            while len(self._collections) > MAX_COLLECTIONS:
                self._collections.popitem(last=False)
            return index


def _catch_up(encrypted: EncryptedStore, opened: OpenCollection, index: _FaceIndex) -> None:
    """Take in what happened in a collection since it was read last."""
    changes = encrypted.store.changes(opened.id, index.version)
    if changes.complete:
        unchanged = index.rows[:0]
        new_rows = [
            row for stored in encrypted.subjects(opened) if not isinstance(stored, str) for row in _rows_of(stored)
        ]
    else:
        changed = {row.serial: row.tag for row in changes.rows}
        stale_serials = np.array([*changed, *changes.removed], np.uint64)
        unchanged = index.rows[~np.isin(index.rows["serial"], stale_serials)]
        new_rows = [row for tag in changed.values() for row in _rows_at(encrypted, opened, tag)]
    index.rows = np.sort(np.concatenate([unchanged, np.array(new_rows, ROW)]), order="face")
    index.version = max(index.version, changes.version)


def _rows_at(encrypted: EncryptedStore, opened: OpenCollection, tag: bytes) -> list[tuple[int, int]]:
    """Return the rows of the subject of a tag; none of one that is gone or damaged."""
    with suppress(SubjectDamaged):
        stored = encrypted.read_tag(opened, tag)
        return _rows_of(stored) if stored is not None else []
    return []


def _rows_of(stored: StoredSubject) -> list[tuple[int, int]]:
    numbers = (_number(face.id) for face in faces_of(stored.subject))
    return [(number, stored.row.serial) for number in numbers if number is not None]


def _subjects(encrypted: EncryptedStore, opened: OpenCollection, serials: list[int]) -> Iterator[Subject]:
    """Yield the subjects of these serials that are there and can be read."""
    for row in encrypted.store.rows_by_serial(opened.id, serials):
        with suppress(SubjectDamaged):
            stored = encrypted.read_row(opened, row)
            if stored is not None:
                yield stored.subject


def _number(identity: str) -> int | None:
    """Return the beginning of a face's id as a number, None for what is no UUID."""
    try:
        return uuid.UUID(identity).int >> 64
    except ValueError:
        return None
