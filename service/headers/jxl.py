"""The header of a JPEG XL file: a bare codestream, or one in the boxes of a container.

Only the size stands at the start of a codestream. Its decoder turns the picture itself, so orientation is 1.
"""

from __future__ import annotations

from service.headers.cursor import Cursor, HeaderDamaged
from service.wire import ImageHeader

CODESTREAM = b"\xff\x0a"
HEAD_BYTES = 16
SIZE_BITS = (9, 13, 18, 30)
RATIOS = ((1, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width by height for each number but 0, which says that the width follows."""


def parse(cursor: Cursor) -> ImageHeader:
    """Return the header of a JPEG XL file. Raises HeaderDamaged."""
    if cursor.peek(2) != CODESTREAM:
        _find_codestream(cursor)
    head = cursor.peek(min(HEAD_BYTES, cursor.left))
    if head[:2] != CODESTREAM:
        raise HeaderDamaged("its codestream has no signature")
    bits = _Bits(head[2:])
    in_eights = bool(bits.take(1))
    height = _length(bits, in_eights)
    ratio = bits.take(3)
    across, down = RATIOS[ratio]
    width = height * across // down if ratio else _length(bits, in_eights)
    # Colors and alpha as floats while they are decoded, and the result.
    return ImageHeader("JXL", width, height, channels=4, transparent=True, held=23 * width * height)


def _find_codestream(cursor: Cursor) -> None:
    """Go to the codestream, or to the first part of it, in the boxes of a container."""
    while cursor.left >= 8:
        cursor.count_part()
        start = cursor.at
        size = cursor.number(4)
        kind = cursor.take(4)
        if size == 1:
            size = cursor.number(8)
        if kind in (b"jxlc", b"jxlp"):
            cursor.take(4 if kind == b"jxlp" else 0)
            return
        if size and start + size < cursor.at:
            raise HeaderDamaged("a box ends before it begins")
        cursor.at = min(start + size, cursor.end) if size else cursor.end
    raise HeaderDamaged("there is no codestream in it")


def _length(bits: _Bits, in_eights: bool) -> int:
    if in_eights:
        return 8 * (bits.take(5) + 1)
    return bits.take(SIZE_BITS[bits.take(2)]) + 1


class _Bits:
    """Reads numbers of some bits each, the lowest bit of a byte first."""

    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next bits as a number."""
        if count > self._left:
            raise HeaderDamaged("the file ends too early")
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        self._left -= count
        return value
