"""The header of a TIFF or BigTIFF: the first of its directories, which describes its first page.

Others, and what a directory points to, are not looked at, save for the bits of several samples. Of a tag that stands
there twice the largest value counts, so that no file is taken for smaller than what its decoder will make of it. The
decoder turns the picture itself, so orientation is 1.
"""

from __future__ import annotations

from typing import Literal

from service.headers.cursor import Cursor, HeaderDamaged
from service.wire import ImageHeader

WIDTH = 256
HEIGHT = 257
BITS = 258
SAMPLES = 277
TILE_WIDTH = 322
TILE_HEIGHT = 323
NEEDED = frozenset({WIDTH, HEIGHT, BITS, SAMPLES, TILE_WIDTH, TILE_HEIGHT})
SIZES = {1: 1, 3: 2, 4: 4, 16: 8}
"""Bytes of a number by its type: BYTE, SHORT, LONG, LONG8."""
MAX_ENTRIES = 512
MAX_SAMPLES = 16
BIG = 43


def parse(cursor: Cursor) -> ImageHeader:
    """Return the header of a TIFF or BigTIFF. Raises HeaderDamaged."""
    order: Literal["little", "big"] = "little" if cursor.take(2) == b"II" else "big"
    is_big = cursor.number(2, order) == BIG
    if is_big:
        cursor.take(4)
    offset_size = 8 if is_big else 4
    _go_to(cursor, cursor.number(offset_size, order))
    count = cursor.number(8 if is_big else 2, order)
    if count > MAX_ENTRIES:
        raise HeaderDamaged(f"its first directory has more than {MAX_ENTRIES} entries")
    tags: dict[int, int] = {}
    for _ in range(count):
        tag = cursor.number(2, order)
        kind = cursor.number(2, order)
        number = cursor.number(offset_size, order)
        value = cursor.take(offset_size)
        if tag in NEEDED and kind in SIZES:
            tags[tag] = max(tags.get(tag, 0), _largest(cursor, value, SIZES[kind], number, order))
    if WIDTH not in tags or HEIGHT not in tags:
        raise HeaderDamaged("its first directory names no size")
    return _header(tags)


def _go_to(cursor: Cursor, offset: int) -> None:
    if offset > cursor.end:
        raise HeaderDamaged("it points beyond its end")
    cursor.at = offset


def _largest(cursor: Cursor, value: bytes, size: int, count: int, order: Literal["little", "big"]) -> int:
    """Return the largest of so many numbers, which stand in the entry itself or where it points."""
    if not 0 < count <= MAX_SAMPLES:
        raise HeaderDamaged(f"an entry of its first directory has {count:,} numbers")
    if size * count > len(value):
        position = cursor.at
        _go_to(cursor, int.from_bytes(value, order))
        value = cursor.take(size * count)
        cursor.at = position
    return max(int.from_bytes(value[start : start + size], order) for start in range(0, size * count, size))


def _header(tags: dict[int, int]) -> ImageHeader:
    width, height = tags[WIDTH], tags[HEIGHT]
    samples = tags.get(SAMPLES, 1)
    bits = tags.get(BITS, 1)
    if not 0 < samples <= MAX_SAMPLES or not 0 < bits <= 64:
        raise HeaderDamaged(f"it has {samples} samples of {bits} bits")
    pixel_bytes = samples * -(-bits // 8)
    # What is decoded, a tile of it, and the result.
    tile_pixels = tags.get(TILE_WIDTH, 0) * tags.get(TILE_HEIGHT, 0)
    held = width * height * (max(pixel_bytes, 4) + 3) + tile_pixels * pixel_bytes
    return ImageHeader("TIFF", width, height, channels=samples, bits=bits, held=held)
