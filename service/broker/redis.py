"""The broker over Redis as an API process sees it: jobs into the stream of a model, answers from a stream of its own.

submit ─ADMIT→ jobs:<model> … worker … replies:<this> ─one task→ futures
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redis.asyncio
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import OutOfMemoryError, RedisError

from service.broker import Job, QueueState, Result, WorkerInfo, codec, scripts
from service.broker.lines import Command, Lines, Script
from service.broker.seal import Seal
from service.errors import NotReady, QueueFull
from service.vault import VaultLocked

ADMIT, STATE, WORKERS = Script(scripts.ADMIT), Script(scripts.STATE), Script(scripts.WORKERS)
SWEEP, WAITING = Script(scripts.SWEEP), Script(scripts.WAITING)
CONNECTIONS = 32
BEAT = 1.0
"""Seconds between two signs of life."""
REPLIES_KEPT = 10.0
"""Seconds after the last sign of life until nobody waits for this process's jobs."""
TURNS = 2
"""Of the loop, in which those whose answers came send them on before more are asked for."""
SWEEP_EVERY = 10
"""Beats between two looks for what nobody will ever claim."""
GRACE = 60.0
"""Seconds that flags and late jobs are kept beyond the deadline: a worker may be about to see them."""
DEAD_LETTER_AGE = 7 * 86400
"""Seconds for which a dead letter, which holds a photo, is kept, and any photo at most."""

log = logging.getLogger(__name__)


