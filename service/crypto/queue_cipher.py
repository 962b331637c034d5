"""Encryption of what lies in Redis for a while (photos, outcomes, jobs), so that its memory and files show none of it.

    queue key ─HKDF with a salt of this process→ encryption key
    envelope = key id, salt, nonce, ciphertext (AES-GCM)

The key is FACE_QUEUE_KEY(_FILE), the same for API processes and workers; without it, one derived from the master key,
which workers need not have. Associated data bind an envelope to what it was made for.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from service.config import Settings
from service.crypto.vault import KEY_BYTES, Cipher, VaultLocked, master_keys_from_file, parse_master_keys

_KEY_ID = 4
_SALT = 16


class QueueCipher:
    """Encrypts under the first key, decrypts with any of them; `key_id` names the first, `key_ids` all of them."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {hashlib.sha256(b"queue key id" + key).digest()[:_KEY_ID]: key for key in keys}
        first_id = next(iter(self._keys))
        salt = secrets.token_bytes(_SALT)
        self._head = first_id + salt
        self._cipher = _derived_cipher(self._keys[first_id], salt)
        self.key_id = first_id.hex()
        self.key_ids = tuple(key_id.hex() for key_id in self._keys)

    def for_answer_to(self, envelope: bytes) -> QueueCipher:
        """Return a cipher with the key of `envelope`, so that its sender can decrypt the answer. Raises VaultLocked."""
        key = self._key_of(envelope)
        return self if self._head.startswith(envelope[:_KEY_ID]) else _single(key)

    def encrypt(self, plaintext: bytes, *associated_data: bytes) -> bytes:
        """Return an envelope that decrypts with the same associated data only."""
        return self._head + self._cipher.encrypt(plaintext, *associated_data)

    def decrypt(self, envelope: bytes, *associated_data: bytes) -> bytes:
        """Return what any process with one of the keys encrypted. Raises VaultLocked."""
        key = self._key_of(envelope)
        end = _KEY_ID + _SALT
        return _derived_cipher(key, envelope[_KEY_ID:end]).decrypt(envelope[end:], *associated_data)

    def _key_of(self, envelope: bytes) -> bytes:
        key = self._keys.get(envelope[:_KEY_ID])
        if key is None:
            raise VaultLocked("this entry of the queue was encrypted with a key that this process does not have")
        return key


@lru_cache(16)
def _single(key: bytes) -> QueueCipher:
    return QueueCipher([key])


@lru_cache(256)
def _derived_cipher(key: bytes, salt: bytes) -> Cipher:
    info = b"allinone-face queue"
    return Cipher(HKDF(hashes.SHA256(), KEY_BYTES, salt=salt, info=info).derive(key))


def has_queue_key(settings: Settings) -> bool:
    """Return whether the queue has a key of its own: then whatever is not encrypted is refused."""
    return settings.queue_key is not None or settings.queue_key_file is not None


def load_queue_cipher(settings: Settings, create: bool = False) -> QueueCipher | None:
    """Return the cipher that the settings name; None without a queue key, a master key and a file of either.

    With `create` a missing file of the master key is created. Raises ValueError for a bad key or an unreadable file.
    """
    try:
        if settings.queue_key is not None:
            return QueueCipher(parse_master_keys(settings.queue_key.get_secret_value()))
        if settings.queue_key_file is not None:
            return QueueCipher(parse_master_keys(settings.queue_key_file.read_text()))
        if settings.master_key is not None:
            return QueueCipher(_derived(parse_master_keys(settings.master_key.get_secret_value())))
        file = settings.master_key_file
        if file is not None and (create or _is_file(file)):
            return QueueCipher(_derived(master_keys_from_file(file)))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError("the file of the queue key or of the master key cannot be read or created") from error
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _derived(keys: Sequence[bytes]) -> list[bytes]:
    """Return keys of the queue for master keys, from which the master keys cannot be computed."""
    info = b"allinone-face queue key"
    return [HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=info).derive(key) for key in keys]
