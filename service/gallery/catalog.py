"""The catalog: which collections there are, in one record that only the gallery's key can write.

Whoever writes to the store without the master key could delete a whole collection, or put a deleted one back: its row,
its people and their ledger go together, and nothing that is left names them. So the names and ids of all published
collections stand in one encrypted record. Every call that makes, replaces or deletes a collection writes it in the same
transaction, on the condition that it is still the one that was read: between the two there is no moment at which
they differ. A collection that is listed and not there, or there and not listed, is somebody else's work.

Putting back the catalog with all that belongs to it, which is the store of an earlier day, is not noticed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from service.crypto.vault import Cipher, VaultLocked
from service.gallery.stores.store import RecordChange, Store

REMEMBERED_SECONDS = 5.0
"""How long a catalog that was read is trusted where it agrees with the store; where it does not, it is read again."""
_PREFIX = "vault/collections/"


@dataclass(frozen=True)
class Listing:
    """The ids of the published collections by their names, and the stored bytes that this was read from."""

    ids: Mapping[str, bytes]
    stored: bytes

    def id_of(self, name: str) -> bytes | None:
        """Return the id that is listed for a name, None when there is none."""
        return self.ids.get(name)

    def name_of(self, identity: bytes) -> str:
        """Return the name under which an id is listed, the id itself when it is not."""
        return next((name for name, listed_id in self.ids.items() if listed_id == identity), f"id:{identity.hex()}")


class Catalog:
    """The catalog of one gallery, which is the one of one root key. Thread-safe.

    Every method raises VaultLocked when the record is missing or is not what the gallery wrote.
    """

    def __init__(self, store: Store, cipher: Cipher) -> None:
        self._store = store
        self._cipher = cipher
        # A store that lost its data may get another root key: its catalog then has another name.
        self.record = _PREFIX + cipher.tag("catalog").hex()
        self._lock = threading.Lock()
        self._listing: Listing | None = None
        self._read_at = 0.0

    def begin(self, ids: Mapping[str, bytes]) -> None:
        """Write the first catalog of the gallery; do nothing when there is one already."""
        self._store.replace_record(self.record, None, self._encrypted(ids))

    def read(self) -> Listing:
        """Return the catalog as it is stored now, and remember it for recent()."""
        stored = self._store.record(self.record)
        if stored is None:
            raise VaultLocked("the list of collections is missing: somebody else than this service deleted it")
        plaintext = self._cipher.decrypt(stored, b"catalog", self.record.encode())
        listing = Listing(msgspec.msgpack.decode(plaintext, type=dict[str, bytes]), stored)
        with self._lock:
            self._listing = listing
            self._read_at = time.monotonic()
        return listing

    def recent(self) -> Listing:
        """Return the catalog as it was at most REMEMBERED_SECONDS ago."""
        with self._lock:
            if self._listing is not None and time.monotonic() - self._read_at < REMEMBERED_SECONDS:
                return self._listing
        return self.read()

    def change(self, listing: Listing, name: str, identity: bytes | None) -> RecordChange:
        """Return the change of the record that lists this id for a name, or no id for None, in place of `listing`."""
        ids = {listed_name: listed_id for listed_name, listed_id in listing.ids.items() if listed_name != name}
        if identity is not None:
            ids[name] = identity
        return RecordChange(self.record, listing.stored, self._encrypted(ids))

    def invalidate(self) -> None:
        """Forget the catalog that was read last, after a change: the next call reads it again."""
        with self._lock:
            self._listing = None

    def _encrypted(self, ids: Mapping[str, bytes]) -> bytes:
        return self._cipher.encrypt(msgspec.msgpack.encode(dict(ids)), b"catalog", self.record.encode())
