"""Batches made ahead of whoever trains on them, by a thread or by worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import Queue
from threading import Event, Thread

import torch
from torch.utils.data import DataLoader, Dataset

from model.datasets.loaders import Batch

Make = Callable[[int], tuple[str, Batch]]
"""From a batch's number to its domain and the batch: a function of the number alone."""
AHEAD = 4
"""Batches that each worker process has ready."""
THREAD_AHEAD = 3
"""Batches that the thread has ready."""


def prefetch(make: Make, first: int, last: int, workers: int = 0, pin: bool = False) -> Iterator[tuple[str, Batch]]:
    """Yield make(first) … make(last - 1) in order, made ahead by worker processes, or by a thread when `workers` is 0.

    Their exceptions are raised here, each in its batch's place. Any number of workers gives the same batches. `pin`
    copies those of worker processes to page-locked memory, from which a GPU fetches without waiting.
    """
    return _from_processes(make, first, last, workers, pin) if workers else _from_thread(make, first, last)


def _from_thread(make: Make, first: int, last: int) -> Iterator[tuple[str, Batch]]:
    ready: Queue[tuple[str, Batch] | BaseException] = Queue(THREAD_AHEAD)
    stop = Event()

    def work() -> None:
        for number in range(first, last):
            if stop.is_set():
                return
            try:
                ready.put(make(number))
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


class _Numbered(Dataset[tuple[str, Batch]]):
    """Batches by their number: what a worker process is asked for."""

    def __init__(self, make: Make) -> None:
        self.make = make

    def __getitem__(self, number: int) -> tuple[str, Batch]:
        torch.set_num_threads(1)
        return self.make(number)


def _from_processes(make: Make, first: int, last: int, workers: int, pin: bool) -> Iterator[tuple[str, Batch]]:
    loader = DataLoader(
        _Numbered(make),
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        prefetch_factor=AHEAD,
        pin_memory=pin,
    )
    yield from loader
