"""Photos in folders: recognised by their first bytes, whatever their names end in; other files are counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from service import formats


@dataclass
class FolderScan:
    """What is below a folder, in order of path."""

    photos: list[Path] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    other_files: int = 0


def scan_folder(folder: Path) -> FolderScan:
    """Find the photos below a folder, at any depth; what cannot be read is noted with the reason."""
    scan = FolderScan()
    for path in _files(folder, scan):
        try:
            with path.open("rb") as file:
                head = file.read(formats.HEAD_BYTES)
        except OSError as error:
            scan.unreadable[path] = error.strerror or str(error)
            continue
        if formats.sniff(head) is None:
            scan.other_files += 1
        else:
            scan.photos.append(path)
    return scan


def _files(folder: Path, scan: FolderScan) -> Iterator[Path]:
    """Yield the regular files below a folder in order of path; links to folders are not followed."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        scan.unreadable[folder] = error.strerror or str(error)
        return
    for path in entries:
        if path.is_dir() and not path.is_symlink():
            yield from _files(path, scan)
        elif path.is_file():
            yield path
