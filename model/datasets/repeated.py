"""Batches that are drawn once and then used again: drawing regions takes longer than learning them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from model.datasets.loaders import Batch, Loader


class Repeated:
    """Batches of a loader over and over, every other time as `mirrored` makes them."""

    def __init__(self, draw: Loader, count: int, mirrored: Callable[[Batch], Batch]) -> None:
        self._draw = draw
        self._count = count
        self._mirrored = mirrored
        self._batches: dict[int, Batch] = {}
        self._drawn = 0

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Return the next batch: of the first `count` each is drawn by its own generator."""
        number = self._drawn
        self._drawn += 1
        if number % self._count not in self._batches:
            self._batches[number % self._count] = self._draw(size, rng)
        batch = self._batches[number % self._count]
        return self._mirrored(batch) if number // self._count % 2 else batch
