"""What a store does: it keeps encrypted bytes under keyed tags, in transactions. It never sees a name or a vector.

Every change of a collection's subjects names the collection's version that the writer read, and brings a new encrypted
ledger (see service.gallery.ledger); it happens only while the collection still has that version.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

JUMP_SECONDS = 24 * 3600.0
"""A clock that is set by a day or more is wrong; a day ahead it would delete everybody who has a day left."""


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A collection as stored. `tag` is None while it is staged: it is being filled and cannot be found yet."""

    id: bytes
    tag: bytes | None
    key: bytes
    meta: bytes
    version: int
    ledger: bytes


@dataclass(frozen=True, slots=True)
class SubjectRow:
    """A subject as stored; `version` is the collection's at its last change. The template is empty without media."""

    tag: bytes
    serial: int
    version: int
    template: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class LedgerUpdate:
    """What a change writes of the ledger: its index, and the one page that lists the subject."""

    index: bytes
    number: int
    page: bytes


@dataclass(frozen=True, slots=True)
class SubjectWrite:
    """A subject to be written whole, with photos by their media's tags to be added and deleted."""

    tag: bytes
    template: bytes
    body: bytes
    photos: Mapping[bytes, bytes] = field(default_factory=dict)
    delete_photos: Collection[bytes] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened in a collection up to `version` at least: subjects written, serials removed.

    A subject that is written meanwhile may come twice: the later row counts. The rows' bodies are left empty. With
    `complete` the rows are all there is.
    """

    version: int
    complete: bool
    rows: Iterator[SubjectRow]
    removed: list[int]


@dataclass(frozen=True, slots=True)
class RecordChange:
    """A small value that a change of the collections writes with it, if it is still `old`."""

    name: str
    old: bytes
    new: bytes


class Store(Protocol):
    """Encrypted bytes, for any thread. Every method is one transaction. Raises StorageFull, StorageUnavailable."""

    def now(self) -> float:
        """Return the seconds since 1970 by the store's own clock."""

    def record(self, name: str) -> bytes | None:
        """Return a small value by its name, None when there is none."""

    def records(self, prefix: str) -> dict[str, bytes]:
        """Return all small values whose names start with a prefix."""

    def put_record(self, name: str, value: bytes) -> None:
        """Set a small value, whether or not there was one."""

    def replace_record(self, name: str, old: bytes | None, new: bytes) -> bool:
        """Set a small value if it is still `old` (None: there is none); return whether it was."""

    def delete_record(self, name: str) -> bool:
        """Delete a small value; return False when there was none."""

    def create(self, row: CollectionRow, catalog: RecordChange | None = None) -> bool:
        """Add a new collection and change the catalog.

        Returns False, and nothing happens, when the tag is taken or the catalog was changed.
        """

    def collection(self, tag: bytes) -> CollectionRow | None:
        """Return the published collection of a tag, None when there is none."""

    def collections(self, after: bytes, limit: int) -> list[CollectionRow]:
        """Return published collections in the order of their tags, those behind `after`."""

    def all_collections(self) -> list[CollectionRow]:
        """Return all collections, those that are still staged included."""

    def publish(
        self, collection: bytes, tag: bytes, catalog: RecordChange, replacing: CollectionRow | None = None
    ) -> bool:
        """Give a staged collection its tag, delete the one that it replaces and change the catalog in the same step.

        Returns False, and nothing happens, when the tag is another's, or `replacing` or the catalog changed since they
        were read.
        """

    def set_key(self, collection: bytes, old: bytes, new: bytes) -> bool:
        """Replace a wrapped key; return False when it is no longer `old`."""

    def delete_collection(self, collection: bytes, catalog: RecordChange | None = None) -> bool:
        """Delete a collection, its key first, and change the catalog; staged collections are not in it.

        Returns False, and nothing happens, when there is no such collection or the catalog was changed.
        """

    def count(self, collection: bytes) -> int:
        """Return the number of subjects in a collection, expired ones included."""

    def ledger_page(self, collection: bytes, number: int) -> bytes | None:
        """Return a page of a collection's ledger, None when nothing was written to it yet."""

    def row(self, collection: bytes, tag: bytes) -> SubjectRow | None:
        """Return the subject of a tag, None when there is none."""

    def rows(self, collection: bytes, after: bytes, limit: int) -> list[SubjectRow]:
        """Return subjects in the order of their tags, those behind `after`."""

    def rows_by_serial(self, collection: bytes, serials: Collection[int]) -> list[SubjectRow]:
        """Return the subjects of these serials, without those that no longer exist."""

    def put(self, collection: bytes, version: int, subject: SubjectWrite, ledger: LedgerUpdate) -> bool:
        """Write a subject; the collection's version, then one higher, becomes the subject's.

        Returns False, and nothing happens, when the collection no longer has that version.
        """

    def delete(self, collection: bytes, version: int, tag: bytes, ledger: LedgerUpdate) -> bool:
        """Delete a subject, if there is one, with its photos; the collection's version rises by one.

        Returns False, and nothing happens, when the collection no longer has that version.
        """

    def photo(self, collection: bytes, serial: int, medium: bytes) -> bytes | None:
        """Return a kept photo by its subject's serial and its medium's tag, None when there is none."""

    def changes(self, collection: bytes, since: int) -> Changes:
        """Return what changed in a collection after the version `since`; 0 asks for everything."""

    def scrub(self) -> None:
        """Remove the bytes of what was deleted from the store's files."""

    def close(self) -> None:
        """Close the store's files and connections, when it is no longer used."""
