"""The outermost and the last layer around the application: what every request gets, whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import errors
from service.http.admission import CLIENT_GONE
from service.http.compat.endpoints import COMPREFACE, REKOGNITION
from service.http.problems import problem
from service.ops.metrics import Metrics
from service.ops.tracing import Tracing

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; style-src 'self'{styles}; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # other sites can neither embed what is answered, kept photos among it, nor hold a window of the pages
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

log = logging.getLogger(__name__)


class RequestContext:
    """The outermost layer: gives each request its id, security headers, one log line, metrics and its trace span."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing | None) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of the ASGI server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        own_id = headers.get("x-request-id", "")
        scope["request_id"] = request_id = own_id if REQUEST_ID.fullmatch(own_id) else uuid.uuid4().hex
        started = time.monotonic()
        status = CLIENT_GONE
        span = self._tracing.begin("request", headers.get("traceparent")) if self._tracing else None
        scope["trace"] = self._tracing.header(span) if self._tracing and span else ""

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), request_id, scope.get("route_path", ""))
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            fields = self._observe(scope, status, time.monotonic() - started)
            if span:
                span.set_attributes(fields)
                span.end()

    def _observe(self, scope: Scope, status: int, seconds: float) -> dict[str, str | int]:
        """Count and log a request that is over; return what was logged."""
        route = scope.get("route_path", "other")  # the pattern: a path may hold a person's name
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.requests.labels(route, method, str(status)).observe(seconds)
        fields = {"request_id": scope["request_id"], "route": route, "method": method, "status": status}
        level = logging.INFO if route.startswith(("/v1", COMPREFACE, REKOGNITION)) else logging.DEBUG
        log.log(level, "request", extra={**fields, "duration_ms": round(1000 * seconds, 2)})
        return fields


class LastHandler:
    """Turns errors raised outside of routes into problem documents, and unexpected errors into a plain 500."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of the ASGI server."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer_begun = False

        async def send_noting_start(message: Message) -> None:
            nonlocal answer_begun
            answer_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noting_start)
        except asyncio.CancelledError:  # the time in which requests may end is over; nothing else cancels one
            if answer_begun:
                raise
            await problem(scope, errors.NotReady("the server stops: send the request again"))(scope, receive, send)
        except ClientDisconnect:
            log.info("the client left before its answer", extra={"request_id": scope["request_id"]})
        except errors.ServiceError as error:
            if answer_begun:
                raise
            self._metrics.rejected.labels(error.code).inc()
            await problem(scope, error)(scope, receive, send)
        except Exception:
            log.exception("request failed", extra={"request_id": scope["request_id"]})
            if answer_begun:
                raise
            await problem(scope, errors.ServiceError())(scope, receive, send)


def _add_headers(headers: MutableHeaders, request_id: str, route: str) -> None:
    headers["X-Request-ID"] = request_id
    headers.update(SECURITY_HEADERS)
    headers["Content-Security-Policy"] = CONTENT_POLICY.format(styles=" 'unsafe-inline'" if route == "/docs" else "")
    if not route.startswith(("/static", "/docs")):
        headers["Cache-Control"] = "no-store"
