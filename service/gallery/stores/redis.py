"""The store in Redis 7 or later, for many API processes: each change is one script, run whole or not at all.

Keys, all under one prefix: `records` (hash), `names` (tag → collection), `tags` (their order), `ids` (set); for each
collection `<id>` (hash: tag, key, meta, version, ledger, floor, serial), and after `<id>:` the keys `rows` (tag →
row), `tags` (their order), `serials` (serial → tag), `changes` and `deleted` (serials by version), `ledger` (pages by
number), `photos:<serial>` (hash) and `with_photos` (the serials that have photos).
"""

from __future__ import annotations

import math
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import TypeVar, cast

import redis
from redis.commands.core import Script
from typing_extensions import override

from service.gallery.errors import StorageFull, StorageUnavailable
from service.gallery.stores.store import (
    Changes,
    CollectionRow,
    LedgerUpdate,
    RecordChange,
    Store,
    SubjectRow,
    SubjectWrite,
)
from service.redis_access import connect, load_script, redis_errors

REMEMBERED = 100_000
"""Deletions of a collection that other processes can catch up with; one that is further behind reads everything."""
STEP = 2048
"""Rows read at once while catching up."""
CLOCK_SECONDS = 10.0
"""How long the difference between Redis' clock and this process's steady one is trusted."""
REWRITE_SECONDS = 3600.0
"""How often a process has Redis rewrite its file, which takes a copy of all that Redis holds."""
_HEADER = struct.Struct(">QQII")  # serial, version, bytes of the template, of the body
_LENGTHS = struct.Struct(">II")
Result = TypeVar("Result")
Argument = bytes | str | int


