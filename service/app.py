"""The web application: request ids, limits, last handler, headers, and the routers. Knows brokers, never the model.

request → RequestContext (id, log, metrics) → CORS → Guard (body limit, last handler) → routers
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import errors
from service.access import Access, needs
from service.api import compare, faces, gallery, identify, jobs, keys, media, system, transfer
from service.audit import AuditLog
from service.broker import ApiSide
from service.config import Settings
from service.fetching import Fetcher
from service.gallery import InvalidName
from service.gallery.opening import Opening
from service.gallery.tending import tend
from service.jobs.opening import open_jobs
from service.jobs.runner import JobRunner
from service.metrics import Metrics
from service.pages import add_pages
from service.tracing import Tracing, open_tracing
from service.webhooks import Webhooks

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CLIENT_GONE = 499  # nginx's number for it; only in logs and metrics
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self'{styles}; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

log = logging.getLogger(__name__)


def create_app(settings: Settings, broker: ApiSide, metrics: Metrics) -> FastAPI:
    """The API in front of a broker. Workers are started elsewhere."""
    opening = Opening(settings)
    tracing = open_tracing(settings.otlp_endpoint, "allinone-face-api")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await broker.start()
        tending = asyncio.create_task(tend(opening, metrics))
        app.state.runner.start()
        yield
        tending.cancel()
        await app.state.runner.close()
        await app.state.jobs.disconnect()
        if tracing:
            await asyncio.to_thread(tracing.close)
        await broker.close()
        await asyncio.to_thread(opening.close)

    app = FastAPI(
        title="allinone-face",
        version="1",
        description=__doc__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.description = "Faces in photos: box, 21 landmarks with visibility, pose, smile, gender, age and a descriptor."
    app.state.settings, app.state.broker, app.state.metrics = settings, broker, metrics
    app.state.opening, app.state.access = opening, Access(settings, opening)
    app.state.fetcher = Fetcher(settings.image_hosts)
    app.state.jobs = open_jobs(settings)
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else ""
    app.state.webhooks = Webhooks(settings.webhook_hosts, secret, metrics)
    app.state.runner = JobRunner(app.state.jobs, broker, app.state.webhooks, settings, metrics)
    app.state.audit = AuditLog(settings.data_dir, opening)
    app.add_exception_handler(errors.ServiceError, _on_service_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_middleware(Guard, max_bytes=settings.max_request_bytes, metrics=metrics)
    if settings.cors_origins:
        shown = ["X-Request-ID", "Retry-After"]
        methods = ["GET", "POST", "PUT", "DELETE"]
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=methods,
            allow_headers=["*"],
            expose_headers=shown,
        )
    app.add_middleware(RequestContext, metrics=metrics, tracing=tracing)
    app.include_router(faces.router)
    app.include_router(system.router)
    app.include_router(jobs.router, dependencies=[Depends(needs("analyze"))])
    for router in (gallery, media, identify, transfer, compare, keys):
        app.include_router(router.router)
    add_pages(app)
    return app


def problem(scope: Scope, error: errors.ServiceError, **extra: Any) -> Response:
    """The problem document as a response."""
    body = error.problem(scope.get("request_id")) | extra
    return JSONResponse(body, error.status, error.headers, errors.MEDIA_TYPE)


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ServiceError)
    request.app.state.metrics.rejected.labels(error.code).inc()
    return problem(request.scope, error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return problem(request.scope, errors.NotFound())
    if error.status_code == 405:
        known = errors.MethodNotAllowed(headers=dict(error.headers or {}))
        return problem(request.scope, known)
    other = errors.InvalidRequest(str(error.detail), dict(error.headers or {}))
    other.status = error.status_code
    return problem(request.scope, other)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem(request.scope, faces.invalid(error.errors()), errors=faces.without_input(error.errors()))


class RequestContext:
    """Outermost: gives each request its id, its security headers, one log line and its metrics."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracing: Tracing | None) -> None:
        self._app, self._metrics, self._tracing = app, metrics, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        scope["request_id"] = request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        started, status = time.monotonic(), CLIENT_GONE
        span = self._tracing.begin("request", headers.get("traceparent")) if self._tracing else None
        scope["trace"] = self._tracing.header(span) if self._tracing and span else ""

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._mark(MutableHeaders(scope=message), request_id, scope["path"])
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        finally:
            seconds = time.monotonic() - started
            route = getattr(scope.get("route"), "path", "other")  # the pattern: a path may hold a person's name
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._metrics.requests.labels(route, method, str(status)).observe(seconds)
            level = logging.INFO if route.startswith("/v1") else logging.DEBUG
            fields = {"request_id": request_id, "route": route, "method": method, "status": status}
            log.log(level, "request", extra={**fields, "duration_ms": round(1000 * seconds, 2)})
            if span:
                span.set_attributes(fields)
                span.end()

    @staticmethod
    def _mark(headers: MutableHeaders, request_id: str, path: str) -> None:
        headers["X-Request-ID"] = request_id
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Content-Security-Policy"] = POLICY.format(styles=" 'unsafe-inline'" if path == "/docs" else "")
        if not path.startswith(("/static", "/docs")):
            headers["Cache-Control"] = "no-store"


class Guard:
    """Innermost: stops a body that is too long while it arrives, and turns the unforeseen into a plain 500."""

    def __init__(self, app: ASGIApp, max_bytes: int, metrics: Metrics) -> None:
        self._app, self._max_bytes, self._metrics = app, max_bytes, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, started = Body(scope, receive, self._max_bytes), False

        async def send_seen(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start" and message["status"] == 413:
                await body.drop_rest()
            started = True
            await send(message)

        try:
            if body.announced > self._max_bytes:
                self._metrics.rejected.labels(errors.BodyTooLarge.code).inc()
                await problem(scope, body.too_large())(scope, receive, send_seen)
            elif not gallery.names_in(scope["raw_path"]):
                self._metrics.rejected.labels(InvalidName.code).inc()
                await problem(scope, InvalidName())(scope, receive, send_seen)
            else:
                await self._app(scope, body.receive, send_seen)
        except ClientDisconnect:
            log.info("client gone", extra={"request_id": scope["request_id"]})
        except Exception:
            log.exception("request failed", extra={"request_id": scope["request_id"]})
            if started:
                raise
            await problem(scope, errors.ServiceError())(scope, receive, send)
        finally:
            self._metrics.request_bytes.inc(body.received)


class Body:
    """A request's body, counted as it arrives."""

    PATIENCE = 4  # so many times the limit of a refused body are read and dropped: else its sender sees no answer

    def __init__(self, scope: Scope, receive: Receive, max_bytes: int) -> None:
        headers = Headers(scope=scope)
        self.received = 0
        self.announced = int(headers.get("content-length") or 0)
        self._waits = "expect" in headers  # the sender asks before it sends
        self._receive, self._max_bytes, self._more = receive, max_bytes, True

    async def receive(self) -> Message:
        """ASGI's receive. Raises BodyTooLarge at the first byte too many."""
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self._more = message.get("more_body", False)
            if self.received > self._max_bytes:
                raise self.too_large()
        return message

    def too_large(self) -> errors.BodyTooLarge:
        """What to answer."""
        return errors.BodyTooLarge(f"a request may have {self._max_bytes:,} bytes")

    async def drop_rest(self) -> None:
        """Read what is still coming, within reason."""
        if self._waits or self.announced > self.PATIENCE * self._max_bytes:
            return
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                while self._more and dropped <= self.PATIENCE * self._max_bytes:
                    message = await self._receive()
                    dropped += len(message.get("body", b""))
                    self._more = message.get("more_body", False)
