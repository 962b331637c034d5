"""Photos named on the command line: files, folders of them, and standard input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service import formats
from service.commands import CommandError, complain
from service.commands.folders import scan_folder

STDIN = "-"


@dataclass(frozen=True)
class PhotoArgument:
    """A photo by its name as the user wrote it, and its path below the folder that the user named."""

    name: str
    relative: Path

    def read(self) -> bytes:
        """Return the photo's bytes, from its file or standard input. Raises OSError."""
        return sys.stdin.buffer.read() if self.name == STDIN else Path(self.name).read_bytes()


@dataclass(frozen=True)
class PhotoScan:
    """The photos that arguments name, and how many files could not be read."""

    photos: list[PhotoArgument]
    unreadable: int


def photo_argument(text: str) -> PhotoArgument:
    """Return an argument that names a file; `-` is standard input."""
    return PhotoArgument(text, Path("stdin" if text == STDIN else Path(text).name))


def read_photos(photos: Sequence[PhotoArgument]) -> list[bytes]:
    """Return the bytes of each photo. Raises CommandError for one that cannot be read."""
    check_stdin(photos)
    return [_read(photo) for photo in photos]


def check_stdin(photos: Sequence[PhotoArgument]) -> None:
    """Check that standard input is named once at most. Raises CommandError."""
    if [photo.name for photo in photos].count(STDIN) > 1:
        raise CommandError("standard input (-) can be one photo only")


def find_photos(arguments: Sequence[PhotoArgument]) -> PhotoScan:
    """Return the named files, and the photos in named folders; report on standard error what cannot be used.

    Raises CommandError when there is no photo, or standard input is named twice.
    """
    check_stdin(arguments)
    photos: list[PhotoArgument] = []
    unreadable = 0
    other_files = 0
    for argument in arguments:
        folder = Path(argument.name)
        if argument.name == STDIN or not folder.is_dir():
            photos.append(argument)
            continue
        scan = scan_folder(folder)
        photos += [PhotoArgument(str(path), path.relative_to(folder)) for path in scan.photos]
        unreadable += len(scan.unreadable)
        other_files += scan.other_files
        for path, reason in scan.unreadable.items():
            complain(f"{path}: {reason}")
    if other_files:
        complain("1 other file was ignored" if other_files == 1 else f"{other_files} other files were ignored")
    if not photos:
        raise CommandError("no photo in these folders")
    return PhotoScan(photos, unreadable)


def check_output(file: Path, force: bool, photos: Sequence[PhotoArgument] = ()) -> None:
    """Check that a file may be written. Raises CommandError for an image, and for any file there unless `force`.

    `photos` are read and may not be overwritten either, whatever they are.
    """
    if file.is_dir():
        raise CommandError(f"{file} is a folder: name a file for the output")
    if not file.is_file():
        return
    with file.open("rb") as existing:
        if formats.sniff(existing.read(formats.HEAD_BYTES)) is not None:
            raise CommandError(f"{file} is an image: it is not overwritten")
    if any(photo.name != STDIN and Path(photo.name).exists() and file.samefile(photo.name) for photo in photos):
        raise CommandError(f"{file} is one of the photos: it is not overwritten")
    if not force:
        raise CommandError(f"{file} exists: --force replaces it")


def _read(photo: PhotoArgument) -> bytes:
    try:
        return photo.read()
    except OSError as error:
        raise CommandError(f"{photo.name}: {error.strerror or error}") from error
