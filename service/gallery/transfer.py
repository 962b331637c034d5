"""Collections on the move: export to and import from one encrypted file, merging one into another."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import msgspec

from service.gallery import Collection, Policy, Subject, checks, photo_digest
from service.gallery.encrypted import StoredSubject
from service.gallery.encrypted_collections import OpenCollection
from service.gallery.errors import (
    Busy,
    CollectionExists,
    InvalidExport,
    InvalidName,
    InvalidSubject,
    ModelMismatch,
    SubjectDamaged,
    SubjectTooLarge,
)
from service.gallery.export_file import FrameReader, FrameWriter, Readable, Writable
from service.gallery.gallery import Gallery
from service.gallery.records import CollectionMeta, pack_subject, unpack_subject
from service.gallery.staged import StagedCollection

FRAME_BYTES = 4 << 20
"""Items are gathered into frames of about this size."""
PHOTO_BYTES = 64 << 20
"""Photos of one subject are written to the store in groups of this size."""
MAX_DIMENSION = 4096
log = logging.getLogger(__name__)


class _SubjectItem(msgspec.Struct, array_like=True, tag="subject", frozen=True):
    packed: bytes
    expires: float | None


class _PhotoItem(msgspec.Struct, array_like=True, tag="photo", frozen=True):
    """A photo of the subject that stands before it in the file."""

    medium: str
    photo: bytes


class _SubjectItem1(msgspec.Struct, array_like=True, frozen=True):
    """A subject with all its photos, as files of version 1 have it."""

    packed: bytes
    expires: float | None
    photos: dict[str, bytes]


_Item = _SubjectItem | _PhotoItem


def export(gallery: Gallery, collection: str, passphrase: str, file: Writable) -> int:
    """Write a collection with all subjects, media and kept photos; return how many subjects.

    Damaged subjects are left out, and the log says how many. Raises CollectionNotFound, InvalidExport for a short
    passphrase.
    """
    opened = gallery.encrypted.require(collection)
    writer = FrameWriter(file, passphrase)
    writer.begin(opened.meta.packed())
    count = size = 0
    items: list[_Item] = []
    for item in _items(gallery, opened):
        items.append(item)
        count += isinstance(item, _SubjectItem)
        size += len(item.packed) if isinstance(item, _SubjectItem) else len(item.photo)
        if size >= FRAME_BYTES:
            writer.add(msgspec.msgpack.encode(items))
            items = []
            size = 0
    if items:
        writer.add(msgspec.msgpack.encode(items))
    writer.end()
    return count


def _items(gallery: Gallery, collection: OpenCollection) -> Iterator[_Item]:
    damaged = 0
    for stored in gallery.encrypted.subjects(collection):
        if not isinstance(stored, StoredSubject):
            damaged += 1
            continue
        yield _SubjectItem(pack_subject(stored.subject), stored.subject.expires)
        for medium, photo in gallery.encrypted.photos(stored):
            yield _PhotoItem(medium, photo)
    if damaged:
        log.error("damaged subjects were left out of an export", extra={"subjects": damaged})


def import_(
    gallery: Gallery,
    file: Readable,
    passphrase: str,
    name: str | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> Collection:
    """Add the collection of an exported file, under its own or another name; all of it or nothing.

    The file is read in order and never held as a whole. `progress` is called with the subjects so far. The model is
    the one that the collection was exported with. Raises InvalidExport, CollectionExists, InvalidName.
    """
    reader = FrameReader(file, passphrase)
    frames = iter(reader)
    meta = _checked_meta(next(frames), name)
    if gallery.encrypted.find(meta.name) is not None:
        raise CollectionExists
    with StagedCollection(gallery.encrypted, meta) as staged:
        subjects = _Import(staged)
        for frame in frames:
            for item in _decoded(frame, reader.version):
                if isinstance(item, _SubjectItem):
                    progress(subjects.begin(item))
                else:
                    subjects.add_photo(item)
        subjects.finish()
        if not staged.publish():
            raise CollectionExists
    return gallery.collection(meta.name)


def _decoded(frame: bytes, version: int) -> Iterator[_Item]:
    """Yield the items of a frame. Raises InvalidExport."""
    try:
        if version == 2:
            yield from msgspec.msgpack.decode(frame, type=list[_Item])
            return
        for item in msgspec.msgpack.decode(frame, type=list[_SubjectItem1]):
            yield _SubjectItem(item.packed, item.expires)
            for medium, photo in item.photos.items():
                yield _PhotoItem(medium, photo)
    except msgspec.MsgspecError as error:
        raise InvalidExport("the file holds something else than subjects") from error


def _checked_meta(frame: bytes, name: str | None) -> CollectionMeta:
    """Return what the file says of its collection, if the API could return it. Raises InvalidExport, InvalidName."""
    try:
        meta = CollectionMeta.unpacked(frame)
        checks.check_ttl(meta.policy.ttl)
    except (ValueError, InvalidSubject) as error:
        raise InvalidExport("the file does not describe a collection") from error
    similarity = meta.policy.reject_below
    is_valid = 0 < meta.dimension <= MAX_DIMENSION and meta.model.isalnum() and len(meta.model) <= 128
    if not is_valid or not math.isfinite(meta.created) or not (similarity is None or -1 <= similarity <= 1):
        raise InvalidExport("the file does not describe a collection")
    return replace(meta, name=checks.clean_name(meta.name if name is None else name))


@dataclass(eq=False)
class _Import:
    """Writes subjects to a staged collection, each once its photos have come."""

    staged: StagedCollection
    count: int = 0
    subject: Subject | None = None
    photos: dict[str, bytes] = field(default_factory=dict)
    received: dict[str, bytes] = field(default_factory=dict)
    size: int = 0

    def begin(self, item: _SubjectItem) -> int:
        """Take the next subject; return how many there are by now. Raises InvalidExport."""
        self.finish()
        meta = self.staged.collection.meta
        try:
            subject = checks.checked_subject(replace(unpack_subject(item.packed), expires=item.expires), meta.dimension)
            self.subject = checks.with_template(subject, meta.policy)
        except (SubjectDamaged, InvalidName, InvalidSubject, SubjectTooLarge) as error:
            raise InvalidExport(f"the file holds a subject that cannot be stored: {error.detail}") from error
        if self.staged.read(self.subject.id) is not None:
            raise InvalidExport("the file holds a subject twice")
        self.count += 1
        return self.count

    def add_photo(self, item: _PhotoItem) -> None:
        """Take a photo of the subject that was taken last. Raises InvalidExport."""
        digest = photo_digest(item.photo)
        medium = next((m for m in self.subject.media if m.id == item.medium), None) if self.subject else None
        if medium is None or medium.photo_digest not in (digest, b""):  # version 1 has no digests
            raise InvalidExport("the file holds a photo that belongs to no medium")
        self.photos[item.medium] = item.photo
        self.received[item.medium] = digest
        self.size += len(item.photo)
        if self.size >= PHOTO_BYTES:
            self._write()

    def finish(self) -> None:
        """Write the last subject, if there is one, with its remaining photos."""
        if self.subject is not None:
            self._write()
        self.subject = None
        self.received = {}

    def _write(self) -> None:
        assert self.subject is not None
        media = tuple(replace(m, photo_digest=self.received.get(m.id)) for m in self.subject.media)
        self.staged.write(replace(self.subject, media=media), self.photos)
        self.photos = {}
        self.size = 0


def merge(gallery: Gallery, source: str, target: str) -> int:
    """Add all subjects and media of `source` to `target`, which keeps its own where both have them; return how many.

    `source` stays. It goes subject by subject: when it fails on the way, doing it again completes it. Raises
    ModelMismatch, CollectionNotFound, SubjectTooLarge.
    """
    source_collection = gallery.encrypted.require(source)
    target_collection = gallery.encrypted.require(target)
    if source_collection.meta.model != target_collection.meta.model:
        raise ModelMismatch("the two collections' templates are of different models")
    count = 0
    for stored in gallery.encrypted.subjects(source_collection):
        if isinstance(stored, StoredSubject):
            _merge_subject(gallery, target, stored)
            count += 1
        else:
            log.error("a damaged subject was left out of a merge")
    return count


def _merge_subject(gallery: Gallery, target: str, source: StoredSubject) -> None:
    incoming = source.subject
    with gallery.editor.turn(target):
        for edit in gallery.editor.edits(target, incoming.id):
            policy = edit.collection.meta.policy
            target_media = {medium.id: medium for medium in edit.stored.subject.media} if edit.stored else {}
            added = {m.id: replace(m, photo_digest=_kept_digest(m.photo_digest, policy)) for m in incoming.media}
            media = added | target_media
            base = edit.stored.subject if edit.stored else incoming
            metadata = {**incoming.metadata, **base.metadata}
            checks.check_metadata(metadata)
            changed = checks.with_template(replace(base, media=tuple(media.values()), metadata=metadata), policy)
            photos = {m: p for m, p in gallery.encrypted.photos(source) if policy.keep_photos and m not in target_media}
            if edit.write(changed, dict(photos)) is not None:
                return
    raise Busy


def _kept_digest(digest: bytes | None, policy: Policy) -> bytes | None:
    return digest if policy.keep_photos else None
