"""Redis' clock beside this process's own, so that a jump of the one is told from waiting."""

from __future__ import annotations

import time
from collections.abc import Callable

JUMP = 500.0
"""Milliseconds by which a clock must be off at once to have jumped; less is drift, and followed."""


class RedisClock:
    """Times in milliseconds; `own` is a clock that never jumps. For one thread."""

    def __init__(self, own: Callable[[], float] = lambda: 1000 * time.monotonic()) -> None:
        self._own, self._ahead = own, 0.0
        self._before: tuple[float, float] | None = None  # until when, by Redis, it was ahead by how much

    def waited(self, now: float, arrived: float) -> float:
        """How long ago something arrived, at least 0, when Redis says it is `now`.

        What arrived before a jump forward has not waited for as long as the jump. After a jump back Redis' streams go
        on from their latest entry, so that nothing tells when it came: it counts as new.
        """
        own = self._own()
        ahead = now - own
        if self._ahead and ahead - self._ahead > JUMP:
            self._before = own + self._ahead, self._ahead
        elif self._ahead - ahead > JUMP:
            self._before = None
        self._ahead = ahead
        if self._before and arrived <= self._before[0]:
            ahead = self._before[1]
        return max(0.0, own + ahead - arrived)
