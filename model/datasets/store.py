"""Photos by sample: decoded in one memory-mapped file of the cache, so that training never waits, or when asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, cast

import cv2
import numpy as np
from tqdm import tqdm

from model.datasets import Sample, cache_dir
from model.geometry import Image


def read_photo(path: Path) -> Image:
    """Return a photo as uint8 [H, W, 3] RGB, upright. Raises ValueError when it cannot be decoded."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError(f"{path}: not a readable photo")
    return cast(Image, image)


class Photos(Protocol):
    """Photos by sample, wherever they come from."""

    def __getitem__(self, sample: Sample) -> Image:
        """Return the sample's photo, uint8 [H, W, 3] RGB."""
        ...


class PhotoStream:
    """Decode a photo whenever it is needed and keep nothing: for sets that no cache of decoded photos could hold.

    Table I of the paper has 993,153. Raises ValueError naming a file that is not a photo.
    """

    def __getitem__(self, sample: Sample) -> Image:
        return read_photo(sample.path)


class PhotoStore:
    """Photos by sample: `store[sample]` is uint8 [H, W, 3] RGB, a view into the file.

    Built on first use for this very list of photos and found again later; a set of another content gets another file.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        key = hashlib.sha256("\n".join(f"{s.source}/{s.name}" for s in samples).encode()).hexdigest()[:16]
        folder = cache_dir() / "store"
        self._index_path = folder / f"{key}.json"
        self._data_path = folder / f"{key}.bin"
        if not self._index_path.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            self._build(samples)
        self._index: dict[str, tuple[int, int, int]] = json.loads(self._index_path.read_text())
        self._data = np.memmap(self._data_path, np.uint8, mode="r")

    def _build(self, samples: Sequence[Sample]) -> None:
        index: dict[str, tuple[int, int, int]] = {}
        offset = 0
        with self._data_path.open("wb") as file, ThreadPoolExecutor(2) as pool:
            photos = pool.map(lambda sample: read_photo(sample.path), samples)
            for sample, photo in zip(tqdm(samples, "decode", unit="photo"), photos, strict=True):
                file.write(np.ascontiguousarray(photo).data)
                index[f"{sample.source}/{sample.name}"] = (offset, photo.shape[0], photo.shape[1])
                offset += photo.size
        self._index_path.write_text(json.dumps(index))

    def __getitem__(self, sample: Sample) -> Image:
        offset, height, width = self._index[f"{sample.source}/{sample.name}"]
        return cast(Image, self._data[offset : offset + height * width * 3].reshape(height, width, 3))
