"""Staged collections: filled where nobody finds them, then published in one step."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace

from service.errors import ServiceError
from service.gallery import Subject
from service.gallery.encrypted import EncryptedStore
from service.gallery.encrypted_collections import OpenCollection
from service.gallery.errors import CollectionNotFound
from service.gallery.records import CollectionMeta


class StagedCollection:
    """A collection that is filled where nobody finds it, then published at once. As a context manager it is deleted
    at the end unless it was published.
    """

    def __init__(self, encrypted: EncryptedStore, meta: CollectionMeta) -> None:
        collection = encrypted.create(replace(meta, staged=encrypted.now()), staged=True)
        assert collection is not None  # only a tag can be taken
        self._encrypted = encrypted
        self._published = False
        self.collection = collection

    def __enter__(self) -> StagedCollection:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._published:
            with suppress(ServiceError):  # one that cannot be deleted now is purged later
                self._encrypted.store.delete_collection(self.collection.id)

    def read(self, name: str) -> Subject | None:
        """Return a subject that was written to this collection already, None for another."""
        stored = self._encrypted.read_tag(self.collection, self.collection.cipher.tag(name))
        return stored.subject if stored else None

    def write(
        self, subject: Subject, photos: Mapping[str, bytes] | None = None, delete_photos: Collection[str] = ()
    ) -> None:
        """Write a subject whole. Raises CollectionNotFound when somebody deleted the staged collection."""
        self._advance(self._encrypted.write(self.collection, subject, photos, delete_photos))

    def delete(self, name: str) -> None:
        """Delete a subject if there is one. Raises CollectionNotFound."""
        self._advance(self._encrypted.delete(self.collection, self.collection.cipher.tag(name)))

    def publish(self, replacing: OpenCollection | None = None) -> bool:
        """Publish the collection; return False if its name is taken or `replacing` changed since it was read."""
        self._published = self._encrypted.publish(self.collection, replacing)
        return self._published

    def _advance(self, newer: OpenCollection | None) -> None:
        if newer is None:
            raise CollectionNotFound
        self.collection = newer
