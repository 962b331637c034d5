"""Many photos out of one body: a zip archive, or JSON lines with base64. A bad entry fails alone, a bomb at once."""

from __future__ import annotations

import base64
import binascii
import io
import json
import zipfile
import zlib
from collections.abc import Iterator

from service.errors import BodyTooLarge, InvalidRequest, NoImage, ServiceError, TooManyImages
from service.jobs import Item

ZIP = ("application/zip", "application/x-zip-compressed")
LINES = ("application/jsonl", "application/x-ndjson", "application/jsonlines")
LONGEST_NAME = 255
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError)


class InvalidArchive(ServiceError):
    """The body says it is a zip archive and is not."""

    status, code, title = 400, "invalid_archive", "The body is not a valid zip archive"


def from_zip(body: bytes, most: int, each: int, together: int) -> list[Item]:
    """Every file of the archive that is not hidden, by name.

    Raises InvalidArchive, NoImage, TooManyImages for more than `most` files, BodyTooLarge for more than `together`
    bytes unpacked; a file of more than `each` bytes fails alone.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(body))
    except BROKEN as error:
        raise InvalidArchive from error
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir() and not _hidden(entry.filename)]
        if len(entries) > most:
            raise TooManyImages(f"a job may hold {most} images, this archive has {len(entries)}")
        if not entries:
            raise NoImage("the archive holds no file")
        return list(_unpacked(archive, entries, each, together))


def _hidden(path: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.split("/"))


def _unpacked(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], each: int, together: int) -> Iterator[Item]:
    left = together
    for entry in entries:
        name = entry.filename[-LONGEST_NAME:]
        try:
            with archive.open(entry) as file:
                image = file.read(min(each, left) + 1)  # whatever the directory says
        except BROKEN:
            yield Item(name, error=InvalidArchive("this file of the archive is damaged or locked").problem())
            continue
        if len(image) > left:
            raise BodyTooLarge(f"an archive may have {together:,} bytes unpacked")
        left -= len(image)
        too_large = BodyTooLarge(f"an image may have {each:,} bytes").problem() if len(image) > each else None
        yield Item(name, b"" if too_large else image, too_large)


def from_lines(body: bytes, most: int) -> list[Item]:
    """`{"image": BASE64, "name": TEXT}` a line, name optional. Raises NoImage, TooManyImages."""
    lines = [line for line in body.split(b"\n") if line.strip()]
    if len(lines) > most:
        raise TooManyImages(f"a job may hold {most} images, this one has {len(lines)}")
    if not lines:
        raise NoImage("the body holds no line")
    return [_from_line(line) for line in lines]


def _from_line(line: bytes) -> Item:
    try:
        found = json.loads(line)
        image, name = found.pop("image"), found.pop("name", None)
        if found or not isinstance(image, str) or not (name is None or isinstance(name, str)):
            raise ValueError("unknown fields or types")
        data = image.partition(",")[2] if image.startswith("data:") else image
        return Item(name[-LONGEST_NAME:] if name else None, base64.b64decode(data, validate=True))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError, binascii.Error):
        detail = "a line is an object with `image`, a base64 string, and perhaps `name`"
        return Item(error=InvalidRequest(detail).problem())
