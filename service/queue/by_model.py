"""Two models in one process: a queue for each, and the API's side of both as one.

submit ─ requests for the old model → its queue; all others → the queue of the model that answers
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from typing_extensions import override

from service.queue import Producer, QueueState
from service.wire import AnalysisOutcome, AnalysisRequest, ModelCard, WorkerInfo


@dataclass(frozen=True, eq=False)
class ByModel(Producer):
    """A Producer over two queues, ready once both models are.

    The old model alone must not answer for the new one, and without the old one its collections would be refused.
    """

    main: Producer
    old: Producer
    old_model: str

    @override
    async def start(self) -> None:
        await self.main.start()
        await self.old.start()

    @override
    async def close(self) -> None:
        await self.main.close()
        await self.old.close()

    @override
    async def submit(self, requests: Sequence[AnalysisRequest]) -> list[asyncio.Future[AnalysisOutcome]]:
        for_old_model = {request.model for request in requests} == {self.old_model}
        return await (self.old if for_old_model else self.main).submit(requests)

    @override
    async def cancel(self, request_ids: Collection[str]) -> None:
        await self.main.cancel(request_ids)
        await self.old.cancel(request_ids)

    @override
    async def put_aside(self, request: AnalysisRequest, deliveries: int) -> None:
        await self.main.put_aside(request, deliveries)

    @override
    async def state(self) -> QueueState:
        main = await self.main.state()
        old = await self.old.state()
        age = max(main.oldest_age, old.oldest_age)
        return QueueState(main.depth + old.depth, age, main.dead_letters + old.dead_letters)

    @override
    async def workers(self) -> list[WorkerInfo]:
        if not await self.ready():
            return []
        return [*await self.old.workers(), *await self.main.workers()]

    @override
    async def model_card(self, digest: str | None = None) -> ModelCard:
        main = await self.main.model_card()
        return await self.old.model_card() if digest == self.old_model and await self.old.ready() else main

    @override
    async def ready(self) -> bool:
        return await self.main.ready() and await self.old.ready()
