"""The API keys of a store: created, rotated, revoked, and found by their tokens.

A token reads `face_<id>_<secret>` and is shown once, when the key is created. The secret has 256 random bits, so that
one SHA-256 is enough: there is nothing to guess. All keys of a store are one encrypted record with a version, so that
whoever writes to the store without the master key can make no key, change none, and bring none back unnoticed by a
running process.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from service.crypto.vault import VaultLocked
from service.errors import ServiceError
from service.keys import Key, Unauthorized, check_key
from service.schemas.names import Role

REMEMBERED_SECONDS = 5.0
"""How long keys are trusted before the store is asked again: a revoked key stops working within that time."""
USED_SECONDS = 60.0
"""How often the last use of a key is written down."""
ATTEMPTS = 50
_RECORD = "keys"
_USED = "key-used/"
_FORM = re.compile(r"face_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_DUMMY_HASH = hashlib.sha256(b"nobody").hexdigest()


@dataclass(frozen=True)
class Record:
    """A small value, and the bytes as which it is stored."""

    value: bytes
    stored: bytes


class Records(Protocol):
    """Small values by name, encrypted. Raises VaultLocked for a value that somebody else wrote."""

    def read(self, name: str) -> Record | None:
        """Return the value of a name, None when there is none."""

    def replace(self, name: str, old: Record | None, value: bytes) -> bool:
        """Set a value if it is still `old` (None: there is none); return whether it was."""

    def put(self, name: str, value: bytes) -> None:
        """Set a value, whether or not there was one."""

    def delete(self, name: str) -> None:
        """Delete the value of a name, if there is one."""


class _StoredKey(msgspec.Struct, frozen=True):
    """A key with the hash of its secret, and of the secret before it while that still works."""

    key: Key
    hashed: str
    previous: str = ""
    previous_until: float = 0.0

    def fits(self, secret: str, now: float) -> bool:
        """Return whether this is the key's secret, or its secret before while that still works."""
        hashed = _hashed(secret)
        current = hmac.compare_digest(hashed, self.hashed)
        previous = hmac.compare_digest(hashed, self.previous or _DUMMY_HASH) and now < self.previous_until
        return current or previous


class _Keys(msgspec.Struct, frozen=True):
    """All keys by their ids; the version rises with every change."""

    version: int = 0
    keys: dict[str, _StoredKey] = {}


