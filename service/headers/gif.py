"""The header of a GIF: its screen, up to its first picture."""

from __future__ import annotations

from service.headers.cursor import Cursor, HeaderDamaged
from service.wire import ImageHeader

IMAGE = 0x2C
EXTENSION = 0x21
END = 0x3B


def parse(cursor: Cursor) -> ImageHeader:
    """Return the header of a GIF. Raises HeaderDamaged."""
    cursor.take(6)
    width, height = cursor.number(2, "little"), cursor.number(2, "little")
    flags = cursor.number(1)
    cursor.take(2)
    if flags & 0x80:
        cursor.skip(3 * 2 ** ((flags & 7) + 1))
    while True:
        cursor.count_part()
        kind = cursor.number(1)
        if kind == EXTENSION:
            cursor.take(1)
            while size := cursor.number(1):
                cursor.count_part()
                cursor.skip(size)
        elif kind == IMAGE:
            left, top = cursor.number(2, "little"), cursor.number(2, "little")
            width = max(width, left + cursor.number(2, "little"))
            height = max(height, top + cursor.number(2, "little"))
            return ImageHeader("GIF", width, height, transparent=True, held=7 * width * height)
        else:
            raise HeaderDamaged("it ends without a picture" if kind == END else "it has an unknown block")
