"""The header of a WebP: lossy (VP8), lossless (VP8L) or extended (VP8X)."""

from __future__ import annotations

from dataclasses import dataclass

from service.headers import exif
from service.headers.cursor import MAX_PARTS, Cursor, HeaderDamaged
from service.wire import ImageHeader

ALPHA = 0x10
ANIMATION = 0x02
MAX_EXIF = 1 << 16


@dataclass
class _WebpInfo:
    """What the chunks that were read so far say about the picture."""

    width: int = 0
    height: int = 0
    orientation: int = 1
    transparent: bool = False
    animated: bool = False
    lossless: bool = False
    has_pixels: bool = False


def parse(cursor: Cursor) -> ImageHeader:
    """Return the header of a WebP. Raises HeaderDamaged."""
    cursor.take(12)
    info = _WebpInfo()
    for _ in range(MAX_PARTS):
        if cursor.left < 8:
            break
        kind = cursor.take(4)
        size = cursor.number(4, "little")
        end = cursor.at + size + size % 2
        _read_chunk(cursor, kind, size, info)
        cursor.at = min(end, cursor.end)
    if not info.has_pixels:
        raise HeaderDamaged("there are no pixels in it")
    # The lossless decoder holds ARGB beside its result; transparency is composited in strips.
    bytes_a_pixel = (4 if info.lossless else 0) + (7 if info.transparent or info.animated else 3)
    return ImageHeader(
        "WEBP",
        info.width,
        info.height,
        info.orientation,
        4 if info.transparent else 3,
        8,
        info.transparent,
        info.animated,
        held=info.width * info.height * bytes_a_pixel,
    )


def _read_chunk(cursor: Cursor, kind: bytes, size: int, info: _WebpInfo) -> None:
    if kind == b"VP8X":
        flags = cursor.number(4, "little")
        info.transparent |= bool(flags & ALPHA)
        info.animated = bool(flags & ANIMATION)
        info.width = cursor.number(3, "little") + 1
        info.height = cursor.number(3, "little") + 1
    elif kind == b"VP8 ":
        _read_lossy(cursor, info)
    elif kind == b"VP8L":
        _read_lossless(cursor, info)
    elif kind == b"ANMF":
        info.has_pixels = True
    elif kind == b"EXIF" and size <= MAX_EXIF and cursor.left >= size:
        info.orientation = exif.orientation(cursor.take(size))


def _read_lossy(cursor: Cursor, info: _WebpInfo) -> None:
    frame = cursor.take(10)
    if frame[3:6] != b"\x9d\x01\x2a":
        raise HeaderDamaged("its first frame is no key frame")
    info.has_pixels = True
    if not info.width:
        info.width = int.from_bytes(frame[6:8], "little") & 0x3FFF
        info.height = int.from_bytes(frame[8:10], "little") & 0x3FFF


def _read_lossless(cursor: Cursor, info: _WebpInfo) -> None:
    if cursor.number(1) != 0x2F:
        raise HeaderDamaged("its lossless data have no signature")
    bits = cursor.number(4, "little")
    info.transparent |= bool(bits >> 28 & 1)
    info.has_pixels = info.lossless = True
    if not info.width:
        info.width = (bits & 0x3FFF) + 1
        info.height = (bits >> 14 & 0x3FFF) + 1
