"""Routes for monitoring: whether the process is alive and ready, which model answers, and the metrics."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.config import Settings
from service.errors import NotReady
from service.gallery.resources import Resources
from service.http.monitoring import render_metrics
from service.http.options import Responses
from service.queue import Producer
from service.schemas.faces import Health, Model, Problem
from service.wire import ModelCard, WorkerInfo

router = APIRouter(tags=["system"])
NOT_READY: Responses = {503: {"model": Problem, "description": "no worker is ready, or the gallery cannot be opened"}}


@router.get("/livez")
async def get_livez() -> Health:
    """Answer that the process is alive."""
    return Health(status="ok")


@router.get("/readyz", responses=NOT_READY)
async def get_readyz(request: Request) -> Health:
    """Answer 200 if a worker is alive and the master key decrypts the gallery, where there is one; else 503."""
    producer: Producer = request.app.state.producer
    resources: Resources = request.app.state.resources
    if problem := await asyncio.to_thread(resources.problem):
        raise NotReady(problem)
    if not await producer.workers():
        raise NotReady
    return Health(status="ready")


@router.get("/v1/model", responses=NOT_READY)
async def get_model(request: Request) -> Model:
    """Return the model that answers, and the limits of requests."""
    producer: Producer = request.app.state.producer
    settings: Settings = request.app.state.settings
    workers = await producer.workers()
    if not workers:
        raise NotReady
    newest = workers[-1]
    card = await producer.model_card(newest.model)
    names = ("max_bytes", "max_pixels", "max_images", "max_request_bytes", "timeout")
    return Model(
        digest=newest.model,
        info=_info(newest, card),
        license=card.license,
        use=card.use,
        workers=sum(worker.model == newest.model for worker in workers),
        limits={name: getattr(settings, name) for name in names},
    )


def _info(worker: WorkerInfo, card: ModelCard) -> dict[str, object]:
    """Return how the model was made and how a worker runs it."""
    return {
        "preset": card.preset,
        "input_size": card.input_size,
        "parameters": card.parameters,
        "tasks": list(card.tasks),
        "proposals": worker.proposals,
        "dtype": worker.dtype,
        "device": worker.device,
        "engine": worker.engine,
        "identity": {
            "score": card.score,
            "dimension": card.dimension,
            "calibration": None if card.calibration is None else card.calibration.as_dict(),
        },
    }


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def get_metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    text = await render_metrics(request.app.state.producer, request.app.state.metrics)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
