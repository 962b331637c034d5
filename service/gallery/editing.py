"""Optimistic changes of subjects: read, change, write if nobody changed the collection meanwhile, else once more."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from service.gallery import Subject
from service.gallery.checks import clean_name
from service.gallery.encrypted import EncryptedStore, StoredSubject
from service.gallery.encrypted_collections import OpenCollection
from service.gallery.errors import Busy, SubjectNotFound

ATTEMPTS = 200
"""How often a change begins again before it gives up."""
_TURNS = 64


@dataclass(frozen=True)
class SubjectEdit:
    """One attempt to change a subject: what is stored (None: there is none yet), and where."""

    encrypted: EncryptedStore
    collection: OpenCollection
    name: str
    stored: StoredSubject | None

    @property
    def subject(self) -> Subject:
        """Return the subject as stored, or a new one without media."""
        if self.stored is not None:
            return self.stored.subject
        now = self.encrypted.now()
        return Subject(self.name, {}, now, now, None, None, self.collection.meta.model, (), None)

    def write(self, changed: Subject, photos: Mapping[str, bytes | None] | None = None) -> Subject | None:
        """Write the changed subject; return it as written, None if the collection changed meanwhile.

        `photos` by medium: kept where the changed subject says so, else deleted.
        """
        now = self.encrypted.now()
        ttl = changed.ttl if changed.ttl is not None else self.collection.meta.policy.ttl
        changed = replace(changed, updated=now, expires=None if ttl is None else now + ttl)
        kept_ids = {medium.id for medium in changed.media if medium.photo}
        new_photos = {name: photo for name, photo in (photos or {}).items() if photo is not None and name in kept_ids}
        old_ids = {medium.id for medium in self.stored.subject.media} if self.stored else set[str]()
        deleted = (set(photos or ()) & old_ids) - set(new_photos)
        return changed if self.encrypted.write(self.collection, changed, new_photos, deleted) else None


class Editor:
    """Hands out attempts to change the subjects of an encrypted store."""

    def __init__(self, encrypted: EncryptedStore) -> None:
        self._encrypted = encrypted
        self._turns = [threading.Lock() for _ in range(_TURNS)]

    def edits(self, collection: str, subject: str) -> Iterator[SubjectEdit]:
        """Yield attempts to change a subject, each with its current state, until the caller's write succeeds.

        Raises InvalidName, CollectionNotFound, SubjectDamaged, Busy after ATTEMPTS.
        """
        subject = clean_name(subject)
        for opened in self.attempts(collection):
            stored: StoredSubject | None = None
            try:
                stored = self._encrypted.read(opened, subject)
            except SubjectNotFound:
                if self._encrypted.delete_expired(opened, subject):
                    continue
            yield SubjectEdit(self._encrypted, stored.collection if stored else opened, subject, stored)

    def attempts(self, collection: str) -> Iterator[OpenCollection]:
        """Yield the collection as it is now, up to ATTEMPTS times. Raises CollectionNotFound, and Busy after that."""
        for number in range(ATTEMPTS):
            if number:
                time.sleep(secrets.randbelow(1 + min(number, 10)) / 1000)
            yield self._encrypted.require(collection)
        raise Busy

    @contextmanager
    def turn(self, collection: str) -> Iterator[None]:
        """Let the writers of one collection in this process take turns instead of outdating each other."""
        with self._turns[hash(collection) % _TURNS]:
            yield
