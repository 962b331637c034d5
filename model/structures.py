"""Frozen dataclasses of arrays of one length: what flows between the steps of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from model.boxes import Array, Indices

Index = NDArray[np.bool_] | Indices | slice | list[int]


@dataclass(frozen=True, eq=False)
class Instances:
    """Arrays whose first dimension is the number of instances, and facts that hold for all of them together.

    Indexing takes what an array's first dimension takes (mask, index array, slice, list); an integer is refused
    because it would drop the dimension. Raises ValueError when lengths differ.
    """

    def __post_init__(self) -> None:
        lengths = {name: len(value) for name, value in self._arrays().items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{type(self).__name__} needs arrays of one length, got {lengths}")

    def _arrays(self) -> dict[str, NDArray[Any]]:
        # The instance's own dictionary: its fields in order, many times quicker to read than dataclasses.fields().
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}

    def __len__(self) -> int:
        return next(len(value) for value in vars(self).values() if isinstance(value, np.ndarray))

    def __getitem__(self, index: Index) -> Self:
        if isinstance(index, int):
            raise TypeError("index Instances with a slice, a list or an array")
        rows = np.asarray(index, np.int64) if isinstance(index, list) else index
        return replace(self, **{name: value[rows] for name, value in self._arrays().items()})

    @classmethod
    def cat(cls, parts: Sequence[Self]) -> Self:
        """Return one container of all parts in order, with the first one's facts. Raises ValueError without parts."""
        if not parts:
            raise ValueError("nothing to concatenate")
        names = parts[0]._arrays()
        return replace(parts[0], **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@dataclass(frozen=True, eq=False)
class Proposals(Instances):
    """K candidate face regions of B images."""

    image_index: Indices  # int64 [K], which image
    boxes: Array  # float32 [K, 4] xyxy, pixels
    scores: Array  # float32 [K], 0–1

    @classmethod
    def none(cls) -> Self:
        """Return an empty container, for images in which nothing is proposed."""
        return cls(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))

    def of(self, image: int) -> Self:
        """Return those of one image."""
        return self[self.image_index == image]


@dataclass(frozen=True, eq=False)
class Faces(Instances):
    """N faces of one image, largest first, in pixels of the upright image with a top-left origin.

    `seen` is how many there are with those that `max_faces` left out; `searched_min_size` is the side in pixels from
    which faces were looked for: more than was asked where a large image was searched at a reduced size.
    """

    boxes: Array  # float32 [N, 4] xyxy
    scores: Array  # float32 [N], 0–1
    landmarks: Array  # float32 [N, 21, 2], order of landmarks.NAMES
    visibility: Array  # float32 [N, 21], 0–1
    pose: Array  # float32 [N, 3] roll, pitch, yaw in degrees
    smile: Array  # float32 [N], 0–1
    female: Array  # float32 [N], 0–1
    age: Array  # float32 [N], years
    descriptor: Array  # float32 [N, 512], unit length
    seen: int = 0
    searched_min_size: float = 0.0

    def turned(self) -> Literal[0, 90, 180, 270] | None:
        """Return by how many degrees clockwise the image is turned, by the mean roll of its faces; None without any.

        Large faces count more: each by its side.
        """
        if not len(self):
            return None
        sides = np.sqrt(np.maximum((self.boxes[:, 2:] - self.boxes[:, :2]).prod(axis=1), 0))
        angles = np.deg2rad(self.pose[:, 0])
        mean = np.rad2deg(np.arctan2(sides @ np.sin(angles), sides @ np.cos(angles)))
        quarters: tuple[Literal[0, 90, 180, 270], ...] = (0, 90, 180, 270)
        return quarters[round(float(mean) / 90) % 4]

    @property
    def more(self) -> bool:
        """Return whether `max_faces` left other faces out."""
        return self.seen > len(self)

    @classmethod
    def empty(cls, searched_min_size: float = 0.0) -> Self:
        """Return no faces."""
        shapes = ((0, 4), (0,), (0, 21, 2), (0, 21), (0, 3), (0,), (0,), (0,), (0, 512))
        columns: list[Any] = [np.zeros(shape, np.float32) for shape in shapes]
        return replace(cls(*columns), searched_min_size=searched_min_size)
