"""Collections and subjects in the clear, over a store that sees them sealed only."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Collection as Several
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np

from service.gallery import CollectionNotFound, Subject, SubjectNotFound, Vector
from service.gallery.records import Head, check_name, packed_subject, unpacked_subject
from service.gallery.store import CollectionRow, Store, SubjectRow
from service.vault import Sealer, Vault, VaultLocked, new_key

Result = TypeVar("Result")

ROOT = "vault/root"
"""The record that holds the key of collections' tags, wrapped."""
_MOVES = 20
_OPENED = 256
_STEP = 256


@dataclass(frozen=True)
class Handle:
    """A collection that was just read, and what opens it."""

    row: CollectionRow
    sealer: Sealer = field(repr=False)
    head: Head

    @property
    def id(self) -> bytes:
        """Constant from creation to deletion; sealing a collection anew gives it another."""
        return self.row.id


class SealedStore:
    """Opens and seals with one vault. `clock` gives seconds since 1970.

    Raises VaultLocked when the vault cannot open the store, and the store's own errors.
    """

    def __init__(self, store: Store, vault: Vault, clock: Callable[[], float]) -> None:
        self.store, self.vault, self.clock = store, vault, clock
        self._root = b""
        self._agree(new_key())
        self._open = lru_cache(_OPENED)(self._unsealed)

    def _agree(self, root: bytes) -> bool:
        """Takes the store's key of collections' tags, and first gives it `root` if it has none; whether it is new here.

        A store that was emptied under a running process has none: without it what is stored next could be found by
        this process only.
        """
        stored = self.store.record(ROOT)
        if stored is None:
            self.store.put_record(ROOT, self.vault.wrap(root, ROOT.encode()), only_new=True)
            stored = self.store.record(ROOT) or b""
        found = self.vault.unwrap(stored, ROOT.encode())
        if found == self._root:
            return False
        self._root, self._names = found, Sealer(found)
        return True

    # -- collections --------------------------------------------------------------------------------------------------

    def name_tag(self, name: str) -> bytes:
        """Where the collection of a name stands."""
        return self._names.tag(name)

    def find(self, name: str) -> Handle | None:
        """The collection of a name as it is now. Raises InvalidName."""
        check_name(name)
        row = self.store.collection(self.name_tag(name))
        if row is None and self._agree(self._root):
            row = self.store.collection(self.name_tag(name))
        return self.opened(row) if row else None

    def on(self, name: str, operation: Callable[[Handle], Result]) -> Result:
        """Does it on the collection of a name, again if that was sealed anew meanwhile. Raises CollectionNotFound."""
        for _ in range(_MOVES):
            handle = self.find(name)
            if handle is None:
                raise CollectionNotFound
            try:
                result = operation(handle)
            except (SubjectNotFound, CollectionNotFound):
                if self._stands(handle):
                    raise
                continue
            if self._stands(handle):
                return result
        raise CollectionNotFound

    def _stands(self, handle: Handle) -> bool:
        row = self.store.collection(self.name_tag(handle.head.name))
        return row is None or row.id == handle.id

    def opened(self, row: CollectionRow) -> Handle:
        """Raises VaultLocked."""
        sealer, head = self._open(row.id, row.key, row.head)
        if row.tag is not None and row.tag != self.name_tag(head.name):
            raise VaultLocked("a stored collection stands under another's name")
        return Handle(row, sealer, head)

    def _unsealed(self, identity: bytes, key: bytes, head: bytes) -> tuple[Sealer, Head]:
        sealer = Sealer(self.vault.unwrap(key, identity))
        return sealer, Head.unpacked(sealer.open(head, b"collection", identity))

    def create(self, head: Head, staged: bool) -> Handle | None:
        """A new empty collection under a new key; while staged it is not to be found. None when the name is taken."""
        self._agree(self._root)
        identity, key = secrets.token_bytes(16), new_key()
        sealer = Sealer(key)
        tag = None if staged else self.name_tag(head.name)
        sealed = sealer.seal(head.packed(), b"collection", identity)
        row = CollectionRow(identity, tag, self.vault.wrap(key, identity), sealed, 0)
        return Handle(row, sealer, head) if self.store.create(row) else None

    def publish(self, staged: Handle, replacing: Handle | None = None) -> bool:
        """Lets a staged collection be found; False when its name is taken or `replacing` changed since it was read."""
        old = replacing.row if replacing else None
        return self.store.publish(staged.id, self.name_tag(staged.head.name), old)

    def seal(self, plain: bytes, *place: bytes) -> bytes:
        """Seals what goes from process to process of one gallery."""
        return self._names.seal(plain, *place)

    def open(self, sealed: bytes, *place: bytes) -> bytes:
        """The reverse. Raises VaultLocked."""
        try:
            return self._names.open(sealed, *place)
        except VaultLocked:
            if not self._agree(self._root):
                raise
            return self._names.open(sealed, *place)

    # -- subjects -----------------------------------------------------------------------------------------------------

    def over(self, row: SubjectRow) -> bool:
        """Whether its time is over: as good as deleted."""
        return row.expires is not None and row.expires <= self.clock()

    def row(self, handle: Handle, subject: str) -> SubjectRow:
        """A subject as stored. Raises InvalidName, SubjectNotFound."""
        check_name(subject)
        row = self.store.row(handle.id, handle.sealer.tag(subject))
        if row is None or self.over(row):
            raise SubjectNotFound
        return row

    def read(self, handle: Handle, row: SubjectRow) -> Subject:
        """A subject as it is meant. Raises VaultLocked."""
        body = handle.sealer.open(row.body, *_place(b"subject", handle, row.tag))
        template = self.template(handle, row)
        return replace(unpacked_subject(body), expires=row.expires, model=handle.head.model, template=template)

    def template(self, handle: Handle, row: SubjectRow) -> Vector | None:
        """Its template [D], None without media. Raises VaultLocked."""
        if not row.template:
            return None
        return np.frombuffer(handle.sealer.open(row.template, *_place(b"template", handle, row.tag)), np.float32)

    def write(
        self,
        handle: Handle,
        subject: Subject,
        old: SubjectRow | None,
        photos: Mapping[str, bytes] | None = None,
        dropped: Several[str] = (),
    ) -> bool:
        """Writes it whole; False, and nothing happens, when the stored one is not `old` (None: none) any more."""
        tag = handle.sealer.tag(subject.id)
        template = b""
        if subject.template is not None:
            vector = np.ascontiguousarray(subject.template, np.float32)
            template = handle.sealer.seal(vector.tobytes(), *_place(b"template", handle, tag))
        body = handle.sealer.seal(packed_subject(subject), *_place(b"subject", handle, tag))
        row = SubjectRow(tag, 0, old.version if old else 0, subject.expires, template, body)
        sealed = {
            handle.sealer.tag(medium): handle.sealer.seal(photo, b"photo", handle.id, tag, medium.encode())
            for medium, photo in (photos or {}).items()
        }
        return self.store.put(handle.id, row, sealed, [handle.sealer.tag(m) for m in dropped]) is not None

    def photo(self, handle: Handle, row: SubjectRow, medium: str) -> bytes | None:
        """A kept photo. Raises VaultLocked."""
        sealed = self.store.photo(handle.id, row.serial, handle.sealer.tag(medium))
        return handle.sealer.open(sealed, b"photo", handle.id, row.tag, medium.encode()) if sealed else None

    def photos(self, handle: Handle, row: SubjectRow, subject: Subject) -> dict[str, bytes]:
        """All its kept photos by medium."""
        found = {m.id: self.photo(handle, row, m.id) for m in subject.media if m.photo}
        return {medium: photo for medium, photo in found.items() if photo is not None}

    def subjects(self, handle: Handle) -> Iterator[tuple[Subject, dict[str, bytes]]]:
        """Every subject with its kept photos, in a fixed order of no meaning."""
        after = b""
        while rows := self.store.rows(handle.id, after, _STEP):
            for row in rows:
                if not self.over(row):
                    subject = self.read(handle, row)
                    yield subject, self.photos(handle, row, subject)
            after = rows[-1].tag

    def discard(self, handle: Handle) -> None:
        """Forgets a staged collection; one that cannot be forgotten now is purged later."""
        with suppress(Exception):
            self.store.delete_collection(handle.id)


def _place(kind: bytes, handle: Handle, tag: bytes) -> tuple[bytes, ...]:
    """Associated data: a sealed value opens in its own collection, for its own subject and model only."""
    return kind, handle.id, tag, handle.head.model.encode()
