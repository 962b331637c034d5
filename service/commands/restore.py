"""`allinone-face restore FILE`: a backup becomes the gallery of this data folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from service.commands import CommandError, show_examples
from service.commands.backup import PagesBar, check_sqlite
from service.config import Settings
from service.errors import ServiceError
from service.gallery.backup import NotABackup, restore
from service.gallery.resources import database, open_vault


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `restore`."""
    parser.set_defaults(command=run)
    parser.add_argument("file", type=Path, metavar="FILE", help="what `allinone-face backup` wrote")
    show_examples(
        parser,
        "allinone-face restore /mnt/backups/gallery-monday.db",
        "FACE_MASTER_KEY_FILE=/mnt/keys/master.key allinone-face restore gallery-monday.db",
    )


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Restore the gallery from the backup if this machine's master key decrypts it and there is no gallery yet."""
    check_sqlite(settings)
    try:
        vault = open_vault(settings, create=False)
        with PagesBar("restore") as bar:
            collections = restore(arguments.file, database(settings), vault, bar.show)
    except (OSError, NotABackup) as error:
        raise CommandError(str(error)) from error
    except ServiceError as error:
        raise CommandError(error.detail) from error
    noun = "collection" if collections == 1 else "collections"
    sys.stdout.write(f"{collections} {noun} restored\n")
    return 0
