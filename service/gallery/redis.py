"""The store in Redis 7 or later, for many API processes: each change is one script, run whole or not at all.

Keys, all under one prefix: `records` (hash), `names` (tag → collection), `tags` (their order), `ids` (set), `expiry`;
for each collection `<id>` (hash: tag, key, head, version, floor, serial), `<id>:` and `rows` (tag → row), `tags`
(their order), `serials` (serial → tag), `changes` and `gone` (serials by version), `photos:<serial>` (hash) and two
sets of who has photos and who has an end.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Collection as Several
from contextlib import contextmanager
from typing import Any, cast

import redis

from service.gallery import StorageFull, StorageUnavailable, scripts
from service.gallery.store import Changes, CollectionRow, SubjectRow

REMEMBERED = 100_000
"""Deletions of a collection that others can catch up with; who is further behind reads everything anew."""
STEP = 2048
"""Rows read at once."""
_HEADER = struct.Struct(">QQdI")  # serial, version, expires (0: never), bytes of the template
_ID = 16


class RedisStore:
    """One Redis database, any number of threads and machines; `url` as redis-py takes it, `unix://…` too.

    Only what Redis has written to disk survives it: run it with an append-only file and `maxmemory-policy noeviction`.
    """

    def __init__(self, url: str, prefix: str = "face:gallery:") -> None:
        self._redis = redis.Redis.from_url(url, socket_timeout=30, socket_connect_timeout=5)
        self._prefix = prefix.encode()
        texts = (
            scripts.CREATE, scripts.DELETE_COLLECTION, scripts.PUBLISH, scripts.SET_KEY, scripts.PUT, scripts.DELETE,
        )  # fmt: skip
        registered = [self._redis.register_script(text) for text in texts]
        self._create, self._drop, self._publish, self._set_key, self._put, self._delete = registered

    # -- small values -------------------------------------------------------------------------------------------------

    def record(self, name: str) -> bytes | None:
        """See Store."""
        return cast("bytes | None", self._do(lambda r: r.hget(self._key("records"), name)))

    def records(self, prefix: str) -> dict[str, bytes]:
        """See Store."""
        found = self._do(lambda r: r.hgetall(self._key("records")))
        return {name.decode(): value for name, value in found.items() if name.startswith(prefix.encode())}

    def put_record(self, name: str, value: bytes, only_new: bool = False) -> bool:
        """See Store."""
        key = self._key("records")
        if only_new:
            return bool(self._do(lambda r: r.hsetnx(key, name, value)))
        self._do(lambda r: r.hset(key, name, value))
        return True

    def delete_record(self, name: str) -> bool:
        """See Store."""
        return bool(self._do(lambda r: r.hdel(self._key("records"), name)))

    # -- collections --------------------------------------------------------------------------------------------------

    def create(self, row: CollectionRow) -> bool:
        """See Store."""
        return bool(self._run(self._create, row.id, row.tag or b"", row.key, row.head, row.version))

    def collection(self, tag: bytes) -> CollectionRow | None:
        """See Store."""
        found = self._do(lambda r: r.hget(self._key("names"), tag))
        return self._collection(found) if found else None

    def collections(self, after: bytes, limit: int) -> list[CollectionRow]:
        """See Store."""
        tags = self._do(lambda r: r.zrangebylex(self._key("tags"), b"(" + after, b"+", 0, limit))
        return [row for row in map(self.collection, tags) if row]

    def all_collections(self) -> list[CollectionRow]:
        """See Store."""
        ids = self._do(lambda r: r.smembers(self._key("ids")))
        return [row for row in map(self._collection, sorted(ids)) if row]

    def _collection(self, identity: bytes) -> CollectionRow | None:
        fields = ["tag", "key", "head", "version"]
        tag, key, head, version = self._do(lambda r: r.hmget(self._key(identity), fields))
        return None if key is None else CollectionRow(identity, tag or None, key, head, int(version))

    def publish(self, collection: bytes, tag: bytes, replacing: CollectionRow | None = None) -> bool:
        """See Store."""
        old = (replacing.id, replacing.version, replacing.key) if replacing else (b"", 0, b"")
        return bool(self._run(self._publish, collection, tag, *old))

    def set_key(self, collection: bytes, old: bytes, new: bytes) -> bool:
        """See Store."""
        return bool(self._run(self._set_key, collection, old, new))

    def delete_collection(self, collection: bytes) -> bool:
        """See Store."""
        return bool(self._run(self._drop, collection))

    def count(self, collection: bytes) -> int:
        """See Store."""
        return int(self._do(lambda r: r.hlen(self._key(collection, "rows"))))

    # -- subjects -----------------------------------------------------------------------------------------------------

    def row(self, collection: bytes, tag: bytes) -> SubjectRow | None:
        """See Store."""
        packed = self._do(lambda r: r.hget(self._key(collection, "rows"), tag))
        return _unpack(tag, packed) if packed else None

    def rows(self, collection: bytes, after: bytes, limit: int) -> list[SubjectRow]:
        """See Store."""
        tags = self._do(lambda r: r.zrangebylex(self._key(collection, "tags"), b"(" + after, b"+", 0, limit))
        return self._rows(collection, tags)

    def rows_by_serial(self, collection: bytes, serials: Several[int]) -> list[SubjectRow]:
        """See Store."""
        tags = self._tags(collection, list(serials))
        rows = self._rows(collection, [tag for tag in tags if tag])
        return [row for row in rows if row.serial in set(serials)]

    def _tags(self, collection: bytes, serials: list[int]) -> list[bytes | None]:
        names = [str(serial) for serial in serials]
        return list(self._do(lambda r: r.hmget(self._key(collection, "serials"), names))) if names else []

    def _rows(self, collection: bytes, tags: list[bytes]) -> list[SubjectRow]:
        packed = self._do(lambda r: r.hmget(self._key(collection, "rows"), tags)) if tags else []
        return [_unpack(tag, row) for tag, row in zip(tags, packed, strict=True) if row]

    def put(
        self, collection: bytes, row: SubjectRow, photos: Mapping[bytes, bytes], drop_photos: Several[bytes] = ()
    ) -> int | None:
        """See Store."""
        lengths = _HEADER.pack(0, 0, row.expires or 0.0, len(row.template))[16:]
        expires = repr(row.expires) if row.expires is not None else ""
        flat = [part for item in photos.items() for part in item]
        payload = row.template + row.body
        arguments = (collection, row.tag, row.version, expires, lengths, payload, len(drop_photos))
        return int(self._run(self._put, *arguments, *drop_photos, *flat)) or None

    def delete(self, collection: bytes, tag: bytes, version: int | None = None) -> bool:
        """See Store."""
        return bool(self._run(self._delete, collection, tag, "" if version is None else version, REMEMBERED))

    def photo(self, collection: bytes, serial: int, medium: bytes) -> bytes | None:
        """See Store."""
        key = self._key(collection, f"photos:{serial}")
        return cast("bytes | None", self._do(lambda r: r.hget(key, medium)))

    def changes(self, collection: bytes, since: int) -> Changes:
        """See Store."""
        version, floor = self._do(lambda r: r.hmget(self._key(collection), ["version", "floor"]))
        whole = since == 0 or since < int(floor or 0)
        behind = ("-inf" if whole else f"({since}", "+inf")
        changed = self._do(lambda r: r.zrangebyscore(self._key(collection, "changes"), *behind))
        gone = [] if whole else self._do(lambda r: r.zrangebyscore(self._key(collection, "gone"), *behind))
        rows = self._changed(collection, [int(serial) for serial in changed])
        return Changes(int(version or since), whole, rows, [int(serial) for serial in gone])

    def _changed(self, collection: bytes, serials: list[int]) -> Iterator[SubjectRow]:
        for start in range(0, len(serials), STEP):
            tags = self._tags(collection, serials[start : start + STEP])
            yield from self._rows(collection, [tag for tag in tags if tag])

    def expired(self, now: float, limit: int) -> list[tuple[bytes, SubjectRow]]:
        """See Store."""
        members = self._do(lambda r: r.zrangebyscore(self._key("expiry"), "-inf", repr(now), 0, limit))
        found = [(member[:_ID], self.row(member[:_ID], member[_ID:])) for member in members]
        return [(collection, row) for collection, row in found if row]

    # -- the server ---------------------------------------------------------------------------------------------------

    def scrub(self) -> None:
        """See Store. Has Redis rewrite its append-only file, and its snapshot when it keeps one."""
        info = self._do(lambda r: r.info("persistence"))
        try:
            if info["aof_enabled"] and not info["aof_rewrite_in_progress"]:
                self._do(lambda r: r.bgrewriteaof())
            elif not info["aof_enabled"] and info["rdb_saves"] and not info["rdb_bgsave_in_progress"]:
                self._do(lambda r: r.bgsave())
        except StorageUnavailable:
            return  # it is saving already: the next call

    def close(self) -> None:
        """See Store."""
        self._redis.close()

    def _key(self, *parts: bytes | str) -> bytes:
        return self._prefix + b":".join(part.encode() if isinstance(part, str) else part for part in parts)

    def _run(self, script: Any, *arguments: Any) -> Any:
        return self._do(lambda _: script(keys=[self._prefix], args=arguments))

    def _do(self, command: Callable[[redis.Redis], Any]) -> Any:
        with _explained():
            return command(self._redis)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except redis.exceptions.OutOfMemoryError as error:
        raise StorageFull("Redis has no memory left; what was stored is intact") from error
    except redis.exceptions.ResponseError as error:
        if "OOM" in str(error):
            raise StorageFull("Redis has no memory left; what was stored is intact") from error
        raise StorageUnavailable("Redis refused") from error
    except redis.exceptions.RedisError as error:
        raise StorageUnavailable("Redis cannot be reached") from error


def _unpack(tag: bytes, packed: bytes) -> SubjectRow:
    serial, version, expires, length = _HEADER.unpack_from(packed)
    template = packed[_HEADER.size : _HEADER.size + length]
    return SubjectRow(tag, serial, version, expires or None, template, packed[_HEADER.size + length :])
