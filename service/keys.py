"""API keys: who may do what, and how often. A key is shown once, when it is made; only its hash is stored.

A key reads `face_<id>_<secret>`. The secret has 256 random bits, so one SHA-256 is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from service.errors import ServiceError
from service.gallery.store import Store

Role = Literal["analyze", "verify", "enrol", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""`analyze`: faces in photos; `verify`: compare and search; `enrol`: change collections; `admin`: all, keys, export."""

REMEMBERED_SECONDS = 5.0
"""How long a key's record is trusted before the store is asked again: a revoked key works no longer than that."""
_PREFIX = "key/"
_FORM = re.compile(r"face_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NOBODY = hashlib.sha256(b"nobody").hexdigest()


class Unauthorized(ServiceError):
    """No key, or one that is not known."""

    status, code, title = 401, "unauthorized", "A valid API key is needed"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, {"WWW-Authenticate": "Bearer"})


class Forbidden(ServiceError):
    """The key lacks the role."""

    status, code, title = 403, "forbidden", "This API key may not do that"


class RateLimited(ServiceError):
    """The key was used too often."""

    status, code, title = 429, "rate_limited", "Too many requests with this API key"

    def __init__(self, detail: str = "", retry_after: int = 1) -> None:
        super().__init__(detail, {"Retry-After": str(retry_after)})


@dataclass(frozen=True)
class Key:
    """A key as its owner's administrator sees it; `rate` is requests a second on average, None for no limit."""

    id: str
    label: str
    roles: frozenset[Role]
    created: float
    rate: float | None = None
    burst: int = 20


class KeyRing:
    """The keys of a store. Thread-safe; each call may read the store."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store, self._clock = store, clock
        self._known: dict[str, tuple[float, tuple[Key, str] | None]] = {}

    def create(self, label: str, roles: Iterable[Role], rate: float | None = None, burst: int = 20) -> tuple[Key, str]:
        """A new key, and the words to hand to its user: they cannot be had again. Raises ValueError for bad values."""
        chosen = frozenset(roles)
        if not chosen or not chosen <= set(ROLES):
            raise ValueError(f"roles are some of {', '.join(ROLES)}")
        if not 0 < len(label) <= 100 or not label.isprintable():
            raise ValueError("a label has 1 to 100 printable characters")
        if (rate is not None and not 0 < rate < float("inf")) or burst < 1:
            raise ValueError("a rate is above 0 requests a second, a burst at least 1")
        key = Key(secrets.token_hex(6), label, chosen, self._clock(), rate, burst)
        secret = secrets.token_urlsafe(32)
        fields = [key.label, sorted(key.roles), key.created, key.rate, key.burst, _hashed(secret)]
        self._store.put_record(_PREFIX + key.id, json.dumps(fields).encode())
        return key, f"face_{key.id}_{secret}"

    def keys(self) -> list[Key]:
        """All keys, oldest first."""
        found = [_read(name.removeprefix(_PREFIX), value)[0] for name, value in self._store.records(_PREFIX).items()]
        return sorted(found, key=lambda key: (key.created, key.id))

    def revoke(self, identity: str) -> bool:
        """Ends a key: here at once, in other processes within REMEMBERED_SECONDS. False when there is none."""
        self._known.pop(identity, None)
        return self._store.delete_record(_PREFIX + identity)

    def check(self, words: str | None, role: Role) -> Key:
        """The key that these words are, if it has the role; `admin` has all. Raises Unauthorized, Forbidden."""
        form = _FORM.fullmatch(words or "")
        if form is None:
            raise Unauthorized
        found = self._find(form[1])
        # compared also when there is no such key, so that the time taken tells nothing
        right = hmac.compare_digest(_hashed(form[2]), found[1] if found else _NOBODY)
        if found is None or not right:
            raise Unauthorized
        if role not in found[0].roles and "admin" not in found[0].roles:
            raise Forbidden(f"this needs the role {role!r}")
        return found[0]

    def _find(self, identity: str) -> tuple[Key, str] | None:
        now = time.monotonic()
        until, found = self._known.get(identity, (0.0, None))
        if until < now:
            stored = self._store.record(_PREFIX + identity)
            found = _read(identity, stored) if stored else None
            if found is not None:  # unknown ids are not remembered: anybody can make up many
                self._known[identity] = (now + REMEMBERED_SECONDS, found)
            else:
                self._known.pop(identity, None)
        return found


class RateLimiter:
    """A token bucket for each key, in this process: several processes each allow the rate."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: Key, cost: float = 1.0) -> None:
        """Counts a request that costs so many. Raises RateLimited with the seconds until it would be let through."""
        if key.rate is None:
            return
        cost = min(cost, key.burst)
        with self._lock:
            now = self._clock()
            tokens, last = self._buckets.get(key.id, (float(key.burst), now))
            tokens = min(key.burst, tokens + (now - last) * key.rate)
            missing = cost - tokens
            self._buckets[key.id] = (tokens if missing > 0 else tokens - cost, now)
        if missing > 0:
            raise RateLimited(retry_after=max(1, math.ceil(missing / key.rate)))


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _read(identity: str, stored: bytes) -> tuple[Key, str]:
    label, roles, created, rate, burst, hashed = json.loads(stored)
    return Key(identity, label, frozenset(roles), created, rate, burst), hashed
