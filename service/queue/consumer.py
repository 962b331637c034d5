"""The queue over Redis as a worker sees it: one consumer in its model's group, with heartbeats in a thread of its own.

claim ─take.lua | take_over.lua | XREADGROUP→ held ─worker→ finish ─finish.lua→ replies:<api>
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as TooSlow
from typing_extensions import override

from service.crypto.queue_cipher import QueueCipher
from service.crypto.vault import VaultLocked
from service.errors import QueueLocked, ServiceError
from service.queue import Consumer, codec
from service.queue.clock import RedisClock
from service.queue.connection import Connection
from service.queue.keys import GROUP, MAX_DEAD_LETTERS, script
from service.queue.presence import Presence
from service.redis_access import Script
from service.wire import AnalysisFailure, AnalysisOutcome, AnalysisRequest, ModelCard, WorkerInfo

TAKE = script("take")
TAKE_OVER = script("take_over")
FINISH = script("finish")
CANCELLED = script("cancelled")
RETIRE = script("retire")
REGISTER = script("register")

MAX_ENTRIES = 16
"""Entries taken at once: bounds what is in memory beyond the worker's own limit."""
FINISH_SECONDS = 60.0
"""Time for which outcomes wait for Redis to come back."""
RECENT_SECONDS = 0.05
"""Age below which requests are not checked for cancellation: an idle worker answers sooner."""
MISSING_SECONDS = 3.0
"""Time without a stream of replies after which an API process is taken for lost."""
NO_STREAM = 2

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Held:
    """A claimed entry of the stream; `cipher` encrypts its outcome, `since` is time.monotonic() of its submission."""

    entry_id: bytes
    request_id: bytes
    size: bytes
    reply_to: bytes
    cipher: QueueCipher | None = None
    since: float = 0.0


