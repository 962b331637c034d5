"""Who may call what: the table of all endpoints with the role each needs, and the check of a request's API key.

The table is an allow list. A path or method that is not in it is not served, whatever routers the application includes,
and everything in it is checked on the head of a request, before any of its body is read (see service.http.admission).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from fastapi import Request
from starlette.datastructures import Headers

from service.config import Settings
from service.gallery.resources import Resources
from service.http.compat.endpoints import COMPAT_ENDPOINTS, api_of
from service.http.rates import RateLimiter
from service.keys import Forbidden, Key, Unauthorized
from service.schemas.names import Role

Needs = Role | Literal["nothing", "any key"]
"""What a caller needs where API keys are on: a role, any valid key, or nothing."""
BodyKind = Literal["none", "small", "photos", "file"]
"""`none`, `small`: at most 256 KiB; `photos`: at most FACE_MAX_REQUEST_BYTES; `file`: of any size, streamed to disk."""

COLLECTION = "/v1/collections/{collection}"
SUBJECT = COLLECTION + "/subjects/{subject}"
MEDIUM = SUBJECT + "/media/{medium}"

ENDPOINTS: tuple[tuple[str, str, Needs, BodyKind], ...] = (
    # pages and what monitoring asks
    ("GET", "/", "nothing", "none"),
    ("GET", "/people", "nothing", "none"),
    ("GET", "/docs", "nothing", "none"),
    ("GET", "/docs/static/*", "nothing", "none"),
    ("GET", "/static/*", "nothing", "none"),
    ("GET", "/openapi.json", "nothing", "none"),
    ("GET", "/livez", "nothing", "none"),
    ("GET", "/readyz", "nothing", "none"),
    ("GET", "/v1/model", "nothing", "none"),
    ("GET", "/metrics", "any key", "none"),
    # analysis
    ("POST", "/v1/faces", "analyze", "photos"),
    ("POST", "/v1/videos", "analyze", "photos"),
    ("POST", "/v1/jobs", "analyze", "photos"),
    ("GET", "/v1/jobs/{job_id}", "any key", "none"),  # a job is its own key's alone
    ("DELETE", "/v1/jobs/{job_id}", "any key", "none"),
    # comparing and searching
    ("POST", "/v1/compare", "verify", "photos"),
    ("POST", "/v1/templates", "verify", "photos"),
    ("POST", "/v1/clusters", "verify", "photos"),
    ("POST", COLLECTION + "/search", "verify", "photos"),
    ("POST", COLLECTION + "/clusters", "enrol", "photos"),
    ("POST", SUBJECT + "/verify", "verify", "photos"),
    # people in collections
    ("GET", "/v1/collections", "enrol", "none"),
    ("GET", COLLECTION, "enrol", "none"),
    ("GET", COLLECTION + "/subjects", "enrol", "none"),
    ("GET", COLLECTION + "/conflicts", "enrol", "none"),
    ("POST", COLLECTION + "/conflicts", "enrol", "none"),
    ("GET", SUBJECT, "enrol", "none"),
    ("PUT", SUBJECT, "enrol", "small"),
    ("DELETE", SUBJECT, "enrol", "none"),
    ("POST", SUBJECT + "/rename", "enrol", "small"),
    ("POST", SUBJECT + "/media", "enrol", "photos"),
    ("DELETE", MEDIUM, "enrol", "none"),
    ("GET", MEDIUM + "/photo", "enrol", "none"),
    # administration
    ("PUT", COLLECTION, "admin", "small"),
    ("DELETE", COLLECTION, "admin", "none"),
    ("GET", SUBJECT + "/template", "admin", "none"),
    ("POST", COLLECTION + "/export", "admin", "small"),
    ("POST", COLLECTION + "/import", "admin", "file"),
    ("POST", COLLECTION + "/merge", "admin", "small"),
    ("POST", COLLECTION + "/re-enrol", "admin", "none"),
    ("POST", COLLECTION + "/rotate-key", "admin", "none"),
    ("GET", "/v1/keys", "admin", "none"),
    ("POST", "/v1/keys", "admin", "small"),
    ("POST", "/v1/keys/{key}/rotate", "admin", "small"),
    ("DELETE", "/v1/keys/{key}", "admin", "none"),
    # other products' APIs, where FACE_COMPAT names them
    *COMPAT_ENDPOINTS,
)

OPEN_TO_ALL = (
    "ANYBODY WHO REACHES THIS SERVER MAY READ, CHANGE AND DELETE ALL IT STORES: FACE_API_KEYS is off and it listens "
    "beyond this machine. Set FACE_API_KEYS=on, or FACE_HOST=127.0.0.1"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Endpoint:
    """One row of ENDPOINTS: a route, what its callers need, and the body that it takes."""

    method: str
    path: str
    needs: Needs
    body: BodyKind

    @property
    def is_page(self) -> bool:
        """Return whether a browser may be led here by a link on any site."""
        return self.method == "GET" and self.path in ("/", "/people", "/docs")


class EndpointTable:
    """Finds the endpoint of a path and a method."""

    def __init__(self, compat: Collection[str] = ()) -> None:
        """Take our own endpoints, and those of the other products' APIs that are named."""
        self._by_path: dict[str, dict[str, Endpoint]] = {}
        for method, path, needs, body in ENDPOINTS:
            if api_of(path) is None or api_of(path) in compat:
                self._by_path.setdefault(path, {})[method] = Endpoint(method, path, needs, body)
        self._patterns = [(_pattern(path), path) for path in self._by_path if "{" in path or "*" in path]

    def methods(self, path: str) -> dict[str, Endpoint]:
        """Return the endpoints of a path by method; an empty dictionary for a path that is not served."""
        if "{" not in path and "*" not in path and path in self._by_path:
            return self._by_path[path]
        for pattern, template in self._patterns:
            if pattern.fullmatch(path):
                return self._by_path[template]
        return {}

    @staticmethod
    def names(endpoint: Endpoint, path: str) -> dict[str, str]:
        """Return the values in a path of its endpoint's {parameters}, by name."""
        match = _pattern(endpoint.path).fullmatch(path)
        return match.groupdict() if match else {}


