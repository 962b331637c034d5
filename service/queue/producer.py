"""The queue over Redis as an API process sees it: requests into a model's stream, outcomes from a stream of its own.

submit ─admit.lua→ requests:<model> … worker … replies:<this process> ─one task→ futures
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import RedisError
from typing_extensions import override

from service import redis_access
from service.crypto.queue_cipher import QueueCipher
from service.crypto.vault import VaultLocked
from service.errors import NotReady, QueueFull
from service.queue import Producer, QueueState, codec
from service.queue.connection import Command, ConnectionPool, by_text
from service.queue.directory import LOOK_SECONDS, WorkerDirectory
from service.queue.keys import MAX_DEAD_LETTERS, script
from service.wire import AnalysisFailure, AnalysisOutcome, AnalysisRequest, ModelCard, WorkerInfo

ADMIT = script("admit")
OPEN_REPLIES = script("open_replies")
STATE = script("state")
SWEEP = script("sweep")
WAITING = script("waiting")
CONNECTIONS = 32
BEAT_SECONDS = LOOK_SECONDS / 2
REPLIES_SECONDS = 10.0
"""Time after the last sign of life until this process's requests count as abandoned."""
LOOP_TURNS = 2
"""Turns of the loop in which those whose outcomes came send them on before more outcomes are read."""
SWEEP_BEATS = 10
"""Heartbeats between two looks for requests that no worker will ever claim."""
GRACE_SECONDS = 60.0
"""Time beyond the deadline for which flags and late requests are kept: a worker may be about to see them."""
DEAD_LETTER_SECONDS = 7 * 86400
"""Time for which a dead letter, which holds a photo, is kept, and any photo at most."""

log = logging.getLogger(__name__)


def redis_errors() -> AbstractContextManager[None]:
    """Raise NotReady where Redis cannot be reached, QueueFull where its memory is full."""
    return redis_access.redis_errors(
        unreachable=lambda: NotReady("the queue cannot be reached"),
        full=lambda: QueueFull("the queue's memory is full"),
    )


