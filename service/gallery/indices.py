"""Who is near a probe: the index of each collection in memory, exact, or whatever else keeps to `Nearest`."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection as Several
from dataclasses import dataclass, field
from typing import Protocol

from service.gallery import WHOLE, Part, Vector
from service.gallery.sealed import Handle, SealedStore
from service.gallery.search import SHARD, Index

INDICES = 1000
"""Collections whose templates are kept in memory."""


class Nearest(Protocol):
    """A copy of collections' templates that is searched; the store stays the truth. From any thread."""

    def caught_up(self, handle: Handle) -> int:
        """Knows all that happened in a collection up to the version of `handle`; the number of its templates."""

    def serials(self, handle: Handle, probe: Vector, count: int) -> list[int]:
        """The subjects nearest to a probe [D] of unit length, once caught up."""

    def erase(self, handle: Handle) -> None:
        """Something was deleted there: nothing of it may be left outside this process. Raises nothing."""

    def forget(self, collections: Several[bytes]) -> None:
        """These are gone."""

    def held(self) -> set[bytes]:
        """Collections of which there is a copy."""

    def close(self) -> None:
        """Let go of connections."""


@dataclass(eq=False)
class _Searchable:
    """The index of one collection and the version it has caught up with."""

    index: Index
    version: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Indices:
    """Nearest in this process's memory: exact, of the subjects of one part."""

    def __init__(self, sealed: SealedStore, part: Part = WHOLE) -> None:
        self._sealed, self._part = sealed, part
        self._found: OrderedDict[bytes, _Searchable] = OrderedDict()
        self._lock = threading.Lock()

    def caught_up(self, handle: Handle) -> int:
        """See Nearest."""
        return len(self._index(handle))

    def serials(self, handle: Handle, probe: Vector, count: int) -> list[int]:
        """See Nearest."""
        serials, _ = self._index(handle).search(probe, count)
        return [int(serial) for serial in serials[0]]

    def erase(self, handle: Handle) -> None:
        """See Nearest. The next search or upkeep lets go of it."""

    def forget(self, collections: Several[bytes]) -> None:
        """See Nearest."""
        with self._lock:
            for identity in set(collections) & set(self._found):
                del self._found[identity]

    def held(self) -> set[bytes]:
        """See Nearest."""
        with self._lock:
            return set(self._found)

    def close(self) -> None:
        """See Nearest."""

    def _index(self, handle: Handle) -> Index:
        """The collection's templates, caught up with the version of `handle` at least."""
        with self._lock:
            found = self._found.setdefault(handle.id, _Searchable(Index(handle.head.dimension)))
            self._found.move_to_end(handle.id)
            while len(self._found) > INDICES:
                self._found.popitem(last=False)
        if found.version < handle.row.version:
            with found.lock:
                if found.version < handle.row.version:
                    self._catch_up(handle, found)
        return found.index

    def _catch_up(self, handle: Handle, found: _Searchable) -> None:
        changes = self._sealed.store.changes(handle.id, found.version)
        index = Index(handle.head.dimension) if changes.whole else found.index
        vectors: dict[int, Vector] = {}
        removed = list(changes.removed)
        for row in changes.rows:
            if not self._part.holds(row.serial):
                continue
            vector = self._sealed.template(handle, row)
            if vector is None:
                vectors.pop(row.serial, None)
                removed.append(row.serial)
            else:
                vectors[row.serial] = vector
            if len(vectors) == SHARD:  # in float32 they take several times the room
                index = index.replaced(vectors.items(), removed)
                vectors, removed = {}, []
        found.index = index.replaced(vectors.items(), removed)
        found.version = max(found.version, changes.version)
