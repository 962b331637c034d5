"""Gallery: enrol, verify, identify. Synchronous, from any thread (an event loop calls it by `asyncio.to_thread`).

A change reads a subject, makes the new one and writes it on the condition that nobody else wrote it meanwhile, else it
begins again: two writers never lose each other's media, and a deleted subject does not come back.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from service import gallery as types
from service.gallery import WHOLE, Collection, Match, Medium, NewMedium, Page, Part, Policy, Receipt, Subject, Vector
from service.gallery import records as checks
from service.gallery.indices import Indices, Nearest
from service.gallery.matching import best, match
from service.gallery.records import Head
from service.gallery.sealed import Handle, SealedStore
from service.gallery.store import Store
from service.gallery.vector_sets import VectorSets
from service.vault import Vault

ATTEMPTS = 200
"""Times a change begins again before it gives up."""


class Gallery:
    """All collections of a store. Raises VaultLocked when the vault cannot open it; any call raises the store's errors.

    `sealed` is the layer below and `nearest` the copy that is searched, for upkeep and transfer. A search sees the
    subjects of `part` only; with the URL of a Redis 8 it is approximate, by the vector sets there.
    """

    def __init__(
        self,
        store: Store,
        vault: Vault,
        clock: Callable[[], float] = time.time,
        part: Part = WHOLE,
        vector_sets: str | None = None,
    ) -> None:
        self.part = part
        self.sealed = SealedStore(store, vault, clock)
        self.nearest: Nearest = VectorSets(self.sealed, vector_sets) if vector_sets else Indices(self.sealed, part)
        self._store, self._clock = store, clock

    def close(self) -> None:
        """Let go of the store."""
        self.nearest.close()
        self._store.close()

    # -- collections --------------------------------------------------------------------------------------------------

    def put_collection(
        self, name: str, model: str, dimension: int, policy: Policy | None = None
    ) -> tuple[Collection, bool]:
        """The collection of that name and whether it is new; an existing one keeps its policy.

        Raises InvalidName, ModelMismatch when it exists with another model.
        """
        while (handle := self.sealed.find(name)) is None:
            now = self._clock()
            made = self.sealed.create(Head(name, model, dimension, now, policy or Policy(), now), staged=False)
            if made is not None:
                return self._described(made), True
        checks.check_model(handle.head, model)
        return self._described(handle), False

    def collection(self, name: str) -> Collection:
        """Raises CollectionNotFound, InvalidName."""
        return self.sealed.on(name, self._described)

    def model(self, name: str) -> str | None:
        """The digest of the model that made a collection's templates; None: no such collection. Raises InvalidName."""
        handle = self.sealed.find(name)
        return handle.head.model if handle else None

    def collections(self, cursor: str | None = None, limit: int = 100) -> Page[Collection]:
        """All collections in a fixed order of no meaning. Raises InvalidSubject for a cursor that is none."""
        rows = self._store.collections(checks.cursor_bytes(cursor), limit)
        last = rows[-1].tag if len(rows) == limit else None
        return Page([self._described(self.sealed.opened(row)) for row in rows], last.hex() if last else None)

    def delete_collection(self, name: str) -> Receipt:
        """Forgets a collection and the key that could open what remains of it. Raises CollectionNotFound."""

        def delete(handle: Handle) -> Receipt:
            subjects = self._store.count(handle.id)
            if not self._store.delete_collection(handle.id):
                raise types.CollectionNotFound
            self.nearest.forget({handle.id})
            return self._receipt(subjects)

        return self.sealed.on(name, delete)

    # -- subjects -----------------------------------------------------------------------------------------------------

    def put_subject(
        self, collection: str, subject: str, metadata: Mapping[str, Any] | None = None, ttl: float | None = None
    ) -> tuple[Subject, bool]:
        """The subject of that id and whether it is new; an existing one keeps its media.

        Metadata and `ttl`, the seconds without a change after which it is forgotten, are set when given. Raises
        InvalidName, InvalidSubject and TooMuchForOneSubject for unfit metadata, CollectionNotFound.
        """
        if metadata is not None:
            checks.check_metadata(metadata)
        if ttl is not None and not 0 < ttl < float("inf"):
            raise types.InvalidSubject("a time to live is a number of seconds above 0")
        created = False

        def change(handle: Handle, old: Subject | None) -> Subject:
            nonlocal created
            created = old is None
            found = old or self._new(handle, subject)
            kept = found.metadata if metadata is None else metadata
            return replace(found, metadata=kept, ttl=found.ttl if ttl is None else ttl)

        return self.change(collection, subject, change), created

    def subject(self, collection: str, subject: str) -> Subject:
        """Raises CollectionNotFound, SubjectNotFound."""
        return self.sealed.on(collection, lambda h: self.sealed.read(h, self.sealed.row(h, subject)))

    def subjects(self, collection: str, cursor: str | None = None, limit: int = 100) -> Page[Subject]:
        """All subjects in a fixed order of no meaning. Raises CollectionNotFound, InvalidSubject for a bad cursor."""

        def page(handle: Handle) -> Page[Subject]:
            rows = self._store.rows(handle.id, checks.cursor_bytes(cursor), limit)
            found = [self.sealed.read(handle, row) for row in rows if not self.sealed.over(row)]
            return Page(found, rows[-1].tag.hex() if len(rows) == limit else None)

        return self.sealed.on(collection, page)

    def delete_subject(self, collection: str, subject: str) -> Receipt:
        """Forgets a subject with all media and photos. Raises CollectionNotFound, SubjectNotFound."""

        def delete(handle: Handle) -> Receipt:
            row = self.sealed.row(handle, subject)
            media = self.sealed.read(handle, row).media
            if not self._store.delete(handle.id, row.tag):
                raise types.SubjectNotFound
            self.nearest.erase(handle)
            return self._receipt(1, len(media), sum(medium.photo for medium in media))

        return self.sealed.on(collection, delete)

    # -- media and templates ------------------------------------------------------------------------------------------

    def add_media(
        self, collection: str, subject: str, model: str, media: Sequence[NewMedium], create: bool = False
    ) -> Subject:
        """The subject with these media, all or none, and its template pooled anew; a known id replaces its medium.

        `create` makes a missing subject. Photos are kept when the collection's policy says so. Raises ModelMismatch,
        InvalidSubject for unfit vectors or descriptors that cancel out, TooMuchForOneSubject, SubjectNotFound.
        """
        now = self._clock()

        def change(handle: Handle, old: Subject | None) -> Subject:
            checks.check_model(handle.head, model)
            if old is None and not create:
                raise types.SubjectNotFound
            found, policy = old or self._new(handle, subject), handle.head.policy
            whole = {medium.id: medium for medium in found.media}
            for medium in media:
                checks.check_medium(medium, handle.head.dimension)
                photo = policy.keep_photos and medium.photo is not None
                whole[medium.id] = Medium(medium.id, medium.vectors, medium.quality, now, True, photo)
            return checks.pooled(replace(found, media=tuple(whole.values())), policy)

        return self.change(collection, subject, change, {m.id: m.photo for m in media})

    def delete_medium(self, collection: str, subject: str, medium: str) -> Subject:
        """The subject without that medium and its photo, pooled anew. Raises MediumNotFound, SubjectNotFound."""

        def change(handle: Handle, old: Subject | None) -> Subject:
            if old is None:
                raise types.SubjectNotFound
            left = tuple(m for m in old.media if m.id != medium)
            if len(left) == len(old.media):
                raise types.MediumNotFound
            return checks.pooled(replace(old, media=left), handle.head.policy)

        left = self.change(collection, subject, change, {medium: None})
        if (handle := self.sealed.find(collection)) is not None:
            self.nearest.erase(handle)
        return left

    def photo(self, collection: str, subject: str, medium: str) -> bytes:
        """A kept photo. Raises MediumNotFound when there is none, SubjectNotFound."""

        def find(handle: Handle) -> bytes:
            photo = self.sealed.photo(handle, self.sealed.row(handle, subject), medium)
            if photo is None:
                raise types.MediumNotFound
            return photo

        return self.sealed.on(collection, find)

    def template(self, collection: str, subject: str, model: str) -> Vector:
        """The subject's template float32 [D] of unit length. Raises ModelMismatch, NoTemplate, SubjectNotFound."""

        def find(handle: Handle) -> Vector:
            checks.check_model(handle.head, model)
            vector = self.sealed.template(handle, self.sealed.row(handle, subject))
            if vector is None:
                raise types.NoTemplate
            return vector

        return self.sealed.on(collection, find)

    def verify(self, collection: str, subject: str, model: str, probe: Vector) -> Match:
        """A probe [D] against one subject. Raises as `template`, InvalidSubject for an unfit probe."""

        def find(handle: Handle) -> Match:
            checks.check_model(handle.head, model)
            found = self.sealed.read(handle, self.sealed.row(handle, subject))
            if found.template is None:
                raise types.NoTemplate
            return match(found, found.template, checks.unit(probe, handle.head.dimension))

        return self.sealed.on(collection, find)

    def search(self, collection: str, model: str, probe: Vector, count: int = 10) -> list[Match]:
        """The `count` subjects most similar to a probe [D], best first.

        Sees every enrolment and deletion that was finished before the call, whichever process did it; exact but by
        vector sets. Raises ModelMismatch, CollectionNotFound, InvalidSubject for an unfit probe.
        """

        def find(handle: Handle) -> list[Match]:
            checks.check_model(handle.head, model)
            return best(self.sealed, self.nearest, handle, checks.unit(probe, handle.head.dimension), count)

        return self.sealed.on(collection, find)

    def pseudonym(self, *names: str) -> str:
        """A keyed hash of names, for logs: the same in every process; without the key it tells nobody anything."""
        return self.sealed.name_tag("\0".join(names)).hex()

    def warm(self, collection: str) -> int:
        """Copies a collection's templates to where they are searched; how many there are."""
        return self.sealed.on(collection, self.nearest.caught_up)

    # -- inside -------------------------------------------------------------------------------------------------------

    def change(
        self,
        collection: str,
        subject: str,
        make: Callable[[Handle, Subject | None], Subject],
        photos: Mapping[str, bytes | None] | None = None,
    ) -> Subject:
        """Writes what `make` makes of a subject (None: there is none yet), anew when it changed meanwhile.

        `photos` by medium: kept where the new subject says so, else forgotten. Raises InvalidName, CollectionNotFound,
        Busy after ATTEMPTS, and what `make` raises.
        """
        checks.check_name(subject)

        def attempt(handle: Handle) -> Subject | None:
            tag = handle.sealer.tag(subject)
            row = self._store.row(handle.id, tag)
            if row is not None and self.sealed.over(row):
                self._store.delete(handle.id, tag, row.version)
                row = None
            now = self._clock()
            made = replace(make(handle, self.sealed.read(handle, row) if row else None), updated=now)
            ttl = made.ttl if made.ttl is not None else handle.head.policy.ttl
            made = replace(made, expires=None if ttl is None else now + ttl)
            kept = {medium.id for medium in made.media if medium.photo}
            new = {medium: photo for medium, photo in (photos or {}).items() if medium in kept and photo is not None}
            done = self.sealed.write(handle, made, row, new, set(photos or ()) - set(new))
            return made if done else None

        for number in range(ATTEMPTS):
            handle = self.sealed.find(collection)
            if handle is None:
                raise types.CollectionNotFound
            if (made := attempt(handle)) is not None:
                return made
            time.sleep(secrets.randbelow(1 + min(number, 10)) / 1000)
        raise types.Busy

    def _described(self, handle: Handle) -> Collection:
        head = handle.head
        count = self._store.count(handle.id)
        return Collection(head.name, head.model, head.dimension, head.created, head.policy, count)

    def _new(self, handle: Handle, name: str) -> Subject:
        now = self._clock()
        return Subject(name, {}, now, now, None, None, handle.head.model, (), None)

    def _receipt(self, subjects: int, media: int | None = None, photos: int | None = None) -> Receipt:
        return Receipt(secrets.token_hex(8), self._clock(), subjects, media, photos)
