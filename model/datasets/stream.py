"""Photos and batches straight from disk, for sets that no cache of decoded photos could hold (Table I: 993,153)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch.utils.data import DataLoader, Dataset

from model.datasets import Sample
from model.datasets.loaders import Batch
from model.datasets.store import PhotoStore, read_photo
from model.geometry import Image

Make = Callable[[int], tuple[str, Batch]]
AHEAD = 4
"""Batches that each worker process has ready."""


class PhotoStream(PhotoStore):
    """Decodes a photo whenever it is asked for; keeps nothing. Raises ValueError naming a photo that is none."""

    def __init__(self) -> None:
        pass

    def __getitem__(self, sample: Sample) -> Image:
        return read_photo(sample.path)


class _Numbered(Dataset[tuple[str, Batch]]):
    """Batches by their number: what a worker process is asked for."""

    def __init__(self, make: Make) -> None:
        self.make = make

    def __getitem__(self, number: int) -> tuple[str, Batch]:
        torch.set_num_threads(1)
        return self.make(number)


def batches(make: Make, first: int, last: int, workers: int, pin: bool = False) -> Iterator[tuple[str, Batch]]:
    """make(first) … make(last - 1) in order, made ahead by worker processes; an exception of theirs is raised here.

    A batch is a function of its number alone, so any number of workers gives the same ones. `pin` copies them to
    page-locked memory, from which a GPU fetches without waiting.
    """
    loader = DataLoader(
        _Numbered(make),
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        prefetch_factor=AHEAD,
        pin_memory=pin,
    )
    yield from loader
