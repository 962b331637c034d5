"""Photos as callers have them (a path, bytes, an open file, an array of pixels), made into bytes to send."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

from service.schemas.probes import Template


@runtime_checkable
class Pixels(Protocol):
    """A numpy array, or what looks like one: uint8, [H, W] grey, [H, W, 3] RGB or [H, W, 4] RGBA, upright."""

    @property
    def shape(self) -> tuple[Any, ...]:
        """Return height, width and, where there is more than one, the number of channels."""

    @property
    def dtype(self) -> Any:
        """Return the type of the numbers, which must be uint8."""

    def tobytes(self) -> bytes:
        """Return the numbers row by row, as bytes."""


Photo: TypeAlias = bytes | bytearray | memoryview | PathLike[str] | BinaryIO | Pixels
"""One photo. Text is not a photo: a path is `pathlib.Path("who.jpg")`, a URL is fetched by the caller."""
Photos: TypeAlias = Photo | Sequence[Photo]
"""One photo or several."""
Probe: TypeAlias = Photos | Template
"""A photo, several photos of one person, or a template."""

FileParts: TypeAlias = list[tuple[str, tuple[str, bytes]]]
COLOR_TYPES = {1: 0, 3: 2, 4: 6}
"""PNG's color type by the number of channels."""


def read_photo(photo: Photo) -> bytes:
    """Return the bytes of a photo's file. Raises TypeError, ValueError for an array that is no image, OSError."""
    match photo:
        case str():
            raise TypeError(f"a photo is bytes, a path, a file or an array, not text; for a path: Path({photo!r})")
        case bytes() | bytearray() | memoryview():
            return bytes(photo)
        case PathLike():
            return Path(photo).read_bytes()
        case Pixels():
            return encode_png(photo)
    read = getattr(photo, "read", None)
    if read is None:
        raise TypeError(f"a photo is bytes, a path, a file or an array, not {type(photo).__name__}")
    data = read()
    if not isinstance(data, bytes):
        raise TypeError("the photo's file is open as text: open it with mode 'rb'")
    return data


def as_list(photos: Photos) -> list[Photo]:
    """Return one photo or several as a list. Raises TypeError for text."""
    if isinstance(photos, list | tuple):
        return list(photos)
    if isinstance(photos, Sequence) and not isinstance(photos, str | bytes | bytearray | memoryview):
        return list(photos)
    return [photos]  # read_photo() refuses what is not a photo


def file_parts(photos: Photos) -> FileParts:
    """Return the parts of a multipart form, named by their numbers: file names often hold people's names."""
    return [("photo", (str(number), read_photo(photo))) for number, photo in enumerate(as_list(photos))]


def encode_png(pixels: Pixels) -> bytes:
    """Encode an array as PNG, without loss. Raises ValueError for an array that is no image of 8 bits."""
    shape = tuple(pixels.shape)
    channels = 1 if len(shape) == 2 else shape[-1]
    if len(shape) not in (2, 3) or channels not in COLOR_TYPES or 0 in shape or str(pixels.dtype) != "uint8":
        raise ValueError(
            f"an array of pixels is uint8, [H, W], [H, W, 3] RGB or [H, W, 4] RGBA; this one is {pixels.dtype} {shape}"
        )
    height, width = shape[:2]
    data = pixels.tobytes()
    stride = width * channels
    rows = b"".join(b"\0" + data[start : start + stride] for start in range(0, len(data), stride))
    header = struct.pack(">IIBBBBB", width, height, 8, COLOR_TYPES[channels], 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
