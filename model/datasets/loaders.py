"""The seeded mixture of loaders: batch t is a pure function of the recipe, the seed and t, so resuming is exact.

Each loader draws from one domain and yields only the labels that domain has: those keys decide which heads learn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import Queue
from threading import Event, Thread

import numpy as np
from torch import Tensor

Batch = dict[str, Tensor]
"""'crops' uint8 [K, 3, S, S] and label tensors of length K."""


@dataclass(frozen=True)
class Mixture:
    """Loaders by name with the share of batches that each gets."""

    loaders: dict[str, Callable[[int, np.random.Generator], Batch]]
    shares: dict[str, float]
    batch_size: int
    seed: int

    def batch(self, step: int) -> tuple[str, Batch]:
        """Source name and batch of one step: depends on nothing but the seed and the step."""
        rng = np.random.default_rng((self.seed, step))
        names = list(self.loaders)
        shares = np.array([self.shares[name] for name in names])
        name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
        return name, self.loaders[name](self.batch_size, rng)


def prefetch(
    make: Callable[[int], tuple[str, Batch]], first: int, last: int, depth: int = 3
) -> Iterator[tuple[str, Batch]]:
    """make(first) … make(last - 1) in order, made ahead by one thread; its exception is raised here."""
    ready: Queue[tuple[str, Batch] | BaseException] = Queue(depth)
    stop = Event()

    def work() -> None:
        for step in range(first, last):
            if stop.is_set():
                return
            try:
                ready.put(make(step))
            except BaseException as error:  # noqa: BLE001 - handed over to the consumer
                ready.put(error)
                return

    Thread(target=work, daemon=True).start()
    try:
        for _ in range(first, last):
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        while not ready.empty():  # a full queue would hold the thread for ever
            ready.get_nowait()
