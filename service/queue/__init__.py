"""The queue between the API and the workers: the two sides that every queue has.

    API:    submit(requests) → futures … cancel(ids)                            asyncio
    worker: announce(worker, card) … claim() → requests … finish(outcomes)      threads

A request is one photo. Every claimed request is finished exactly once, also when it is too late or nobody waits for it
any more. What travels is declared in service.wire.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.wire import AnalysisOutcome, AnalysisRequest, ModelCard, WorkerInfo


@dataclass(frozen=True, slots=True)
class QueueState:
    """How much work there is.

    `depth` requests are accepted and not finished; the oldest one that no worker holds has been waiting for
    `oldest_age` seconds; `dead_letters` requests were put aside because workers died on them.
    """

    depth: int
    oldest_age: float
    dead_letters: int = 0


class Producer(Protocol):
    """The queue as the API sees it, inside one event loop."""

    async def start(self) -> None:
        """Begin to work in the running event loop, which all other calls need."""

    async def close(self) -> None:
        """Cancel every future that is still open, and close the connections."""

    async def submit(self, requests: Sequence[AnalysisRequest]) -> list[asyncio.Future[AnalysisOutcome]]:
        """Accept all requests or none; return a future for each. Raises QueueFull, NotReady."""

    async def cancel(self, request_ids: Collection[str]) -> None:
        """Cancel the futures of these requests, which nobody waits for any more; workers then skip them."""

    async def put_aside(self, request: AnalysisRequest, deliveries: int) -> None:
        """Keep a request as a dead letter after so many processes were lost during it. Raises QueueFull, NotReady."""

    async def state(self) -> QueueState:
        """Return how much work is in the queue. Raises NotReady."""

    async def workers(self) -> list[WorkerInfo]:
        """Return the live workers, those of the model that answers last. Raises NotReady."""

    async def model_card(self, digest: str | None = None) -> ModelCard:
        """Return the card of this model while a worker has it, else of the model that answers. Raises NotReady."""

    async def ready(self) -> bool:
        """Return whether a worker is alive, perhaps as of two seconds ago so that every request can ask.

        Raises NotReady.
        """


class Consumer(Protocol):
    """The queue as a worker sees it, from any thread."""

    def announce(self, worker: WorkerInfo, card: ModelCard) -> None:
        """Count as alive from now on, with this model."""

    def leave(self) -> None:
        """Count as alive no longer. Requests that are held are still finished."""

    def claim(self, max_requests: int, wait: float) -> list[AnalysisRequest]:
        """Take and hold up to `max_requests`, oldest first; none after `wait` seconds without work."""

    def cancelled(self, request_ids: Collection[str]) -> set[str]:
        """Return which of the held requests nobody waits for; a request of a moment ago may be missing."""

    def finish(self, outcomes: Sequence[AnalysisOutcome]) -> None:
        """Send these outcomes to whoever submitted the requests, and forget the requests."""
