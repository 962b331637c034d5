"""Redis' clock beside this process's own, so that a jump of Redis' clock is not taken for time spent waiting."""

from __future__ import annotations

import time
from collections.abc import Callable

JUMP = 500.0
"""Milliseconds by which Redis' clock must be off at once to have jumped; less is drift, and followed."""


class RedisClock:
    """Measures how long entries have waited, in milliseconds, by a `local_clock` that never jumps. For one thread."""

    def __init__(self, local_clock: Callable[[], float] = lambda: 1000 * time.monotonic()) -> None:
        self._local_clock = local_clock
        self._ahead = 0.0
        self._before_jump: tuple[float, float] | None = None  # the last time by Redis, and how far it was ahead then

    def waited(self, now: float, arrived: float) -> float:
        """Return how long ago an entry arrived, at least 0, when Redis says that it is `now`.

        What arrived before a jump forward has not waited for as long as the jump. After a jump back Redis' streams go
        on from their latest entry, so that nothing tells when an entry came: it counts as new.
        """
        local_time = self._local_clock()
        ahead = now - local_time
        if self._ahead and ahead - self._ahead > JUMP:
            self._before_jump = (local_time + self._ahead, self._ahead)
        elif self._ahead - ahead > JUMP:
            self._before_jump = None
        self._ahead = ahead
        if self._before_jump and arrived <= self._before_jump[0]:
            ahead = self._before_jump[1]
        return max(0.0, local_time + ahead - arrived)
