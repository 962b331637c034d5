"""Which photos go through the model together, and how many are held at once.

arrivals() turns a queue into a stream with pauses; batches() cuts the stream at pauses and limits. An idle device
therefore takes what is there, and while it is busy, work gathers in the queue.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar


class Sized(Protocol):
    """Anything with a number of pixels, which batches are limited by."""

    @property
    def pixels(self) -> int:
        """Return width × height."""


Item = TypeVar("Item", bound=Sized)


def batches(stream: Iterable[Item | None], max_items: int, max_pixels: int) -> Iterator[list[Item]]:
    """Cut a stream into batches, in order: at None, at `max_items`, and before an item that exceeds `max_pixels`.

    An item larger than `max_pixels` makes a batch of its own. No batch is empty.
    """
    batch: list[Item] = []
    for item in stream:
        is_full = item is None or sum(waiting.pixels for waiting in batch) + item.pixels > max_pixels
        if is_full and batch:
            yield batch
            batch = []
        if item is not None:
            batch.append(item)
            if len(batch) == max_items:
                yield batch
                batch = []
    if batch:
        yield batch


IDLE_SECONDS = 5.0
"""Seconds without an item after which on_idle() of arrivals() is called."""


def arrivals(
    queue: SimpleQueue[Item | None],
    linger: float,
    more_coming: Callable[[], bool],
    on_idle: Callable[[], object] = lambda: None,
) -> Iterator[Item | None]:
    """Yield what the queue holds, and None whenever it is empty; end when None is taken from the queue.

    Before a pause it waits for the next item, at most `linger` seconds from the first item after the last pause, and
    only while `more_coming()`. In a pause of IDLE_SECONDS `on_idle()` is called once.
    """
    started: float | None = None
    while True:
        try:
            wait = 0.0 if started is None else max(0.0, started + linger - time.monotonic())
            item = queue.get(timeout=wait) if wait and more_coming() else queue.get_nowait()
        except Empty:
            yield None
            started = None
            item = _after_pause(queue, on_idle)
        if item is None:
            return
        started = started or time.monotonic()
        yield item


def _after_pause(queue: SimpleQueue[Item | None], on_idle: Callable[[], object]) -> Item | None:
    try:
        return queue.get(timeout=IDLE_SECONDS)
    except Empty:
        on_idle()
        return queue.get()


class Gate:
    """Admission control: at most `max_items` items of `max_pixels` in total; a larger item is admitted alone.

    An item that enters `alone` waits until nothing is inside, and nothing enters before it has left.
    """

    def __init__(self, max_items: int, max_pixels: int) -> None:
        self._max_items = max_items
        self._max_pixels = max_pixels
        self._count = 0
        self._pixels = 0
        self._alone = False
        self._closed = False
        self._changed = threading.Condition()

    def room(self) -> int:
        """Wait until an item may enter by number and return how many may; 0 when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._count < self._max_items and not self._held_alone()))
            return 0 if self._closed else self._max_items - self._count

    def enter(self, pixels: int, alone: bool = False) -> int:
        """Wait for room, take it and return how many items are inside now."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._count or self._fits(pixels, alone))
            self._alone = alone
            self._count += 1
            self._pixels += pixels
            return self._count

    def leave(self, pixels: int) -> None:
        """Free the room of one item of so many pixels."""
        with self._changed:
            self._count -= 1
            self._pixels -= pixels
            self._changed.notify_all()

    def close(self) -> None:
        """Admit everything that waits: nothing will leave any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _held_alone(self) -> bool:
        return self._alone and self._count > 0

    def _fits(self, pixels: int, alone: bool) -> bool:
        return not alone and not self._held_alone() and self._pixels + pixels <= self._max_pixels
