"""Frozen dataclasses of tensors of one length: what flows between the steps of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Instances:
    """Tensors whose first dimension is the number of instances.

    Indexing takes what a tensor's first dimension takes (mask, index tensor, slice); an
    integer is refused because it would drop the dimension. Raises ValueError when lengths differ.
    """

    def __post_init__(self) -> None:
        lengths = {name: len(value) for name, value in self._items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{type(self).__name__} needs tensors of one length, got {lengths}")

    def _items(self) -> list[tuple[str, Tensor]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]

    def __len__(self) -> int:
        return len(self._items()[0][1])

    def __getitem__(self, index: Tensor | slice | list[int]) -> Self:
        if isinstance(index, int):
            raise TypeError("index Instances with a slice, a list or a tensor")
        return type(self)(**{name: value[index] for name, value in self._items()})

    def to(self, device: torch.device | str) -> Self:
        """The same instances on another device."""
        return type(self)(**{name: value.to(device) for name, value in self._items()})

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """One container of all parts in order. Raises ValueError without parts."""
        if not parts:
            raise ValueError("nothing to concatenate")
        return cls(**{field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)})


@dataclass(frozen=True, eq=False)
class Proposals(Instances):
    """K candidate face regions of B images."""

    image_index: Tensor  # int64 [K], which image
    boxes: Tensor  # float32 [K, 4] xyxy, pixels
    scores: Tensor  # float32 [K], 0–1


@dataclass(frozen=True, eq=False)
class Faces(Instances):
    """N faces of one image, largest first, in pixels of the upright image with a top-left origin."""

    boxes: Tensor  # float32 [N, 4] xyxy
    scores: Tensor  # float32 [N], 0–1
    landmarks: Tensor  # float32 [N, 21, 2], order of landmarks.NAMES
    visibility: Tensor  # float32 [N, 21], 0–1
    pose: Tensor  # float32 [N, 3] roll, pitch, yaw in degrees
    smile: Tensor  # float32 [N], 0–1
    female: Tensor  # float32 [N], 0–1
    age: Tensor  # float32 [N], years
    descriptor: Tensor  # float32 [N, 512], unit length

    @classmethod
    def empty(cls) -> Self:
        """No faces."""
        shapes = ((0, 4), (0,), (0, 21, 2), (0, 21), (0, 3), (0,), (0,), (0,), (0, 512))
        return cls(*(torch.zeros(shape) for shape in shapes))
