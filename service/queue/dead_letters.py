"""Dead letters: requests that workers died on, put aside in Redis with their photo; listed, replayed or dropped."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from service.crypto.queue_cipher import QueueCipher
from service.errors import DeadlineExceeded, InvalidRequest, WorkerLost
from service.headers import read_header
from service.queue import codec
from service.queue.producer import RedisProducer
from service.redis_access import connect
from service.wire import AnalysisFailure, AnalysisOutcome, AnalysisRequest


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter; `put_aside` is seconds since 1970 by Redis' clock, `size` the bytes of the photo."""

    id: str
    put_aside: float
    model: str
    deliveries: int
    request_id: str
    pixels: int
    size: int
    fields: Mapping[bytes, bytes] = field(repr=False)


class DeadLetters:
    """All dead letters of one Redis, oldest first. Its methods raise Redis' errors. Only replay() needs the key."""

    def __init__(
        self, url: str, cipher: QueueCipher | None = None, required: bool = False, prefix: str = codec.PREFIX
    ) -> None:
        self._cipher = cipher
        self._required = required
        self._redis = connect(url, retries=0)
        self._stream = f"{prefix}dead_letters"

    def __enter__(self) -> DeadLetters:
        return self

    def __exit__(self, *_: object) -> None:
        self._redis.close()

    def list(self) -> list[DeadLetter]:
        """Return the dead letters that can be read; what never was a request can only be dropped."""
        rows: Any = self._redis.xrange(self._stream)
        return [letter for row in rows if (letter := _read(*row)) is not None]

    def ids(self) -> Collection[str]:
        """Return the ids of all dead letters, readable or not."""
        rows: Any = self._redis.xrange(self._stream)
        return [str(entry_id, "ascii") for entry_id, _ in rows]

    def delete(self, ids: Collection[str]) -> int:
        """Delete these dead letters and return how many of them there were."""
        return int(self._redis.xdel(self._stream, *ids)) if ids else 0

    def replay(self, letter: DeadLetter, producer: RedisProducer, seconds: float) -> AnalysisOutcome:
        """Submit it again and wait for the outcome. The letter goes when it is answered or put aside again.

        Raises QueueFull, NotReady, VaultLocked.
        """
        try:
            image = letter.fields[b"i"]
            request = codec.unpack_request(letter.fields, image, 0, 1, self._cipher, self._required)
        except (ValueError, KeyError) as error:
            raise InvalidRequest("this dead letter is not a valid request") from error
        if not request.header.pixels:  # a job's photo: perhaps a process was lost while it read the header
            limits = (len(request.image), sys.maxsize)
            request = replace(request, header=read_header(request.image, *limits))
        outcome = asyncio.run(_submit(request, producer, seconds))
        if not isinstance(outcome, AnalysisFailure) or outcome.code == WorkerLost.code:
            self.delete([letter.id])
        return outcome


async def _submit(request: AnalysisRequest, producer: RedisProducer, seconds: float) -> AnalysisOutcome:
    await producer.start()
    try:
        now = time.monotonic()
        resubmitted = replace(request, id=uuid.uuid4().hex, submitted=now, deadline=now + seconds, attempt=1)
        [future] = await producer.submit([resubmitted])
        return await asyncio.wait_for(future, seconds)
    except TimeoutError:
        return AnalysisFailure(request.id, "", DeadlineExceeded.code)
    finally:
        await producer.close()


def _read(entry_id: bytes, fields: Mapping[bytes, bytes]) -> DeadLetter | None:
    try:
        head = codec.unpack_head(fields)
        model = str(fields[b"model"], "ascii")
        deliveries = int(fields[b"deliveries"])
    except (ValueError, KeyError):
        return None
    put_aside = int(entry_id.split(b"-")[0]) / 1000
    return DeadLetter(
        str(entry_id, "ascii"), put_aside, model, deliveries, head.request_id, head.header.pixels, head.size, fields
    )
