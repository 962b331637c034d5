"""Encryption of what identifies people: AES-GCM under one key for each collection, each wrapped by the master key.

master key ─wraps→ collection key ─HKDF→ encryption key, tag key, seed of the collection's rotation

Without its wrapped key a collection is noise: deleting that one value erases all of it (crypto-erase). Names are never
stored in clear: rows are found by a keyed hash of the name, the tag.
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
_NONCE_BYTES = 12
_KEY_ID_BYTES = 4


class VaultLocked(ServiceError):
    """Stored data do not decrypt: the master key is another one, or somebody changed the data."""

    code = "vault_locked"
    title = "Stored data cannot be decrypted with this server's master key"


class BadMasterKey(ValueError):
    """The master key is not 32 bytes in base64, or is missing where data were encrypted with it."""


def new_key() -> bytes:
    """Return a random key, KEY_BYTES long."""
    return secrets.token_bytes(KEY_BYTES)


def parse_master_keys(text: str) -> list[bytes]:
    """Return the keys in `text`: base64, separated by commas or lines. Raises BadMasterKey.

    The first key encrypts; all of them decrypt.
    """
    keys = []
    for encoded in text.replace(",", "\n").split():
        try:
            keys.append(base64.b64decode(encoded, validate=True))
        except ValueError as error:
            raise BadMasterKey("a master key is 32 bytes in base64") from error
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise BadMasterKey("a master key is 32 bytes in base64")
    return keys


def master_keys_from_file(path: Path, create: bool = True) -> list[bytes]:
    """Return the keys in a file; a missing file is created with a new key, readable by its owner only, if `create`.

    Raises BadMasterKey for other content or a missing file that may not be created, OSError when the file cannot be
    read or created.
    """
    if not path.exists():
        if not create:
            raise BadMasterKey(f"the master key's file {path} is missing")
        _create_key_file(path)
    return parse_master_keys(path.read_text())


def _create_key_file(path: Path) -> None:
    """Write a new key to `path` unless another process was faster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
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


class Vault:
    """Wraps keys under the first master key and unwraps what any of the master keys wrapped."""

    def __init__(self, master_keys: Sequence[bytes]) -> None:
        if not master_keys or any(len(key) != KEY_BYTES for key in master_keys):
            raise BadMasterKey(f"a vault needs master keys of {KEY_BYTES} bytes")
        self._keys = {_key_id(key): AESGCM(key) for key in master_keys}
        self._current = next(iter(self._keys))

    def wrap(self, key: bytes, label: bytes) -> bytes:
        """Encrypt a key so that it may be stored; only the same label unwraps it."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        encrypted = self._keys[self._current].encrypt(nonce, key, _joined(b"wrapped key", label))
        return self._current + nonce + encrypted

    def unwrap(self, wrapped: bytes, label: bytes) -> bytes:
        """Decrypt a wrapped key. Raises VaultLocked for another master key or label, and for changed data."""
        key = self._keys.get(wrapped[:_KEY_ID_BYTES])
        if key is None:
            raise VaultLocked("stored data were encrypted with another master key than this server has")
        return _decrypt(key, wrapped[_KEY_ID_BYTES:], _joined(b"wrapped key", label))

    def is_current(self, wrapped: bytes) -> bool:
        """Return whether the first master key wrapped this key, and not an older one."""
        return wrapped[:_KEY_ID_BYTES] == self._current


class Cipher:
    """Encrypts under one key; associated data bind a value to its place, so that it cannot be moved to another."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._aead = AESGCM(self.derive(b"seal"))
        self._tag_key = self.derive(b"tag")

    def encrypt(self, plaintext: bytes, *associated_data: bytes) -> bytes:
        """Return nonce and ciphertext, which may be stored; decrypt() needs the same associated data."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plaintext, _joined(*associated_data))

    def decrypt(self, ciphertext: bytes, *associated_data: bytes) -> bytes:
        """Return what encrypt() was given with the same associated data. Raises VaultLocked."""
        return _decrypt(self._aead, ciphertext, _joined(*associated_data))

    def tag(self, name: str) -> bytes:
        """Return a keyed hash of a name, TAG_BYTES long: it finds a row without telling whose it is."""
        return hmac.digest(self._tag_key, name.encode(), "sha256")[:TAG_BYTES]

    def derive(self, purpose: bytes) -> bytes:
        """Return a key for another purpose, from which this one cannot be computed."""
        return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=b"allinone-face " + purpose).derive(self._key)


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"master key id" + key).digest()[:_KEY_ID_BYTES]


def _joined(*parts: bytes) -> bytes:
    """Return the parts with their lengths, so that no two lists of parts look alike."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _decrypt(key: AESGCM, ciphertext: bytes, associated_data: bytes) -> bytes:
    try:
        return key.decrypt(ciphertext[:_NONCE_BYTES], ciphertext[_NONCE_BYTES:], associated_data)
    except (InvalidTag, ValueError) as error:
        raise VaultLocked("stored data do not decrypt: another key encrypted them, or somebody changed them") from error
