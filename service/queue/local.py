"""The queue inside one process: a deque under a lock, futures of the API's event loop. Both sides are one object."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence

from typing_extensions import override

from service.errors import NotReady, QueueFull
from service.queue import Consumer, Producer, QueueState
from service.wire import AnalysisOutcome, AnalysisRequest, ModelCard, WorkerInfo


class LocalQueue(Producer, Consumer):
    """Producer and Consumer. Holds at most `size` requests and `size_bytes` compressed bytes that are not finished."""

    def __init__(self, size: int, size_bytes: int) -> None:
        self._size = size
        self._size_bytes = size_bytes
        self._waiting: deque[AnalysisRequest] = deque()
        self._held: dict[str, AnalysisRequest] = {}
        self._futures: dict[str, asyncio.Future[AnalysisOutcome]] = {}
        self._worker: tuple[WorkerInfo, ModelCard] | None = None
        self._bytes = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = threading.Condition()

    @override
    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()

    @override
    async def close(self) -> None:
        with self._changed:
            open_requests = list(self._futures)
        await self.cancel(open_requests)
        self._loop = None

    @override
    async def submit(self, requests: Sequence[AnalysisRequest]) -> list[asyncio.Future[AnalysisOutcome]]:
        size = sum(len(request.image) for request in requests)
        with self._changed:
            available = {self._worker[0].model} if self._worker else set[str]()
            if {request.model for request in requests} - {None, *available}:
                raise NotReady("no worker has the model that this request needs")
            depth = len(self._waiting) + len(self._held)
            if depth + len(requests) > self._size or (depth and self._bytes + size > self._size_bytes):
                raise QueueFull(retry_after=max(1, math.ceil(self._oldest_age())))
            futures = [asyncio.get_running_loop().create_future() for _ in requests]
            self._futures.update(zip((request.id for request in requests), futures, strict=True))
            self._waiting.extend(requests)
            self._bytes += size
            self._changed.notify_all()
        return futures

    @override
    async def cancel(self, request_ids: Collection[str]) -> None:
        cancelled = set(request_ids)
        with self._changed:
            futures = [self._futures.pop(request_id, None) for request_id in cancelled]
            self._bytes -= sum(len(request.image) for request in self._waiting if request.id in cancelled)
            self._waiting = deque(request for request in self._waiting if request.id not in cancelled)
        for future in futures:
            if future is not None:
                future.cancel()

    @override
    async def put_aside(self, request: AnalysisRequest, deliveries: int) -> None:
        """Do nothing: what kills this process takes the queue with it."""

    @override
    async def state(self) -> QueueState:
        with self._changed:
            return QueueState(len(self._waiting) + len(self._held), self._oldest_age())

    @override
    async def workers(self) -> list[WorkerInfo]:
        with self._changed:
            return [self._worker[0]] if self._worker else []

    @override
    async def model_card(self, digest: str | None = None) -> ModelCard:
        with self._changed:
            if self._worker is None:
                raise NotReady
            return self._worker[1]

    @override
    async def ready(self) -> bool:
        return bool(await self.workers())

    @override
    def announce(self, worker: WorkerInfo, card: ModelCard) -> None:
        with self._changed:
            self._worker = worker, card

    @override
    def leave(self) -> None:
        with self._changed:
            self._worker = None

    @override
    def claim(self, max_requests: int, wait: float) -> list[AnalysisRequest]:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting), wait)
            requests = [self._waiting.popleft() for _ in range(min(max_requests, len(self._waiting)))]
            self._held.update({request.id: request for request in requests})
            return requests

    @override
    def cancelled(self, request_ids: Collection[str]) -> set[str]:
        with self._changed:
            return {request_id for request_id in request_ids if request_id not in self._futures}

    @override
    def finish(self, outcomes: Sequence[AnalysisOutcome]) -> None:
        """Resolve the futures in their event loop, from whatever thread this is."""
        with self._changed:
            for outcome in outcomes:
                self._bytes -= len(self._held.pop(outcome.id).image)
            answers = [(self._futures.pop(outcome.id, None), outcome) for outcome in outcomes]
            loop = self._loop
        for future, outcome in answers:
            if future is not None and loop is not None and not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, future, outcome)

    def _oldest_age(self) -> float:
        return time.monotonic() - self._waiting[0].submitted if self._waiting else 0.0


def _resolve(future: asyncio.Future[AnalysisOutcome], outcome: AnalysisOutcome) -> None:
    if not future.done():
        future.set_result(outcome)
