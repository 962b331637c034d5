"""`allinone-face cluster`: sort photos in files into a folder for each person, without a server."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from service.commands import CommandError, model, show_examples
from service.commands.photos import find_photos, photo_argument
from service.config import Settings


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cluster`."""
    parser.set_defaults(command=cluster)
    parser.add_argument("folder", type=photo_argument, metavar="FOLDER", help="a folder of photos, at any depth")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="SORTED", help="a new folder, which gets one for each person"
    )
    parser.add_argument("--copy", action="store_true", help="copy the photos; else the folders hold links to them")
    model.add_options(parser)
    show_examples(
        parser,
        "allinone-face cluster holiday/ --out sorted/",
        "allinone-face cluster holiday/ --out /media/stick/sorted --copy",
        "SORTED gets person-001, … (the person of most photos first), single (a person of one photo), unsure (faces",
        "too poor to tell) and nobody (no face); a photo of several people is in several folders. Exit status: 1 when",
        "a photo could not be used",
    )


def cluster(settings: Settings, arguments: argparse.Namespace) -> int:
    """Sort the photos; return 1 when one of them could not be used."""
    from service.commands.sorting import describe_photos, sort_into_folders

    out: Path = arguments.out
    if not Path(arguments.folder.name).is_dir():
        raise CommandError(f"{arguments.folder.name} is not a folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CommandError(f"{out} exists and is not an empty folder: name a new one")
    scan = find_photos([arguments.folder])
    photo_faces = describe_photos(scan.photos, model.load(settings), settings)
    try:
        folders = sort_into_folders(photo_faces, out, settings, copy=arguments.copy)
    except OSError as error:
        hint = "" if arguments.copy else "; --copy works where links do not"
        raise CommandError(f"cannot write {error.filename or out}: {error.strerror or error}{hint}") from error
    for name, count in folders.items():
        sys.stdout.write(f"{name}: {count} {'photo' if count == 1 else 'photos'}\n")
    return 1 if photo_faces.failures or scan.unreadable else 0
