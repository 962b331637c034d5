"""Which images go through the model together, and how many are held at once.

arrivals() turns a queue into a stream with pauses; batches() cuts the stream at pauses and caps. An idle device
therefore takes what is there, and while it is busy, work gathers in the queue.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar


class Sized(Protocol):
    """Anything that says how many pixels it has."""

    @property
    def pixels(self) -> int: ...  # noqa: D102


Item = TypeVar("Item", bound=Sized)


def batches(stream: Iterable[Item | None], most: int, pixels: int) -> Iterator[list[Item]]:
    """Cut a stream into batches, in order: at None, at `most` items, and before an item that would exceed `pixels`.

    An item larger than `pixels` makes a batch of its own. No batch is empty.
    """
    batch: list[Item] = []
    for item in stream:
        over = item is None or sum(held.pixels for held in batch) + item.pixels > pixels
        if over and batch:
            yield batch
            batch = []
        if item is not None:
            batch.append(item)
            if len(batch) == most:
                yield batch
                batch = []
    if batch:
        yield batch


def arrivals(queue: SimpleQueue[Item | None], linger: float, more_coming: Callable[[], bool]) -> Iterator[Item | None]:
    """What the queue holds, and None whenever it is empty; ends when None is taken from the queue.

    Before a pause it waits for the next item, `linger` seconds at most from the first item after the last pause, and
    only while `more_coming()`.
    """
    started: float | None = None
    while True:
        try:
            wait = 0.0 if started is None else max(0.0, started + linger - time.monotonic())
            item = queue.get(timeout=wait) if wait and more_coming() else queue.get_nowait()
        except Empty:
            yield None
            started, item = None, queue.get()
        if item is None:
            return
        started = started or time.monotonic()
        yield item


class Gate:
    """At most `most` items of `pixels` together are inside; one that is larger enters when nothing else is inside.

    One that enters `alone` waits until nothing is inside, and nothing enters before it has left.
    """

    def __init__(self, most: int, pixels: int) -> None:
        self._most, self._pixels = most, pixels
        self._count = self._held = 0
        self._alone = self._closed = False
        self._changed = threading.Condition()

    def room(self) -> int:
        """How many may enter by number; waits until there is room for one. 0 when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._count < self._most and not self._taken_alone()))
            return 0 if self._closed else self._most - self._count

    def enter(self, pixels: int, alone: bool = False) -> int:
        """Wait for room, then take it; how many are inside now."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._count or self._fits(pixels, alone))
            self._alone = alone
            self._count += 1
            self._held += pixels
            return self._count

    def leave(self, pixels: int) -> None:
        """Give it back."""
        with self._changed:
            self._count -= 1
            self._held -= pixels
            self._changed.notify_all()

    def close(self) -> None:
        """Let everyone in who waits: nothing will leave any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _taken_alone(self) -> bool:
        return self._alone and self._count > 0

    def _fits(self, pixels: int, alone: bool) -> bool:
        return not alone and not self._taken_alone() and self._held + pixels <= self._pixels
