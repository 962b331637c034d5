"""`allinone-face bulk-enrol`: add FOLDER/PERSON/PHOTO to a collection; run again, it goes on where it stopped."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from service.commands import CommandError, complain, show_examples
from service.commands.bulk import Item, enrol_all
from service.commands.folders import scan_folder
from service.commands.remote import add_face_option, add_server_options, open_client
from service.config import Settings


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bulk-enrol`."""
    parser.set_defaults(command=bulk_enrol)
    parser.add_argument("collection", metavar="COLLECTION", help="the collection that the people are added to")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a folder with a folder of photos for each person")
    add_options(parser)
    show_examples(
        parser,
        "allinone-face bulk-enrol staff people/ --create      of people/ada/1.jpg, people/bob/1.heic, …",
        "exit status: 1 when a photo could not be used or a person has no photo",
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add --create, --face and --url."""
    parser.add_argument("--create", action="store_true", help="make the collection when there is none")
    add_face_option(parser)
    add_server_options(parser, answers_json=False)


def bulk_enrol(settings: Settings, arguments: argparse.Namespace) -> int:
    """Enrol a folder of people; return 1 when a photo could not be used or somebody has none."""
    people, unreadable = _people_in(arguments.folder)
    items = [Item(name, str(photo), photo.read_bytes) for name, photos in people.items() for photo in photos]
    if not items:
        raise CommandError(f"no photos in {arguments.folder}: put those of each person in a folder of their own")
    with open_client(settings) as client:
        if arguments.create:
            client.put_collection(arguments.collection)
        outcome = enrol_all(client, arguments.collection, items, arguments.face)
    missing = [name for name in people if name not in outcome.people]
    for name in missing:
        complain(f"{name}: no photo of this person is enrolled")
    sys.stdout.write(f"{outcome.enrolled} of {len(items)} photos of {len(people)} people are enrolled\n")
    return 1 if outcome.refused or unreadable or missing else 0


def _people_in(folder: Path) -> tuple[dict[str, list[Path]], int]:
    """Return everybody's photos, and how many files could not be read. Raises CommandError."""
    people: dict[str, list[Path]] = {}
    unreadable = 0
    other_files = 0
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        reason = "is not a folder" if isinstance(error, FileNotFoundError | NotADirectoryError) else error.strerror
        raise CommandError(f"{folder} {reason}") from error
    for entry in entries:
        if not entry.is_dir():
            other_files += 1
            continue
        scan = scan_folder(entry)
        people[entry.name] = scan.photos
        other_files += scan.other_files
        unreadable += len(scan.unreadable)
        for path, reason in scan.unreadable.items():
            complain(f"{path}: {reason}")
    if other_files:
        complain("1 other file was ignored" if other_files == 1 else f"{other_files} other files were ignored")
    return people, unreadable
