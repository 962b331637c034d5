"""Looks after the gallery while the service runs: deletes what has expired, finds damage, watches the clock."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from service.errors import ServiceError
from service.gallery.resources import Resources
from service.gallery.stores.store import JUMP_SECONDS
from service.gallery.upkeep import Expiry, purge
from service.ops.metrics import Metrics

SECONDS = 60.0
log = logging.getLogger(__name__)


class ClockWatch:
    """Compares the store's clock with a monotonic one, which cannot be set."""

    def __init__(self, now: Callable[[], float], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._monotonic = monotonic
        self._offset = now() - monotonic()

    def jump(self) -> float:
        """Return by how many seconds the store's clock was set since the watch began."""
        return self._now() - self._monotonic() - self._offset


async def run_maintenance(
    resources: Resources,
    metrics: Metrics,
    seconds: float = SECONDS,
    on_expiry: Callable[[Expiry], object] = lambda _: None,
) -> None:
    """Maintain the gallery every `seconds` until cancelled; failures are logged, and it is tried again.

    `on_expiry` is called in a thread, once for every subject that was deleted because it had expired.
    """
    watch: ClockWatch | None = None
    while True:
        try:
            if await asyncio.to_thread(resources.exists):
                if watch is None:
                    watch = await asyncio.to_thread(lambda: ClockWatch(resources.gallery.encrypted.now))
                await asyncio.to_thread(maintain, resources, metrics, watch, on_expiry)
        except ServiceError as error:
            log.warning("the gallery could not be maintained", extra={"code": error.code})
        except Exception:
            log.exception("the gallery could not be maintained")
        await asyncio.sleep(seconds)


def maintain(resources: Resources, metrics: Metrics, watch: ClockWatch, on_expiry: Callable[[Expiry], object]) -> None:
    """Delete what has expired, look for damaged collections and count the subjects, once.

    No subject is deleted after a jump of the clock.
    """
    gallery = resources.gallery
    jump = watch.jump()
    metrics.clock_jump.set(jump)
    if abs(jump) >= JUMP_SECONDS:
        log.error(
            "the clock was set: nobody is deleted for having expired until it is right or the service restarts",
            extra={"jump_seconds": round(jump)},
        )
    else:
        expired = purge(gallery, on_expiry)
        if expired:
            log.info("expired subjects were deleted", extra={"subjects": len(expired)})
    damaged = gallery.encrypted.damaged()
    metrics.damaged_collections.set(len(damaged))
    if damaged:
        log.error(
            "collections were deleted, put back or changed by somebody else than this service",
            extra={"collections": len(damaged)},
        )
    store = gallery.encrypted.store
    metrics.gallery_size.set(sum(store.count(row.id) for row in store.all_collections() if row.tag is not None))
