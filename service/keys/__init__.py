"""API keys: what a key permits, where, until when and how often. service.keys.key_ring keeps and checks them."""

from __future__ import annotations

import math
import unicodedata
from typing import get_args

import msgspec

from service.errors import ServiceError
from service.schemas.names import Role

ROLES: tuple[Role, ...] = get_args(Role)
"""All roles of API keys; service.schemas.names.Role says what each permits."""


class Unauthorized(ServiceError):
    """The request has no API key, or one that is unknown or has expired."""

    status = 401
    code = "unauthorized"
    title = "A valid API key is needed"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, {"WWW-Authenticate": "Bearer"})


class Forbidden(ServiceError):
    """The API key lacks the role that the request needs."""

    status = 403
    code = "forbidden"
    title = "This API key may not do that"


class RateLimited(ServiceError):
    """More requests came than the rate of the API key, or the limit of comparisons a minute, allows."""

    status = 429
    code = "rate_limited"
    title = "Too many requests with this API key"

    def __init__(self, detail: str = "", retry_after: int = 1) -> None:
        super().__init__(detail, {"Retry-After": str(retry_after)})


class Key(msgspec.Struct, frozen=True):
    """A key as its owner's administrator sees it.

    `rate` is requests a second on average, None for no limit; `expires` seconds since 1970, None for never. With
    `collections`, names or prefixes that end in `*`, the key sees and touches no others; without, it sees all.
    """

    id: str
    label: str
    roles: frozenset[Role]
    created: float
    rate: float | None = None
    burst: int = 20
    expires: float | None = None
    collections: tuple[str, ...] = ()

    def grants(self, role: Role) -> bool:
        """Return whether the key permits what `role` permits; `admin` permits everything."""
        return role in self.roles or "admin" in self.roles

    def reaches(self, collection: str) -> bool:
        """Return whether the key may see and touch a collection."""
        name = unicodedata.normalize("NFC", collection)
        return not self.collections or any(_matches(name, pattern) for pattern in self.collections)


def check_key(key: Key, now: float) -> None:
    """Check the values of a new key. Raises ValueError."""
    if not key.roles or not key.roles <= set(ROLES):
        raise ValueError(f"roles are some of {', '.join(ROLES)}")
    if not 0 < len(key.label) <= 100 or not key.label.isprintable():
        raise ValueError("a label has 1 to 100 printable characters")
    if (key.rate is not None and not 0 < key.rate < math.inf) or key.burst < 1:
        raise ValueError("a rate is above 0 requests a second, a burst at least 1")
    if key.expires is not None and not now < key.expires < math.inf:
        raise ValueError("a key expires in the future")
    if not all(
        0 < len(pattern.encode()) <= 257 and pattern != "*" and "/" not in pattern for pattern in key.collections
    ):
        raise ValueError("a collection is a name, or a prefix with * at its end")


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
