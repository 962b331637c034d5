"""The root key of a gallery, wrapped by the master key: names' tags, messages between processes, the catalog."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from service.crypto.vault import Cipher, Vault, VaultLocked, new_key
from service.gallery.catalog import Catalog, Listing
from service.gallery.records import CollectionMeta
from service.gallery.stores.store import CollectionRow, Store

ROOT_KEY = "vault/root"
"""The record that holds the wrapped key."""
_LABEL = b"vault/root with a catalog"
"""Associated data of the wrapped key. It says that there must be a catalog, so that a removed catalog is noticed."""
_LABEL_WITHOUT_CATALOG = b"vault/root"
log = logging.getLogger(__name__)


class RootKey:
    """The root key of a store, made when the store is empty. Raises VaultLocked when the vault cannot unwrap it.

    A store may lose its data under a running process (a Redis without persistence) and then get another root key from
    another process: a caller that finds nothing under this key calls reload() and looks again.
    """

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._key = b""
        self._load(new_key())

    def reload(self) -> bool:
        """Load the key again and return whether it is another; a store that has lost it gets this one back.

        Without it what is stored next could be found by this process only. Raises VaultLocked.
        """
        return self._load(self._key)

    def _load(self, default: bytes) -> bool:
        wrapped = self._store.record(ROOT_KEY)
        if wrapped is None:
            rows = self._store.all_collections()
            if rows and not self._named_one_of(rows) and self._store.record(ROOT_KEY) is None:
                raise VaultLocked("the record 'vault/root' is missing: somebody else than this service deleted it")
            Catalog(self._store, Cipher(default)).begin({})
            self._store.replace_record(ROOT_KEY, None, self._vault.wrap(default, _LABEL))
            wrapped = self._store.record(ROOT_KEY) or b""
        key = self._unwrapped(wrapped)
        if key == self._key:
            return False
        self._key = key
        self.cipher = Cipher(key)
        self.catalog = Catalog(self._store, self.cipher)
        return True

    def _named_one_of(self, rows: Sequence[CollectionRow]) -> bool:
        """Return whether this key made the tag of one of the collections: then the store has lost this very key."""
        if not self._key:
            return False
        for row in rows:
            with suppress(VaultLocked):
                if row.tag == self.cipher.tag(decrypted_meta(self._vault, row)[1].name):
                    return True
        return False

    def _unwrapped(self, wrapped: bytes) -> bytes:
        """Return the key; the gallery of an earlier version gets its catalog, of the collections that are there."""
        try:
            return self._vault.unwrap(wrapped, _LABEL)
        except VaultLocked:
            key = self._vault.unwrap(wrapped, _LABEL_WITHOUT_CATALOG)
        cipher = Cipher(key)
        ids = {}
        for row in self._store.all_collections():
            with suppress(VaultLocked):
                name = decrypted_meta(self._vault, row)[1].name
                if row.tag == cipher.tag(name):
                    ids[name] = row.id
        Catalog(self._store, cipher).begin(ids)
        self._store.replace_record(ROOT_KEY, wrapped, self._vault.wrap(key, _LABEL))
        log.info("the gallery got a catalog of its collections", extra={"collections": len(ids)})
        return key

    def rewrap(self) -> bool:
        """Wrap the key under the vault's first master key; return False if it was already."""
        wrapped = self._store.record(ROOT_KEY)
        if wrapped is None or self._vault.is_current(wrapped):
            return False
        return self._store.replace_record(ROOT_KEY, wrapped, self._vault.wrap(self._unwrapped(wrapped), _LABEL))

    def decrypt(self, ciphertext: bytes, *associated_data: bytes) -> bytes:
        """Return what `cipher` encrypted in any process. Raises VaultLocked."""
        try:
            return self.cipher.decrypt(ciphertext, *associated_data)
        except VaultLocked:
            if not self.reload():
                raise
            return self.cipher.decrypt(ciphertext, *associated_data)

    def listing(self) -> Listing:
        """Return the catalog as it is stored now. Raises VaultLocked."""
        try:
            return self.catalog.read()
        except VaultLocked:
            self.reload()
            return self.catalog.read()

    def recent_listing(self) -> Listing:
        """Return the catalog as it was at most a few seconds ago. Raises VaultLocked."""
        try:
            return self.catalog.recent()
        except VaultLocked:
            return self.listing()


def decrypted_meta(vault: Vault, row: CollectionRow) -> tuple[Cipher, CollectionMeta]:
    """Decrypt a collection's row; return its cipher and its description. Raises VaultLocked."""
    cipher = Cipher(vault.unwrap(row.key, row.id))
    return cipher, CollectionMeta.unpacked(cipher.decrypt(row.meta, b"collection", row.id))
