"""Search past one machine: searchers hold a part of every collection each, a search asks them all over Redis.

    API ─ the sealed probe → one list a part ─ Searcher: exact search of its part ─ sealed matches → the caller's list

A subject belongs to the part of its serial number, so parts are of one size. Each searcher catches up with the store
before it answers, like any gallery. A part that does not answer is an error: a search never quietly leaves people out.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import msgpack
import numpy as np
import redis

from service import errors, gallery
from service.errors import ServiceError
from service.gallery import Match, Part, StorageUnavailable, Vector
from service.gallery.gallery import Gallery

TIMEOUT = 10.0
"""Seconds within which every part must have answered."""
BACKLOG = 1000
"""Searches that wait for a part; older ones, whose callers have given up, make room."""
PREFIX = "face:search:"
log = logging.getLogger(__name__)


class SearcherMissing(ServiceError):
    """A part of the gallery has no searcher that answers."""

    status, code, title = 503, "searcher_missing", "A part of the gallery does not answer"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, {"Retry-After": "2"})


@dataclass(frozen=True, eq=False)
class Scattered:
    """The side that asks. `parts` must be what the searchers were started with."""

    gallery: Gallery
    url: str
    parts: int
    timeout: float = TIMEOUT
    client: redis.Redis = field(init=False, repr=False)

    def __post_init__(self) -> None:
        found = redis.Redis.from_url(self.url, socket_timeout=self.timeout + 5, socket_connect_timeout=5)
        object.__setattr__(self, "client", found)

    def search(self, collection: str, model: str, probe: Vector, count: int = 10) -> list[Match]:
        """As Gallery.search, over all parts. Raises SearcherMissing too."""
        identity = secrets.token_hex(16)
        asked = msgpack.packb([collection, model, np.asarray(probe, np.float32).tobytes(), count])
        sealed = msgpack.packb([identity, self.gallery.sealed.seal(asked, b"search", identity.encode())])
        with _reached():
            together = self.client.pipeline(transaction=False)
            for number in range(self.parts):
                key = _asked(Part(number, self.parts))
                together.rpush(key, sealed)
                together.ltrim(key, -BACKLOG, -1)
                together.expire(key, 60)
            together.execute()
            answers = self._answers(identity)
        missing = set(range(self.parts)) - set(answers)
        if missing:
            raise SearcherMissing(f"no answer from part {min(missing) + 1} of {self.parts}")
        matches = [match for found in answers.values() for match in found]
        return sorted(matches, key=lambda match: (-match.similarity, match.subject))[:count]

    def _answers(self, identity: str) -> dict[int, list[Match]]:
        """By part, as many as come in time. Raises what a searcher raised."""
        key, end = PREFIX + identity, time.monotonic() + self.timeout
        answers: dict[int, list[Match]] = {}
        while len(answers) < self.parts and (left := end - time.monotonic()) > 0:
            item = _taken(self.client, key, max(left, 0.01))
            if item is None:
                break
            number, error, found = msgpack.unpackb(self.gallery.sealed.open(item, b"found", identity.encode()))
            if error is not None:
                self.client.delete(key)
                raise _restored(*error)
            answers[number] = [Match(name, score, media, json.loads(text)) for name, score, media, text in found]
        return answers


@dataclass(frozen=True, eq=False)
class Searcher:
    """The side that answers; its gallery was opened for one part. Several may serve the same part."""

    gallery: Gallery
    url: str

    def run(self, stop: threading.Event) -> None:
        """Answers until told to stop; while Redis is away it waits and tries again."""
        client = redis.Redis.from_url(self.url, socket_timeout=10, socket_connect_timeout=5)
        while not stop.is_set():
            try:
                item = _taken(client, _asked(self.gallery.part), 0.5)
                if item is not None:
                    self._answer(client, item)
            except redis.exceptions.RedisError as error:
                log.warning("Redis is away", extra={"reason": type(error).__name__})
                stop.wait(1)
        client.close()

    def _answer(self, client: redis.Redis, sealed: bytes) -> None:
        identity, inside = msgpack.unpackb(sealed)
        error: list[str] | None = None
        found: list[list[object]] = []
        try:
            asked = self.gallery.sealed.open(inside, b"search", identity.encode())
            collection, model, probe, count = msgpack.unpackb(asked)
            matches = self.gallery.search(collection, model, np.frombuffer(probe, np.float32), count)
            found = [
                [match.subject, match.similarity, match.media, json.dumps(dict(match.metadata))] for match in matches
            ]
        except ServiceError as problem:
            error = [problem.code, problem.detail]
        reply = msgpack.packb([self.gallery.part.number, error, found])
        together = client.pipeline()
        together.rpush(PREFIX + identity, self.gallery.sealed.seal(reply, b"found", identity.encode()))
        together.expire(PREFIX + identity, 60)
        together.execute()


def _asked(part: Part) -> str:
    return f"{PREFIX}{part.number}/{part.of}"


def _taken(client: redis.Redis, key: str, seconds: float) -> bytes | None:
    """The next item of a list, None when none comes in time."""
    item = cast(tuple[bytes, bytes] | None, client.blpop([key], timeout=seconds))
    return None if item is None else item[1]


def _restored(code: str, detail: str) -> ServiceError:
    """What a searcher raised, made again."""
    kinds = [kind for module in (gallery, errors) for kind in vars(module).values() if isinstance(kind, type)]
    for kind in kinds:
        if issubclass(kind, ServiceError) and kind.code == code:
            return kind(detail)
    return ServiceError()


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except redis.exceptions.RedisError as error:
        raise StorageUnavailable("Redis cannot be reached") from error
