"""`allinone-face searcher`: holds a part of every collection in memory and answers searches over Redis."""

from __future__ import annotations

import argparse
import logging
import signal
import threading

from service import logs
from service.commands import CommandError, Commands
from service.config import Settings
from service.errors import ServiceError
from service.gallery import Part
from service.gallery.gallery import Gallery
from service.gallery.opening import open_store, open_vault
from service.gallery.scatter import Searcher

log = logging.getLogger(__name__)


def add(commands: Commands) -> None:
    """The parser of `searcher`."""
    parser = commands.add_parser("searcher", help="hold a part of the gallery and answer searches (needs Redis)")
    parser.set_defaults(command=searcher)
    parser.add_argument("--part", type=_part, required=True, metavar="I/N", help="which of how many parts, e.g. 1/3")


def searcher(settings: Settings, arguments: argparse.Namespace) -> int:
    """Answer until SIGTERM or SIGINT."""
    if settings.redis_url is None:
        raise CommandError("searchers are reached over Redis: set FACE_REDIS_URL")
    logs.configure(settings.log_level)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        gallery = Gallery(open_store(settings), open_vault(settings), part=arguments.part)
    except ServiceError as error:
        raise CommandError(error.detail) from error
    log.info("searcher ready", extra={"part": arguments.part.number + 1, "of": arguments.part.of})
    Searcher(gallery, settings.redis_url).run(stop)
    gallery.close()
    return 0


def _part(text: str) -> Part:
    try:
        number, of = map(int, text.split("/"))
        return Part(number - 1, of)
    except ValueError as error:
        raise argparse.ArgumentTypeError("a part is like 1/3") from error
