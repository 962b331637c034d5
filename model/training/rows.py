"""Arrays in files that grow row by row: what a network that does not learn makes of more faces than memory holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.datasets import Array


class Rows:
    """An array float16 [count, …] in a file, written from its start on."""

    def __init__(self, path: Path, count: int) -> None:
        self.path = path
        self.count = count
        self._filled = 0
        self._values: Array | None = None

    def append(self, values: Array) -> None:
        """Write more rows [K, …]."""
        rows = values.astype(np.float16)
        if self._values is None:
            shape = (self.count, *rows.shape[1:])
            self._values = np.lib.format.open_memmap(self.path, "w+", np.float16, shape)
        self._values[self._filled : self._filled + len(rows)] = rows
        self._filled += len(rows)
