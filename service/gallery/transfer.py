"""Collections on the move: export to and import from one encrypted file, merging one into another.

The file: MAGIC, salt, then frames of [length, nonce, ciphertext] under a key made from a passphrase (scrypt). A frame's
place and whether it is the last are bound to it, so a cut, swapped or foreign frame is noticed. The first frame is the
head, the others hold subjects with their photos.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import BinaryIO

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from service.gallery import Collection, CollectionExists, CollectionNotFound, InvalidExport, ModelMismatch, Subject
from service.gallery.gallery import Gallery
from service.gallery.records import Head, check_name, packed_subject, pooled, unpacked_subject
from service.gallery.sealed import Handle, SealedStore

MAGIC = b"AIOFACE1"
FRAME_BYTES = 4 << 20
"""Subjects are gathered into frames of about this size."""
_LARGEST = 1 << 30
_SALT, _NONCE = 16, 12
_COST = 2**15  # scrypt's N: about 0.1 s and 32 MiB
_LENGTH = struct.Struct(">I")


def export(gallery: Gallery, collection: str, passphrase: str, file: BinaryIO) -> int:
    """Writes a collection with all subjects, media and kept photos; how many subjects. Raises CollectionNotFound."""
    sealed = gallery.sealed
    handle = sealed.find(collection)
    if handle is None:
        raise CollectionNotFound
    salt = secrets.token_bytes(_SALT)
    file.write(MAGIC + salt)
    key, number, count = _key(passphrase, salt), 0, 0
    pending = handle.head.packed()
    for frame, subjects in _frames(sealed, handle):
        _write_frame(file, key, number, pending, last=False)
        pending, number, count = frame, number + 1, count + subjects
    _write_frame(file, key, number, pending, last=True)
    return count


def import_(gallery: Gallery, file: BinaryIO, passphrase: str, name: str | None = None) -> Collection:
    """The collection of an exported file, under its own or another name; all of it or nothing.

    Its model is the one it was exported with. Raises InvalidExport, CollectionExists, InvalidName.
    """
    sealed = gallery.sealed
    frames = _read_frames(file, passphrase)
    try:
        head = Head.unpacked(next(frames))
    except (TypeError, ValueError, KeyError, StopIteration) as error:
        raise InvalidExport from error
    head = replace(head, name=head.name if name is None else name, staged=sealed.clock())
    check_name(head.name)
    if sealed.find(head.name) is not None:
        raise CollectionExists
    staged = sealed.create(head, staged=True)
    assert staged is not None
    try:
        for frame in frames:
            _put_frame(sealed, staged, frame)
        if not sealed.publish(staged):
            raise CollectionExists
    except BaseException:
        sealed.discard(staged)
        raise
    return gallery.collection(head.name)


def merge(gallery: Gallery, source: str, target: str) -> int:
    """Adds all subjects and media of `source` to `target`, which keeps its own where both have them; how many subjects.

    `source` stays. Subject by subject: when it fails on the way, doing it again completes it. Raises ModelMismatch,
    CollectionNotFound, TooMuchForOneSubject.
    """
    first, second = (gallery.sealed.find(name) for name in (source, target))
    if first is None or second is None:
        raise CollectionNotFound
    if first.head.model != second.head.model:
        raise ModelMismatch("the two collections' templates are of different models")
    count = 0
    for subject, photos in gallery.sealed.subjects(first):
        _merge_subject(gallery, target, subject, photos)
        count += 1
    return count


def _merge_subject(gallery: Gallery, target: str, coming: Subject, photos: dict[str, bytes]) -> None:
    def change(handle: Handle, old: Subject | None) -> Subject:
        keep = handle.head.policy.keep_photos
        media = {m.id: replace(m, photo=m.photo and keep) for m in coming.media}
        if old is None:
            return pooled(replace(coming, media=tuple(media.values())), handle.head.policy)
        media |= {m.id: m for m in old.media}
        metadata = {**coming.metadata, **old.metadata}
        return pooled(replace(old, media=tuple(media.values()), metadata=metadata), handle.head.policy)

    there = gallery.sealed.on(target, lambda handle: _media_of(gallery.sealed, handle, coming.id))
    gallery.change(target, coming.id, change, {m: p for m, p in photos.items() if m not in there})


def _media_of(sealed: SealedStore, handle: Handle, subject: str) -> set[str]:
    row = sealed.store.row(handle.id, handle.sealer.tag(subject))
    return {m.id for m in sealed.read(handle, row).media} if row else set()


def _frames(sealed: SealedStore, handle: Handle) -> Iterator[tuple[bytes, int]]:
    """Packed subjects, gathered, with their number."""
    gathered: list[list[object]] = []
    size = 0
    for subject, photos in sealed.subjects(handle):
        packed = packed_subject(subject)
        gathered.append([packed, subject.expires, photos])
        size += len(packed) + sum(map(len, photos.values()))
        if size >= FRAME_BYTES:
            yield msgpack.packb(gathered), len(gathered)
            gathered, size = [], 0
    if gathered:
        yield msgpack.packb(gathered), len(gathered)


def _put_frame(sealed: SealedStore, staged: Handle, frame: bytes) -> None:
    for packed, expires, photos in msgpack.unpackb(frame):
        subject = pooled(replace(unpacked_subject(packed), expires=expires), staged.head.policy)
        if not sealed.write(staged, subject, None, photos):
            raise InvalidExport("the file holds a subject twice")


def _write_frame(file: BinaryIO, key: AESGCM, number: int, plain: bytes, last: bool) -> None:
    nonce = secrets.token_bytes(_NONCE)
    sealed = nonce + key.encrypt(nonce, plain, _place(number, last))
    file.write(_LENGTH.pack(len(sealed)) + sealed)


def _read_frames(file: BinaryIO, passphrase: str) -> Iterator[bytes]:
    start = file.read(len(MAGIC) + _SALT)
    if len(start) != len(MAGIC) + _SALT or not start.startswith(MAGIC):
        raise InvalidExport("not an export of a collection")
    key, number = _key(passphrase, start[len(MAGIC) :]), 0
    following = _read_frame(file)
    while following is not None:
        sealed, following = following, _read_frame(file)
        try:
            yield key.decrypt(sealed[:_NONCE], sealed[_NONCE:], _place(number, following is None))
        except (InvalidTag, ValueError) as error:
            reason = (
                "the passphrase is another, or the file is damaged" if number == 0 else "the file is damaged or cut"
            )
            raise InvalidExport(reason) from error
        number += 1
    if not number:
        raise InvalidExport("the file is cut")


def _read_frame(file: BinaryIO) -> bytes | None:
    """None at the end. Raises InvalidExport in the middle of a frame."""
    announced = file.read(_LENGTH.size)
    if not announced:
        return None
    length = _LENGTH.unpack(announced)[0] if len(announced) == _LENGTH.size else _LARGEST + 1
    sealed = file.read(length) if length <= _LARGEST else b""
    if len(sealed) != length:
        raise InvalidExport("the file is damaged or cut")
    return sealed


def _place(number: int, last: bool) -> bytes:
    return MAGIC + struct.pack(">Q?", number, last)


def _key(passphrase: str, salt: bytes) -> AESGCM:
    if len(passphrase) < 8:
        raise InvalidExport("a passphrase has at least 8 characters")
    return AESGCM(Scrypt(salt, 32, n=_COST, r=8, p=1).derive(passphrase.encode()))
