"""Sealing what lies in Redis for a while: photos, what was found in them, and jobs, so that its files show none of it.

queue key ─HKDF with a salt of this process→ sealing key; an envelope is key id, salt, nonce and ciphertext

The key is FACE_QUEUE_KEY(_FILE), the same for API processes and workers; without it one derived from the master key,
which workers need not have. An envelope opens only for the job it was made for.
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
from service.vault import KEY_BYTES, Sealer, VaultLocked, master_keys_from_file, parse_master_keys

_KEY_ID = 4
_SALT = 16


class Seal:
    """Seals under the first key, opens with any of them. `id`: what the first is called; `opens`: all of them."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {hashlib.sha256(b"queue key id" + key).digest()[:_KEY_ID]: key for key in keys}
        name, self._salt = next(iter(self._keys)), secrets.token_bytes(_SALT)
        self._head = name + self._salt
        self._sealer = _sealer(self._keys[name], self._salt)
        self.id, self.opens = name.hex(), tuple(found.hex() for found in self._keys)

    def like(self, sealed: bytes) -> Seal:
        """Seals under the key that this was sealed under: who sent it opens the answer too. Raises VaultLocked."""
        key = self._key(sealed)
        return self if self._head.startswith(sealed[:_KEY_ID]) else _seal(key)

    def seal(self, plain: bytes, *place: bytes) -> bytes:
        """For this place."""
        return self._head + self._sealer.seal(plain, *place)

    def open(self, sealed: bytes, *place: bytes) -> bytes:
        """What was sealed for this place, by whatever process. Raises VaultLocked."""
        key, end = self._key(sealed), _KEY_ID + _SALT
        return _sealer(key, sealed[_KEY_ID:end]).open(sealed[end:], *place)

    def _key(self, sealed: bytes) -> bytes:
        key = self._keys.get(sealed[:_KEY_ID])
        if key is None:
            raise VaultLocked("what lies in the queue was sealed with a key that is not at hand")
        return key


@lru_cache(16)
def _seal(key: bytes) -> Seal:
    return Seal([key])


@lru_cache(256)
def _sealer(key: bytes, salt: bytes) -> Sealer:
    info = b"allinone-face queue"
    return Sealer(HKDF(hashes.SHA256(), KEY_BYTES, salt=salt, info=info).derive(key))


def given(settings: Settings) -> bool:
    """Whether a key of the queue's own is set: then nothing goes unsealed."""
    return settings.queue_key is not None or settings.queue_key_file is not None


def open_seal(settings: Settings, make: bool = False) -> Seal | None:
    """By the settings; None where neither a queue key nor a master key is set, or its file is not there.

    A master key's file is made when missing if `make`. Raises ValueError for a bad key or a file that cannot be read.
    """
    try:
        if settings.queue_key is not None:
            return Seal(parse_master_keys(settings.queue_key.get_secret_value()))
        if settings.queue_key_file is not None:
            return Seal(parse_master_keys(settings.queue_key_file.read_text()))
        if settings.master_key is not None:
            return Seal(_derived(parse_master_keys(settings.master_key.get_secret_value())))
        file = settings.master_key_file
        if file is not None and (make or _is_there(file)):
            return Seal(_derived(master_keys_from_file(file)))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError("the file of the queue's key or of the master key cannot be read or made") from error
    return None


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:
        return False


def _derived(keys: Sequence[bytes]) -> list[bytes]:
    info = b"allinone-face queue key"
    return [HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=info).derive(key) for key in keys]
