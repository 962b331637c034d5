"""What operators ask: alive, ready, which model, metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.broker import ApiSide, QueueState
from service.config import Settings
from service.errors import NotReady
from service.metrics import Metrics
from service.schemas import Health, Model, Problem

router = APIRouter(tags=["system"])
NOT_READY: dict[int | str, dict[str, Any]] = {503: {"model": Problem, "description": "no worker is ready"}}


@router.get("/livez")
async def livez() -> Health:
    """The process answers."""
    return Health(status="ok")


@router.get("/readyz", responses=NOT_READY)
async def readyz(request: Request) -> Health:
    """A worker is there: photos can be analysed."""
    broker: ApiSide = request.app.state.broker
    if not await broker.workers():
        raise NotReady
    return Health(status="ready")


@router.get("/v1/model", responses=NOT_READY)
async def model(request: Request) -> Model:
    """The model that answers and the limits that hold."""
    broker: ApiSide = request.app.state.broker
    settings: Settings = request.app.state.settings
    workers = await broker.workers()
    if not workers:
        raise NotReady
    newest = workers[-1]
    names = ("max_bytes", "max_pixels", "max_images", "max_request_bytes", "timeout")
    return Model(
        digest=newest.digest,
        info=newest.info,
        workers=sum(worker.digest == newest.digest for worker in workers),
        limits={name: getattr(settings, name) for name in names},
    )


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    broker: ApiSide = request.app.state.broker
    kept: Metrics = request.app.state.metrics
    try:
        state, workers = await broker.state(), await broker.workers()
    except NotReady:  # the queue is away; its figures are unknown, the others are not
        state, workers = QueueState(0, 0.0), []
    kept.queue_depth.set(state.depth)
    kept.queue_oldest_age.set(state.oldest_age)
    kept.dead_letters.set(state.dead_letters)
    kept.worker_up.set(len(workers))
    kept.model.clear()
    for worker in workers:
        kept.describe(worker.digest, worker.info)
    return Response(kept.render(), media_type=CONTENT_TYPE_LATEST)
