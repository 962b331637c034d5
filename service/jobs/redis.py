"""Jobs in Redis, for many API processes: the owner of a job renews its lease, another adopts it when the lease ends.

| key under `face:jobs:` | type       | what                                                                   |
| ---------------------- | ---------- | ---------------------------------------------------------------------- |
| <id>                   | hash       | the job (`meta`), how far it is, its owner and bytes; expires           |
| <id>:items             | hash       | photos without a result by number; expires                             |
| <id>:deliveries        | hash       | how often such a photo was handed to a process; expires                |
| <id>:results           | hash       | results by number; expires                                             |
| idempotency:<key>      | string     | digest and job of an Idempotency-Key; expires                          |
| open                   | sorted set | jobs to be adopted when their lease, by Redis' clock, ends             |
| kept                   | sorted set | all jobs by the time at which they came; expires with the last         |

Items, results and the job itself are encrypted where there is a key, each bound to its place; where a key is
`required`, what is not encrypted is refused.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from msgspec import MsgspecError, msgpack
from msgspec.structs import replace
from typing_extensions import override

from service.crypto.queue_cipher import QueueCipher
from service.crypto.vault import VaultLocked
from service.errors import QueueFull
from service.jobs import IdempotencyConflict, IdempotencyKey, Item, ItemResult, Job, JobStore, ResultsTooLarge
from service.jobs.budget import Budget
from service.queue.producer import redis_errors
from service.redis_access import connect_async, load_script

PREFIX = "face:jobs:"
LEASE_SECONDS = 7.0
"""Time after which a job whose owner was silent is adopted at the next look but one."""
ENCRYPTED = b"\xc1"
"""First byte of an encrypted value: no msgpack begins with it."""
ITEMS_AT_ONCE = 16
"""Items that one command stores."""
MAX_JOBS = 10_000
ATTEMPTS = 5
"""How often a job is begun whose Idempotency-Key another job has, which is deleted by the time it is looked for."""

BEGIN = load_script("service.jobs", "begin")
Value = TypeVar("Value", Job, Item, ItemResult)


class RedisJobs(JobStore):
    """JobStore. About `max_open` jobs are open at most; each is kept for `seconds` after it came and after its end.

    Beyond the budget's bytes a new job is refused while jobs are open, and the oldest finished jobs are forgotten.
    """

    def __init__(
        self,
        url: str,
        max_open: int,
        seconds: float,
        budget: Budget,
        cipher: QueueCipher | None = None,
        required: bool = False,
        prefix: str = PREFIX,
    ) -> None:
        self._redis = connect_async(url)
        self._max_open = max_open
        self._milliseconds = round(1000 * seconds)
        self._budget = budget
        self._prefix = prefix
        self._cipher = cipher
        self._required = required
        self._ended_leases: list[bytes] = []
        names = ("count_running", "make_room", "put", "hand_out", "renew", "adopt", "delete")
        self._scripts = {name: self._redis.register_script(load_script("service.jobs", name).text) for name in names}

    @override
    async def create(self, job: Job, items: Sequence[Item], idempotency_key: IdempotencyKey | None) -> Job:
        with redis_errors():
            for _ in range(ATTEMPTS):
                if idempotency_key and (earlier_job := await self._earlier_job(idempotency_key, job)):
                    return earlier_job
                await self._make_room(job, items)
                if await self._begin(job, items, idempotency_key):
                    return job
        raise QueueFull("this Idempotency-Key is used by too many callers at once")

    async def _make_room(self, job: Job, items: Sequence[Item]) -> None:
        """Check that another job and its bytes have room. Raises QueueFull."""
        if int(await self._run("count_running")) >= self._max_open:
            raise QueueFull("too many jobs are open", retry_after=10)
        if not await self._fits(job, sum(len(item.image) for item in items)):
            raise QueueFull("jobs hold too many bytes; fetch and delete finished ones", retry_after=10)

    async def _fits(self, job: Job, size: int) -> bool:
        limits = (self._budget.per_owner, self._budget.total, MAX_JOBS)
        return bool(await self._run("make_room", job.owner, size, *limits, job.id))

    async def _begin(self, job: Job, items: Sequence[Item], idempotency_key: IdempotencyKey | None) -> bool:
        """Store a job and own it, all in one step; do nothing and return False if another came with its key."""
        key = f"{self._prefix}{job.id}"
        rows = [(index, self._packed(item, "item", job.id, index)) for index, item in enumerate(items)]
        size = sum(len(row) for _, row in rows)
        async with self._redis.pipeline() as pipe:
            for start in range(0, len(rows), ITEMS_AT_ONCE):
                pipe.hset(f"{key}:items", mapping=cast(Any, dict(rows[start : start + ITEMS_AT_ONCE])))
            meta = self._packed(job, "meta", job.id)
            pipe.hset(key, mapping={"meta": meta, "owner": job.owner, "size": size, "done": 0, "failed": 0})
            pipe.zadd(f"{self._prefix}kept", {job.id: job.created})
            for name in (key, f"{key}:items", f"{self._prefix}kept"):
                pipe.pexpire(name, self._milliseconds)
            claim = (idempotency_key.key, idempotency_key.digest) if idempotency_key else ("", "")
            longest = 2 * self._milliseconds  # until it is done, and then for its results
            arguments = (job.id, job.owner, round(1000 * LEASE_SECONDS), *claim, longest)
            # As text: within MULTI nothing can be sent again when Redis does not know the script's digest.
            pipe.eval(BEGIN.text, 1, self._prefix, *arguments)
            return bool((await pipe.execute())[-1])

    async def _earlier_job(self, idempotency_key: IdempotencyKey, job: Job) -> Job | None:
        """Return the job of the same owner that came with this key. Raises IdempotencyConflict."""
        claim = cast(bytes, await self._redis.get(f"{self._prefix}idempotency:{idempotency_key.key}") or b"")
        digest, _, job_id = claim.decode("ascii").partition(" ")
        earlier_job = await self.job(job_id) if job_id else None
        if earlier_job is None or earlier_job.owner != job.owner:
            return None
        if digest != idempotency_key.digest:
            raise IdempotencyConflict
        return earlier_job

    @override
    async def job(self, job_id: str) -> Job | None:
        with redis_errors():
            row: dict[bytes, bytes] = await cast(Any, self._redis.hgetall(f"{self._prefix}{job_id}"))
        if b"meta" not in row:
            return None
        job = self._unpacked(row[b"meta"], Job, "meta", job_id)
        ended = float(row[b"ended"]) if b"ended" in row else None
        return replace(job, done=int(row[b"done"]), failed=int(row[b"failed"]), ended=ended)

    @override
    async def results(self, job_id: str, start: int, limit: int) -> list[ItemResult]:
        numbers = [str(index) for index in range(start, start + limit)]
        if not numbers:
            return []
        with redis_errors():
            rows = await cast(Any, self._redis.hmget(f"{self._prefix}{job_id}:results", numbers))
        stored_rows = [(index, row) for index, row in enumerate(rows, start) if row is not None]
        return [self._unpacked(row, ItemResult, "result", job_id, index) for index, row in stored_rows]

    @override
    async def pending(self, job_id: str) -> list[int]:
        with redis_errors():
            return sorted(int(name) for name in await cast(Any, self._redis.hkeys(f"{self._prefix}{job_id}:items")))

    @override
    async def item(self, job_id: str, index: int) -> tuple[Item, int] | None:
        with redis_errors():
            row = await self._run("hand_out", job_id, index)
        return (self._unpacked(row[0], Item, "item", job_id, index), int(row[1])) if row else None

    @override
    async def put_back(self, job_id: str, index: int) -> None:
        with redis_errors():
            await cast(Any, self._redis.hincrby(f"{self._prefix}{job_id}:deliveries", str(index), -1))

    @override
    async def put(self, job_id: str, result: ItemResult) -> bool:
        too_large = ItemResult(result.index, result.name, error=ResultsTooLarge().problem())
        associated_data = ("result", job_id, result.index)
        rows = self._packed(result, *associated_data), self._packed(too_large, *associated_data)
        with redis_errors():
            failed = int(result.error is not None)
            budget = self._budget.per_owner
            return bool(await self._run("put", job_id, result.index, rows[0], failed, budget, rows[1]))

    @override
    async def end(self, job_id: str) -> Job | None:
        key = f"{self._prefix}{job_id}"
        with redis_errors():
            if await self._redis.pexpire(key, self._milliseconds):
                await cast(Any, self._redis.hset(key, "ended", str(time.time())))
                await self._redis.pexpire(f"{key}:results", self._milliseconds)
                await self._redis.pexpire(f"{self._prefix}kept", self._milliseconds)
            job = await self.job(job_id)
            if job:
                await self._fits(job, 0)
        return job

    @override
    async def close(self, job_id: str) -> None:
        with redis_errors():
            await self._redis.zrem(f"{self._prefix}open", job_id)

    @override
    async def delete(self, job_id: str) -> bool:
        with redis_errors():
            return bool(await self._run("delete", job_id))

    @override
    async def renew(self, job_id: str) -> bool:
        with redis_errors():
            return bool(await self._run("renew", job_id, round(1000 * LEASE_SECONDS)))

    @override
    async def adopt(self) -> Job | None:
        with redis_errors():
            adopted, ended = await self._run("adopt", round(1000 * LEASE_SECONDS), *self._ended_leases)
        if adopted:
            self._ended_leases.remove(adopted)
            return await self.job(str(adopted, "ascii"))
        self._ended_leases = ended
        return None

    @override
    async def disconnect(self) -> None:
        await self._redis.aclose()

    async def _run(self, name: str, *arguments: str | bytes | int) -> Any:
        return await self._scripts[name](keys=[self._prefix], args=list(arguments))

    def _packed(self, value: Job | Item | ItemResult, *associated_data: str | int) -> bytes:
        packed = msgpack.encode(value)
        return ENCRYPTED + self._cipher.encrypt(packed, *_as_bytes(associated_data)) if self._cipher else packed

    def _unpacked(self, data: bytes, kind: type[Value], *associated_data: str | int) -> Value:
        """Return what _packed() packed for this place. Raises VaultLocked."""
        if data.startswith(ENCRYPTED):
            if self._cipher is None:
                raise VaultLocked("this job is encrypted, and this server has no queue key")
            data = self._cipher.decrypt(data[len(ENCRYPTED) :], *_as_bytes(associated_data))
        elif self._required:
            raise VaultLocked("this job lies unencrypted in Redis, and this server has a queue key")
        try:
            return msgpack.decode(data, type=kind)
        except MsgspecError as error:
            raise VaultLocked("this job cannot be read: another version of the server stored it") from error


def _as_bytes(associated_data: Sequence[str | int]) -> list[bytes]:
    return [str(part).encode() for part in ("job", *associated_data)]
