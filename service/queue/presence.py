"""A worker's presence in Redis: what it announces, its model's card, and the heartbeats that keep both."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

from msgspec import structs
from redis.exceptions import RedisError

from service.crypto.queue_cipher import QueueCipher
from service.queue import codec
from service.queue.connection import Connection
from service.queue.keys import script
from service.wire import ModelCard, WorkerInfo

BEAT = script("beat")
KEEP_CARD = script("keep_card")


class Presence:
    """One worker's announcement and heartbeats. `workers` is how many live workers share the model's requests."""

    def __init__(
        self, connection: Connection, model: str, worker: str, lease: float, cipher: QueueCipher | None, prefix: str
    ) -> None:
        self._connection = connection
        self._model = model
        self._worker = worker
        self._milliseconds = round(2000 * lease)
        self._cipher = cipher
        self._prefix = prefix
        self._announced = b""
        self._card_id = ""
        self._card = b""
        self._beating = threading.Lock()
        self.workers = 1

    def announce(self, worker: WorkerInfo, card: ModelCard) -> None:
        """Set what the next heartbeats announce, and publish the model's card."""
        self._card_id = codec.card_id(card)
        self._card = codec.pack_card(card, self._cipher)
        key_ids = self._cipher.key_ids if self._cipher else ()
        with suppress(RedisError):  # else a heartbeat does it
            self._publish_card()
        self._announced = codec.pack_worker(structs.replace(worker, card=self._card_id, key_ids=key_ids))

    def leave(self) -> None:
        """Announce nothing any more and take back what was announced."""
        with self._beating, suppress(RedisError):
            self._announced = b""
            self._connection.ask(("DEL", f"{self._prefix}worker:{self._worker}"))

    def beat(self, held_entries: Sequence[bytes]) -> None:
        """Show a sign of life, for the worker and for the entries that it holds. Raises Redis' errors."""
        with self._beating:
            arguments = (self._model, self._worker, self._announced, self._milliseconds, self._card_id)
            workers, card_is_there = self._connection.run(BEAT, self._prefix, (*arguments, *held_entries))
            if self._announced and not card_is_there:
                self._publish_card()
        self.workers = max(1, int(workers))

    def _publish_card(self) -> None:
        """Store the card, which lives as long as somebody's heartbeats keep it."""
        self._connection.run(KEEP_CARD, self._prefix, (self._card_id, self._card, self._milliseconds))
