"""Jobs that workers died on, put aside in Redis with their photo: listed, given to a worker again, dropped."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import redis

from service.broker import Job, Result, codec
from service.broker.redis import RedisApi
from service.broker.seal import Seal
from service.errors import DeadlineExceeded, InvalidRequest


@dataclass(frozen=True)
class DeadLetter:
    """One of them; `put_aside` is seconds since 1970 by Redis' clock, `size` the photo's bytes."""

    id: str
    put_aside: float
    model: str
    deliveries: int
    request_id: str
    pixels: int
    size: int
    fields: dict[bytes, bytes] = field(repr=False)


class DeadLetters:
    """All of one Redis, oldest first. Its methods raise redis' errors. Listing and dropping them needs no key."""

    def __init__(self, url: str, seal: Seal | None = None, prefix: str = codec.PREFIX) -> None:
        self._seal = seal
        self._redis = redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=2, protocol=2)
        self._stream = f"{prefix}dead"

    def __enter__(self) -> DeadLetters:
        return self

    def __exit__(self, *_: object) -> None:
        self._redis.close()

    def list(self) -> list[DeadLetter]:
        """Those that can be read; what never was a job can only be dropped."""
        rows: Any = self._redis.xrange(self._stream)
        return [letter for row in rows if (letter := _read(*row)) is not None]

    def ids(self) -> Collection[str]:
        """Of all of them."""
        rows: Any = self._redis.xrange(self._stream)
        return [str(entry, "ascii") for entry, _ in rows]

    def drop(self, ids: Collection[str]) -> int:
        """Delete these; how many there were."""
        return int(self._redis.xdel(self._stream, *ids)) if ids else 0

    def replay(self, letter: DeadLetter, api: RedisApi, seconds: float) -> Result:
        """Submit it again and wait; it goes when it is answered, or put aside anew.

        Raises QueueFull, NotReady, VaultLocked.
        """
        try:
            job = codec.unpack_job(letter.fields, letter.fields[b"i"], 0, 1, self._seal)
        except (ValueError, KeyError) as error:
            raise InvalidRequest("this dead letter is no job") from error
        result = asyncio.run(_submit(job, api, seconds))
        if result.code in (None, "worker_lost"):
            self.drop([letter.id])
        return result


async def _submit(job: Job, api: RedisApi, seconds: float) -> Result:
    await api.start()
    try:
        now = time.monotonic()
        again = replace(job, id=uuid.uuid4().hex, submitted=now, deadline=now + seconds, attempt=1)
        [future] = await api.submit([again])
        return await asyncio.wait_for(future, seconds)
    except TimeoutError:
        return Result(job.id, "", code=DeadlineExceeded.code)
    finally:
        await api.close()


def _read(entry: bytes, fields: dict[bytes, bytes]) -> DeadLetter | None:
    try:
        header = codec.unpack_header(fields)
        model, deliveries = str(fields[b"model"], "ascii"), int(fields[b"deliveries"])
    except (ValueError, KeyError):
        return None
    made = int(entry.split(b"-")[0]) / 1000
    known = header["request_id"], header["pixels"], header["bytes"]
    return DeadLetter(str(entry, "ascii"), made, model, deliveries, *known, fields)
