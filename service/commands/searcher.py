"""`allinone-face searcher`: hold a part of every collection in memory and answer searches over Redis."""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress

from service.commands import CommandError, show_examples
from service.commands.health import serve_health
from service.config import Settings
from service.errors import ServiceError
from service.gallery import Part
from service.gallery.errors import CollectionNotFound
from service.gallery.gallery import Gallery
from service.gallery.resources import open_gallery
from service.gallery.searchers import Searcher
from service.ops import logs
from service.ops.metrics import Metrics

log = logging.getLogger(__name__)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `searcher`."""
    parser.set_defaults(command=searcher)
    parser.add_argument("--part", type=_part, required=True, metavar="I/N", help="which of how many parts, e.g. 1/3")
    parser.add_argument("--metrics-port", help="port of this searcher's /metrics, /livez and /readyz (none)")
    show_examples(parser, "FACE_REDIS_URL=redis://127.0.0.1:6379/0 allinone-face searcher --part 1/3")


def searcher(settings: Settings, arguments: argparse.Namespace) -> int:
    """Read the part into memory, then answer until SIGTERM or SIGINT."""
    if settings.redis_url is None:
        raise CommandError("searchers are reached over Redis: set FACE_REDIS_URL")
    logs.configure(settings.log_level)
    stop = threading.Event()
    loaded = threading.Event()
    metrics = Metrics()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        gallery = open_gallery(settings, arguments.part)
    except ServiceError as error:
        raise CommandError(error.detail) from error
    with serve_health(settings, metrics.render, loaded.is_set):
        try:
            for count in _loaded(gallery, stop):
                metrics.searcher_templates.inc(count)
        except ServiceError as error:
            raise CommandError(f"the part cannot be loaded: {error.detail or error.title}") from error
        loaded.set()
        log.info("searcher ready", extra={"part": arguments.part.number + 1, "of": arguments.part.count})
        Searcher(gallery, settings.redis_url).run(stop)
    gallery.close()
    return 0


def _loaded(gallery: Gallery, stop: threading.Event) -> Iterator[int]:
    """Read all collections, so that no caller waits for it, and yield the number of templates of each."""
    cursor: str | None = None
    while True:
        page = gallery.collections(cursor)
        for collection in page.items:
            if stop.is_set():
                return
            with suppress(CollectionNotFound):  # deleted meanwhile
                yield gallery.warm(collection.name)
        cursor = page.cursor
        if cursor is None:
            return


def _part(text: str) -> Part:
    try:
        number, count = map(int, text.split("/"))
        return Part(number - 1, count)
    except ValueError as error:
        raise argparse.ArgumentTypeError("a part is like 1/3") from error