class RedisProducer(Producer):
    """Producer over Redis: at most `size` requests and `size_bytes` compressed bytes a model are not finished.

    Requests go to the live workers of `model`; when it is None, to the model that most workers have. Photos are
    encrypted where there is a cipher; if not `required`, only where all workers of the model can decrypt them. Raises
    ValueError for a URL that Redis clients do not know.
    """

    def __init__(
        self,
        url: str,
        size: int,
        size_bytes: int,
        model: str | None = None,
        cipher: QueueCipher | None = None,
        required: bool = False,
        prefix: str = codec.PREFIX,
    ) -> None:
        self._size = size
        self._size_bytes = int(size_bytes)
        self._prefix = prefix
        self._cipher = cipher
        self._required = required
        self._redis = redis_access.connect_async(url, timeout=5, connections=CONNECTIONS)
        self._pool = ConnectionPool(url, CONNECTIONS, timeout=5)
        self._reading = ConnectionPool(url, 1, timeout=5)
        self._directory = WorkerDirectory(self._pool, model, cipher, required, prefix)
        self._replies = f"{prefix}replies:{uuid.uuid4().hex}"
        self._open: dict[str, tuple[asyncio.Future[AnalysisOutcome], float]] = {}
        self._closing = False
        self._without_workers: list[Any] = []
        self._tasks: list[asyncio.Task[None]] = []
        if cipher is None:
            log.warning("photos lie unencrypted in Redis: neither FACE_QUEUE_KEY nor FACE_MASTER_KEY is set")

    @override
    async def start(self) -> None:
        with suppress(NotReady, QueueFull):  # Redis may come later: until then every call says so
            await self._beat()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._beat_forever())]

    @override
    async def close(self) -> None:
        self._closing = True  # redis-py loses a cancellation that meets a connection being made
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.cancel(list(self._open))
        with suppress(RedisError):
            await self._redis.delete(self._replies)
        for pool in (self._pool, self._reading):
            await pool.close()
        await self._redis.aclose(close_connection_pool=True)

    @override
    async def submit(self, requests: Sequence[AnalysisRequest]) -> list[asyncio.Future[AnalysisOutcome]]:
        with redis_errors():
            model = await self._directory.choose({request.model for request in requests})
        photos: list[Command] = []
        arguments: list[Any] = [model, self._size, self._size_bytes]
        cipher = self._directory.cipher_for(model)
        for request in requests:
            head, image, milliseconds_left = codec.pack_request(request, cipher)
            photos.append(("SET", f"{self._prefix}image:{request.id}", image, "EX", DEAD_LETTER_SECONDS))
            arguments += [request.id, head, milliseconds_left, self._replies]
        futures = [asyncio.get_running_loop().create_future() for _ in requests]
        for request, future in zip(requests, futures, strict=True):
            self._open[request.id] = (future, request.deadline)
        try:
            with redis_errors():
                # As text: within MULTI nothing can be sent again when Redis does not know the script's digest.
                age = await self._admit((*photos, by_text(ADMIT, self._prefix, arguments)))
            if age >= 0:
                raise QueueFull(retry_after=max(1, math.ceil(age / 1000)))
        except BaseException:
            for request in requests:
                self._open.pop(request.id, None)
            raise
        return futures

    async def _admit(self, commands: Sequence[Command]) -> int:
        """Return -1, or milliseconds if the queue is full. After a broken connection the photos tell whether it ran."""
        try:
            return int((await self._pool.transact(*commands))[-1])
        except Unreachable:
            await self._pool.close()  # the idle connections broke with it
            if (await self._pool.ask(("EXISTS", commands[0][1])))[0]:
                return -1
            return int((await self._pool.transact(*commands))[-1])

    @override
    async def cancel(self, request_ids: Collection[str]) -> None:
        cancelled = {request_id: self._open.pop(request_id) for request_id in request_ids if request_id in self._open}
        for future, _ in cancelled.values():
            future.cancel()
        if not cancelled:
            return
        now = time.monotonic()
        with suppress(RedisError):  # a worker then does the work in vain
            async with self._redis.pipeline(transaction=False) as pipe:
                for request_id, (_, deadline) in cancelled.items():
                    milliseconds = round(1000 * (max(0.0, deadline - now) + GRACE_SECONDS))
                    pipe.set(f"{self._prefix}cancelled:{request_id}", 1, px=milliseconds)
                await pipe.execute()

    @override
    async def put_aside(self, request: AnalysisRequest, deliveries: int) -> None:
        with redis_errors():
            model = await self._directory.choose({request.model})
            head, image, milliseconds_left = codec.pack_request(request, self._directory.cipher_for(model))
            fields = ("id", request.id, "h", head, "i", image, "t", milliseconds_left, "to", "", "model", model)
            entry = ("XADD", f"{self._prefix}dead_letters", "MAXLEN", MAX_DEAD_LETTERS, "*", *fields)
            await self._pool.ask((*entry, "deliveries", deliveries))

    @override
    async def state(self) -> QueueState:
        with redis_errors():
            depth, age, dead_letters = await self._pool.run(STATE, self._prefix, ())
        return QueueState(int(depth), int(age) / 1000, int(dead_letters))

    @override
    async def workers(self) -> list[WorkerInfo]:
        with redis_errors():
            return await self._directory.look()

    @override
    async def model_card(self, digest: str | None = None) -> ModelCard:
        with redis_errors():
            return await self._directory.card(digest)

    @override
    async def ready(self) -> bool:
        with redis_errors():
            return await self._directory.ready()

    async def _read(self) -> None:
        """Hand outcomes to their futures until closed. What was handed on is deleted with the next reading."""
        delivered: list[bytes] = []
        while not self._closing:
            forget = [("XDEL", self._replies, *delivered)] if delivered else []
            command = ("XREAD", "COUNT", 256, "BLOCK", 1000, "STREAMS", self._replies, "0")
            try:
                streams = (await self._reading.ask(*forget, command))[-1]
            except (RedisError, OSError):
                await asyncio.sleep(0.1)
                continue
            entries = streams[0][1] if streams else []
            delivered = [entry_id for entry_id, _ in entries]
            for _, fields in entries:
                self._take(fields[1])  # the one field is `r`
            for _ in range(LOOP_TURNS):
                await asyncio.sleep(0)

    def _take(self, data: bytes) -> None:
        try:
            self._resolve(codec.unpack_outcome(data, self._cipher, self._required))
        except (ValueError, VaultLocked) as error:  # whoever waits for it waits until the deadline
            log.error("an answer from the queue was refused", extra={"reason": str(error)})

    def _resolve(self, outcome: AnalysisOutcome) -> None:
        future, _ = self._open.pop(outcome.id, (None, 0.0))
        if future and not future.done():
            future.set_result(outcome)

    async def _beat_forever(self) -> None:
        """Keep the reply stream and look at the workers until closed; now and then forget what no worker will claim."""
        beats = 0
        while not self._closing:
            await asyncio.sleep(BEAT_SECONDS)
            with suppress(NotReady, QueueFull):
                await self._beat()
                await self.workers()
                beats += 1
                if beats % SWEEP_BEATS == 0:
                    await self._sweep()

    async def _sweep(self) -> None:
        limits = (round(1000 * GRACE_SECONDS), 1000 * DEAD_LETTER_SECONDS)
        with redis_errors():
            self._without_workers = await self._pool.run(SWEEP, self._prefix, (*limits, *self._without_workers))

    async def _beat(self) -> None:
        """Keep the reply stream. If it was gone, fail the requests that went with it.

        Redis lost the stream with all that was queued; or its clock jumped ahead, and most requests are still there.
        """
        with redis_errors():
            if await self._redis.pexpire(self._replies, round(1000 * REPLIES_SECONDS)):
                return
            open_requests = list(self._open)
            waiting = await self._pool.run(WAITING, self._prefix, (self._replies,)) if open_requests else ()
            await self._pool.run(OPEN_REPLIES, self._prefix, (self._replies, round(1000 * REPLIES_SECONDS)))
        lost = set(open_requests) - {str(name, "utf-8", "replace") for name in waiting}
        if lost:
            log.warning("Redis lost the queue", extra={"images": len(lost)})
        for request_id in lost:
            self._resolve(AnalysisFailure(request_id, "", NotReady.code, "the queue was lost, send the photo again"))
