"""The web application: its parts and how they are put together. It knows the queue, never the model.

request → RequestContext (id, log, metrics) → CORS → LastHandler → Admission (keys, limits, audit) → routers
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service.config import Settings
from service.gallery.maintenance import run_maintenance
from service.gallery.resources import MasterKeyMissing, Resources
from service.http.admission import Admission
from service.http.audit import AuditLog
from service.http.auth import Authenticator
from service.http.compat.face_ids import FaceIds
from service.http.middleware import LastHandler, RequestContext
from service.http.openapi import complete_openapi, operation_id
from service.http.pages import add_pages
from service.http.problems import add_handlers
from service.http.queries import QueryNames, query_names
from service.http.rates import WindowLimiter
from service.http.routes import (
    clusters,
    collections,
    compare,
    compreface,
    compreface_subjects,
    conflicts,
    faces,
    jobs,
    keys,
    media,
    rekognition,
    search,
    system,
    transfer,
    videos,
)
from service.http.transfers import Transfers
from service.jobs.resources import open_jobs
from service.jobs.runner import JobRunner
from service.ops.metrics import Metrics
from service.ops.tracing import Tracing, open_tracing
from service.outbound.fetch import Fetcher
from service.outbound.webhooks import Webhooks
from service.queue import Producer

ROUTES = (faces, videos, system, jobs, collections, media, search, transfer, compare, clusters, conflicts, keys)
COMPAT_ROUTES = {"compreface": (compreface, compreface_subjects), "rekognition": (rekognition,)}
"""The routes of other products' APIs by their names in FACE_COMPAT."""
DESCRIPTION = "Faces in photos: box, 21 landmarks with visibility, pose, smile, gender, age and a descriptor."


def create_app(settings: Settings, producer: Producer, metrics: Metrics) -> FastAPI:
    """Return the API in front of a queue. Workers are started elsewhere. Raises ValueError for impossible settings."""
    resources = Resources(settings)
    try:
        resources.check_start()
    except MasterKeyMissing as error:
        raise ValueError(error.detail) from error
    tracing = open_tracing(settings.otlp_endpoint, "allinone-face-api")
    app = FastAPI(
        title="allinone-face",
        version="1",
        description=DESCRIPTION,
        lifespan=partial(run_parts, tracing=tracing),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
    )
    add_state(app, settings, resources, producer, metrics)
    add_handlers(app)
    add_middleware(app, tracing, query_names(module.router for module in ROUTES))
    for routes in (*ROUTES, *(module for name in settings.compat for module in COMPAT_ROUTES[name])):
        app.include_router(routes.router)
    add_pages(app)
    complete_openapi(app, settings.root_path)
    return app


@asynccontextmanager
async def run_parts(app: FastAPI, tracing: Tracing | None) -> AsyncIterator[None]:
    """Start what runs beside the requests, and end it with the application, in an order in which nothing is missed."""
    state = app.state
    state.loop = asyncio.get_running_loop()
    await state.producer.start()
    maintenance = asyncio.create_task(run_maintenance(state.resources, state.metrics, on_expiry=state.audit.expired))
    state.runner.start()
    yield
    maintenance.cancel()
    await state.runner.close()
    await state.jobs.disconnect()
    if tracing:
        await asyncio.to_thread(tracing.close)
    await state.producer.close()
    state.authenticator.close()
    state.transfers.close()
    await asyncio.to_thread(state.audit.close)
    await asyncio.to_thread(state.resources.close)


def add_state(app: FastAPI, settings: Settings, resources: Resources, producer: Producer, metrics: Metrics) -> None:
    """Put the objects that routes and middleware use into `app.state`."""
    state = app.state
    state.settings = settings
    state.resources = resources
    state.producer = producer
    state.metrics = metrics
    state.authenticator = Authenticator(settings, resources)
    state.probe_limiter = WindowLimiter()
    state.audit = AuditLog(settings.data_dir, resources, int(settings.audit_bytes), settings.audit_files)
    state.face_ids = FaceIds()
    state.transfers = Transfers()
    state.fetcher = Fetcher(settings.image_hosts)
    state.jobs = open_jobs(settings)
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else ""
    state.webhooks = Webhooks(settings.webhook_hosts, secret, metrics)
    state.runner = JobRunner(state.jobs, producer, resources, state.webhooks, settings, metrics)


def add_middleware(app: FastAPI, tracing: Tracing | None, queries: QueryNames) -> None:
    """Put the layers around the routes; the one added last is the outermost."""
    state = app.state
    settings: Settings = state.settings
    metrics: Metrics = state.metrics
    app.add_middleware(
        Admission,
        settings=settings,
        authenticator=state.authenticator,
        audit=state.audit,
        metrics=metrics,
        queries=queries,
    )
    app.add_middleware(LastHandler, metrics=metrics)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(RequestContext, metrics=metrics, tracing=tracing)
