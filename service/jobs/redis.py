"""Jobs in Redis, for many API processes: who owns one renews its lease, and another adopts a job whose lease is over.

Keys under one prefix, all of which expire: `<id>` (hash: meta, done, failed, ended), `<id>:items` and `<id>:results`
(hashes by index), `once:<key>`; and `open` (sorted set: id → end of the lease by Redis' clock). Items and results, in
which photos, names and what was found are, are sealed where there is a key.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

import msgpack
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from service.broker.redis import reaching
from service.broker.seal import Seal
from service.errors import QueueFull
from service.jobs import BulkJob, IdempotencyConflict, Item, Once
from service.schemas import JobOptions
from service.vault import VaultLocked

PREFIX = "face:bulk:"
LEASE = 7.0
"""Seconds after which a job whose owner was silent is adopted at the next look but one."""
SEALED = b"\xc1"
"""What no msgpack begins with."""
CHUNK = 16
"""Items a command."""

_NOW = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""
_PUT = """
local key, index = KEYS[1] .. ARGV[1], ARGV[2]
if redis.call('EXISTS', key) == 0 then return 0 end
if redis.call('HDEL', key .. ':items', index) == 1 then
  redis.call('HSET', key .. ':results', index, ARGV[3])
  redis.call('PEXPIRE', key .. ':results', math.max(1, redis.call('PTTL', key)))
  redis.call('HINCRBY', key, 'done', 1)
  redis.call('HINCRBY', key, 'failed', ARGV[4])
end
return 1
"""
_RENEW = (
    _NOW
    + """
if redis.call('EXISTS', KEYS[1] .. ARGV[1]) == 0 then
  redis.call('ZREM', KEYS[1] .. 'open', ARGV[1])
  return 0
end
redis.call('ZADD', KEYS[1] .. 'open', now() + ARGV[2], ARGV[1])
return 1
"""
)
_ADOPT = (
    _NOW
    + """
local sure, over = {}, {}
for i = 2, #ARGV do sure[ARGV[i]] = true end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1] .. 'open', '-inf', now())) do
  if redis.call('EXISTS', KEYS[1] .. id) == 0 then
    redis.call('ZREM', KEYS[1] .. 'open', id)
  elseif sure[id] then
    redis.call('ZADD', KEYS[1] .. 'open', now() + ARGV[1], id)
    return {id, {}}
  else
    table.insert(over, id)
  end
end
return {false, over}
"""
)
"""KEYS prefix; ARGV lease, jobs whose lease was over at the last look.