class KeyRing:
    """The keys of a store. Thread-safe; each call may read the store. `clock` returns seconds since 1970."""

    def __init__(self, records: Records, clock: Callable[[], float] = time.time) -> None:
        self._records = records
        self._clock = clock
        self._lock = threading.Lock()
        self._keys = _Keys()
        self._read_at = -math.inf
        self._highest = 0
        self._noted_uses: dict[str, float] = {}

    def create(
        self,
        label: str,
        roles: Iterable[Role],
        rate: float | None = None,
        burst: int = 20,
        expires: float | None = None,
        collections: Iterable[str] = (),
    ) -> tuple[Key, str]:
        """Return a new key and its token, which cannot be shown again. Raises ValueError for bad values."""
        now = self._clock()
        patterns = tuple(unicodedata.normalize("NFC", pattern) for pattern in collections)
        key = Key(secrets.token_hex(6), label, frozenset(roles), now, rate, burst, expires, patterns)
        check_key(key, now)
        secret = secrets.token_urlsafe(32)
        for record, keys in self._attempts():
            if self._write(record, keys, keys.keys | {key.id: _StoredKey(key, _hashed(secret))}):
                return key, f"face_{key.id}_{secret}"
        raise ServiceError("the keys are changed by too many callers at once")

    def rotate(self, identity: str, grace: float = 0.0) -> tuple[Key, str] | None:
        """Return a key with a new token, None for no such key. The old token works for `grace` seconds more."""
        secret = secrets.token_urlsafe(32)
        for record, keys in self._attempts():
            stored = keys.keys.get(identity)
            if stored is None:
                return None
            renewed = _StoredKey(stored.key, _hashed(secret), stored.hashed, self._clock() + grace)
            if self._write(record, keys, keys.keys | {identity: renewed}):
                return stored.key, f"face_{identity}_{secret}"
        raise ServiceError("the keys are changed by too many callers at once")

    def revoke(self, identity: str) -> bool:
        """End a key: here at once, in other processes within REMEMBERED_SECONDS. Return False when there is none."""
        for record, keys in self._attempts():
            if identity not in keys.keys:
                return False
            remaining = {name: stored for name, stored in keys.keys.items() if name != identity}
            if self._write(record, keys, remaining):
                self._records.delete(_USED + identity)
                return True
        raise ServiceError("the keys are changed by too many callers at once")

    def keys(self) -> list[Key]:
        """Return all keys of the store, the oldest first."""
        _, keys = self._read()
        return sorted((stored.key for stored in keys.keys.values()), key=lambda key: (key.created, key.id))

    def last_used(self, identity: str) -> float | None:
        """Return when a key was last used, to USED_SECONDS; None if it never was."""
        record = self._records.read(_USED + identity)
        return None if record is None else msgspec.json.decode(record.value, type=float)

    def authenticate(self, token: str | None) -> Key:
        """Return the key of an API token. Raises Unauthorized for one that is malformed, unknown or has expired."""
        form = _FORM.fullmatch(token or "")
        if form is None:
            raise Unauthorized
        identity, secret = form.groups()
        now = self._clock()
        stored = self._recent().keys.get(identity)
        if not _fits(stored, secret, now):  # perhaps it was made, or got a new secret, a moment ago
            stored = self._read()[1].keys.get(identity)
        if stored is None or not _fits(stored, secret, now):
            raise Unauthorized
        if stored.key.expires is not None and stored.key.expires <= now:
            raise Unauthorized("the API key has expired")
        self._note_use(identity, now)
        return stored.key

    def _recent(self) -> _Keys:
        """Return the keys as they were at most REMEMBERED_SECONDS ago."""
        with self._lock:
            if time.monotonic() - self._read_at < REMEMBERED_SECONDS:
                return self._keys
        return self._read()[1]

    def _read(self) -> tuple[Record | None, _Keys]:
        """Return the keys as stored. Raises VaultLocked when an older record was put back."""
        record = self._records.read(_RECORD)
        keys = _Keys() if record is None else msgspec.msgpack.decode(record.value, type=_Keys)
        with self._lock:
            if record is not None and keys.version < self._highest:
                raise VaultLocked(
                    "an older record of the API keys was put back; if you restored a backup, restart the service"
                )
            self._keys = keys
            self._read_at = time.monotonic()
            self._highest = max(self._highest, keys.version)
        return record, keys

    def _attempts(self) -> Iterable[tuple[Record | None, _Keys]]:
        for _ in range(ATTEMPTS):
            yield self._read()

    def _write(self, old: Record | None, keys: _Keys, new: dict[str, _StoredKey]) -> bool:
        changed = _Keys(max(keys.version, self._highest) + 1, new)  # an emptied store begins with none
        if not self._records.replace(_RECORD, old, msgspec.msgpack.encode(changed)):
            return False
        with self._lock:
            self._keys = changed
            self._read_at = time.monotonic()
            self._highest = changed.version
        return True

    def _note_use(self, identity: str, now: float) -> None:
        """Write down the use of a key, in this process at most every USED_SECONDS; a full disk does not stop it."""
        with self._lock:
            if now - self._noted_uses.get(identity, -math.inf) < USED_SECONDS:
                return
            self._noted_uses[identity] = now
        try:
            self._records.put(_USED + identity, msgspec.json.encode(now))
        except ServiceError:
            return


def _fits(stored: _StoredKey | None, secret: str, now: float) -> bool:
    """Compare a secret; a hash is compared also when there is no such key, so that the time taken tells nothing."""
    dummy = _StoredKey(Key("", "", frozenset(), 0), _DUMMY_HASH)
    return (stored or dummy).fits(secret, now) and stored is not None


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
