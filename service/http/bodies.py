"""Bodies of requests while they arrive: bounded in bytes, in time, and all of the process together."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from service.config import Settings
from service.errors import BodyTooLarge, ServiceError, UploadTimeout
from service.http.auth import BodyKind

SMALL = 256 << 10
"""Bytes of a body that holds no photo."""
DRAINED = 4
"""So many times its limit of a refused body is read and dropped, for a client that reads the answer only afterwards."""
DRAIN_SECONDS = 10


class TooManyBytesInFlight(ServiceError):
    """The bodies of all requests under way would take more memory than the process may give them."""

    status = 429
    code = "too_many_bytes"
    title = "Too many request bodies are being received, try again later"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, {"Retry-After": "1"})


class BodyBudget:
    """Counts the bytes of all bodies that the process holds. For one event loop; not thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0

    def take(self, count: int) -> None:
        """Count bytes that arrived. Raises TooManyBytesInFlight instead when they are too many."""
        if self.used + count > self._limit:
            raise TooManyBytesInFlight(f"FACE_BODY_BYTES allows {self._limit:,} bytes for all requests together")
        self.used += count

    def give_back(self, count: int) -> None:
        """Count bytes as free again, once their request is over."""
        self.used -= count


class Body:
    """The body of one request: an ASGI `receive` that enforces the limits."""

    def __init__(self, scope: Scope, receive: Receive, kind: BodyKind, settings: Settings, budget: BodyBudget) -> None:
        headers = Headers(scope=scope)
        self.received = 0
        self.announced = int(headers.get("content-length") or 0)
        self.complete = not self.announced and "transfer-encoding" not in headers
        self._receive = receive
        self._kind = kind
        self._budget = budget
        self._limit = {"photos": int(settings.max_request_bytes), "file": None}.get(kind, SMALL)
        self._seconds = settings.upload_timeout
        self._deadline = time.monotonic() + settings.upload_timeout
        self._counted = 0
        closing = "close" in headers.get("connection", "").lower() or scope.get("http_version") == "1.0"
        self._drained_first = closing and "expect" not in headers

    def check_announced(self) -> None:
        """Raise BodyTooLarge when the head announces more bytes than are allowed."""
        if self._limit is not None and self.announced > self._limit:
            raise self._too_large()

    async def receive(self) -> Message:
        """Return the next ASGI message. Raises BodyTooLarge, UploadTimeout, TooManyBytesInFlight."""
        if self.complete:
            return await self._receive()
        if self._kind == "file":  # of any size, so the time between two parts is what is bounded
            self._deadline = time.monotonic() + self._seconds
        try:
            async with asyncio.timeout(max(0.0, self._deadline - time.monotonic())):
                message = await self._receive()
        except TimeoutError as error:
            raise UploadTimeout from error
        if message["type"] == "http.request":
            self._count(len(message.get("body", b"")))
            self.complete = not message.get("more_body", False)
        return message

    def hold(self, count: int) -> None:
        """Count bytes that are held for the request beside its body, until release(). Raises TooManyBytesInFlight."""
        self._budget.take(count)
        self._counted += count

    def release(self) -> None:
        """Give back what the request took of the process's budget."""
        self._budget.give_back(self._counted)
        self._counted = 0

    async def drain(self) -> None:
        """Read what is still coming from a client that will hang up after the answer, within limits.

        Its connection would be reset otherwise, and it would not see the answer. Where the connection stays open, the
        protocol does that after the answer (see service.http.protocol).
        """
        if self.complete or not self._drained_first:
            return
        max_drained = DRAINED * (self._limit or SMALL)
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self.complete and self.announced <= max_drained and dropped <= max_drained:
                    message = await self._receive()
                    dropped += len(message.get("body", b""))
                    self.complete = not message.get("more_body", False)

    def _count(self, count: int) -> None:
        self.received += count
        if self._limit is not None:
            if self.received > self._limit:
                raise self._too_large()
            self.hold(count)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"the body of this request may have {self._limit:,} bytes")
