"""What monitoring asks of an API process: the text of /metrics and whether it is ready, from any thread."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastapi import FastAPI

from service.errors import NotReady, ServiceError
from service.ops.metrics import Metrics
from service.queue import Producer, QueueState
from service.wire import ModelCard, WorkerInfo

SECONDS = 5
"""How long a thread waits for the event loop."""


class Monitoring:
    """Answers a listener of its own (FACE_METRICS_PORT), which runs in threads beside the application's event loop."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def metrics(self) -> bytes:
        """Return the text of /metrics. Raises TimeoutError when the event loop does not answer."""
        state = self._app.state
        work = asyncio.run_coroutine_threadsafe(render_metrics(state.producer, state.metrics), state.loop)
        return work.result(SECONDS)

    def ready(self) -> bool:
        """Return what /readyz of the API says: a worker is alive, and the master key decrypts the gallery.

        False too when the queue or the event loop does not answer.
        """
        state = self._app.state
        if state.resources.problem():
            return False
        try:
            return bool(asyncio.run_coroutine_threadsafe(state.producer.workers(), state.loop).result(SECONDS))
        except (ServiceError, TimeoutError):
            return False


async def render_metrics(producer: Producer, metrics: Metrics) -> bytes:
    """Return the metrics in Prometheus' text format, with the queue's figures of this moment."""
    state = QueueState(0, 0.0)
    workers: list[WorkerInfo] = []
    cards: dict[str, ModelCard] = {}
    with suppress(NotReady):  # the queue is away; its figures are unknown, the others are not
        state = await producer.state()
        workers = await producer.workers()
        cards = {worker.model: await producer.model_card(worker.model) for worker in workers}
    metrics.queue_depth.set(state.depth)
    metrics.queue_oldest_age.set(state.oldest_age)
    metrics.dead_letters.set(state.dead_letters)
    metrics.worker_up.set(len(workers))
    metrics.model.clear()
    for worker in workers:
        if worker.model in cards:
            metrics.describe(cards[worker.model], worker)
    return metrics.render()
