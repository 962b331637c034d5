"""How often something may happen, counted in this process: several processes each allow as much."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from service.keys import Key, RateLimited


class RateLimiter:
    """A token bucket for each name, in this process: several processes each allow the rate."""

    MAX_BUCKETS = 100_000

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: Key, cost: float = 1.0) -> None:
        """Count a request with a key. Raises RateLimited with the seconds until it would be let through."""
        if key.rate is not None:
            self.take_from(key.id, key.rate, key.burst, cost)

    def take_from(self, name: str, rate: float, burst: float, cost: float = 1.0) -> None:
        """Count a request that takes `cost` from a bucket of `burst` filled at `rate` a second. Raises RateLimited."""
        cost = min(cost, burst)
        with self._lock:
            now = self._clock()
            tokens, filled_at = self._buckets.pop(name, (float(burst), now))
            tokens = min(burst, tokens + (now - filled_at) * rate)
            missing = cost - tokens
            self._buckets[name] = (tokens if missing > 0 else tokens - cost, now)
            while len(self._buckets) > self.MAX_BUCKETS:  # the one not used for longest
                del self._buckets[next(iter(self._buckets))]
        if missing > 0:
            raise RateLimited(retry_after=max(1, math.ceil(missing / rate)))


class WindowLimiter:
    """Counts what happens to each name within a minute, in this process."""

    SECONDS = 60.0
    MAX_NAMES = 100_000

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._started = clock()
        self._counts: dict[str, int] = {}

    def take(self, name: str, limit: int) -> None:
        """Count one more for a name. Raises RateLimited with the seconds until the next minute begins."""
        with self._lock:
            now = self._clock()
            if now - self._started >= self.SECONDS or len(self._counts) >= self.MAX_NAMES:
                self._started = now
                self._counts = {}
            count = self._counts.get(name, 0)
            self._counts[name] = count + 1
        if count >= limit:
            seconds_left = max(1, math.ceil(self._started + self.SECONDS - now))
            raise RateLimited(f"at most {limit} comparisons a minute with one subject, or one collection", seconds_left)
