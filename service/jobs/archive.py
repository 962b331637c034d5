"""Many photos out of one body: a zip archive, or JSON lines with base64. A bad entry fails alone, a bomb at once."""

from __future__ import annotations

import base64
import codecs
import io
import zipfile
import zlib
from collections.abc import Iterator

from msgspec import MsgspecError, Struct, json

from service.errors import BodyTooLarge, InvalidRequest, NoImage, ServiceError, TooManyImages
from service.jobs import Item

ZIP = ("application/zip", "application/x-zip-compressed")
LINES = ("application/jsonl", "application/x-ndjson", "application/jsonlines")
MAX_NAME = 255
DIRECTORY_ENTRY = b"PK\x01\x02"
SPARE_ENTRIES = 1000
"""Folders and hidden files that an archive may list beside twice as many entries as photos are allowed."""
READ = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compressions that are read. LZMA's dictionary would be as large as the archive says, up to 4 GiB."""
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class InvalidArchive(ServiceError):
    """The body says it is a zip archive and is not."""

    status = 400
    code = "invalid_archive"
    title = "The body is not a valid zip archive"


class _Line(Struct, forbid_unknown_fields=True):
    image: str
    name: str | None = None


_line_decoder = json.Decoder(_Line)


def from_zip(body: bytes, max_images: int, max_bytes: int, max_unpacked: int) -> list[Item]:
    """Return every file of the archive that is not hidden, by name.

    Raises InvalidArchive, NoImage, TooManyImages for more than `max_images` files, BodyTooLarge for more than
    `max_unpacked` bytes in all; a file of more than `max_bytes` fails alone. Entries of the directory are counted
    before it is read, since zipfile makes an object of a kilobyte of each.
    """
    if body.count(DIRECTORY_ENTRY) > 2 * max_images + SPARE_ENTRIES:
        raise TooManyImages(f"a job may hold {max_images} images, this archive lists many more entries")
    try:
        archive = zipfile.ZipFile(io.BytesIO(body))
    except BROKEN as error:
        raise InvalidArchive from error
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir() and not _is_hidden(entry.filename)]
        if len(entries) > max_images:
            raise TooManyImages(f"a job may hold {max_images} images, this archive has {len(entries)}")
        if not entries:
            raise NoImage("the archive holds no file")
        return list(_unpack(archive, entries, max_bytes, max_unpacked))


def _is_hidden(path: str) -> bool:
    parts = (part for part in path.split("/") if part != ".")  # `./a.jpg` is no hidden file
    return any(part.startswith((".", "__MACOSX")) for part in parts)


def _unpack(
    archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], max_bytes: int, max_unpacked: int
) -> Iterator[Item]:
    bytes_left = max_unpacked
    for entry in entries:
        name = _printable(entry.filename)
        if entry.compress_type not in READ:
            yield Item(name, error=InvalidArchive("this file of the archive is neither stored nor deflated").problem())
            continue
        try:
            with archive.open(entry) as file:
                image = file.read(min(max_bytes, bytes_left) + 1)  # whatever size the directory claims
        except BROKEN:
            yield Item(name, error=InvalidArchive("this file of the archive is damaged or encrypted").problem())
            continue
        if len(image) > bytes_left:
            raise BodyTooLarge(f"an archive may have {max_unpacked:,} bytes unpacked")
        bytes_left -= len(image)
        if len(image) > max_bytes:
            yield Item(name, error=BodyTooLarge(f"an image may have {max_bytes:,} bytes").problem())
        else:
            yield Item(name, image)


def _printable(name: str) -> str:
    """Return a name as it can be answered in JSON: its end, without lone surrogates."""
    return name.encode("utf-8", "replace").decode()[-MAX_NAME:]


def from_lines(body: bytes, max_images: int) -> list[Item]:
    """Return the photos of lines `{"image": BASE64, "name": TEXT}`, name optional. Raises NoImage, TooManyImages."""
    items: list[Item] = []
    for line in io.BytesIO(body.removeprefix(codecs.BOM_UTF8)):
        if not line.strip():
            continue
        if len(items) == max_images:
            raise TooManyImages(f"a job may hold {max_images} images, this one has more lines")
        items.append(_from_line(line))
    if not items:
        raise NoImage("the body holds no line")
    return items


def _from_line(line: bytes) -> Item:
    try:
        entry = _line_decoder.decode(line)
        return Item(_printable(entry.name) if entry.name else None, photo_from_base64(entry.image))
    except (MsgspecError, ValueError):
        detail = "a line is an object with `image`, a base64 string, and perhaps `name`"
        return Item(error=InvalidRequest(detail).problem())


def photo_from_base64(text: str) -> bytes:
    """Return the bytes; line breaks, URL-safe letters, missing padding and a `data:` prefix are taken."""
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    letters = b"".join(text.encode("ascii", "strict").split()).translate(_URL_SAFE).rstrip(b"=")
    return base64.b64decode(letters + b"=" * (-len(letters) % 4), validate=True)
