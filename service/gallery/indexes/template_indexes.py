"""The templates of every collection that was searched, in this process's memory, kept up to date with the store."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

from service.crypto.vault import VaultLocked
from service.gallery import WHOLE, Part, Vector
from service.gallery.encrypted import EncryptedStore
from service.gallery.encrypted_collections import OpenCollection
from service.gallery.indexes.exact import SHARD, Index
from service.gallery.stores.store import SubjectRow

MAX_COLLECTIONS = 1000
"""How many collections' templates are kept in memory; the one not searched for longest makes room."""
MOST_SCORES = 4_000_000
"""Similarities that one matrix product makes at most: they take 12 bytes each while the best are chosen."""
log = logging.getLogger(__name__)


@dataclass(eq=False)
class _CollectionIndex:
    """The index of one collection, and the version that it has caught up with."""

    index: Index
    version: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class TemplateIndexes:
    """Exact search among the subjects of one part, from any thread; templates lie in their collection's rotation."""

    def __init__(self, encrypted: EncryptedStore, part: Part = WHOLE) -> None:
        self._encrypted = encrypted
        self._part = part
        self._collections: OrderedDict[bytes, _CollectionIndex] = OrderedDict()
        self._lock = threading.Lock()

    def catch_up(self, collection: OpenCollection) -> int:
        """Bring the index of a collection up to its version; return the number of its templates."""
        return len(self._index(collection))

    def nearest(self, collection: OpenCollection, probes: Vector, count: int) -> list[list[int]]:
        """Return for each of the probes [P, D] of unit length the serials of the subjects nearest to it, best first."""
        index = self._index(collection)
        at_once = max(1, MOST_SCORES // max(1, len(index)))
        rotated = collection.rotation.apply(probes)
        groups = [index.search(rotated[start : start + at_once], count)[0] for start in range(0, len(rotated), at_once)]
        return [[int(serial) for serial in row] for group in groups for row in group]

    def delete(self, collections: Collection[bytes]) -> None:
        """Delete the templates of the collections with these ids from memory."""
        with self._lock:
            for identity in collections:
                self._collections.pop(identity, None)

    def collections(self) -> set[bytes]:
        """Return the ids of the collections whose templates are in memory."""
        with self._lock:
            return set(self._collections)

    def _index(self, collection: OpenCollection) -> Index:
        """Return the collection's index, caught up with its version at least."""
        with self._lock:
            entry = self._collections.setdefault(collection.id, _CollectionIndex(Index(collection.meta.dimension)))
            self._collections.move_to_end(collection.id)
            while len(self._collections) > MAX_COLLECTIONS:
                self._collections.popitem(last=False)
        if entry.version > collection.row.version and self._was_restored(collection, entry.version):
            self.delete({collection.id})
            return self._index(collection)
        if entry.version < collection.row.version:
            with entry.lock:
                if entry.version < collection.row.version:
                    self._read_changes(collection, entry)
        return entry.index

    def _was_restored(self, collection: OpenCollection, version: int) -> bool:
        """Return whether the stored version is older than this one: then somebody restored a backup."""
        newest = self._encrypted.find(collection.meta.name)
        return newest is not None and newest.id == collection.id and newest.row.version < version

    def _read_changes(self, collection: OpenCollection, entry: _CollectionIndex) -> None:
        changes = self._encrypted.store.changes(collection.id, entry.version)
        index = Index(collection.meta.dimension) if changes.complete else entry.index
        vectors: dict[int, Vector] = {}
        removed = list(changes.removed)
        for row in changes.rows:
            if not self._part.contains(row.serial):
                continue
            vector = self._template(collection, row)
            if vector is None:
                vectors.pop(row.serial, None)
                removed.append(row.serial)
            else:
                vectors[row.serial] = vector
            if len(vectors) == SHARD:  # in float32 they take several times the room
                index = index.replaced(vectors.items(), removed)
                vectors = {}
                removed = []
        entry.index = index.replaced(vectors.items(), removed)
        entry.version = max(entry.version, changes.version)

    def _template(self, collection: OpenCollection, row: SubjectRow) -> Vector | None:
        try:
            return self._encrypted.stored_template(collection, row)
        except VaultLocked:
            log.error("a damaged subject was left out of the index", extra={"tag": row.tag.hex()})
            return None
