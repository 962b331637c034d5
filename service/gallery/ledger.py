"""The ledger of a collection: the version and expiry of every subject, encrypted with the collection's key.

Whoever writes to the store without the master key could put an old row of one person back. The row still decrypts, but
the ledger names a newer version of it, or none. So that a change need not write the whole ledger, it is cut into PAGES
pages by the subjects' tags, and its index, bound to the collection's own version, holds the stamp of each page: a
random number that is new with each writing. Putting back an old row, page and index together needs everything else of
the collection put back too: the rollback of a whole collection is not noticed, that of one person is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

PAGES = 256
"""Pages of a ledger: at 100,000 subjects a page lists 390 of them in 12 kB."""
NEVER = float("inf")
_INDEX_ENTRY = struct.Struct(">Qd")  # stamp of the page, earliest expiry on it
_PAGE_ENTRY = struct.Struct(">16sQd")  # tag, version, expiry


@dataclass(frozen=True, slots=True)
class Entry:
    """The current version of a subject, and the seconds since 1970 at which it expires, NEVER if it does not."""

    version: int
    expires: float = NEVER


@dataclass(frozen=True)
class LedgerPage:
    """The entries of a page by the subjects' tags, kept packed: 32 bytes a subject."""

    packed: bytes = b""

    def get(self, tag: bytes) -> Entry | None:
        """Return a subject's entry, None when the page lists no such subject."""
        start = self._find(tag)
        return None if start is None else Entry(*_PAGE_ENTRY.unpack_from(self.packed, start)[1:])

    def with_entry(self, tag: bytes, entry: Entry | None) -> LedgerPage:
        """Return the page with another entry for a subject, without one for None."""
        start = self._find(tag)
        packed_entry = b"" if entry is None else _PAGE_ENTRY.pack(tag, entry.version, entry.expires)
        if start is None:
            return LedgerPage(self.packed + packed_entry)
        return LedgerPage(self.packed[:start] + packed_entry + self.packed[start + _PAGE_ENTRY.size :])

    def entries(self) -> Iterator[tuple[bytes, Entry]]:
        """Yield the tag of each subject on the page with its entry."""
        for tag, version, expires in _PAGE_ENTRY.iter_unpack(self.packed):
            yield tag, Entry(version, expires)

    def _find(self, tag: bytes) -> int | None:
        """Return where a subject's entry starts; bytes that look like the tag may also lie across entries."""
        start = self.packed.find(tag)
        while start > 0 and start % _PAGE_ENTRY.size:
            start = self.packed.find(tag, start + 1)
        return None if start < 0 else start


@dataclass(frozen=True)
class LedgerIndex:
    """For each page its stamp (0: nothing was written to it yet) and its earliest expiry."""

    stamps: tuple[int, ...] = (0,) * PAGES
    earliest: tuple[float, ...] = (NEVER,) * PAGES

    def with_page(self, number: int, stamp: int, page: LedgerPage) -> LedgerIndex:
        """Return the index with another stamp and expiry for one page."""
        stamps = list(self.stamps)
        earliest = list(self.earliest)
        stamps[number] = stamp
        earliest[number] = min((entry.expires for _, entry in page.entries()), default=NEVER)
        return LedgerIndex(tuple(stamps), tuple(earliest))

    def expiring(self, now: float) -> list[int]:
        """Return the numbers of the pages with subjects that have expired."""
        return [number for number, earliest in enumerate(self.earliest) if earliest <= now]

    def packed(self) -> bytes:
        """Return the index as bytes, which unpacked() reads."""
        pairs = zip(self.stamps, self.earliest, strict=True)
        return b"".join(_INDEX_ENTRY.pack(stamp, earliest) for stamp, earliest in pairs)

    @classmethod
    def unpacked(cls, data: bytes) -> LedgerIndex:
        """Return the index that packed() made these bytes of."""
        stamps, earliest = zip(*_INDEX_ENTRY.iter_unpack(data), strict=True)
        return cls(stamps, earliest)


def page_of(tag: bytes) -> int:
    """Return the number of the page that lists a subject."""
    return tag[0]
