"""Asynchronous jobs: many photos accepted at once, analyzed when there is room, kept for a while with their results.

POST /v1/jobs ─archive→ Items ─store→ runner (items through the queue, a few at once) ─store→ GET /v1/jobs/{id}
POST /v1/videos, of a long video ─→ one Item ─┤
POST …/conflicts ─→ an Item for each part ────┘

One store interface, two stores: in this process, and in Redis, where another API process goes on with a job whose own
process is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from service.errors import ServiceError
from service.gallery.review import PartReview, ReviewPart
from service.jobs.tracks import TrackedVideo
from service.wire import Analysis, Options, Private


class JobNotFound(ServiceError):
    """There is no such job, or its results are not kept any more."""

    status = 404
    code = "job_not_found"
    title = "No such job"


class IdempotencyConflict(ServiceError):
    """The Idempotency-Key came before, with another body or other options."""

    status = 409
    code = "idempotency_conflict"
    title = "This Idempotency-Key was used for another job"


class ResultsTooLarge(ServiceError):
    """The results of one job would take more bytes than an API key's jobs may have."""

    status = 507
    code = "results_too_large"
    title = "The job's results take too many bytes: ask for less, or send less"


class Item(Private, frozen=True, omit_defaults=True):
    """One photo of a job, or the problem of the entry that should be one; `name` is the caller's name for it.

    With `review` it is no photo, but a part of a collection to be looked through.
    """

    name: str | None = None
    image: bytes = b""
    error: dict[str, str | int] | None = None
    review: ReviewPart | None = None


class ItemResult(Private, frozen=True, omit_defaults=True):
    """What became of one photo of a job: its analysis with the model's digest, or a problem document.

    Of a video it is its tracks, of a part of a collection what was found there.
    """

    index: int
    name: str | None = None
    analysis: Analysis | None = None
    model: str | None = None
    error: dict[str, str | int] | None = None
    video: TrackedVideo | None = None
    review: PartReview | None = None


class Job(Struct, frozen=True):
    """A job as its store keeps it. `created` and `ended` are seconds since 1970; `owner` is the id of an API key.

    `options.video` says that its one item is a video. With `cluster` the faces are sorted into people at the end;
    `duplicates` are photos that are the same as an earlier one, with that one's number. With `review` its items are
    parts of a collection to be looked through.
    """

    id: str
    request_id: str
    owner: str
    created: float
    total: int
    options: Options
    webhook: str | None = None
    cluster: bool = False
    duplicates: tuple[tuple[int, int], ...] = ()
    review: bool = False
    done: int = 0
    failed: int = 0
    ended: float | None = None

    @property
    def status(self) -> Literal["running", "done"]:
        """Return `done` when the job has ended, `running` before that."""
        return "running" if self.ended is None else "done"


class IdempotencyKey(Struct, frozen=True):
    """An Idempotency-Key hashed with its owner, and a digest of all that came with it."""

    key: str
    digest: str


class JobStore(Protocol):
    """Keeps jobs. Its methods raise NotReady when the store cannot be reached."""

    async def create(self, job: Job, items: Sequence[Item], idempotency_key: IdempotencyKey | None) -> Job:
        """Keep a job, owned by this process; or return the job that came with this key before.

        Raises QueueFull, IdempotencyConflict.
        """

    async def job(self, job_id: str) -> Job | None:
        """Return the job of an id, None when it is not kept any more."""

    async def results(self, job_id: str, start: int, limit: int) -> list[ItemResult]:
        """Return the results among the items `start` … `start + limit`, in order."""

    async def pending(self, job_id: str) -> list[int]:
        """Return the numbers of the items without a result."""

    async def item(self, job_id: str, index: int) -> tuple[Item, int] | None:
        """Return an item without a result, and how often it was handed out by now, this time included."""

    async def put_back(self, job_id: str, index: int) -> None:
        """Take back one delivery of an item: this process was told to stop and is not lost on it."""

    async def put(self, job_id: str, result: ItemResult) -> bool:
        """Keep an item's result and delete its photo. Return False when the job is not kept any more."""

    async def end(self, job_id: str) -> Job | None:
        """Mark the job as done and keep its results for their time from now on."""

    async def close(self, job_id: str) -> None:
        """Mark the follow-up (the webhook) as done, so that no process adopts the job."""

    async def delete(self, job_id: str) -> bool:
        """Delete the job with its photos and results; return whether it was kept."""

    async def renew(self, job_id: str) -> bool:
        """Renew this process's lease of the job. Return False when the job is not kept any more."""

    async def adopt(self) -> Job | None:
        """Become the owner of a job whose own process is lost, and return it; None when there is none."""

    async def disconnect(self) -> None:
        """Close the connections; the jobs stay as they are."""
