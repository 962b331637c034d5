"""Which workers are alive, with which model, and what is known about that model, as an API process sees it."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from contextlib import suppress

from service.crypto.queue_cipher import QueueCipher
from service.crypto.vault import VaultLocked
from service.errors import NotReady
from service.queue import codec
from service.queue.connection import ConnectionPool
from service.queue.keys import script
from service.wire import ModelCard, WorkerInfo

WORKERS = script("workers")
LOOK_SECONDS = 2.0
"""Age at which what is known about the workers is out of date."""

log = logging.getLogger(__name__)


class WorkerDirectory:
    """The live workers, looked up in Redis every LOOK_SECONDS and when a model is asked for that none is known to have.

    Its methods raise Redis' errors. `model` is the digest that must answer; None: the one that most workers have.
    """

    def __init__(
        self, pool: ConnectionPool, model: str | None, cipher: QueueCipher | None, required: bool, prefix: str
    ) -> None:
        self._pool = pool
        self._model = model
        self._cipher = cipher
        self._required = required
        self._prefix = prefix
        self._workers: list[WorkerInfo] = []
        self._looked_at = -math.inf
        self._is_ready = False
        self._unencrypted = set[str]()
        self._cards: dict[str, ModelCard] = {}

    async def look(self) -> list[WorkerInfo]:
        """Return the live workers, those of the model that answers last; none while that model has none."""
        workers = []
        for row in await self._pool.run(WORKERS, self._prefix, ()):
            with suppress(ValueError):  # a worker of another version
                workers.append(codec.unpack_worker(row))
        counts = Counter(worker.model for worker in workers)
        self._workers = sorted(workers, key=lambda worker: (worker.model == self._model, counts[worker.model]))
        self._looked_at = time.monotonic()
        self._is_ready = any(self._model in (None, worker.model) for worker in workers)
        return self._workers if self._is_ready else []

    async def ready(self) -> bool:
        """Return whether a worker of the model that answers is alive; looks again when none was or time has passed."""
        if self._is_old() or not self._is_ready:
            await self.look()
        return self._is_ready

    async def choose(self, models: set[str | None]) -> str:
        """Return the model for requests that name these models: theirs, else that of most workers, else the newest.

        Raises NotReady where no worker has it, ValueError when they want different models.
        """
        if len(models) > 1:
            raise ValueError("the requests of one submit() are for one model")
        if self._is_old():
            await self.look()
        [wanted_model] = models
        model = wanted_model or self._model
        if model:
            if not await self._workers_with(model):
                raise NotReady("no worker has the model that this request needs")
            return model
        if self._workers:
            return self._workers[-1].model
        [newest] = await self._pool.ask(("ZREVRANGE", f"{self._prefix}models", 0, 0))
        if not newest:
            raise NotReady
        return str(newest[0], "ascii")

    async def card(self, digest: str | None) -> ModelCard:
        """Return the card of this model while a worker has it, else of the model that answers. Raises NotReady."""
        if self._is_old() or not self._is_ready:
            await self.look()
        of_digest = await self._workers_with(digest) if digest else []
        if not self._is_ready:
            raise NotReady
        workers = of_digest or self._workers
        name = workers[-1].card
        if name not in self._cards:
            self._cards[name] = await self._fetch(name, workers[-1].model)
        return self._cards[name]

    async def _workers_with(self, model: str) -> list[WorkerInfo]:
        """Return the workers of a model. Looks again where none is known: one may have come since, and be asked for."""
        if all(worker.model != model for worker in self._workers):
            await self.look()
        return [worker for worker in self._workers if worker.model == model]

    async def _fetch(self, name: str, digest: str) -> ModelCard:
        [data] = await self._pool.ask(("GET", f"{self._prefix}card:{name}"))
        try:
            card = codec.unpack_card(data or b"", self._cipher, self._required)
        except (ValueError, VaultLocked) as error:
            raise NotReady("what workers published about their model cannot be read; do they have this key?") from error
        if card.digest != digest:
            raise NotReady("what the model's workers published is about another model")
        return card

    def cipher_for(self, model: str) -> QueueCipher | None:
        """Return the cipher for photos that go to workers of this model.

        Workers need not have a key that is derived from the master key: it is used where all of them have it.
        """
        if self._cipher is None or self._required:
            return self._cipher
        some_lack_key = any(
            self._cipher.key_id not in worker.key_ids for worker in self._workers if worker.model == model
        )
        if not some_lack_key:
            self._unencrypted.discard(model)
            return self._cipher
        if model not in self._unencrypted:
            self._unencrypted.add(model)
            text = "photos lie unencrypted in Redis: workers have no key; set FACE_QUEUE_KEY"
            log.warning(text, extra={"model": model})
        return None

    def _is_old(self) -> bool:
        return time.monotonic() - self._looked_at > LOOK_SECONDS