class RedisStore(Store):
    """One Redis database, for any number of threads and machines; `url` as redis-py takes it, `unix://…` too.

    Only what Redis has written to disk survives it: run it with an append-only file and `maxmemory-policy noeviction`.
    """

    def __init__(self, url: str, prefix: str = "face:gallery:") -> None:
        self._redis = connect(url, timeout=30)
        self._prefix = prefix.encode()
        self._create = self._script("create")
        self._replace_record = self._script("replace_record")
        self._delete_collection = self._script("delete_collection")
        self._publish = self._script("publish")
        self._set_key = self._script("set_key")
        self._put = self._script("put")
        self._delete = self._script("delete")
        self._clock_lock = threading.Lock()
        self._clock_read = -CLOCK_SECONDS
        self._clock_offset = 0.0
        self._rewritten = -math.inf  # time.monotonic()
        self._check_format()

    @override
    def now(self) -> float:
        with self._clock_lock:
            if time.monotonic() - self._clock_read >= CLOCK_SECONDS:
                seconds, microseconds = self._do(lambda r: r.time())
                self._clock_read = time.monotonic()
                self._clock_offset = seconds + microseconds / 1e6 - self._clock_read
            return time.monotonic() + self._clock_offset

    # -- small values -------------------------------------------------------------------------------------------------

    @override
    def record(self, name: str) -> bytes | None:
        return cast("bytes | None", self._do(lambda r: r.hget(self._key("records"), name)))

    @override
    def records(self, prefix: str) -> dict[str, bytes]:
        values = cast("dict[bytes, bytes]", self._do(lambda r: r.hgetall(self._key("records"))))
        return {name.decode(): value for name, value in values.items() if name.startswith(prefix.encode())}

    @override
    def put_record(self, name: str, value: bytes) -> None:
        self._do(lambda r: r.hset(self._key("records"), name, value))

    @override
    def replace_record(self, name: str, old: bytes | None, new: bytes) -> bool:
        arguments = [name, "0" if old is None else "1", old or b"", new]
        return bool(self._do(lambda _: self._replace_record(keys=[self._key("records")], args=arguments)))

    @override
    def delete_record(self, name: str) -> bool:
        return bool(self._do(lambda r: r.hdel(self._key("records"), name)))

    # -- collections --------------------------------------------------------------------------------------------------

    @override
    def create(self, row: CollectionRow, catalog: RecordChange | None = None) -> bool:
        values = (row.id, row.tag or b"", row.key, row.meta, row.version, row.ledger)
        return self._run(self._create, *values, *_change(catalog))

    @override
    def collection(self, tag: bytes) -> CollectionRow | None:
        identity = cast("bytes | None", self._do(lambda r: r.hget(self._key("names"), tag)))
        return self._collection(identity) if identity else None

    @override
    def collections(self, after: bytes, limit: int) -> list[CollectionRow]:
        tags = self._ordered(self._key("tags"), after, limit)
        return [row for row in map(self.collection, tags) if row]

    @override
    def all_collections(self) -> list[CollectionRow]:
        ids = cast("set[bytes]", self._do(lambda r: r.smembers(self._key("ids"))))
        return [row for row in map(self._collection, sorted(ids)) if row]

    def _collection(self, identity: bytes) -> CollectionRow | None:
        fields = ["tag", "key", "meta", "version", "ledger"]
        tag, key, meta, version, ledger = self._fields(self._key(identity), fields)
        if key is None or meta is None or ledger is None:
            return None
        return CollectionRow(identity, tag or None, key, meta, int(version or 0), ledger)

    @override
    def publish(
        self, collection: bytes, tag: bytes, catalog: RecordChange, replacing: CollectionRow | None = None
    ) -> bool:
        old = (replacing.id, replacing.version, replacing.key) if replacing else (b"", 0, b"")
        return self._run(self._publish, collection, tag, *old, *_change(catalog))

    @override
    def set_key(self, collection: bytes, old: bytes, new: bytes) -> bool:
        return self._run(self._set_key, collection, old, new)

    @override
    def delete_collection(self, collection: bytes, catalog: RecordChange | None = None) -> bool:
        return self._run(self._delete_collection, collection, *_change(catalog))

    @override
    def count(self, collection: bytes) -> int:
        return self._do(lambda r: r.hlen(self._key(collection, "rows")))

    @override
    def ledger_page(self, collection: bytes, number: int) -> bytes | None:
        return cast("bytes | None", self._do(lambda r: r.hget(self._key(collection, "ledger"), str(number))))

    # -- subjects -----------------------------------------------------------------------------------------------------

    @override
    def row(self, collection: bytes, tag: bytes) -> SubjectRow | None:
        packed = cast("bytes | None", self._do(lambda r: r.hget(self._key(collection, "rows"), tag)))
        return _unpack(tag, packed) if packed else None

    @override
    def rows(self, collection: bytes, after: bytes, limit: int) -> list[SubjectRow]:
        return self._rows(collection, self._ordered(self._key(collection, "tags"), after, limit))

    @override
    def rows_by_serial(self, collection: bytes, serials: Collection[int]) -> list[SubjectRow]:
        requested = set(serials)
        rows = self._rows(collection, self._tags(collection, list(serials)))
        return [row for row in rows if row.serial in requested]

    def _tags(self, collection: bytes, serials: list[int]) -> list[bytes]:
        tags = self._fields(self._key(collection, "serials"), list(map(str, serials))) if serials else []
        return [tag for tag in tags if tag]

    def _rows(self, collection: bytes, tags: list[bytes]) -> list[SubjectRow]:
        packed = self._fields(self._key(collection, "rows"), tags) if tags else []
        return [_unpack(tag, row) for tag, row in zip(tags, packed, strict=True) if row]

    @override
    def put(self, collection: bytes, version: int, subject: SubjectWrite, ledger: LedgerUpdate) -> bool:
        photos = [argument for item in subject.photos.items() for argument in item]
        return self._run(
            self._put,
            collection,
            version,
            ledger.index,
            ledger.number,
            ledger.page,
            subject.tag,
            _LENGTHS.pack(len(subject.template), len(subject.body)),
            subject.template + subject.body,
            len(subject.delete_photos),
            *subject.delete_photos,
            *photos,
        )

    @override
    def delete(self, collection: bytes, version: int, tag: bytes, ledger: LedgerUpdate) -> bool:
        update = (ledger.index, ledger.number, ledger.page)
        return self._run(self._delete, collection, version, *update, tag, REMEMBERED)

    @override
    def photo(self, collection: bytes, serial: int, medium: bytes) -> bytes | None:
        key = self._key(collection, f"photos:{serial}")
        return cast("bytes | None", self._do(lambda r: r.hget(key, medium)))

    @override
    def changes(self, collection: bytes, since: int) -> Changes:
        version, floor = self._fields(self._key(collection), ["version", "floor"])
        complete = since == 0 or since < int(floor or 0)
        changed = self._serials(collection, "changes", 0 if complete else since)
        deleted = [] if complete else self._serials(collection, "deleted", since)
        return Changes(int(version or since), complete, self._changed(collection, changed), deleted)

    def _serials(self, collection: bytes, kind: str, since: int) -> list[int]:
        key = self._key(collection, kind)
        return [
            int(serial) for serial in cast("list[bytes]", self._do(lambda r: r.zrangebyscore(key, f"({since}", "+inf")))
        ]

    def _changed(self, collection: bytes, serials: list[int]) -> Iterator[SubjectRow]:
        for start in range(0, len(serials), STEP):
            yield from self._rows(collection, self._tags(collection, serials[start : start + STEP]))

    # -- the server ---------------------------------------------------------------------------------------------------

    @override
    def scrub(self) -> None:
        """Have Redis rewrite its append-only file, or its snapshot when it keeps only that, once in REWRITE_SECONDS.

        Where this user may not, as the one of API processes may not, that is left to Redis itself.
        """
        if time.monotonic() - self._rewritten < REWRITE_SECONDS:
            return
        self._rewritten = time.monotonic()
        with suppress(StorageUnavailable):  # it may also be saving already
            info = cast("dict[str, int]", self._do(lambda r: r.info("persistence")))
            if info["aof_enabled"] and not info["aof_rewrite_in_progress"]:
                self._do(lambda r: r.bgrewriteaof())
            elif not info["aof_enabled"] and info["rdb_saves"] and not info["rdb_bgsave_in_progress"]:
                self._do(lambda r: r.bgsave())

    @override
    def close(self) -> None:
        self._redis.close()

    def _check_format(self) -> None:
        """Refuse what version 1 wrote: it held expiry in clear and no ledger. Redis may still be starting: no error."""
        try:
            ids = cast("list[bytes] | bytes | None", self._do(lambda r: r.srandmember(self._key("ids"))))
            is_old = isinstance(ids, bytes) and not self._do(lambda r: r.hexists(self._key(ids), "ledger"))
        except StorageUnavailable:
            return
        if is_old:
            raise StorageUnavailable(
                "an earlier version wrote this gallery: export its collections with that version and import the files"
            )

    def _key(self, *parts: bytes | str) -> bytes:
        return self._prefix + b":".join(part.encode() if isinstance(part, str) else part for part in parts)

    def _fields(self, key: bytes, fields: list[str] | list[bytes]) -> list[bytes | None]:
        return cast("list[bytes | None]", self._do(lambda r: r.hmget(key, fields)))

    def _ordered(self, key: bytes, after: bytes, limit: int) -> list[bytes]:
        return cast("list[bytes]", self._do(lambda r: r.zrangebylex(key, b"(" + after, b"+", 0, limit)))

    def _script(self, name: str) -> Script:
        return self._redis.register_script(load_script("service.gallery.stores", name).text)

    def _run(self, script: Script, *arguments: Argument) -> bool:
        return bool(self._do(lambda _: script(keys=[self._prefix], args=arguments)))

    def _do(self, command: Callable[[redis.Redis], Result]) -> Result:
        with redis_errors(_unreachable, _full):
            return command(self._redis)


def _unreachable() -> StorageUnavailable:
    return StorageUnavailable("Redis cannot be reached, or refused a command of the gallery")


def _full() -> StorageFull:
    return StorageFull("Redis has no memory left; what was stored is intact")


def _change(change: RecordChange | None) -> tuple[Argument, ...]:
    """Return a change of a small value as the scripts take it; an empty name stands for none."""
    return (b"", b"", b"") if change is None else (change.name, change.old, change.new)


def _unpack(tag: bytes, packed: bytes) -> SubjectRow:
    serial, version, template, body = _HEADER.unpack_from(packed)
    middle = _HEADER.size + template
    return SubjectRow(tag, serial, version, packed[_HEADER.size : middle], packed[middle : middle + body])
