"""The broker over Redis as a worker sees it: one consumer in its model's group, heartbeats in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from service.broker import Job, Result, WorkerInfo, codec, scripts

MOST_AT_ONCE = 16
"""Entries a read: bounds what is in memory beyond the gate."""
DEAD_LETTERS_KEPT = 100
FINISH_PATIENCE = 60.0
"""Seconds for which an answer waits for Redis to come back."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Held:
    """A claimed entry of the stream."""

    entry: bytes
    size: int
    reply_to: bytes


class RedisWorker:
    """WorkerSide for workers of one model. What a worker that is silent for `lease` seconds holds goes to another.

    An image given to `deliveries` workers, all of which were lost, becomes a dead letter.
    """

    def __init__(
        self, url: str, model: str, lease: float = 5.0, deliveries: int = 3, prefix: str = codec.PREFIX
    ) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_timeout=10, socket_connect_timeout=2, retry=Retry(NoBackoff(), 1), protocol=2
        )
        self._model, self._lease, self._deliveries, self._prefix = model, lease, deliveries, prefix
        self._id = uuid.uuid4().hex
        self._stream = f"{prefix}jobs:{model}"
        names = ("BEAT", "TAKE", "TAKE_OVER", "FINISH", "GONE", "RETIRE")
        self._scripts = {name: self._redis.register_script(getattr(scripts, name)) for name in names}
        self._held: dict[str, Held] = {}
        self._lock, self._beating = threading.Lock(), threading.Lock()
        self._who = b""
        self._sharing = 1
        self._looked = -lease
        self._closing = threading.Event()
        self._register()
        self._beats = threading.Thread(target=self._live, name="heartbeat", daemon=True)
        self._beats.start()

    def announce(self, worker: WorkerInfo) -> None:
        """Be counted as alive from now on."""
        self._who = codec.pack_worker(worker)
        with suppress(RedisError):  # the next heartbeat says it
            self._beat()

    def leave(self) -> None:
        """Be counted no longer. Jobs that are held are still finished."""
        with self._beating, suppress(RedisError):
            self._who = b""
            self._redis.delete(f"{self._prefix}worker:{self._id}")

    def close(self) -> None:
        """End the heartbeats; what is still held goes to others after the lease."""
        self.leave()
        self._closing.set()
        self._beats.join()
        with suppress(RedisError):
            self._run("RETIRE", self._id, 0)
        self._redis.close()

    def claim(self, most: int, wait: float) -> list[Job]:
        """Take up to `most` jobs, oldest first, or one of a lost worker; none after `wait` seconds without work."""
        try:
            return self._taken_over() or self._taken(min(most, MOST_AT_ONCE), wait)
        except (Unreachable, redis.exceptions.TimeoutError):
            self._closing.wait(wait)
        except ResponseError as error:
            log.warning("the queue refused", extra={"kind": str(error).partition(" ")[0]})
            self._register_again()
            self._closing.wait(wait)
        return []

    def cancelled(self, job_ids: Collection[str]) -> set[str]:
        """Those of the held jobs nobody waits for."""
        with self._lock:
            held = {job_id: self._held[job_id] for job_id in job_ids if job_id in self._held}
        words = [word for job_id, row in held.items() for word in (job_id, row.reply_to)]
        try:
            flags = self._run("GONE", *words, model=False)
        except RedisError:
            return set()
        return {job_id for job_id, flag in zip(held, flags, strict=True) if flag}

    def finish(self, results: Sequence[Result]) -> None:
        """Answer and forget these jobs, waiting for Redis if it is away."""
        with self._lock:
            held = [(self._held[result.job_id], result) for result in results if result.job_id in self._held]
        words = [word for row, result in held for word in self._answer(row, codec.pack_result(result))]
        end = time.monotonic() + FINISH_PATIENCE
        while words:
            try:
                self._run("FINISH", *words)
                break
            except RedisError:
                if self._closing.wait(0.2) or time.monotonic() > end:
                    log.error("answers are lost: the queue is away", extra={"images": len(held)})
                    break
        with self._lock:
            for result in results:
                self._held.pop(result.job_id, None)

    def _taken(self, most: int, wait: float) -> list[Job]:
        now, entries = self._run("TAKE", self._id, most, self._sharing)
        if not entries:
            block = max(1, round(1000 * wait))
            found: Any = self._redis.xreadgroup(scripts.GROUP, self._id, {self._stream: ">"}, count=1, block=block)
            return [job for entry, fields in (found[0][1] if found else ()) for job in self._hold(entry, fields, 0, 1)]
        return [job for entry, fields in entries for job in self._hold(entry, _pairs(fields), now - _arrived(entry), 1)]

    def _taken_over(self) -> list[Job]:
        if time.monotonic() < self._looked + self._lease / 4:
            return []
        with self._lock:
            held = [row.entry for row in self._held.values()]
        limits = (round(1000 * self._lease), self._deliveries, DEAD_LETTERS_KEPT)
        found = self._run("TAKE_OVER", self._id, *limits, *held)
        if not found:
            self._looked = time.monotonic()
            return []
        now, [(entry, fields)], attempt = found
        log.warning("taken over from a lost worker", extra={"attempt": attempt})
        return self._hold(entry, _pairs(fields), now - _arrived(entry), attempt)

    def _hold(self, entry: bytes, fields: dict[bytes, bytes], waited_ms: float, attempt: int) -> list[Job]:
        """The entry as a job, held from now on; nothing if it is none, or is held already."""
        row = Held(entry, len(fields.get(b"i", b"")), fields.get(b"to", b""))
        try:
            job = codec.unpack_job(fields, waited_ms / 1000, attempt)
        except ValueError:
            log.error("an entry of the queue is no job")
            name = codec.job_id(fields)
            error = codec.pack_result(Result(name, self._model, code="internal_error")) if name else b""
            self._run("FINISH", *(self._answer(row, error) if error else (row.entry, row.size, "", "")))
            return []
        with self._lock:
            if job.id not in self._held:
                self._held[job.id] = row
                return [job]
        if self._held[job.id].entry != entry:  # submitted twice, since a connection broke in between
            self._run("FINISH", row.entry, row.size, "", "")
        return []

    @staticmethod
    def _answer(row: Held, result: bytes) -> tuple[Any, ...]:
        return (row.entry, row.size, row.reply_to, result)

    def _live(self) -> None:
        """Show signs of life, for ever: for itself, and for what it holds."""
        beats = 0
        while not self._closing.wait(self._lease / 4):
            try:
                self._beat()
                beats += 1
                if beats % 100 == 0:
                    self._run("RETIRE", "", round(20_000 * self._lease))
            except ResponseError:
                self._register_again()
            except RedisError:
                continue

    def _beat(self) -> None:
        with self._lock:
            held = [row.entry for row in self._held.values()]
        with self._beating:
            sharing = self._run("BEAT", self._id, self._who, round(2000 * self._lease), *held)
        self._sharing = max(1, int(sharing))

    def _register(self) -> None:
        """The model's stream and group; the group begins at the stream's begin."""
        self._redis.zadd(f"{self._prefix}models", {self._model: self._redis.incr(f"{self._prefix}order")}, nx=True)
        try:
            self._redis.xgroup_create(self._stream, scripts.GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _register_again(self) -> None:
        with suppress(RedisError):
            self._register()

    def _run(self, name: str, *words: Any, model: bool = True) -> Any:
        script: Callable[..., Any] = self._scripts[name]
        return script(keys=[self._prefix], args=[self._model, *words] if model else words)


def _arrived(entry: bytes) -> int:
    return int(entry.split(b"-")[0])


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
