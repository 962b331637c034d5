"""What a store does: keeps sealed bytes under keyed tags, in transactions. It never sees a name, a key or a vector."""

from __future__ import annotations

from collections.abc import Collection as Several
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A collection as stored. `tag` is None while it is staged: filled but not to be found yet."""

    id: bytes
    tag: bytes | None
    key: bytes
    head: bytes
    version: int


@dataclass(frozen=True, slots=True)
class SubjectRow:
    """A subject as stored; `version` is the collection's at its last change."""

    tag: bytes
    serial: int
    version: int
    expires: float | None
    template: bytes  # empty without media
    body: bytes


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened in a collection up to `version` at least: subjects written, serials removed.

    A subject that is written meanwhile may come twice: the later row counts. `whole`: these are all there is.
    """

    version: int
    whole: bool
    rows: Iterator[SubjectRow]  # body left empty
    removed: list[int]


class Store(Protocol):
    """Sealed bytes, from any thread. Every method is one transaction. Raises StorageFull, StorageUnavailable."""

    def record(self, name: str) -> bytes | None:
        """A small value by name."""

    def records(self, prefix: str) -> dict[str, bytes]:
        """All small values whose names start so."""

    def put_record(self, name: str, value: bytes, only_new: bool = False) -> bool:
        """Set a small value; False when only a new one was wanted and there is one."""

    def delete_record(self, name: str) -> bool:
        """Forget a small value; False when there was none."""

    def create(self, row: CollectionRow) -> bool:
        """A new collection; False when the tag is taken."""

    def collection(self, tag: bytes) -> CollectionRow | None:
        """The published collection of a tag."""

    def collections(self, after: bytes, limit: int) -> list[CollectionRow]:
        """Published collections in the order of their tags, those behind `after`."""

    def all_collections(self) -> list[CollectionRow]:
        """All of them, staged ones too."""

    def publish(self, collection: bytes, tag: bytes, replacing: CollectionRow | None = None) -> bool:
        """Gives a staged collection its tag; deletes `replacing` in the same step.

        False, and nothing happens, when the tag is another's or `replacing` changed since that row was read.
        """

    def set_key(self, collection: bytes, old: bytes, new: bytes) -> bool:
        """Replaces a wrapped key; False when it is not `old` any more."""

    def delete_collection(self, collection: bytes) -> bool:
        """Forgets a collection, its key first; False when there was none."""

    def count(self, collection: bytes) -> int:
        """Subjects in it."""

    def row(self, collection: bytes, tag: bytes) -> SubjectRow | None:
        """One subject."""

    def rows(self, collection: bytes, after: bytes, limit: int) -> list[SubjectRow]:
        """Subjects in the order of their tags, those behind `after`."""

    def rows_by_serial(self, collection: bytes, serials: Several[int]) -> list[SubjectRow]:
        """Those of the subjects that still exist."""

    def put(
        self,
        collection: bytes,
        row: SubjectRow,
        photos: Mapping[bytes, bytes],
        drop_photos: Several[bytes] = (),
    ) -> int | None:
        """Writes a subject whole, with new photos and without dropped ones; its new version.

        `row.version` is the version that was read (0: it must not exist yet); None, and nothing happens, when the
        subject has another by now or the collection is gone. `row.serial` is the store's to give.
        """

    def delete(self, collection: bytes, tag: bytes, version: int | None = None) -> bool:
        """Forgets a subject and its photos; False when it does not exist or has not that version any more."""

    def photo(self, collection: bytes, serial: int, medium: bytes) -> bytes | None:
        """A kept photo by its medium's tag."""

    def changes(self, collection: bytes, since: int) -> Changes:
        """What happened after a version."""

    def expired(self, now: float, limit: int) -> list[tuple[bytes, SubjectRow]]:
        """Subjects whose time is over, with their collections."""

    def scrub(self) -> None:
        """Leaves no bytes of what was deleted in the store's files."""

    def close(self) -> None:
        """Let go of files and connections."""
