"""A photo with every face that its data set marks in it: what detection is measured on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.datasets import Array, Sample


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo and its N faces; the sample stands for the photo and marks no face of its own."""

    sample: Sample
    boxes: Array  # [N, 4] xyxy
    difficult: NDArray[np.bool_]  # [N], faces that count neither as found nor as missed
    ellipses: Array | None = None  # [N, 5] radii, angle of the first in radians (clockwise in the image), centre x, y
    fold: int = 0

    def samples(self, **columns: Any) -> list[Sample]:
        """Return a Sample for each face, named PHOTO#number; a column gives the value of a field for each face."""
        return [
            replace(
                self.sample,
                name=f"{self.sample.name}#{i}",
                box=self.boxes[i],
                faces=len(self.boxes),
                **{field: values[i] for field, values in columns.items()},
            )
            for i in range(len(self.boxes))
        ]


def ellipse_boxes(ellipses: Array) -> Array:
    """Return the bounding boxes [N, 4] of ellipses [N, 5]: two radii, angle of the first in radians, centre x, y."""
    first, second, angle, x, y = np.asarray(ellipses, np.float64).reshape(-1, 5).T
    half_width = np.hypot(first * np.cos(angle), second * np.sin(angle))
    half_height = np.hypot(first * np.sin(angle), second * np.cos(angle))
    return np.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=1).astype(np.float32)
