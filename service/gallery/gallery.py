"""Gallery: enrol, verify, identify. Synchronous, from any thread (an event loop calls it by `asyncio.to_thread`).

A change reads a subject, makes the new one and writes it on the condition that nobody changed the collection
meanwhile, else it begins again: two writers never lose each other's media, and a deleted subject does not come back.
"""

from __future__ import annotations

import logging
import secrets
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from service.crypto.vault import Vault, VaultLocked
from service.gallery import (
    WHOLE,
    Collection,
    Match,
    Medium,
    Metadata,
    NewMedium,
    Page,
    Part,
    Policy,
    Receipt,
    SearchResult,
    Subject,
    Vector,
    checks,
    photo_digest,
)
from service.gallery.editing import Editor
from service.gallery.encrypted import EncryptedStore, StoredSubject
from service.gallery.encrypted_collections import OpenCollection, Outdated
from service.gallery.errors import Busy, CollectionDamaged, MediumNotFound, NoTemplate, SubjectDamaged, SubjectNotFound
from service.gallery.indexes.template_indexes import TemplateIndexes
from service.gallery.matching import best_matches, match
from service.gallery.records import CollectionMeta
from service.gallery.stores.store import Store

log = logging.getLogger(__name__)


class Gallery:
    """All collections of a store. Raises VaultLocked when the vault cannot open it; any call raises the store's errors.

    For upkeep and transfer: `encrypted` is the layer below, `editor` changes subjects, `indexes` is what is searched.
    A search sees the subjects of `part` only. `clock` returns seconds since 1970; left out, it is the store's own.
    """

    def __init__(
        self, store: Store, vault: Vault, clock: Callable[[], float] | None = None, part: Part = WHOLE
    ) -> None:
        self.part = part
        self.encrypted = EncryptedStore(store, vault, clock)
        self.indexes = TemplateIndexes(self.encrypted, part)
        self.editor = Editor(self.encrypted)
        self._store = store

    def close(self) -> None:
        """Close the store's files and connections; the gallery cannot be used afterwards."""
        self._store.close()

    # -- collections --------------------------------------------------------------------------------------------------

    def put_collection(
        self, name: str, model: str, dimension: int, policy: Policy | None = None
    ) -> tuple[Collection, bool]:
        """Return the collection of that name and whether it is new; an existing one keeps its policy.

        Raises InvalidName, ModelMismatch when it exists with another model, CollectionDamaged.
        """
        name = checks.clean_name(name)
        while (existing := self.encrypted.find(name)) is None:
            now = self.encrypted.now()
            meta = CollectionMeta(name, model, dimension, now, policy or Policy(), now)
            if (created := self.encrypted.create(meta, staged=False)) is not None:
                return self._described(created), True
        checks.check_model(existing.meta, model)
        return self._described(existing), False

    def collection(self, name: str) -> Collection:
        """Return the collection of that name. Raises CollectionNotFound, CollectionDamaged, InvalidName."""
        return self._described(self.encrypted.require(name))

    def model(self, name: str) -> str | None:
        """Return the digest of the model that made a collection's templates, None for no such collection."""
        collection = self.encrypted.find(name)
        return collection.meta.model if collection else None

    def collections(self, cursor: str | None = None, limit: int = 100) -> Page[Collection]:
        """Page through the collections in a stable, arbitrary order; `damaged` are those of this part.

        Raises InvalidSubject for a bad cursor.
        """
        after = checks.cursor_bytes(cursor)
        rows = self._store.collections(after, limit)
        last_tag = rows[-1].tag if len(rows) == limit else None
        names = self.encrypted.listed_between(after, last_tag)
        items: list[Collection] = []
        damaged: set[str] = set()
        for row in rows:
            try:
                names[row.tag or b""] = self.encrypted.open_collection(row).meta.name
            except VaultLocked:
                damaged.add(self.encrypted.root.recent_listing().name_of(row.id))
        for _, name in sorted(names.items()):
            try:
                if (collection := self.encrypted.find(name)) is not None:
                    items.append(self._described(collection))
            except (CollectionDamaged, VaultLocked):
                damaged.add(name)
        if damaged:
            log.error("damaged collections were left out of a listing", extra={"collections": len(damaged)})
        return Page(items, last_tag.hex() if last_tag else None, sorted(damaged))

    def delete_collection(self, name: str) -> Receipt:
        """Delete a collection, damaged or not, and the key that could open what remains of it.

        Raises CollectionNotFound.
        """
        name = checks.clean_name(name)
        subjects = 0
        with suppress(CollectionDamaged):
            subjects = self._store.count(self.encrypted.require(name).id)
        if (deleted := self.encrypted.delete_collection(name)) is not None:
            self.indexes.delete({deleted.id})
        return self._receipt(subjects)

    # -- subjects -----------------------------------------------------------------------------------------------------

    def put_subject(
        self,
        collection: str,
        subject: str,
        metadata: Metadata | None = None,
        ttl: float | None = None,
        clear_ttl: bool = False,
    ) -> tuple[Subject, bool]:
        """Return the subject of that id and whether it is new; an existing one keeps its media.

        Metadata and `ttl`, the seconds without a change after which it expires, are set when given; `clear_ttl` takes
        its own `ttl` away. Raises InvalidName, InvalidSubject and SubjectTooLarge for unfit metadata,
        CollectionNotFound.
        """
        if metadata is not None:
            checks.check_metadata(metadata)
        checks.check_ttl(ttl)
        with self.editor.turn(collection):
            for edit in self.editor.edits(collection, subject):
                current = edit.subject
                changed = replace(
                    current,
                    metadata=current.metadata if metadata is None else metadata,
                    ttl=None if clear_ttl else current.ttl if ttl is None else ttl,
                )
                if (written := edit.write(changed)) is not None:
                    return written, edit.stored is None
        raise Busy

    def subject(self, collection: str, subject: str) -> Subject:
        """Return the subject of a name. Raises CollectionNotFound, SubjectNotFound, SubjectDamaged, InvalidName."""
        return self.encrypted.read(self.encrypted.require(collection), subject).subject

    def subjects(self, collection: str, cursor: str | None = None, limit: int = 100) -> Page[Subject]:
        """Page through the subjects in a stable, arbitrary order, damaged ones by their names.

        Raises CollectionNotFound, InvalidSubject for a bad cursor.
        """
        after = checks.cursor_bytes(cursor)
        while True:
            opened = self.encrypted.require(collection)
            try:
                page = self._page(opened, after, limit)
            except Outdated:
                continue
            if self.encrypted.require(collection).id == opened.id:
                return page

    def _page(self, collection: OpenCollection, after: bytes, limit: int) -> Page[Subject]:
        rows = self._store.rows(collection.id, after, limit)
        page = Page[Subject]([], rows[-1].tag.hex() if len(rows) == limit else None)
        for row in rows:
            try:
                stored = self.encrypted.read_row(collection, row)
            except SubjectDamaged:
                log.error("a damaged subject was left out of a listing", extra={"tag": row.tag.hex()})
                page.damaged.append(self.encrypted.damaged_name(collection, row))
                continue
            if stored is not None:
                page.items.append(stored.subject)
        return page

    def delete_subject(self, collection: str, subject: str) -> Receipt:
        """Delete a subject with all media and photos, damaged or not. Raises CollectionNotFound, SubjectNotFound."""
        subject = checks.clean_name(subject)
        with self.editor.turn(collection):
            for opened in self.editor.attempts(collection):
                media: tuple[Medium, ...] | None = None
                with suppress(SubjectDamaged):
                    media = self.encrypted.read(opened, subject).subject.media
                if self.encrypted.delete(opened, opened.cipher.tag(subject)):
                    if media is None:
                        return self._receipt(1)
                    return self._receipt(1, len(media), sum(medium.photo for medium in media))
        raise Busy

    # -- media and templates ------------------------------------------------------------------------------------------

    def add_media(
        self, collection: str, subject: str, model: str, media: Sequence[NewMedium], create: bool = False
    ) -> Subject:
        """Return the subject with these media, all or none, and a new template; a known id replaces its medium.

        `create` makes a missing subject. Photos are kept when the collection's policy says so. Raises ModelMismatch,
        InvalidSubject for unfit vectors or descriptors that cancel out, SubjectTooLarge, SubjectNotFound.
        """
        photos = {checks.clean_name(medium.id): medium.photo for medium in media}
        with self.editor.turn(collection):
            for edit in self.editor.edits(collection, subject):
                meta = edit.collection.meta
                checks.check_model(meta, model)
                if edit.stored is None and not create:
                    raise SubjectNotFound("there is no such subject in this collection; `create=true` makes it")
                now = self.encrypted.now()
                by_id = {medium.id: medium for medium in edit.subject.media}
                for new in (checks.clean_medium(medium, meta.dimension) for medium in media):
                    digest = photo_digest(new.photo) if meta.policy.keep_photos and new.photo is not None else None
                    added = now if new.added is None else new.added
                    by_id[new.id] = Medium(new.id, new.vectors, new.quality, added, True, digest, new.place)
                changed = checks.with_template(replace(edit.subject, media=tuple(by_id.values())), meta.policy)
                if (written := edit.write(changed, photos)) is not None:
                    return written
        raise Busy

    def delete_medium(self, collection: str, subject: str, medium: str) -> Subject:
        """Return the subject without that medium and its photo. Raises MediumNotFound, SubjectNotFound."""
        medium = checks.clean_name(medium)
        with self.editor.turn(collection):
            for edit in self.editor.edits(collection, subject):
                if edit.stored is None:
                    raise SubjectNotFound
                remaining = tuple(m for m in edit.subject.media if m.id != medium)
                if len(remaining) == len(edit.subject.media):
                    raise MediumNotFound
                changed = checks.with_template(replace(edit.subject, media=remaining), edit.collection.meta.policy)
                if (written := edit.write(changed, {medium: None})) is not None:
                    return written
        raise Busy

    def photo(self, collection: str, subject: str, medium: str) -> bytes:
        """Return the kept photo of a medium. Raises MediumNotFound when there is none, SubjectNotFound."""
        medium = checks.clean_name(medium)
        for opened in self.editor.attempts(collection):
            stored = self.encrypted.read(opened, subject)
            kept_medium = next((m for m in stored.subject.media if m.id == medium and m.photo), None)
            if kept_medium is None:
                raise MediumNotFound
            if (photo := self.encrypted.photo(stored, kept_medium)) is not None:
                return photo  # else it was deleted after the subject was read
        raise Busy

    def template(self, collection: str, subject: str, model: str) -> Vector:
        """Return the subject's template [D] of unit length. Raises ModelMismatch, NoTemplate, SubjectNotFound."""
        return self._template(collection, subject, model)[1]

    def verify(self, collection: str, subject: str, model: str, probe: Vector) -> Match:
        """Compare a probe [D] with one subject. Raises as `template` does, InvalidSubject for an unfit probe."""
        stored, template = self._template(collection, subject, model)
        return match(stored.subject, template, checks.unit_vector(probe, stored.collection.meta.dimension))

    def search(self, collection: str, model: str, probe: Vector, count: int = 10) -> SearchResult:
        """Return the `count` subjects most similar to a probe [D], best first, and how many were searched.

        Sees every enrolment and deletion that was finished before the call, whichever process did it. Raises
        ModelMismatch, CollectionNotFound, InvalidSubject for an unfit probe.
        """
        return self.search_all(collection, model, [probe], count)[0]

    def search_all(self, collection: str, model: str, probes: Sequence[Vector], count: int = 10) -> list[SearchResult]:
        """Search for each of several probes [D] as `search` does, with one look at the templates for all of them."""
        while probes:
            opened = self.encrypted.require(collection)
            checks.check_model(opened.meta, model)
            unit_probes = np.stack([checks.unit_vector(probe, opened.meta.dimension) for probe in probes])
            try:
                results = best_matches(self.encrypted, self.indexes, opened, unit_probes, count)
            except Outdated:
                continue
            if self.encrypted.require(collection).id == opened.id:
                return results
        return []

    def pseudonym(self, *names: str) -> str:
        """Return a keyed hash of names, for logs: the same in every process; nobody can read it without the key."""
        return self.encrypted.name_tag(unicodedata.normalize("NFC", "\0".join(names))).hex()

    def warm(self, collection: str) -> int:
        """Read a collection's templates into memory; return how many there are."""
        return self.indexes.catch_up(self.encrypted.require(collection))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _template(self, collection: str, subject: str, model: str) -> tuple[StoredSubject, Vector]:
        opened = self.encrypted.require(collection)
        checks.check_model(opened.meta, model)
        stored = self.encrypted.read(opened, subject)
        if stored.subject.template is None:
            raise NoTemplate
        return stored, stored.subject.template

    def _described(self, collection: OpenCollection) -> Collection:
        meta = collection.meta
        subjects = self._store.count(collection.id)
        return Collection(meta.name, meta.model, meta.dimension, meta.created, meta.policy, subjects)

    def _receipt(self, subjects: int, media: int | None = None, photos: int | None = None) -> Receipt:
        return Receipt(secrets.token_hex(8), self.encrypted.now(), subjects, media, photos)
