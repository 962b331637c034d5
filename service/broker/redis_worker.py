"""The broker over Redis as a worker sees it: one consumer in its model's group, heartbeats in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from service.broker import Job, Result, WorkerInfo, codec, scripts
from service.broker.clock import RedisClock
from service.broker.lines import Line, Script
from service.broker.seal import Seal
from service.errors import QueueLocked, ServiceError
from service.vault import VaultLocked

MOST_AT_ONCE = 16
"""Entries a read: bounds what is in memory beyond the gate."""
DEAD_LETTERS_KEPT = 100
FINISH_PATIENCE = 60.0
"""Seconds for which an answer waits for Redis to come back."""
JUST_NOW = 0.05
"""Seconds after its submission in which it is not asked whether anybody waits: an idle worker answers sooner."""
MISSED = 3.0
"""Seconds for which an API process has had no stream of answers when it is taken for lost."""
NO_STREAM = 2

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Held:
    """A claimed entry of the stream; `seal` seals its answer, `since` is time.monotonic() of its submission."""

    entry: bytes
    job: bytes
    size: bytes
    reply_to: bytes
    seal: Seal | None = None
    since: float = 0.0


class RedisWorker:
    """WorkerSide for workers of one model. What a worker that is silent for `lease` seconds holds goes to another.

    An image given to `deliveries` workers, all of which were lost, becomes a dead letter.
    """

    def __init__(
        self,
        url: str,
        model: str,
        lease: float = 5.0,
        deliveries: int = 3,
        seal: Seal | None = None,
        prefix: str = codec.PREFIX,
    ) -> None:
        self._redis = redis.Redis.from_url(
            url, socket_timeout=10, socket_connect_timeout=2, retry=Retry(NoBackoff(), 1), protocol=2
        )
        self._claims, self._answers = Line(url), Line(url)
        self._model, self._lease, self._deliveries, self._prefix = model, lease, deliveries, prefix
        self._id, self._seal, self._clock = uuid.uuid4().hex, seal, RedisClock()
        self._stream = f"{prefix}jobs:{model}"
        names = ("BEAT", "TAKE", "TAKE_OVER", "FINISH", "GONE", "RETIRE")
        self._scripts = {name: Script(getattr(scripts, name)) for name in names}
        self._held: dict[str, Held] = {}
        self._gone, self._missing = set[str](), dict[bytes, float]()
        self._lock, self._beating = threading.Lock(), threading.Lock()
        self._who = b""
        self._sharing = 1
        self._looked, self._stale = -lease, dict[bytes, float]()
        self._closing = threading.Event()
        self._register()
        self._beats = threading.Thread(target=self._live, name="heartbeat", daemon=True)
        self._beats.start()

    def announce(self, worker: WorkerInfo) -> None:
        """Be counted as alive from now on."""
        self._who = codec.pack_worker(replace(worker, opens=self._seal.opens) if self._seal else worker)
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
        for line in (self._claims, self._answers):
            line.close()
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
        """Those of the held jobs nobody waits for, of those that were not submitted just now."""
        old = time.monotonic() - JUST_NOW
        with self._lock:
            held = {name: self._held[name] for name in job_ids if name in self._held and self._held[name].since < old}
        if not held:
            return set()
        words = [word for job_id, row in held.items() for word in (job_id, row.reply_to)]
        try:
            flags = self._run("GONE", *words, model=False)
        except RedisError:
            return set()
        gone = {name for (name, row), flag in zip(held.items(), flags, strict=True) if self._is_gone(row, flag)}
        with self._lock:
            self._gone |= gone
        return gone

    def finish(self, results: Sequence[Result]) -> None:
        """Answer and forget these jobs, waiting for Redis if it is away."""
        with self._lock:
            held = [(self._held[result.job_id], result) for result in results if result.job_id in self._held]
            gone = self._gone.intersection(result.job_id for result in results)
        words = [word for row, result in held for word in self._answer(row, result, result.job_id in gone)]
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
            self._gone -= gone
            for result in results:
                self._held.pop(result.job_id, None)

    def _is_gone(self, row: Held, flag: int) -> bool:
        """Whether nobody waits: it was said, or there has been no stream of answers for longer than a jump explains."""
        if flag != NO_STREAM:
            self._missing.pop(row.reply_to, None)
            return bool(flag)
        now = time.monotonic()
        self._missing = {to: since for to, since in self._missing.items() if now - since < 60}
        return now - self._missing.setdefault(row.reply_to, now) > MISSED

    def _taken(self, most: int, wait: float) -> list[Job]:
        """A share of what waits where others take too; else, in one step, what waits or what comes first."""
        if self._sharing > 1:
            entries = self._run("TAKE", self._id, most, self._sharing)
            if entries:
                return self._hold_all(entries, 1)
            most = 1
        block = max(1, round(1000 * wait))
        read = ("XREADGROUP", "GROUP", scripts.GROUP, self._id, "COUNT", most, "BLOCK", block, "STREAMS", self._stream)
        [found] = self._claims.ask((*read, ">"))
        return self._hold_all(found[0][1], 1) if found else []

    def _taken_over(self) -> list[Job]:
        """One that a lost worker held: it was silent at every look for half the lease, and for as long before."""
        look = time.monotonic()
        if look < self._looked + self._lease / 4:
            return []
        with self._lock:
            held = [row.entry for row in self._held.values()]
        sure = [entry for entry, since in self._stale.items() if look - since >= self._lease / 2]
        limits = (round(500 * self._lease), self._deliveries, DEAD_LETTERS_KEPT, len(sure))
        found, more = self._run("TAKE_OVER", self._id, *limits, *sure, *held)
        if not found:
            self._stale = {entry: self._stale.get(entry, look) for entry in more}
            self._looked = look
            return []
        self._stale.pop(found[0][0], None)
        log.warning("taken over from a lost worker", extra={"attempt": more})
        return self._hold_all(found, more)

    def _hold_all(self, entries: Sequence[tuple[bytes, Sequence[bytes]]], attempt: int) -> list[Job]:
        """These entries and their photos as jobs, held from now on; not those that are none or are held already."""
        rows = [dict(zip(flat[::2], flat[1::2], strict=True)) for _, flat in entries]
        names = [self._prefix.encode() + b"image:" + fields.get(b"id", b"") for fields in rows]
        (seconds, micros), photos = self._claims.ask(("TIME",), ("MGET", *names))
        now = 1000 * int(seconds) + int(micros) // 1000
        waited = [self._clock.waited(now, _arrived(entry)) / 1000 for entry, _ in entries]
        places = zip(entries, rows, photos, waited, strict=True)
        found = [self._hold(entry, fields, photo, past, attempt) for (entry, _), fields, photo, past in places]
        return [job for job in found if job]

    def _hold(
        self, entry: bytes, fields: dict[bytes, bytes], photo: bytes | None, waited: float, attempt: int
    ) -> Job | None:
        name, image = fields.get(b"id", b""), photo or b""
        row = Held(entry, name, fields.get(b"n", b"0"), fields.get(b"to", b""))
        try:
            if photo is None:
                raise ValueError("its photo is gone")
            job = codec.unpack_job(fields, image, waited, attempt, self._seal)
        except (ValueError, VaultLocked) as error:
            locked = isinstance(error, VaultLocked)
            log.error("a photo does not open with the queue's key" if locked else "an entry of the queue is no job")
            code = QueueLocked.code if locked else ServiceError.code
            result = Result(str(name, "ascii", "replace"), self._model, code=code)
            self._run("FINISH", *self._answer(row, result, gone=not name))
            return None
        with self._lock:
            if job.id not in self._held:
                self._held[job.id] = replace(row, seal=codec.answering(fields, image, self._seal), since=job.submitted)
                return job
            again = self._held[job.id].entry != entry
        if again:  # submitted twice, since a connection broke in between; its photo is at hand
            self._run("FINISH", *self._answer(row, Result(job.id, self._model), gone=True))
        return None

    def _answer(self, row: Held, result: Result, gone: bool) -> tuple[Any, ...]:
        """FINISH's words; nobody is answered who is gone."""
        packed = b"" if gone else codec.pack_result(result, row.seal)
        return (row.entry, row.job, row.size, b"" if gone else row.reply_to, packed)

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
        line = self._claims if name in ("TAKE", "TAKE_OVER") else self._answers
        return line.run(self._scripts[name], self._prefix, [self._model, *words] if model else words)


def _arrived(entry: bytes) -> int:
    return int(entry.split(b"-")[0])
