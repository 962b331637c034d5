"""Nearest in the vector sets of a Redis 8: approximate, one copy for all processes, and not sealed.

Keys, all under one prefix: for each collection `<id>` (vector set: serial → template), `<id>:at` (hash: the version it
has caught up with, how many it then held) and `<id>:busy` (whose turn it is to catch up); `ids` (set). No names. What
is lost there is built again from the store, so it may be run without a file.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Collection as Several
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, cast

import numpy as np
import redis

from service.errors import ServiceError
from service.gallery import Busy, StorageFull, StorageUnavailable, Vector
from service.gallery.sealed import Handle, SealedStore
from service.gallery.store import Changes

LINKS = 32
"""M of HNSW: neighbours of a node; the accuracy is bought with memory."""
BUILD_EFFORT, SEARCH_EFFORT = 200, 1000
"""EF of HNSW: candidates followed for a node that is added, and at least for a search."""
STEP = 64
"""Templates of one script: Redis does nothing else meanwhile."""
TURN_SECONDS = 60.0
"""A process that is silent for so long while it catches up loses its turn to another."""
PATIENCE = 20.0
"""Seconds for which a search or deletion waits while another process catches up."""
log = logging.getLogger(__name__)

_AT = """
local size = redis.call('VCARD', KEYS[1])
local at = redis.call('HMGET', KEYS[1] .. ':at', 'version', 'size')
if not at[1] or tonumber(at[2]) ~= size then return {0, 0} end
return {tonumber(at[1]), size}
"""
"""KEYS the set. The version it has caught up with and its size; 0 when it was lost."""
_CHANGE = """
local key, turn = KEYS[1], KEYS[1] .. ':busy'
if redis.call('GET', turn) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', turn, ARGV[2])
if ARGV[3] == 'anew' then redis.call('UNLINK', key, key .. ':at') end
local removed = tonumber(ARGV[7])
for i = 8, 7 + removed do redis.call('VREM', key, ARGV[i]) end
for i = 8 + removed, #ARGV, 2 do
  redis.call('VADD', key, 'FP32', ARGV[i + 1], ARGV[i], 'Q8', 'EF', ARGV[5], 'M', ARGV[6])
end
redis.call('HSET', key .. ':at', 'size', redis.call('VCARD', key))
if ARGV[4] ~= '' then redis.call('HSET', key .. ':at', 'version', ARGV[4]) end
return 1
"""
"""KEYS the set; ARGV whose turn, its milliseconds, 'anew' or nothing, version reached or nothing, EF, M, how many go,
these, then serial and template of each that comes. 0, and nothing happens, when the turn is another's."""
_OVER = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class VectorSets:
    """Nearest at `url`. Raises StorageUnavailable where it cannot be reached or is older than Redis 8, StorageFull."""

    def __init__(self, sealed: SealedStore, url: str, prefix: str = "face:vectors:") -> None:
        self._sealed, self._prefix = sealed, prefix.encode()
        self._redis = redis.Redis.from_url(url, socket_timeout=30, socket_connect_timeout=5)
        self._at, self._change, self._over = (self._redis.register_script(text) for text in (_AT, _CHANGE, _OVER))

    def caught_up(self, handle: Handle) -> int:
        """See Nearest."""
        end = time.monotonic() + PATIENCE
        while True:
            version, size = self._state(handle.id)
            if version >= handle.row.version:
                return size
            if not self._catch_up(handle):
                if time.monotonic() > end:
                    raise Busy("the vector set is being built")
                time.sleep(0.02)

    def serials(self, handle: Handle, probe: Vector, count: int) -> list[int]:
        """See Nearest."""
        effort = max(SEARCH_EFFORT, count)
        query = ("VSIM", self._key(handle.id), "FP32", _bytes(probe), "COUNT", count, "EF", effort)
        with _explained():
            return [int(serial) for serial in cast(Any, self._redis).execute_command(*query)]

    def erase(self, handle: Handle) -> None:
        """See Nearest. Where Redis is away, upkeep does it once it is back."""
        try:
            if self._state(handle.id)[0]:
                now = self._sealed.store.collection(handle.row.tag or b"")
                if now is not None and now.id == handle.id:
                    self.caught_up(Handle(now, handle.sealer, handle.head))
        except ServiceError as error:
            log.warning("a deleted template is still in the vector set", extra={"code": error.code})

    def forget(self, collections: Several[bytes]) -> None:
        """See Nearest. Where Redis is away, upkeep does it once it is back."""
        try:
            with _explained():
                for identity in collections:
                    key = self._key(identity)
                    self._redis.unlink(key, key + b":at", key + b":busy")
                    self._redis.srem(self._prefix + b"ids", identity)
        except ServiceError as error:
            log.warning("a deleted collection still has a vector set", extra={"code": error.code})

    def held(self) -> set[bytes]:
        """See Nearest."""
        with _explained():
            return set(cast(set[bytes], self._redis.smembers(self._prefix + b"ids")))

    def close(self) -> None:
        """See Nearest."""
        self._redis.close()

    def _state(self, collection: bytes) -> tuple[int, int]:
        with _explained():
            version, size = cast(list[int], self._at(keys=[self._key(collection)]))
        return int(version), int(size)

    def _catch_up(self, handle: Handle) -> bool:
        """In its turn; False when it is another's."""
        turn, mine = self._key(handle.id) + b":busy", secrets.token_hex(8)
        with _explained():
            if not self._redis.set(turn, mine, nx=True, px=round(1000 * TURN_SECONDS)):
                return False
            self._redis.sadd(self._prefix + b"ids", handle.id)
        try:
            return self._apply(handle, mine, self._sealed.store.changes(handle.id, self._state(handle.id)[0]))
        finally:
            with _explained():
                self._over(keys=[turn], args=[mine])

    def _apply(self, handle: Handle, mine: str, changes: Changes) -> bool:
        anew = "anew" if changes.whole else ""
        gone, rows = [str(serial) for serial in changes.removed], iter(changes.rows)
        more = True
        while more:
            latest: dict[str, bytes] = {}
            found = list(islice(rows, STEP))
            for row in found:
                vector = self._sealed.template(handle, row)
                latest[str(row.serial)] = b"" if vector is None else _bytes(vector)
            gone += [serial for serial, vector in latest.items() if not vector]
            come = [word for serial, vector in latest.items() if vector for word in (serial, vector)]
            more = len(found) == STEP
            reached = "" if more else changes.version
            words: list[Any] = [mine, round(1000 * TURN_SECONDS), anew, reached, BUILD_EFFORT, LINKS, len(gone)]
            with _explained():
                if not self._change(keys=[self._key(handle.id)], args=[*words, *gone, *come]):
                    return False
            anew, gone = "", []
        return True

    def _key(self, collection: bytes) -> bytes:
        return self._prefix + collection


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except redis.exceptions.OutOfMemoryError as error:
        raise StorageFull("the vector sets have no memory left; what was stored is intact") from error
    except redis.exceptions.ResponseError as error:
        if "OOM" in str(error):
            raise StorageFull("the vector sets have no memory left; what was stored is intact") from error
        raise StorageUnavailable("the vector sets were refused; they need Redis 8 or later") from error
    except redis.exceptions.RedisError as error:
        raise StorageUnavailable("the Redis of the vector sets cannot be reached") from error


def _bytes(vector: Any) -> bytes:
    return np.ascontiguousarray(vector, "<f4").tobytes()
