"""Encrypted collections: their names, keys, descriptions and ledgers, over a store that sees none of them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

from service.crypto.vault import Cipher, Vault, VaultLocked, new_key
from service.gallery.catalog import Listing
from service.gallery.checks import clean_name
from service.gallery.errors import Busy, CollectionDamaged, CollectionNotFound
from service.gallery.ledger import Entry, LedgerIndex, LedgerPage, page_of
from service.gallery.records import CollectionMeta
from service.gallery.root_key import RootKey, decrypted_meta
from service.gallery.rotation import Rotation
from service.gallery.stores.store import CollectionRow, LedgerUpdate, Store

ATTEMPTS = 50
"""How often the catalog may change while a collection is made, replaced or deleted."""
_OPEN_COLLECTIONS = 256
_OPEN_PAGES = 4096


class Outdated(Exception):
    """What was read from the store belongs to another version of the collection than the one at hand."""


@dataclass(frozen=True)
class OpenCollection:
    """A collection as it was read a moment ago, and what decrypts it."""

    row: CollectionRow
    cipher: Cipher = field(repr=False)
    meta: CollectionMeta
    rotation: Rotation = field(repr=False)
    ledger: LedgerIndex = field(repr=False)

    @property
    def id(self) -> bytes:
        """Return the id, constant from creation to deletion; a new key for the collection gives it another."""
        return self.row.id


class EncryptedCollections:
    """Encrypts and decrypts with one vault. `clock` returns seconds since 1970; left out, it is the store's own.

    Raises VaultLocked when the vault cannot decrypt the store, and the store's own errors.
    """

    def __init__(self, store: Store, vault: Vault, clock: Callable[[], float] | None = None) -> None:
        self.store = store
        self.vault = vault
        self.now = clock or store.now
        self.root = RootKey(store, vault)
        self._decrypt_cached = lru_cache(_OPEN_COLLECTIONS)(self._decrypt)
        self._page_cached = lru_cache(_OPEN_PAGES)(self._page)

    # -- collections --------------------------------------------------------------------------------------------------

    def name_tag(self, name: str) -> bytes:
        """Return the tag under which the collection of a name is stored."""
        return self.root.cipher.tag(name)

    def find(self, name: str) -> OpenCollection | None:
        """Return the collection of a name as it is now. Raises InvalidName, CollectionDamaged."""
        name = clean_name(name)
        row = self.store.collection(self.name_tag(name))
        if row is None and self.root.reload():
            row = self.store.collection(self.name_tag(name))
        if self.root.recent_listing().id_of(name) != (row.id if row else None):
            row = self._listed_row(name)
        return self.open_collection(row) if row else None

    def _listed_row(self, name: str) -> CollectionRow | None:
        """Return a collection's row if it is the one that the catalog lists.

        Raises CollectionDamaged, VaultLocked when it cannot be decrypted.
        """
        for _ in range(ATTEMPTS):
            listing = self.root.listing()
            row = self.store.collection(self.name_tag(name))
            if listing.id_of(name) == (row.id if row else None):
                return row
            if self.root.listing().stored == listing.stored:  # so the row was read under this very catalog
                if row is not None:
                    self.open_collection(row)
                raise CollectionDamaged("it was deleted" if row is None else "it was deleted before, and put back")
        raise Busy

    def damaged(self) -> list[str]:
        """Return the names of collections that somebody else deleted, put back or changed. Raises Busy."""
        for listing in self._listings():
            rows = [row for row in self.store.all_collections() if row.tag is not None]
            if self.root.listing().stored == listing.stored:
                break
        missing = set(listing.ids.values()) - {row.id for row in rows}
        names = {name for name, identity in listing.ids.items() if identity in missing}
        for row in rows:
            try:
                name = self.open_collection(row).meta.name
            except VaultLocked:
                names.add(listing.name_of(row.id))
                continue
            if listing.id_of(name) != row.id:
                names.add(name)
        return sorted(names)

    def listed_between(self, after: bytes, last: bytes | None) -> dict[bytes, str]:
        """Return the names of listed collections by tag: those after `after`, up to `last` and with it (None: all)."""
        names = {self.name_tag(name): name for name in self.root.listing().ids}
        return {tag: name for tag, name in names.items() if after < tag and (last is None or tag <= last)}

    def require(self, name: str) -> OpenCollection:
        """Return the collection of a name as it is now. Raises InvalidName, CollectionNotFound, CollectionDamaged."""
        collection = self.find(name)
        if collection is None:
            raise CollectionNotFound
        return collection

    def open_collection(self, row: CollectionRow) -> OpenCollection:
        """Decrypt a collection's key, its description and the index of its ledger. Raises VaultLocked."""
        cipher, meta, rotation = self._decrypt_cached(replace(row, tag=None, version=0, ledger=b""))
        if row.tag is not None and row.tag != self.name_tag(meta.name):
            raise VaultLocked("a stored collection stands under another's name")
        ledger = LedgerIndex.unpacked(cipher.decrypt(row.ledger, b"ledger", row.id, number_bytes(row.version)))
        return OpenCollection(row, cipher, meta, rotation, ledger)

    def _decrypt(self, row: CollectionRow) -> tuple[Cipher, CollectionMeta, Rotation]:
        cipher, meta = decrypted_meta(self.vault, row)
        return cipher, meta, Rotation(cipher.derive(b"rotation"), meta.dimension)

    def create(self, meta: CollectionMeta, staged: bool) -> OpenCollection | None:
        """Add an empty collection under a new key; while staged it cannot be found. Return None for a taken name.

        Raises Busy.
        """
        self.root.reload()
        identity = secrets.token_bytes(16)
        key = new_key()
        cipher = Cipher(key)
        ledger = LedgerIndex()
        row = CollectionRow(
            id=identity,
            tag=None if staged else self.name_tag(meta.name),
            key=self.vault.wrap(key, identity),
            meta=cipher.encrypt(meta.packed(), b"collection", identity),
            version=0,
            ledger=cipher.encrypt(ledger.packed(), b"ledger", identity, number_bytes(0)),
        )
        if staged:
            return self.open_collection(row) if self.store.create(row) else None
        for listing in self._listings():
            if listing.id_of(meta.name) is not None:
                return None
            if self.store.create(row, self.root.catalog.change(listing, meta.name, identity)):
                self.root.catalog.invalidate()
                return self.open_collection(row)
        return None

    def publish(self, collection: OpenCollection, replacing: OpenCollection | None = None) -> bool:
        """Give a staged collection its name, in the place of another or of none; return whether that succeeded.

        It fails when the name is taken, or when `replacing` was changed or deleted since it was read. Raises Busy.
        """
        name = collection.meta.name
        for listing in self._listings():
            if listing.id_of(name) != (replacing.id if replacing else None):
                return False
            change = self.root.catalog.change(listing, name, collection.id)
            if self.store.publish(collection.id, self.name_tag(name), change, replacing.row if replacing else None):
                self.root.catalog.invalidate()
                return True
        return False

    def delete_collection(self, name: str) -> CollectionRow | None:
        """Delete a collection, damaged or not; return what was stored of it, None if that was deleted already.

        Raises CollectionNotFound, Busy.
        """
        for listing in self._listings():
            change = self.root.catalog.change(listing, name, None)
            row = self.store.collection(self.name_tag(name))
            if row is None and listing.id_of(name) is None:
                break
            if row is None:
                deleted = self.store.replace_record(change.name, change.old, change.new)
            else:
                deleted = self.store.delete_collection(row.id, change)
            if deleted:
                self.root.catalog.invalidate()
                return row
        raise CollectionNotFound

    def _listings(self) -> Iterator[Listing]:
        """Yield the catalog, and again for as long as somebody else changes it. Raises Busy."""
        previous = b""
        for _ in range(ATTEMPTS):
            listing = self.root.listing()
            if listing.stored == previous:
                return
            previous = listing.stored
            yield listing
        raise Busy

    def encrypt(self, plaintext: bytes, *associated_data: bytes) -> bytes:
        """Encrypt what passes between processes of one gallery, or is kept beside its collections."""
        return self.root.cipher.encrypt(plaintext, b"message", *associated_data)

    def decrypt(self, ciphertext: bytes, *associated_data: bytes) -> bytes:
        """Return what encrypt() was given in any process. Raises VaultLocked."""
        return self.root.decrypt(ciphertext, b"message", *associated_data)

    # -- the ledger ---------------------------------------------------------------------------------------------------

    def page(self, collection: OpenCollection, number: int) -> LedgerPage:
        """Return a page of the ledger at the collection's version. Raises Outdated when the store has another one."""
        stamp = collection.ledger.stamps[number]
        return self._page_cached(collection.id, collection.cipher, number, stamp) if stamp else LedgerPage()

    def _page(self, identity: bytes, cipher: Cipher, number: int, stamp: int) -> LedgerPage:
        ciphertext = self.store.ledger_page(identity, number)
        try:
            return LedgerPage(
                cipher.decrypt(ciphertext or b"", b"page", identity, number_bytes(number), number_bytes(stamp))
            )
        except VaultLocked as error:
            raise Outdated from error

    def updated(
        self, collection: OpenCollection, tag: bytes, expires: float | None
    ) -> tuple[OpenCollection, LedgerUpdate]:
        """Return the collection after a subject is written, or deleted (`expires` None), and its ledger's update.

        Raises Outdated.
        """
        number = page_of(tag)
        version = collection.row.version + 1
        entry = None if expires is None else Entry(version, expires)
        page = self.page(collection, number).with_entry(tag, entry)
        stamp = 1 + secrets.randbits(63)
        ledger = collection.ledger.with_page(number, stamp, page)
        cipher = collection.cipher
        identity = collection.id
        index = cipher.encrypt(ledger.packed(), b"ledger", identity, number_bytes(version))
        page_ciphertext = cipher.encrypt(page.packed, b"page", identity, number_bytes(number), number_bytes(stamp))
        row = replace(collection.row, version=version, ledger=index)
        return replace(collection, row=row, ledger=ledger), LedgerUpdate(index, number, page_ciphertext)


def number_bytes(value: int) -> bytes:
    """Return a number as the 8 bytes, big-endian, that stand for it in associated data."""
    return value.to_bytes(8, "big")
