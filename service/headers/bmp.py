"""The header of a BMP."""

from __future__ import annotations

from service.headers.cursor import Cursor
from service.wire import ImageHeader

CORE_HEADER = 12


def parse(cursor: Cursor) -> ImageHeader:
    """Return the header of a BMP. Raises HeaderDamaged."""
    cursor.take(14)
    size = cursor.number(4, "little")
    if size == CORE_HEADER:
        width, height = cursor.number(2, "little"), cursor.number(2, "little")
    else:
        width, height = (abs(int.from_bytes(cursor.take(4), "little", signed=True)) for _ in range(2))
    cursor.take(2)
    bits = cursor.number(2, "little")
    transparent = bits == 32
    return ImageHeader("BMP", width, height, transparent=transparent, held=7 * width * height)
