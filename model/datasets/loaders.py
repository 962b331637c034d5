"""The seeded mixture of loaders: batch t is a pure function of the recipe, the seed and t, so resuming is exact.

Each loader draws from one domain and yields only the labels that domain has: those keys decide which heads learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

Batch = dict[str, Tensor]
"""'crops' uint8 [K, 3, S, S] and label tensors of length K."""


Loader = Callable[[int, np.random.Generator], Batch]
"""Draws a batch of so many samples of one domain."""


class Batches(Protocol):
    """A sequence of batches by number, with the name of each batch's domain."""

    def batch(self, step: int) -> tuple[str, Batch]:
        """Return the domain and the batch of one number: a function of the seed and the number alone."""
        ...


@dataclass(frozen=True)
class Turns:
    """Batches of the loaders in turn, in equal shares: batch n is of loader n mod their number."""

    loaders: dict[str, Loader]
    batch_size: int
    seed: int

    def batch(self, step: int) -> tuple[str, Batch]:
        """Return the domain and the batch of one number: a function of the seed and the number alone."""
        rng = np.random.default_rng((self.seed, step))
        name = list(self.loaders)[step % len(self.loaders)]
        return name, self.loaders[name](self.batch_size, rng)


@dataclass(frozen=True)
class Mixture:
    """Loaders by name with the share of batches that each gets."""

    loaders: dict[str, Loader]
    shares: dict[str, float]
    batch_size: int
    seed: int

    def batch(self, step: int) -> tuple[str, Batch]:
        """Return the source's name and the batch of one step, which depend on nothing but the seed and the step."""
        rng = np.random.default_rng((self.seed, step))
        names = list(self.loaders)
        shares = np.array([self.shares[name] for name in names])
        name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
        return name, self.loaders[name](self.batch_size, rng)