One of these if it still is; or nothing, and those whose lease is over now: Redis' clock may have jumped ahead.
"""


class RedisJobs:
    """JobStore. At most about `most` jobs are open; each is kept for `seconds` after it came and after its end."""

    def __init__(self, url: str, most: int, seconds: float, seal: Seal | None = None, prefix: str = PREFIX) -> None:
        self._redis = redis.asyncio.Redis.from_url(
            url, socket_timeout=10, socket_connect_timeout=2, retry=Retry(NoBackoff(), 1), protocol=2
        )
        self._most, self._ms, self._prefix, self._seal = most, round(1000 * seconds), prefix, seal
        self._over: list[bytes] = []
        self._put, self._renew, self._adopt = (self._redis.register_script(text) for text in (_PUT, _RENEW, _ADOPT))

    async def create(self, job: BulkJob, items: Sequence[Item], once: Once | None) -> BulkJob:
        """Keep it, or find the one that came with this key."""
        with reaching():
            if once and (known := await self._claim(once, job.id)):
                return known
            if await self._redis.zcard(f"{self._prefix}open") >= self._most:
                if once:
                    await self._redis.delete(f"{self._prefix}once:{once.key}")
                raise QueueFull("too many jobs are open", retry_after=10)
            meta = {name: value for name, value in asdict(job).items() if name not in ("done", "failed", "ended")}
            meta["options"] = job.options.model_dump()
            key = f"{self._prefix}{job.id}"
            rows = [(index, self._sealed(asdict(item), "item", job.id, index)) for index, item in enumerate(items)]
            async with self._redis.pipeline() as pipe:
                for start in range(0, len(rows), CHUNK):
                    pipe.hset(f"{key}:items", mapping=dict(rows[start : start + CHUNK]))
                pipe.hset(key, mapping={"meta": _packed(meta), "done": 0, "failed": 0})
                pipe.pexpire(key, self._ms)
                pipe.pexpire(f"{key}:items", self._ms)
                await pipe.execute()
            await self.renew(job.id)
        return job

    async def _claim(self, once: Once, job_id: str) -> BulkJob | None:
        """The job that came with this key; None when the key is this job's now. Raises IdempotencyConflict."""
        key, mine = f"{self._prefix}once:{once.key}", f"{once.digest} {job_id}"
        if await self._redis.set(key, mine, nx=True, px=self._ms):
            return None
        kept = cast(bytes, await self._redis.get(key) or b" ")
        digest, _, known = kept.decode("ascii").partition(" ")
        if digest and digest != once.digest:
            raise IdempotencyConflict
        found = await self.job(known)
        if found is None:
            await self._redis.set(key, mine, px=self._ms)
        return found

    async def job(self, job_id: str) -> BulkJob | None:
        """The job."""
        with reaching():
            found: dict[bytes, bytes] = await cast(Any, self._redis.hgetall(f"{self._prefix}{job_id}"))
        if b"meta" not in found:
            return None
        meta = msgpack.unpackb(found[b"meta"])
        meta["options"] = JobOptions.model_validate(meta["options"])
        ended = float(found[b"ended"]) if b"ended" in found else None
        return BulkJob(**meta, done=int(found[b"done"]), failed=int(found[b"failed"]), ended=ended)

    async def results(self, job_id: str, start: int, limit: int) -> list[dict[str, Any]]:
        """Those that are there."""
        wanted = [str(index) for index in range(start, start + limit)]
        with reaching():
            found = await cast(Any, self._redis.hmget(f"{self._prefix}{job_id}:results", wanted))
        rows = [(index, row) for index, row in enumerate(found, start) if row is not None]
        return [self._opened(row, "result", job_id, index) for index, row in rows]

    async def todo(self, job_id: str) -> list[int]:
        """Items without a result."""
        with reaching():
            return sorted(int(name) for name in await cast(Any, self._redis.hkeys(f"{self._prefix}{job_id}:items")))

    async def item(self, job_id: str, index: int) -> Item | None:
        """An item that is to do."""
        with reaching():
            found = await cast(Any, self._redis.hget(f"{self._prefix}{job_id}:items", str(index)))
        return Item(**self._opened(found, "item", job_id, index)) if found else None

    async def put(self, job_id: str, index: int, result: dict[str, Any]) -> bool:
        """An item's result."""
        with reaching():
            packed = self._sealed(result, "result", job_id, index)
            words: list[Any] = [job_id, index, packed, int("error" in result)]
            return bool(await self._put(keys=[self._prefix], args=words))

    async def end(self, job_id: str) -> BulkJob | None:
        """All is done."""
        key = f"{self._prefix}{job_id}"
        with reaching():
            if await self._redis.pexpire(key, self._ms):
                await cast(Any, self._redis.hset(key, "ended", str(time.time())))
                await self._redis.pexpire(f"{key}:results", self._ms)
        return await self.job(job_id)

    async def close(self, job_id: str) -> None:
        """Nobody needs to go on with it."""
        with reaching():
            await self._redis.zrem(f"{self._prefix}open", job_id)

    async def delete(self, job_id: str) -> bool:
        """Forget it."""
        key = f"{self._prefix}{job_id}"
        with reaching():
            await self._redis.zrem(f"{self._prefix}open", job_id)
            return bool(await self._redis.unlink(key, f"{key}:items", f"{key}:results"))

    async def renew(self, job_id: str) -> bool:
        """Stay its owner."""
        with reaching():
            return bool(await self._renew(keys=[self._prefix], args=[job_id, round(1000 * LEASE)]))

    async def adopt(self) -> BulkJob | None:
        """Become the owner of one that has lost its own."""
        with reaching():
            found, over = await self._adopt(keys=[self._prefix], args=[round(1000 * LEASE), *self._over])
        if found:
            self._over.remove(found)
            return await self.job(str(found, "ascii"))
        self._over = over
        return None

    async def disconnect(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def _sealed(self, value: dict[str, Any], *place: str | int) -> bytes:
        packed = _packed(value)
        return SEALED + self._seal.seal(packed, *_place(place)) if self._seal else packed

    def _opened(self, data: bytes, *place: str | int) -> dict[str, Any]:
        """Raises VaultLocked."""
        if data.startswith(SEALED):
            if self._seal is None:
                raise VaultLocked("this job was sealed, and no key is set")
            data = self._seal.open(data[len(SEALED) :], *_place(place))
        return cast(dict[str, Any], msgpack.unpackb(data))


def _place(words: Sequence[str | int]) -> list[bytes]:
    return [str(word).encode() for word in ("job", *words)]


def _packed(value: dict[str, Any]) -> bytes:
    return cast(bytes, msgpack.packb(value))
