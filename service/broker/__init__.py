"""The queue between the API and the workers: what travels, and the two sides every broker has.

API:    submit(jobs) → futures … cancel(ids)                       asyncio
worker: announce(who) … claim() → jobs … finish(results) … leave() threads

One job is one image. Every claimed job is finished exactly once, also when it is too late or nobody waits any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from service.schemas import JobOptions


@dataclass(frozen=True, slots=True)
class Job:
    """One image to analyse.

    `submitted` and `deadline` are readings of time.monotonic() in the process that holds the job; a broker between
    machines sends what is left and sets them anew on arrival. `attempt` counts deliveries, from 1: on an earlier one
    the worker was lost. `model` is the digest it must be answered with; None leaves the choice to the broker, which
    makes the same one for all jobs of a submit(). `trace` is the W3C traceparent of the request, or empty.
    """

    id: str
    request_id: str
    image: bytes = field(repr=False)
    pixels: int
    options: JobOptions
    submitted: float
    deadline: float
    attempt: int = 1
    model: str | None = None
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a job: its faces as JSON-like data, or the code and detail of a ServiceError. Times in seconds."""

    job_id: str
    model: str
    analysis: dict[str, Any] | None = field(default=None, repr=False)
    code: str | None = None
    detail: str = ""
    timings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker that is alive, the model it answers with, and the ids of the keys with which it opens sealed photos."""

    id: str
    digest: str
    info: dict[str, Any]
    opens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueState:
    """Jobs accepted and not finished; seconds the oldest one that no worker holds has been waiting; jobs put aside."""

    depth: int
    oldest_age: float
    dead_letters: int = 0


class ApiSide(Protocol):
    """The broker as the API sees it, inside one event loop."""

    async def start(self) -> None:
        """Bind to the running event loop. Raises NotReady when the broker cannot be reached."""

    async def close(self) -> None:
        """Give up every future that is still open."""

    async def submit(self, jobs: Sequence[Job]) -> list[asyncio.Future[Result]]:
        """Accept all jobs or none. Raises QueueFull, NotReady."""

    async def cancel(self, job_ids: Collection[str]) -> None:
        """Nobody waits for these any more; their futures are cancelled."""

    async def state(self) -> QueueState:
        """How much work there is."""

    async def workers(self) -> list[WorkerInfo]:
        """The workers that are alive."""

    async def ready(self) -> bool:
        """Whether there is one; perhaps as of a second ago, so that each request can ask. Raises NotReady."""


class WorkerSide(Protocol):
    """The broker as a worker sees it, from any thread."""

    def announce(self, worker: WorkerInfo) -> None:
        """Be counted as alive from now on."""

    def leave(self) -> None:
        """Be counted no longer. Jobs that are held are still finished."""

    def claim(self, most: int, wait: float) -> list[Job]:
        """Take up to `most` jobs, oldest first; none after `wait` seconds without work. Holds them until finished."""

    def cancelled(self, job_ids: Collection[str]) -> set[str]:
        """Those of the held jobs nobody waits for; perhaps not yet those that were submitted a moment ago."""

    def finish(self, results: Sequence[Result]) -> None:
        """Answer and forget these jobs."""
