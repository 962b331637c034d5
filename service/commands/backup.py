"""`allinone-face backup FILE`: the gallery in one file, while the service runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from service.commands import CommandError, complain, show_examples
from service.config import Settings
from service.errors import ServiceError
from service.gallery.backup import NotABackup, back_up
from service.gallery.resources import database


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `backup`."""
    parser.set_defaults(command=run)
    parser.add_argument("file", type=Path, metavar="FILE", help="the new file; it never replaces one")
    show_examples(parser, "allinone-face backup /mnt/backups/gallery-monday.db")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Copy the gallery of the data folder to a new file."""
    check_sqlite(settings)
    try:
        with PagesBar("backup") as bar:
            size = back_up(database(settings), arguments.file, bar.show)
    except (OSError, NotABackup) as error:
        raise CommandError(str(error)) from error
    except ServiceError as error:
        raise CommandError(error.detail) from error
    complain(f"{size:,} bytes written; the master key is not in them: keep a copy of it somewhere else")
    return 0


def check_sqlite(settings: Settings) -> None:
    """Raise CommandError when the gallery is not in a file."""
    if settings.redis_url:
        raise CommandError("the gallery is in Redis: back up the files of Redis (see docs/operations.md)")


class PagesBar:
    """A progress bar of pages, which appears on a terminal only."""

    def __init__(self, text: str) -> None:
        self._bar = tqdm(desc=text, unit=" pages", disable=None, leave=False)

    def __enter__(self) -> PagesBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, done: int, total: int) -> None:
        """Show that `done` of `total` pages are copied."""
        self._bar.total = total
        self._bar.update(done - self._bar.n)
