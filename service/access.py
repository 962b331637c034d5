"""Who may do what: API keys where they are on, this machine's own users only where they are off.

Without keys any web page open in a browser of this machine could reach a server on loopback, by a form or by a name
that it lets resolve to 127.0.0.1. What identifies people is therefore not served to requests for another host's name.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

from fastapi import Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param

from service.config import Settings
from service.errors import ServiceError
from service.gallery.opening import Opening
from service.keys import Key, RateLimiter, Role

BEARER = HTTPBearer(auto_error=False, description="an API key, where they are on")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]


class ForeignHost(ServiceError):
    """The request came to a loopback server under another name, or from another site's page."""

    status, code, title = 403, "foreign_host", "Without API keys this server answers to this machine only"


class Access:
    """Lets requests through. `enabled`: whether keys are asked for."""

    def __init__(self, settings: Settings, opening: Opening) -> None:
        self.enabled = keys_needed(settings)
        self._guarded = settings.api_keys == "auto" and not self.enabled
        self._origins = set(settings.cors_origins)
        self._opening, self._limiter = opening, RateLimiter()

    def admit(self, words: str | None, role: Role) -> Key | None:
        """The key of a request; None where none is asked for. Raises Unauthorized, Forbidden, RateLimited."""
        if not self.enabled:
            return None
        key = self._opening.keys.check(words, role)
        self._limiter.take(key)
        return key

    def check_host(self, host: str | None, origin: str | None) -> None:
        """Raises ForeignHost."""
        if not self._guarded:
            return
        if not is_loopback(_hostname(f"//{host or ''}")):
            raise ForeignHost("the request names another host; set FACE_API_KEYS=on to serve others")
        if origin and origin not in self._origins and not is_loopback(_hostname(origin)):
            raise ForeignHost("the request comes from another site's page")


class Direct(APIRoute):
    """A route whose dependencies and endpoint take the request alone: FastAPI's way to what each wants takes 0.08 ms.

    Dependencies of its own and of its router are asked, those of the application and of include_router() are not.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What FastAPI calls for a request."""
        checks = [depends.dependency for depends in self.dependencies if depends.dependency]

        async def handle(request: Request) -> Response:
            for check in checks:
                await check(request)
            return cast(Response, await self.endpoint(request))

        return handle


def needs(role: Role) -> Callable[[Request, Credentials], Awaitable[None]]:
    """A dependency: lets a route's requests through that have a key of this role."""

    async def check(request: Request, _: Credentials = None) -> None:
        access: Access = request.app.state.access
        if role != "analyze":
            access.check_host(request.headers.get("host"), request.headers.get("origin"))
        if access.enabled:
            scheme, words = get_authorization_scheme_param(request.headers.get("authorization"))
            given = words if words and scheme.lower() == "bearer" else request.headers.get("x-api-key")
            request.state.key = await asyncio.to_thread(access.admit, given, role)

    return check


def keys_needed(settings: Settings) -> bool:
    """Whether requests need a key."""
    return settings.api_keys == "on" or (settings.api_keys == "auto" and not is_loopback(settings.host))


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
