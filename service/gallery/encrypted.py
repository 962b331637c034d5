"""Subjects in clear, over a store that sees only encrypted bytes, with a ledger that shows rollbacks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from service.crypto.vault import VaultLocked
from service.gallery import Medium, Subject, Vector, photo_digest
from service.gallery.checks import clean_name
from service.gallery.encrypted_collections import EncryptedCollections, OpenCollection, Outdated, number_bytes
from service.gallery.errors import SubjectDamaged, SubjectNotFound
from service.gallery.ledger import NEVER, page_of
from service.gallery.records import pack_subject, unpack_subject
from service.gallery.stores.store import SubjectRow, SubjectWrite

_STEP = 256
_CHANGED = "somebody else than this service changed what is stored of the subject"


@dataclass(frozen=True)
class StoredSubject:
    """A subject, its row, and the version of the collection with which they were read."""

    collection: OpenCollection
    row: SubjectRow
    subject: Subject


class EncryptedStore(EncryptedCollections):
    """Reads and writes subjects; a subject that does not fit its collection's ledger raises SubjectDamaged."""

    def read(self, collection: OpenCollection, name: str) -> StoredSubject:
        """Return the subject of a name. Raises InvalidName, SubjectNotFound, SubjectDamaged, CollectionNotFound."""
        name = clean_name(name)
        while True:
            try:
                stored = self.read_tag(collection, collection.cipher.tag(name))
            except Outdated:  # the collection got a new key
                collection = self.require(collection.meta.name)
                continue
            if stored is None:
                raise SubjectNotFound
            return stored

    def read_tag(self, collection: OpenCollection, tag: bytes) -> StoredSubject | None:
        """Return the subject of a tag, None when there is none or it has expired.

        When the collection changes meanwhile it is read again, and the answer holds its new version. Raises
        SubjectDamaged, CollectionNotFound, Outdated when another collection took this one's place.
        """
        while True:
            try:
                return self._verified(collection, tag, self.store.row(collection.id, tag))
            except Outdated:
                collection = self._newer(collection)

    def read_row(self, collection: OpenCollection, row: SubjectRow) -> StoredSubject | None:
        """Return the subject of a row that was just read, as read_tag() does."""
        try:
            return self._verified(collection, row.tag, row)
        except Outdated:
            return self.read_tag(collection, row.tag)

    def _newer(self, collection: OpenCollection) -> OpenCollection:
        """Return the collection as it is by now. Raises SubjectDamaged when nothing changed, and as read_tag()."""
        newer = collection if collection.row.tag is None else self.require(collection.meta.name)
        if newer.id != collection.id:
            raise Outdated
        if newer.row.version == collection.row.version:
            raise SubjectDamaged(_CHANGED)
        return newer

    def _verified(self, collection: OpenCollection, tag: bytes, row: SubjectRow | None) -> StoredSubject | None:
        """Decrypt a row that the ledger names. Raises Outdated when ledger and row differ, SubjectDamaged."""
        entry = self.page(collection, page_of(tag)).get(tag)
        if (entry.version if entry else None) != (row.version if row else None):
            raise Outdated
        if entry is None or row is None or entry.expires <= self.now():
            return None
        try:
            body = collection.cipher.decrypt(row.body, *_associated_data(b"subject", collection.id, row))
            template = self.stored_template(collection, row)
        except VaultLocked as error:
            raise SubjectDamaged(_CHANGED) from error
        subject = replace(
            _rotated(unpack_subject(body), collection.rotation.undo),
            template=None if template is None else collection.rotation.undo(template),
            expires=None if entry.expires == NEVER else entry.expires,
            model=collection.meta.model,
        )
        return StoredSubject(collection, row, subject)

    def damaged_name(self, collection: OpenCollection, row: SubjectRow) -> str:
        """Return the name in a row that does not fit the ledger, or its tag if the name cannot be decrypted."""
        with suppress(VaultLocked, SubjectDamaged):
            return unpack_subject(
                collection.cipher.decrypt(row.body, *_associated_data(b"subject", collection.id, row))
            ).id
        return f"tag:{row.tag.hex()}"

    def stored_template(self, collection: OpenCollection, row: SubjectRow) -> Vector | None:
        """Return the template [D] in the collection's rotated space, None without media. Raises VaultLocked."""
        if not row.template:
            return None
        data = collection.cipher.decrypt(row.template, *_associated_data(b"template", collection.id, row))
        return np.frombuffer(data, np.float32)

    def write(
        self,
        collection: OpenCollection,
        subject: Subject,
        photos: Mapping[str, bytes] | None = None,
        delete_photos: Collection[str] = (),
    ) -> OpenCollection | None:
        """Write a subject whole; return the collection's new version, None if it changed since it was read."""
        cipher = collection.cipher
        identity = collection.id
        tag = cipher.tag(subject.id)
        try:
            newer, ledger = self.updated(collection, tag, NEVER if subject.expires is None else subject.expires)
        except Outdated:
            return None
        row = SubjectRow(tag, 0, newer.row.version, b"", b"")
        template = b""
        if subject.template is not None:
            vector = collection.rotation.apply(subject.template)
            template = cipher.encrypt(vector.tobytes(), *_associated_data(b"template", identity, row))
        body = pack_subject(_rotated(subject, collection.rotation.apply))
        write = SubjectWrite(
            tag,
            template,
            cipher.encrypt(body, *_associated_data(b"subject", identity, row)),
            photos={
                cipher.tag(medium): cipher.encrypt(photo, b"photo", identity, tag, medium.encode())
                for medium, photo in (photos or {}).items()
            },
            delete_photos=[cipher.tag(medium) for medium in delete_photos],
        )
        return newer if self.store.put(identity, collection.row.version, write, ledger) else None

    def delete(self, collection: OpenCollection, tag: bytes) -> OpenCollection | None:
        """Delete a subject, damaged or not; return the collection's new version, None if it changed meanwhile."""
        try:
            newer, ledger = self.updated(collection, tag, None)
        except Outdated:
            return None
        return newer if self.store.delete(collection.id, collection.row.version, tag, ledger) else None

    def delete_expired(self, collection: OpenCollection, name: str) -> bool:
        """Delete a subject that has expired but is still stored; return whether there was one."""
        tag = collection.cipher.tag(clean_name(name))
        try:
            entry = self.page(collection, page_of(tag)).get(tag)
        except Outdated:
            return True  # look again
        if entry is None or entry.expires > self.now():
            return False
        self.delete(collection, tag)
        return True

    def photo(self, stored: StoredSubject, medium: Medium) -> bytes | None:
        """Return a kept photo, None when it was not kept or is no longer there. Raises SubjectDamaged."""
        collection = stored.collection
        row = stored.row
        ciphertext = self.store.photo(collection.id, row.serial, collection.cipher.tag(medium.id))
        if ciphertext is None or medium.photo_digest is None:
            return None
        try:
            photo = collection.cipher.decrypt(ciphertext, b"photo", collection.id, row.tag, medium.id.encode())
        except VaultLocked as error:
            raise SubjectDamaged("somebody else than this service changed a kept photo") from error
        if photo_digest(photo) != medium.photo_digest:
            raise SubjectDamaged("an older photo took the place of the kept one")
        return photo

    def photos(self, stored: StoredSubject) -> Iterator[tuple[str, bytes]]:
        """Yield the kept photos of a subject with their media's ids."""
        for medium in stored.subject.media:
            if (photo := self.photo(stored, medium)) is not None:
                yield medium.id, photo

    def subjects(self, collection: OpenCollection) -> Iterator[StoredSubject | str]:
        """Yield every subject in a stable, arbitrary order, and in place of a damaged one its name."""
        after = b""
        while rows := self.store.rows(collection.id, after, _STEP):
            for row in rows:
                try:
                    stored = self.read_row(collection, row)
                except SubjectDamaged:
                    yield self.damaged_name(collection, row)
                    continue
                if stored is not None:
                    yield stored
            after = rows[-1].tag


def _rotated(subject: Subject, rotate: Callable[[Vector], Vector]) -> Subject:
    return replace(subject, media=tuple(replace(medium, vectors=rotate(medium.vectors)) for medium in subject.media))


def _associated_data(kind: bytes, collection: bytes, row: SubjectRow) -> tuple[bytes, ...]:
    """Return associated data: a value decrypts in its own collection, for its own subject and version only."""
    return kind, collection, row.tag, number_bytes(row.version)
