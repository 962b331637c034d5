"""Search past one machine: searchers hold a part of every collection each, a search asks them all over Redis.

    API ─ the encrypted probe → one list a part ─ Searcher: exact search of its part ─ encrypted matches → the
    caller's list

A subject belongs to the part of its serial number, so parts are of one size. Each searcher catches up with the store
before it answers, like any gallery. A part that does not answer is an error: a search never quietly leaves people out.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import msgspec
import numpy as np
import redis

from service.errors import ServiceError, restored
from service.gallery import Match, Part, SearchResult, Vector
from service.gallery.errors import StorageUnavailable
from service.gallery.gallery import Gallery
from service.redis_access import connect, redis_errors

TIMEOUT = 10.0
"""Seconds within which every part must have answered."""
BACKLOG = 1000
"""Searches that wait for a part; older ones, whose callers have given up, make room."""
PREFIX = "face:search:"
_EXPIRE_SECONDS = 60
log = logging.getLogger(__name__)


class SearcherMissing(ServiceError):
    """A part of the gallery has no searcher that answers."""

    status = 503
    code = "searcher_missing"
    title = "A part of the gallery does not answer"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, {"Retry-After": "2"})


class _Envelope(msgspec.Struct, frozen=True):
    """What lies in a part's list: the id of the search, and the encrypted _Search."""

    id: str
    ciphertext: bytes = msgspec.field(name="sealed")  # what searchers of earlier versions call it


class _Search(msgspec.Struct, frozen=True):
    collection: str
    model: str
    probe: bytes
    count: int


class _Match(msgspec.Struct, frozen=True):
    """A match; its metadata are JSON text, which holds integers of any length."""

    subject: str
    similarity: float
    media: int
    metadata: str


class _Answer(msgspec.Struct, frozen=True):
    """The matches of one part, or the code and detail of the error that its searcher raised."""

    part: int
    size: int = 0
    matches: list[_Match] = []
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, eq=False)
class ScatteredSearch:
    """Asks all searchers. `parts` must be the number of parts that the searchers were started with."""

    gallery: Gallery
    url: str
    parts: int
    timeout: float = TIMEOUT
    client: redis.Redis = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "client", connect(self.url, timeout=self.timeout + 5))

    def search(self, collection: str, model: str, probe: Vector, count: int = 10) -> SearchResult:
        """Search all parts, as Gallery.search does. Raises SearcherMissing too."""
        identity = secrets.token_hex(16)
        search = msgspec.msgpack.encode(_Search(collection, model, np.asarray(probe, np.float32).tobytes(), count))
        ciphertext = self.gallery.encrypted.encrypt(search, b"search", identity.encode())
        envelope = msgspec.msgpack.encode(_Envelope(identity, ciphertext))
        with redis_errors(_unreachable, _unreachable):
            pipeline = self.client.pipeline(transaction=False)
            for number in range(self.parts):
                key = _list_of(Part(number, self.parts))
                pipeline.rpush(key, envelope)
                pipeline.ltrim(key, -BACKLOG, -1)
                pipeline.expire(key, _EXPIRE_SECONDS)
            pipeline.execute()
            answers = self._answers(identity)
        missing = set(range(self.parts)) - set(answers)
        if missing:
            raise SearcherMissing(f"no answer from part {min(missing) + 1} of {self.parts}")
        matches = [
            Match(match.subject, match.similarity, match.media, json.loads(match.metadata))
            for answer in answers.values()
            for match in answer.matches
        ]
        matches.sort(key=lambda match: (-match.similarity, match.subject))
        return SearchResult(matches[:count], sum(answer.size for answer in answers.values()))

    def search_all(self, collection: str, model: str, probes: Sequence[Vector], count: int = 10) -> list[SearchResult]:
        """Search for each of several probes [D], one after the other."""
        return [self.search(collection, model, probe, count) for probe in probes]

    def _answers(self, identity: str) -> dict[int, _Answer]:
        """Return the answers that come in time, by part. Raises the error that a searcher raised."""
        key = PREFIX + identity
        end = time.monotonic() + self.timeout
        answers: dict[int, _Answer] = {}
        while len(answers) < self.parts and (remaining := end - time.monotonic()) > 0:
            item = _pop(self.client, key, max(remaining, 0.01))
            if item is None:
                break
            plaintext = self.gallery.encrypted.decrypt(item, b"answer", identity.encode())
            answer = msgspec.msgpack.decode(plaintext, type=_Answer)
            if answer.code:
                self.client.delete(key)
                raise restored(answer.code, answer.detail)
            answers[answer.part] = answer
        return answers


@dataclass(frozen=True, eq=False)
class Searcher:
    """Answers for one part, for which its gallery was opened. Several searchers may serve the same part."""

    gallery: Gallery
    url: str

    def run(self, stop: threading.Event) -> None:
        """Answer until `stop` is set; while Redis is away, wait and try again."""
        client = connect(self.url)
        while not stop.is_set():
            try:
                item = _pop(client, _list_of(self.gallery.part), 0.5)
                if item is not None:
                    self._answer(client, item)
            except redis.exceptions.RedisError as error:
                log.warning("Redis is away", extra={"reason": type(error).__name__})
                stop.wait(1)
            except (ServiceError, msgspec.MsgspecError) as error:  # not even an error can be answered
                log.error("a search could not be answered", extra={"reason": type(error).__name__})
        client.close()

    def _answer(self, client: redis.Redis, item: bytes) -> None:
        envelope = msgspec.msgpack.decode(item, type=_Envelope)
        identity = envelope.id.encode()
        try:
            plaintext = self.gallery.encrypted.decrypt(envelope.ciphertext, b"search", identity)
            answer = self._search(msgspec.msgpack.decode(plaintext, type=_Search))
        except ServiceError as problem:
            answer = _Answer(self.gallery.part.number, code=problem.code, detail=problem.detail)
        ciphertext = self.gallery.encrypted.encrypt(msgspec.msgpack.encode(answer), b"answer", identity)
        pipeline = client.pipeline()
        pipeline.rpush(PREFIX + envelope.id, ciphertext)
        pipeline.expire(PREFIX + envelope.id, _EXPIRE_SECONDS)
        pipeline.execute()

    def _search(self, search: _Search) -> _Answer:
        probe = np.frombuffer(search.probe, np.float32)
        result = self.gallery.search(search.collection, search.model, probe, search.count)
        matches = [_Match(m.subject, m.similarity, m.media, json.dumps(dict(m.metadata))) for m in result.matches]
        return _Answer(self.gallery.part.number, result.gallery_size, matches)


def _list_of(part: Part) -> str:
    """Return the key of the list of searches that wait for a part."""
    return f"{PREFIX}{part.number}/{part.count}"


def _pop(client: redis.Redis, key: str, seconds: float) -> bytes | None:
    """Return the next item of a list, None when none comes in time."""
    item = cast(tuple[bytes, bytes] | None, client.blpop([key], timeout=seconds))
    return None if item is None else item[1]


def _unreachable() -> StorageUnavailable:
    return StorageUnavailable("Redis cannot be reached")
