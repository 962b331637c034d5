"""The triplet probabilistic embedding of a checkpoint, applied with NumPy; model.tpe learns it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.checkpoint_file import CheckpointError

PART = "tpe"
"""Where a checkpoint keeps the projection, as 'tpe.weight' [n, D] and 'tpe.mean' [D]."""


class Source(Protocol):
    """A checkpoint that was read with PyTorch or without."""

    @property
    def config(self) -> dict[str, Any]:
        """Return the configuration of its header."""

    @property
    def digest(self) -> str:
        """Return the digest of its bytes."""

    def holds(self, part: str, /) -> bool:
        """Return whether there are tensors of that part."""

    def part(self, part: str, /) -> Mapping[str, ArrayLike]:
        """Return the tensors of that part."""


@dataclass(frozen=True, eq=False)
class LearnedProjection:
    """W (x − mean): W [n, D] and the training people's mean descriptor [D], which is 0 for one learnt without it."""

    weight: NDArray[np.float32]
    mean: NDArray[np.float32]

    def project(self, descriptors: ArrayLike) -> NDArray[np.float32]:
        """Project descriptors [N, D] to [N, n]; not of unit length, so that they can still be pooled."""
        return np.asarray((np.asarray(descriptors, np.float32) - self.mean) @ self.weight.T, np.float32)

    def project_unit(self, descriptors: ArrayLike) -> NDArray[np.float32]:
        """Project descriptors [N, D] to [N, n] of unit length: their products are the similarities."""
        projected = self.project(descriptors)
        return np.asarray(projected / np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-12), np.float32)

    @classmethod
    def of(cls, loaded: Source) -> Self | None:
        """Return the projection of a checkpoint, None when it has none. Raises CheckpointError for unfit tensors."""
        if not loaded.holds(PART):
            return None
        part = loaded.part(PART)
        weight = np.asarray(part["weight"], np.float32)
        mean = np.asarray(part.get("mean", np.zeros(weight.shape[-1])), np.float32)
        if weight.ndim != 2 or mean.shape != weight.shape[1:]:
            raise CheckpointError(f"{PART}: weight {tuple(weight.shape)}, mean {tuple(mean.shape)}")
        return cls(weight, mean)
