"""The header of a PNG, and the file reduced to the chunks that its pixels depend on."""

from __future__ import annotations

from service.headers import exif
from service.headers.cursor import MAX_PARTS, Cursor, HeaderDamaged
from service.wire import ImageHeader

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
MAX_EXIF = 1 << 16
NEEDED = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


def parse(cursor: Cursor) -> ImageHeader:
    """Return the header of a PNG. Raises HeaderDamaged."""
    cursor.take(len(SIGNATURE))
    if cursor.number(4) != 13 or cursor.take(4) != b"IHDR":
        raise HeaderDamaged("its first chunk is not IHDR")
    width, height = cursor.number(4), cursor.number(4)
    bits = cursor.number(1)
    color = cursor.number(1)
    if color not in CHANNELS:
        raise HeaderDamaged(f"it has an unknown color type {color}")
    cursor.skip(7)
    channels = CHANNELS[color]
    transparent = channels in (2, 4)
    has_pixels = animated = False
    orientation = 1
    for _ in range(MAX_PARTS):
        if cursor.left < 12:
            break
        size = cursor.number(4)
        kind = cursor.take(4)
        if kind == b"IEND":
            break
        has_pixels |= kind == b"IDAT"
        animated |= kind == b"acTL"
        transparent |= kind == b"tRNS"
        if kind == b"eXIf" and size <= MAX_EXIF:
            orientation = exif.orientation(cursor.take(size))
            cursor.skip(4)
        else:
            cursor.skip(size + 4)
    else:  # empty ones behind the pixels would cost a decoder seconds and hundreds of megabytes
        raise HeaderDamaged(f"it has more than {MAX_PARTS:,} chunks")
    if not has_pixels:
        raise HeaderDamaged("it has no pixels")
    depth = 2 if bits == 16 else 1
    # RGBA is composited over white in strips beside the result; without alpha libpng itself makes 16 bits 8.
    held = width * height * (3 + (4 * depth if transparent else 0))
    return ImageHeader("PNG", width, height, orientation, channels, bits, transparent, animated, held=held)


def essential(data: bytes) -> bytes:
    """Return the file without texts, profiles, animation and all else that the pixels do not depend on.

    Decoders fail on oversized texts and on wrong checksums there, and are slow over millions of chunks.
    """
    parts = [data[: len(SIGNATURE)]]
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if kind in NEEDED:
            parts.append(data[at:end])
        if kind == b"IEND":
            break
        at = end
    return b"".join(parts)
