"""Looks after the gallery while the service runs: forgets what is over, counts who is there."""

from __future__ import annotations

import asyncio
import logging

from service.errors import ServiceError
from service.gallery.opening import Opening
from service.gallery.upkeep import purge
from service.metrics import Metrics

SECONDS = 60.0
log = logging.getLogger(__name__)


async def tend(opening: Opening, metrics: Metrics, seconds: float = SECONDS) -> None:
    """Every so often until cancelled; what fails is logged and tried again."""
    while True:
        try:
            if await asyncio.to_thread(opening.exists):
                await asyncio.to_thread(_once, opening, metrics)
        except ServiceError as error:
            log.warning("the gallery could not be tended", extra={"code": error.code})
        await asyncio.sleep(seconds)


def _once(opening: Opening, metrics: Metrics) -> None:
    gallery = opening.gallery
    gone = purge(gallery)
    if gone:
        log.info("subjects forgotten, their time was over", extra={"subjects": gone})
    store = gallery.sealed.store
    metrics.gallery_size.set(sum(store.count(row.id) for row in store.all_collections() if row.tag is not None))
