"""`allinone-face searcher`: holds a part of every collection in memory and answers searches over Redis."""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress

from service import logs
from service.commands import CommandError, Commands
from service.commands.probes import showing
from service.config import Settings
from service.errors import ServiceError
from service.gallery import CollectionNotFound, Part
from service.gallery.gallery import Gallery
from service.gallery.opening import open_store, open_vault
from service.gallery.scatter import Searcher
from service.metrics import Metrics

log = logging.getLogger(__name__)


def add(commands: Commands) -> None:
    """The parser of `searcher`."""
    parser = commands.add_parser("searcher", help="hold a part of the gallery and answer searches (needs Redis)")
    parser.set_defaults(command=searcher)
    parser.add_argument("--part", type=_part, required=True, metavar="I/N", help="which of how many parts, e.g. 1/3")
    parser.add_argument("--metrics-port", help="port of this searcher's /metrics, /livez and /readyz (none)")


def searcher(settings: Settings, arguments: argparse.Namespace) -> int:
    """Read the part into memory, then answer until SIGTERM or SIGINT."""
    if settings.redis_url is None:
        raise CommandError("searchers are reached over Redis: set FACE_REDIS_URL")
    logs.configure(settings.log_level)
    stop, loaded, metrics = threading.Event(), threading.Event(), Metrics()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        gallery = Gallery(open_store(settings), open_vault(settings), part=arguments.part)
    except ServiceError as error:
        raise CommandError(error.detail) from error
    with showing(settings, metrics.render, loaded.is_set):
        try:
            for count in _loaded(gallery, stop):
                metrics.searcher_templates.inc(count)
        except ServiceError as error:
            raise CommandError(f"the part cannot be loaded: {error.detail or error.title}") from error
        loaded.set()
        log.info("searcher ready", extra={"part": arguments.part.number + 1, "of": arguments.part.of})
        Searcher(gallery, settings.redis_url).run(stop)
    gallery.close()
    return 0


def _loaded(gallery: Gallery, stop: threading.Event) -> Iterator[int]:
    """Reads all collections, so that no caller waits for it; how many templates of each."""
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
        number, of = map(int, text.split("/"))
        return Part(number - 1, of)
    except ValueError as error:
        raise argparse.ArgumentTypeError("a part is like 1/3") from error
