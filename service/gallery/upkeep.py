"""What keeps a gallery sound: deleting what has expired, a new master key, a new key for a collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from service.crypto.vault import VaultLocked
from service.gallery import Subject
from service.gallery.encrypted import EncryptedStore, StoredSubject
from service.gallery.encrypted_collections import OpenCollection, Outdated
from service.gallery.errors import Busy, CollectionNotFound, StorageFull, StorageUnavailable, SubjectDamaged
from service.gallery.gallery import Gallery
from service.gallery.staged import StagedCollection

STAGED_SECONDS = 24 * 3600.0
"""A collection that has been staged for so long was left behind by a crash."""
ROUNDS = 50
"""How often a collection may change while its changes are copied."""
_STEP = 512


@dataclass(frozen=True)
class Expiry:
    """A subject that was deleted because it had expired; the name is None if what was stored is damaged."""

    collection: str
    subject: str | None


def purge(gallery: Gallery, on_expiry: Callable[[Expiry], object] = lambda _: None) -> list[Expiry]:
    """Delete subjects that have expired and what crashes left behind; return the subjects. Call it every minute.

    `on_expiry` is told of each as soon as it is deleted, whatever fails after that.
    """
    encrypted = gallery.encrypted
    store = encrypted.store
    expired: list[Expiry] = []
    existing = set()
    for row in store.all_collections():
        existing.add(row.id)
        with suppress(VaultLocked, CollectionNotFound):  # a damaged or deleted collection is not in others' way
            collection = encrypted.open_collection(row)
            if row.tag is not None:
                for expiry in _purge_collection(encrypted, collection):
                    on_expiry(expiry)
                    expired.append(expiry)
            elif collection.meta.staged < encrypted.now() - STAGED_SECONDS:
                store.delete_collection(row.id)
    gallery.indexes.delete(gallery.indexes.collections() - existing)
    _refresh_indexes(gallery)
    with suppress(StorageFull, StorageUnavailable):  # a later call does it
        store.scrub()
    return expired


def _purge_collection(encrypted: EncryptedStore, collection: OpenCollection) -> Iterator[Expiry]:
    now = encrypted.now()
    for number in collection.ledger.expiring(now):
        try:
            entries = list(encrypted.page(collection, number).entries())
        except Outdated:
            continue  # the next call finds them
        for tag, entry in entries:
            if entry.expires > now:
                continue
            row = encrypted.store.row(collection.id, tag)
            name = encrypted.damaged_name(collection, row) if row else None
            newer = encrypted.delete(collection, tag)
            if newer is None:  # somebody changed the collection: the next call goes on
                return
            collection = newer
            yield Expiry(collection.meta.name, None if name is None or name.startswith("tag:") else name)


def _refresh_indexes(gallery: Gallery) -> None:
    """Bring the indexes in memory up to date, so that they hold no templates of deleted subjects."""
    indexed = gallery.indexes.collections()
    for row in gallery.encrypted.store.all_collections():
        if row.id in indexed and row.tag is not None:
            with suppress(VaultLocked):
                gallery.indexes.catch_up(gallery.encrypted.open_collection(row))


def rewrap(encrypted: EncryptedStore) -> int:
    """Wrap every stored key with the vault's first master key; return how many changed. Older ones can then go."""
    store = encrypted.store
    vault = encrypted.vault
    changed = int(encrypted.root.rewrap())
    for row in store.all_collections():
        if not vault.is_current(row.key):
            changed += store.set_key(row.id, row.key, vault.wrap(vault.unwrap(row.key, row.id), row.id))
    return changed


def rotate(encrypted: EncryptedStore, collection: str) -> list[str]:
    """Encrypt a collection under a new key while it is in use; the old key and all under it are deleted.

    Returns the names of damaged subjects, which stay behind. Raises CollectionNotFound, Busy when it is changed faster
    than it can be copied. Nothing is lost then.
    """
    original = encrypted.require(collection)
    with StagedCollection(encrypted, original.meta) as staged:
        copier = Copier(encrypted, staged)
        for _ in range(ROUNDS):
            current = encrypted.require(collection)
            if current.id != original.id:
                raise CollectionNotFound
            copier.catch_up(current)
            if staged.publish(replacing=current):
                return sorted(copier.damaged)
    raise Busy


@dataclass(eq=False)
class Copier:
    """Brings a staged collection up to date with another, again and again, until nothing changed meanwhile.

    `convert` makes the copy of a subject (None: it stays as it is). `names` are the subjects that were copied, by
    their serials in the original.
    """

    encrypted: EncryptedStore
    staged: StagedCollection
    convert: Callable[[StoredSubject], Subject] | None = None
    version: int = 0
    names: dict[int, str] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)

    def catch_up(self, original: OpenCollection) -> None:
        """Copy what changed in the original since the last call. Raises Busy when it gets another key meanwhile."""
        store = self.encrypted.store
        changes = store.changes(original.id, self.version)
        serials = list({row.serial for row in changes.rows})
        for serial in changes.removed:
            if (name := self.names.pop(serial, None)) is not None:
                self.staged.delete(name)
        for start in range(0, len(serials), _STEP):
            for row in store.rows_by_serial(original.id, serials[start : start + _STEP]):
                try:
                    stored = self.encrypted.read_row(original, row)
                except SubjectDamaged:
                    self.damaged.add(self.encrypted.damaged_name(original, row))
                    continue
                except Outdated as error:
                    raise Busy from error
                if stored is not None:
                    self.names[row.serial] = self._copy(stored)
        self.version = changes.version

    def _copy(self, stored: StoredSubject) -> str:
        subject = self.convert(stored) if self.convert else stored.subject
        copied = self.staged.read(subject.id)
        copied_ids = {medium.id for medium in copied.media} if copied else set[str]()
        photo_ids = {medium.id for medium in subject.media if medium.photo}
        photos = {medium: photo for medium, photo in self.encrypted.photos(stored) if medium in photo_ids}
        self.staged.write(subject, photos, copied_ids - photo_ids)
        return subject.id