def allowed_methods(endpoints: dict[str, Endpoint]) -> str:
    """Return the value of an `Allow` header, given the endpoints of one path by method."""
    return ", ".join(sorted({*endpoints, *(("HEAD",) if "GET" in endpoints else ())}))


def _pattern(template: str) -> re.Pattern[str]:
    escaped = re.escape(template).replace(r"\{", "{").replace(r"\}", "}").replace(r"\*", "[^\0]*")
    return re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", escaped), re.DOTALL)


class Authenticator:
    """Checks API keys. `enabled` tells whether callers need one.

    The checks have threads of their own: work with the gallery or webhooks that hang must not keep callers out.
    """

    THREADS = 4

    def __init__(self, settings: Settings, resources: Resources) -> None:
        self.enabled = keys_needed(settings)
        if not self.enabled and not is_loopback(settings.host):
            log.warning(OPEN_TO_ALL, extra={"host": settings.host})
        self._resources = resources
        self._limiter = RateLimiter()
        self._threads = ThreadPoolExecutor(self.THREADS, thread_name_prefix="api-keys")

    async def authenticate(self, headers: Headers, signed: bool = False, in_path: str | None = None) -> Key:
        """Return the key that a request's head carries; `signed` tells that it is signed as Amazon's clients do.

        At an endpoint whose path holds the key it is the one that counts. Raises Unauthorized, StorageUnavailable.
        """
        token = in_path if in_path is not None else _amazon_token(headers) if signed else _token(headers)
        if not token:
            raise Unauthorized("send an API key: `Authorization: Bearer KEY`")
        work = self._threads.submit(lambda: self._resources.keys.authenticate(token))
        return await asyncio.wrap_future(work)

    def authorize(self, key: Key, needs: Needs) -> None:
        """Count a request of a key. Raises Forbidden when the key lacks the role, RateLimited beyond its rate."""
        if needs != "nothing" and needs != "any key" and not key.grants(needs):  # noqa: PLR1714 - mypy narrows this
            raise Forbidden(f"this needs a key with the role `{needs}`")
        self._limiter.take(key)

    def close(self) -> None:
        """End the threads that check keys."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def require_role(request: Request, role: Role) -> None:
    """Check a role that depends on what the body holds. Raises Forbidden; passes where API keys are off."""
    key: Key | None = getattr(request.state, "key", None)
    if key is not None and not key.grants(role):
        raise Forbidden(f"what this request holds needs a key with the role `{role}`")


def keys_needed(settings: Settings) -> bool:
    """Return whether callers need an API key, by the settings alone."""
    return settings.api_keys == "on" or (settings.api_keys == "auto" and not is_loopback(settings.host))


def is_loopback(host: str) -> bool:
    """Return whether an address or name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _token(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else headers.get("x-api-key", "")


def _amazon_token(headers: Headers) -> str:
    """Return the session token of a signed request, or else the id of its access key."""
    credential = re.search(r"Credential=([^/,\s]+)/", headers.get("authorization", ""))
    return headers.get("x-amz-security-token") or (credential[1] if credential else "")