class RedisConsumer(Consumer):
    """Consumer for workers of one model. What a worker holds that is silent for `lease` seconds goes to another one.

    A photo given to `deliveries` workers, all of which were lost, becomes a dead letter. With `required`, requests that
    are not encrypted are refused.
    """

    def __init__(
        self,
        url: str,
        model: str,
        lease: float = 5.0,
        deliveries: int = 3,
        cipher: QueueCipher | None = None,
        required: bool = False,
        prefix: str = codec.PREFIX,
    ) -> None:
        self._claims = Connection(url)  # apart, since XREADGROUP blocks
        self._answers = Connection(url)
        self._model = model
        self._lease = lease
        self._deliveries = deliveries
        self._cipher = cipher
        self._required = required
        self._prefix = prefix
        self._id = uuid.uuid4().hex
        self._clock = RedisClock()
        self._stream = f"{prefix}requests:{model}"
        self._held: dict[str, Held] = {}
        self._cancelled = set[str]()
        self._missing_since: dict[bytes, float] = {}  # reply streams that are not there, by time.monotonic()
        self._lock = threading.Lock()
        self._looked_at = -lease
        self._abandoned_since: dict[bytes, float] = {}  # entries whose worker looks lost, by time.monotonic()
        self._closing = threading.Event()
        self._register()
        self._presence = Presence(self._answers, model, self._id, lease, cipher, prefix)
        self._heartbeat = threading.Thread(target=self._beat_forever, name="heartbeat", daemon=True)
        self._heartbeat.start()

    @override
    def announce(self, worker: WorkerInfo, card: ModelCard) -> None:
        self._presence.announce(worker, card)
        with suppress(RedisError):  # the next heartbeat says it
            self._presence.beat(self._held_entries())

    @override
    def leave(self) -> None:
        self._presence.leave()

    def close(self) -> None:
        """End the heartbeats; what is still held goes to other workers after the lease."""
        self.leave()
        self.abandon()
        with suppress(RedisError):
            self._run(RETIRE, self._id, 0)
        for connection in (self._claims, self._answers):
            connection.close()

    def abandon(self) -> None:
        """Show no sign of life any more, as a worker that is lost."""
        self._closing.set()
        self._heartbeat.join()

    @override
    def claim(self, max_requests: int, wait: float) -> list[AnalysisRequest]:
        try:
            return self._take_over() or self._take(min(max_requests, MAX_ENTRIES), wait)
        except (Unreachable, TooSlow):
            self._closing.wait(wait)
        except ResponseError as error:
            log.warning("Redis refused to hand out work", extra={"kind": str(error).partition(" ")[0]})
            self._register_again()
            self._closing.wait(wait)
        return []

    @override
    def cancelled(self, request_ids: Collection[str]) -> set[str]:
        cutoff = time.monotonic() - RECENT_SECONDS
        with self._lock:
            held_items = {name: self._held[name] for name in request_ids if name in self._held}
        held_items = {name: row for name, row in held_items.items() if row.since < cutoff}
        if not held_items:
            return set()
        arguments = [argument for request_id, row in held_items.items() for argument in (request_id, row.reply_to)]
        try:
            flags = self._answers.run(CANCELLED, self._prefix, arguments)
        except RedisError:
            return set()
        rows = zip(held_items.items(), flags, strict=True)
        cancelled = {name for (name, row), flag in rows if self._is_cancelled(row, flag)}
        with self._lock:
            self._cancelled |= cancelled
        return cancelled

    @override
    def finish(self, outcomes: Sequence[AnalysisOutcome]) -> None:
        """Answer and forget these requests, waiting for Redis for up to FINISH_SECONDS if it is away."""
        with self._lock:
            held_outcomes = [(self._held[outcome.id], outcome) for outcome in outcomes if outcome.id in self._held]
            cancelled = self._cancelled.intersection(outcome.id for outcome in outcomes)
        arguments = [
            argument for row, outcome in held_outcomes for argument in _answer(row, outcome, outcome.id in cancelled)
        ]
        end = time.monotonic() + FINISH_SECONDS
        while arguments:
            try:
                self._run(FINISH, *arguments)
                break
            except RedisError:
                if self._closing.wait(0.2) or time.monotonic() > end:
                    log.error("outcomes are lost: Redis is away", extra={"images": len(held_outcomes)})
                    break
        with self._lock:
            self._cancelled -= cancelled
            for outcome in outcomes:
                self._held.pop(outcome.id, None)

    def _is_cancelled(self, row: Held, flag: int) -> bool:
        """Return whether it was cancelled, or its API process has had no reply stream longer than a clock's jump."""
        if flag != NO_STREAM:
            self._missing_since.pop(row.reply_to, None)
            return bool(flag)
        now = time.monotonic()
        self._missing_since = {name: since for name, since in self._missing_since.items() if now - since < 60}
        return now - self._missing_since.setdefault(row.reply_to, now) > MISSING_SECONDS

    def _take(self, max_requests: int, wait: float) -> list[AnalysisRequest]:
        """Take a share of what waits where other workers take too; else what waits, or what comes first."""
        workers = self._presence.workers
        if workers > 1:
            entries = self._run(TAKE, self._id, max_requests, workers)
            if entries:
                return self._hold_all(entries, 1)
            max_requests = 1
        block = max(1, round(1000 * wait))
        command = ("XREADGROUP", "GROUP", GROUP, self._id, "COUNT", max_requests, "BLOCK", block)
        [streams] = self._claims.ask((*command, "STREAMS", self._stream, ">"))
        return self._hold_all(streams[0][1], 1) if streams else []

    def _take_over(self) -> list[AnalysisRequest]:
        """Take one request of a lost worker: silent for half the lease at every look, and for as long before."""
        now = time.monotonic()
        if now < self._looked_at + self._lease / 4:
            return []
        confirmed = [entry_id for entry_id, since in self._abandoned_since.items() if now - since >= self._lease / 2]
        limits = (round(500 * self._lease), self._deliveries, MAX_DEAD_LETTERS, len(confirmed))
        entries, more = self._run(TAKE_OVER, self._id, *limits, *confirmed, *self._held_entries())
        if not entries:
            self._abandoned_since = {entry_id: self._abandoned_since.get(entry_id, now) for entry_id in more}
            self._looked_at = now
            return []
        self._abandoned_since.pop(entries[0][0], None)
        log.warning("a request of a lost worker is taken over", extra={"attempt": more})
        return self._hold_all(entries, more)

    def _hold_all(self, entries: Sequence[tuple[bytes, Sequence[bytes]]], attempt: int) -> list[AnalysisRequest]:
        """Hold these entries and return them as requests, except malformed ones and those held already."""
        rows = [dict(zip(flat[::2], flat[1::2], strict=True)) for _, flat in entries]
        names = [self._prefix.encode() + b"image:" + fields.get(b"id", b"") for fields in rows]
        (seconds, micros), photos = self._claims.ask(("TIME",), ("MGET", *names))
        now = 1000 * int(seconds) + int(micros) // 1000
        requests = []
        for (entry_id, _), fields, photo in zip(entries, rows, photos, strict=True):
            waited = self._clock.waited(now, int(entry_id.split(b"-")[0])) / 1000
            request = self._hold(entry_id, fields, photo, waited, attempt)
            if request:
                requests.append(request)
        return requests

    def _hold(
        self, entry_id: bytes, fields: Mapping[bytes, bytes], photo: bytes | None, waited: float, attempt: int
    ) -> AnalysisRequest | None:
        name = fields.get(b"id", b"")
        row = Held(entry_id, name, fields.get(b"n", b"0"), fields.get(b"to", b""))
        try:
            if photo is None:
                raise ValueError("the photo of a request is missing")
            request = codec.unpack_request(fields, photo, waited, attempt, self._cipher, self._required)
        except (ValueError, VaultLocked) as error:
            log.error("an entry of the queue was refused", extra={"reason": str(error)})
            code = QueueLocked.code if isinstance(error, VaultLocked) else ServiceError.code
            self._refuse(row, AnalysisFailure(str(name, "ascii", "replace"), self._model, code), cancelled=not name)
            return None
        with self._lock:
            if request.id not in self._held:
                cipher = codec.answer_cipher(fields, photo, self._cipher)
                self._held[request.id] = replace(row, cipher=cipher, since=request.submitted)
                return request
            is_duplicate = self._held[request.id].entry_id != entry_id
        if is_duplicate:  # submitted twice, since a connection broke in between; its photo is at hand
            self._refuse(row, AnalysisFailure(request.id, self._model, ""), cancelled=True)
        return None

    def _refuse(self, row: Held, failure: AnalysisFailure, *, cancelled: bool) -> None:
        """Answer an entry that is not held; while Redis is away it stays in the queue, and is taken over later.

        An error here must not reach the caller: the requests held along with this one would never be returned.
        """
        try:
            self._run(FINISH, *_answer(row, failure, cancelled=cancelled))
        except RedisError:
            log.warning("an entry of the queue is refused later: Redis is away")

    def _held_entries(self) -> list[bytes]:
        with self._lock:
            return [row.entry_id for row in self._held.values()]

    def _beat_forever(self) -> None:
        """Show signs of life until closed, for the worker and for what it holds."""
        beats = 0
        while not self._closing.wait(self._lease / 4):
            try:
                self._presence.beat(self._held_entries())
                beats += 1
                if beats % 100 == 0:
                    self._run(RETIRE, "", round(20_000 * self._lease))
            except ResponseError:
                self._register_again()
            except RedisError:
                continue

    def _register(self) -> None:
        """Create the model's stream and its group, which begins at the stream's beginning."""
        self._run(REGISTER)

    def _register_again(self) -> None:
        with suppress(RedisError):
            self._register()

    def _run(self, lua: Script, *arguments: Any) -> Any:
        connection = self._claims if lua in (TAKE, TAKE_OVER) else self._answers
        return connection.run(lua, self._prefix, [self._model, *arguments])


def _answer(row: Held, outcome: AnalysisOutcome, cancelled: bool) -> tuple[Any, ...]:
    """Return the arguments of finish.lua for one request; a cancelled request gets no reply."""
    if cancelled:
        return (row.entry_id, row.request_id, row.size, b"", b"")
    return (row.entry_id, row.request_id, row.size, row.reply_to, codec.pack_outcome(outcome, row.cipher))