class RedisApi:
    """ApiSide. At most `size` jobs and `size_bytes` compressed bytes a model are accepted and not finished.

    Jobs go to the live workers of `model`; when it is None, to the model that most of them have. Photos are sealed; if
    not `strict`, only where all these workers can open them. Raises ValueError for an URL that is none.
    """

    def __init__(
        self,
        url: str,
        size: int,
        size_bytes: int,
        model: str | None = None,
        seal: Seal | None = None,
        strict: bool = False,
        prefix: str = codec.PREFIX,
    ) -> None:
        self._size, self._size_bytes, self._model, self._prefix = size, int(size_bytes), model, prefix
        self._seal, self._strict, self._plain = seal, strict, set[str]()
        pool = BlockingConnectionPool.from_url(
            url, max_connections=CONNECTIONS, timeout=5, socket_timeout=5, socket_connect_timeout=2,
            retry=Retry(NoBackoff(), 1), protocol=2,
        )  # fmt: skip
        self._redis = redis.asyncio.Redis(connection_pool=pool)
        self._lines, self._reading = Lines(url, CONNECTIONS, timeout=5), Lines(url, 1, timeout=5)
        self._replies = f"{prefix}replies:{uuid.uuid4().hex}"
        self._open: dict[str, tuple[asyncio.Future[Result], float]] = {}
        self._workers: list[WorkerInfo] = []
        self._asked, self._answering, self._closing = -math.inf, False, False
        self._deserted: list[Any] = []
        self._tasks: list[asyncio.Task[None]] = []
        if seal is None:
            log.warning("photos lie unsealed in Redis: neither FACE_QUEUE_KEY nor FACE_MASTER_KEY is set")

    async def start(self) -> None:
        """Connect, and read answers from now on. Raises NotReady."""
        with suppress(NotReady):  # it may come later: until then every call says so
            await self._beat()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._live())]

    async def close(self) -> None:
        """Cancel every future that is still open, and forget the answers."""
        self._closing = True  # a cancellation that meets a connection being made is lost in redis-py
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.cancel(list(self._open))
        with suppress(RedisError):
            await self._redis.delete(self._replies)
        for lines in (self._lines, self._reading):
            await lines.close()
        await self._redis.aclose(close_connection_pool=True)

    async def submit(self, jobs: Sequence[Job]) -> list[asyncio.Future[Result]]:
        """Accept all jobs or none. Raises QueueFull, NotReady."""
        model = await self._choose({job.model for job in jobs})
        photos: list[Command] = []
        words: list[Any] = [model, self._size, self._size_bytes]
        seal = self._sealing(model)
        for job in jobs:
            header, image, left = codec.pack_job(job, seal)
            photos.append(("SET", f"{self._prefix}image:{job.id}", image, "EX", DEAD_LETTER_AGE))
            words += [job.id, header, left, self._replies]
        futures = [asyncio.get_running_loop().create_future() for _ in jobs]
        self._open.update({job.id: (future, job.deadline) for job, future in zip(jobs, futures, strict=True)})
        try:
            with reaching():
                age = await self._admit((*photos, ADMIT.new(self._prefix, words)))
            if age >= 0:
                raise QueueFull(retry_after=max(1, math.ceil(age / 1000)))
        except BaseException:
            for job in jobs:
                self._open.pop(job.id, None)
            raise
        return futures

    async def _admit(self, commands: Sequence[Command]) -> int:
        """Milliseconds if the queue is full, else -1. Where the connection broke, photos tell whether it was done."""
        try:
            return int((await self._lines.transact(*commands))[-1])
        except Unreachable:
            await self._lines.close()  # the idle ones broke with it
            if (await self._lines.ask(("EXISTS", commands[0][1])))[0]:
                return -1
            return int((await self._lines.transact(*commands))[-1])

    async def cancel(self, job_ids: Collection[str]) -> None:
        """Raise a flag for each; whoever holds one or claims it later skips it."""
        gone = {job_id: self._open.pop(job_id) for job_id in job_ids if job_id in self._open}
        for future, _ in gone.values():
            future.cancel()
        if not gone:
            return
        now = time.monotonic()
        with suppress(RedisError):  # the worker then does it in vain
            async with self._redis.pipeline(transaction=False) as pipe:
                for job_id, (_, deadline) in gone.items():
                    pipe.set(f"{self._prefix}gone:{job_id}", 1, px=round(1000 * (max(0.0, deadline - now) + GRACE)))
                await pipe.execute()

    async def state(self) -> QueueState:
        """Depth and age over all models. Raises NotReady."""
        with reaching():
            depth, age, dead = await self._lines.run(STATE, self._prefix, ())
        return QueueState(int(depth), int(age) / 1000, int(dead))

    async def workers(self) -> list[WorkerInfo]:
        """The live workers, those of the model that answers last. Raises NotReady."""
        with reaching():
            found = [codec.unpack_worker(row) for row in await self._lines.run(WORKERS, self._prefix, ())]
        numbers = Counter(worker.digest for worker in found)
        self._workers = sorted(found, key=lambda worker: (worker.digest == self._model, numbers[worker.digest]))
        self._asked = time.monotonic()
        self._answering = any(self._model in (None, worker.digest) for worker in found)
        return self._workers if self._answering else []

    async def ready(self) -> bool:
        """Whether there is one, by the latest look at most two beats ago; a look is taken when there was none."""
        if time.monotonic() - self._asked > 2 * BEAT or not self._answering:
            await self.workers()
        return self._answering

    def _sealing(self, model: str) -> Seal | None:
        """What seals for the workers of a model. A derived key is used if all of them have it: they need not."""
        if self._seal is None or self._strict:
            return self._seal
        plain = any(self._seal.id not in worker.opens for worker in self._workers if worker.digest == model)
        if plain and model not in self._plain:
            log.warning("photos lie unsealed in Redis: workers have no key; set FACE_QUEUE_KEY", extra={"model": model})
        (self._plain.add if plain else self._plain.discard)(model)
        return None if plain else self._seal

    async def _choose(self, wanted: set[str | None]) -> str:
        """The model for these jobs: what they ask for, else what most workers have, else the last there was."""
        if len(wanted) > 1:
            raise ValueError("the jobs of one submit() are for one model")
        if time.monotonic() - self._asked > 2 * BEAT:
            await self.workers()
        [asked] = wanted
        model = asked or self._model
        if model:
            if all(worker.digest != model for worker in self._workers):
                raise NotReady("no worker has the model that is asked for")
            return model
        if self._workers:
            return self._workers[-1].digest
        with reaching():
            last: Any = await self._redis.zrevrange(f"{self._prefix}models", 0, 0)
        if not last:
            raise NotReady
        return str(last[0], "ascii")

    async def _read(self) -> None:
        """Hand answers to their futures, until closed. What has been handed on is deleted with the next reading."""
        done: list[bytes] = []
        while not self._closing:
            forget = [("XDEL", self._replies, *done)] if done else []
            read = ("XREAD", "COUNT", 256, "BLOCK", 1000, "STREAMS", self._replies, "0")
            try:
                found = (await self._reading.ask(*forget, read))[-1]
            except (RedisError, OSError):
                await asyncio.sleep(0.1)
                continue
            entries = found[0][1] if found else []
            done = [number for number, _ in entries]
            for _, fields in entries:
                with suppress(ValueError, VaultLocked):  # its job ends at the deadline
                    self._resolve(codec.unpack_result(fields[1], self._seal))  # r and what it is
            for _ in range(TURNS):
                await asyncio.sleep(0)

    def _resolve(self, result: Result) -> None:
        future, _ = self._open.pop(result.job_id, (None, 0.0))
        if future and not future.done():
            future.set_result(result)

    async def _live(self) -> None:
        """Show signs of life, until closed."""
        beats = 0
        while not self._closing:
            await asyncio.sleep(BEAT)
            with suppress(NotReady):
                await self._beat()
                await self.workers()
                beats += 1
                if beats % SWEEP_EVERY == 0:
                    await self._sweep()

    async def _sweep(self) -> None:
        limits = round(1000 * GRACE), 1000 * DEAD_LETTER_AGE
        with reaching():
            self._deserted = await self._lines.run(SWEEP, self._prefix, (*limits, *self._deserted))

    async def _beat(self) -> None:
        """Keep the reply stream. If it was gone, say so to those whose jobs went with it.

        Redis lost it with all that was queued; or its clock jumped ahead, and most jobs are still there.
        """
        with reaching():
            if await self._redis.pexpire(self._replies, round(1000 * REPLIES_KEPT)):
                return
            open_jobs = list(self._open)
            waiting = await self._lines.run(WAITING, self._prefix, (self._replies,)) if open_jobs else ()
            async with self._redis.pipeline() as pipe:
                pipe.xadd(self._replies, {"r": ""})  # no answer; it is there so that the stream is
                pipe.pexpire(self._replies, round(1000 * REPLIES_KEPT))
                await pipe.execute()
        lost = set(open_jobs) - {str(name, "utf-8", "replace") for name in waiting}
        if lost:
            log.warning("the queue was lost", extra={"images": len(lost)})
        for job_id in lost:
            self._resolve(Result(job_id, "", code=NotReady.code, detail="the queue was lost, send it again"))


@contextmanager
def reaching() -> Iterator[None]:
    """Redis' failures as the service's."""
    try:
        yield
    except OutOfMemoryError as error:
        raise QueueFull("the queue's memory is full") from error
    except (RedisError, OSError) as error:
        raise NotReady("the queue cannot be reached") from error
