"""The file of an exported collection: encrypted frames under a key made from a passphrase (scrypt).

MAGIC, salt, then frames of [length, nonce, ciphertext]. A frame's number and whether it is the last are bound to it, so
that a cut, swapped or foreign frame is noticed. The first frame describes the collection, the others hold its items.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from service.gallery.errors import InvalidExport

MAGIC = b"AIOFACE2"
"""Version 2: a subject and each of its photos are items of their own, so that no frame grows with their number."""
MAGIC_1 = b"AIOFACE1"
"""Version 1, which is still read: a subject with all its photos is one item."""
MAX_FRAME = 256 << 20
"""Bytes of the largest frame that is read; written are frames of one photo and 4 MiB at most."""
MAX_FRAME_1 = 1 << 30
MIN_PASSPHRASE = 8
_SALT_BYTES = 16
_NONCE_BYTES = 12
_SCRYPT_COST = 2**15  # N: about 0.1 s and 32 MiB
_LENGTH = struct.Struct(">I")


class Readable(Protocol):
    """A file, or anything else that bytes are read from in order."""

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer only at the end of the file."""


class Writable(Protocol):
    """A file, or anything else that bytes are written to in order."""

    def write(self, data: bytes, /) -> object:
        """Append bytes to the end of the file."""


class FrameWriter:
    """Writes frames; each is held back until it is known whether it is the last."""

    def __init__(self, file: Writable, passphrase: str) -> None:
        salt = secrets.token_bytes(_SALT_BYTES)
        self._file = file
        self._key = _key(passphrase, salt)
        self._number = 0
        self._held_back = b""
        file.write(MAGIC + salt)

    def begin(self, frame: bytes) -> None:
        """Take the first frame, which describes the collection; add() and end() write it."""
        self._held_back = frame

    def add(self, frame: bytes) -> None:
        """Take another frame and write the one before it."""
        self._write(is_last=False)
        self._held_back = frame

    def end(self) -> None:
        """Write the frame that was taken last, marked as the last."""
        self._write(is_last=True)

    def _write(self, is_last: bool) -> None:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        encrypted = nonce + self._key.encrypt(nonce, self._held_back, _associated_data(MAGIC, self._number, is_last))
        self._file.write(_LENGTH.pack(len(encrypted)) + encrypted)
        self._number += 1


class FrameReader:
    """Reads frames; `version` is that of the format, 1 or 2. Raises InvalidExport for what is not an export."""

    def __init__(self, file: Readable, passphrase: str) -> None:
        start = file.read(len(MAGIC) + _SALT_BYTES)
        self._magic = start[: len(MAGIC)]
        if len(start) != len(MAGIC) + _SALT_BYTES or self._magic not in (MAGIC, MAGIC_1):
            raise InvalidExport("not an export of a collection")
        self.version = 1 if self._magic == MAGIC_1 else 2
        self._file = file
        self._key = _key(passphrase, start[len(MAGIC) :])

    def __iter__(self) -> Iterator[bytes]:
        """Yield the frames in order. Raises InvalidExport for another passphrase and a damaged file."""
        number = 0
        following = self._read()
        if following is None:
            raise InvalidExport("the file is cut")
        while following is not None:
            encrypted = following
            following = self._read()
            yield self._decrypt(encrypted, number, is_last=following is None)
            number += 1

    def _decrypt(self, encrypted: bytes, number: int, is_last: bool) -> bytes:
        nonce = encrypted[:_NONCE_BYTES]
        ciphertext = encrypted[_NONCE_BYTES:]
        try:
            return self._key.decrypt(nonce, ciphertext, _associated_data(self._magic, number, is_last))
        except (InvalidTag, ValueError) as error:
            if number:
                raise InvalidExport("the file is damaged or cut") from error
            raise InvalidExport("the passphrase is another one, or the file is damaged") from error

    def _read(self) -> bytes | None:
        """Return the next frame, None at the end. Raises InvalidExport in the middle of a frame."""
        announced = self._file.read(_LENGTH.size)
        if not announced:
            return None
        largest = MAX_FRAME_1 if self.version == 1 else MAX_FRAME
        length = _LENGTH.unpack(announced)[0] if len(announced) == _LENGTH.size else largest + 1
        encrypted = self._file.read(length) if length <= largest else b""
        if len(encrypted) != length:
            raise InvalidExport("the file is damaged or cut")
        return encrypted


def _associated_data(magic: bytes, number: int, is_last: bool) -> bytes:
    return magic + struct.pack(">Q?", number, is_last)


def _key(passphrase: str, salt: bytes) -> AESGCM:
    if len(passphrase) < MIN_PASSPHRASE:
        raise InvalidExport(f"a passphrase has at least {MIN_PASSPHRASE} characters")
    return AESGCM(Scrypt(salt, 32, n=_SCRYPT_COST, r=8, p=1).derive(passphrase.encode("utf-8", "surrogatepass")))
