"""The header of AVIF and HEIC files: boxes of ISO/IEC 14496-12, of which `ispe` names the size of a picture.

A file may hold several pictures (tiles, thumbnails, an alpha plane). The largest named size counts, so that no file is
taken for smaller than what its decoder will make of it. Decoders turn these pictures themselves, so orientation is 1.
"""

from __future__ import annotations

from service.headers.cursor import Cursor, HeaderDamaged
from service.wire import Format, ImageHeader

CONTAINERS = frozenset({b"meta", b"iprp", b"ipco"})


def parse_avif(cursor: Cursor) -> ImageHeader:
    """Return the header of an AVIF file. Raises HeaderDamaged."""
    return _parse(cursor, "AVIF")


def parse_heif(cursor: Cursor) -> ImageHeader:
    """Return the header of a HEIC file. Raises HeaderDamaged."""
    return _parse(cursor, "HEIF")


def _parse(cursor: Cursor, name: Format) -> ImageHeader:
    sizes: list[tuple[int, int]] = []
    _walk(cursor, cursor.end, sizes)
    if not sizes:
        raise HeaderDamaged("it names no size of a picture")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    # Planes of up to four channels and 16 bits beside the result.
    return ImageHeader(name, width, height, channels=4, transparent=True, held=11 * width * height)


def _walk(cursor: Cursor, end: int, sizes: list[tuple[int, int]]) -> None:
    """Collect the sizes in the boxes up to `end`, inside the containers that lead to them."""
    while cursor.at + 8 <= end:
        cursor.count_part()
        start = cursor.at
        size = cursor.number(4)
        kind = cursor.take(4)
        if size == 1:
            size = cursor.number(8)
        box_end = end if size == 0 else start + size
        if box_end < cursor.at or box_end > end:
            raise HeaderDamaged("a box is longer than what holds it")
        if kind in CONTAINERS:
            cursor.skip(4 if kind == b"meta" else 0)
            _walk(cursor, box_end, sizes)
        elif kind == b"ispe":
            cursor.take(4)
            sizes.append((cursor.number(4), cursor.number(4)))
        cursor.at = min(box_end, cursor.end)
