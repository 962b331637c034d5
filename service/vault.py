"""Sealing what identifies people: AES-GCM under a key per collection, each wrapped by the master key.

master key ─wraps→ collection key ─HKDF→ sealing key, tag key

Without the wrapped key a collection is noise: deleting that one value erases all of it (crypto-erase). Names never
reach the disk in clear: rows are found by a keyed hash of the name, its tag.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from service.errors import ServiceError

KEY_BYTES = 32
TAG_BYTES = 16
_NONCE = 12
_KEY_ID = 4


class VaultLocked(ServiceError):
    """No master key at hand opens what is stored, or what is stored was tampered with."""

    code, title = "vault_locked", "Stored data cannot be opened with the master key at hand"


class BadMasterKey(ValueError):
    """The master key is not 32 bytes in base64."""


def new_key() -> bytes:
    """A random key of KEY_BYTES."""
    return secrets.token_bytes(KEY_BYTES)


def parse_master_keys(text: str) -> list[bytes]:
    """Keys in base64, separated by commas or lines: the first seals, all open. Raises BadMasterKey."""
    keys = []
    for word in text.replace(",", "\n").split():
        try:
            keys.append(base64.b64decode(word, validate=True))
        except ValueError as error:
            raise BadMasterKey("a master key is 32 bytes in base64") from error
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise BadMasterKey("a master key is 32 bytes in base64")
    return keys


def master_keys_from_file(path: Path) -> list[bytes]:
    """Keys of a file as parse_master_keys reads them; a missing file is made with a new key, for its owner only.

    Raises BadMasterKey for another content, OSError when it cannot be read or made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    if not path.exists():
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(new_key()) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, path)  # unlike a rename it never replaces the key of a process that was faster
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    return parse_master_keys(path.read_text())


class Vault:
    """Wraps keys under the first master key, opens what any of them wrapped."""

    def __init__(self, master_keys: Sequence[bytes]) -> None:
        if not master_keys or any(len(key) != KEY_BYTES for key in master_keys):
            raise BadMasterKey(f"a vault needs master keys of {KEY_BYTES} bytes")
        self._keys = {hashlib.sha256(b"master key id" + key).digest()[:_KEY_ID]: AESGCM(key) for key in master_keys}
        self._current = next(iter(self._keys))

    def wrap(self, key: bytes, label: bytes) -> bytes:
        """A key as it may be stored; it opens under the same label only."""
        nonce = secrets.token_bytes(_NONCE)
        return self._current + nonce + self._keys[self._current].encrypt(nonce, key, _bound(b"wrapped key", label))

    def unwrap(self, wrapped: bytes, label: bytes) -> bytes:
        """The reverse of wrap. Raises VaultLocked."""
        key = self._keys.get(wrapped[:_KEY_ID])
        if key is None:
            raise VaultLocked("stored data were sealed with a master key that is not at hand")
        return _decrypt(key, wrapped[_KEY_ID:], _bound(b"wrapped key", label))

    def is_current(self, wrapped: bytes) -> bool:
        """Whether the first master key wrapped it."""
        return wrapped[:_KEY_ID] == self._current


class Sealer:
    """Seals under one key; associated data bind a sealed value to its place, so that it cannot be moved to another."""

    def __init__(self, key: bytes) -> None:
        self._seal = AESGCM(_derive(key, b"seal"))
        self._tag = _derive(key, b"tag")

    def seal(self, plain: bytes, *place: bytes) -> bytes:
        """Nonce and ciphertext."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._seal.encrypt(nonce, plain, _bound(*place))

    def open(self, sealed: bytes, *place: bytes) -> bytes:
        """What was sealed for this place. Raises VaultLocked."""
        return _decrypt(self._seal, sealed, _bound(*place))

    def tag(self, name: str) -> bytes:
        """Keyed hash of a name, TAG_BYTES long: finds a row without telling whose it is."""
        return hmac.digest(self._tag, name.encode(), "sha256")[:TAG_BYTES]


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=b"allinone-face " + purpose).derive(key)


def _bound(*place: bytes) -> bytes:
    """The parts with their lengths, so that no two places look alike."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in place)


def _decrypt(key: AESGCM, sealed: bytes, place: bytes) -> bytes:
    try:
        return key.decrypt(sealed[:_NONCE], sealed[_NONCE:], place)
    except (InvalidTag, ValueError) as error:
        raise VaultLocked("stored data do not open: another key sealed them, or they were changed") from error
