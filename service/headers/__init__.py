"""What the first bytes of an image say about it, by parsers of our own: no decoder sees a file in an API process.

    read_header(bytes) ─ formats.sniff → jpeg | png | webp | gif | bmp | bmff | tiff | jxl → ImageHeader

Every parser works on a Cursor, which bounds what is looked at: at most 1 MiB of a file is parsed and at most 16,384
parts of it (chunks, segments, boxes) are stepped over; what is skipped unread costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from service.errors import BodyTooLarge, ImageBroken, ImageTooLarge, NoImage, NotAnImage
from service.formats import FORMATS, sniff, sniff_video
from service.headers import bmff, bmp, gif, jpeg, jxl, png, tiff, webp
from service.headers.cursor import Cursor, HeaderDamaged
from service.wire import ImageHeader

PARSERS: dict[str, Callable[[Cursor], ImageHeader]] = {
    "JPEG": jpeg.parse,
    "PNG": png.parse,
    "WEBP": webp.parse,
    "GIF": gif.parse,
    "BMP": bmp.parse,
    "AVIF": bmff.parse_avif,
    "HEIF": bmff.parse_heif,
    "TIFF": tiff.parse,
    "JXL": jxl.parse,
}
VIDEO_SIZE = (1920, 1080)
"""Width and height that a video is counted with before it is opened."""
MAX_SCANNED = 4_000_000_000
"""Scans × pixels of a progressive JPEG: each scan goes over all pixels again, a billion of them take 0.15 s."""


def read_header(data: bytes, max_bytes: int, max_pixels: int, max_decoded: int | None = None) -> ImageHeader:
    """Return what the header of an image says.

    `max_decoded` bounds the bytes that decoding it will hold in memory. Raises NoImage for no bytes, BodyTooLarge,
    NotAnImage for an unknown format or a kind of it that is not decoded, ImageTooLarge, ImageBroken.
    """
    if not data:
        raise NoImage("the image is empty")
    if len(data) > max_bytes:
        raise BodyTooLarge(f"an image may have {max_bytes:,} bytes, this one has {len(data):,}")
    name = sniff(data)
    if name is None:
        if sniff_video(data) is not None:
            raise NotAnImage("a video is not accepted here: POST /v1/videos finds the faces in it")
        raise NotAnImage(f"the file is none of {', '.join(FORMATS)}")
    try:
        header = PARSERS[name](Cursor(data))
    except HeaderDamaged as error:
        raise ImageBroken(f"the header of the {name} file is damaged: {error}") from error
    size = f"{header.width} × {header.height}"
    if not header.pixels:
        raise ImageBroken(f"the header of the {name} file announces {size} pixels")
    if header.pixels > max_pixels:
        raise ImageTooLarge(f"an image may have {max_pixels:,} pixels, this one has {size}")
    if header.scans * header.pixels > MAX_SCANNED:
        raise ImageTooLarge(f"a progressive JPEG of {size} pixels may not have {header.scans} scans")
    if max_decoded is not None and header.held > max_decoded:
        raise ImageTooLarge(
            f"decoding this {name} of {size} pixels takes {header.held:,} bytes, {max_decoded:,} are allowed"
        )
    return header


def read_video_header(data: bytes, max_bytes: int) -> ImageHeader:
    """Return the header of an mp4, mov or webm by its first bytes alone; FFmpeg reads the rest, in its own process.

    Width and height are those of a large frame, for the room that it takes. Raises BodyTooLarge, NotAnImage.
    """
    if len(data) > max_bytes:
        raise BodyTooLarge(f"a video may have {max_bytes:,} bytes, this one has {len(data):,}")
    name = sniff_video(data)
    if name is None:
        raise NotAnImage("the file is no video of a known format: mp4, mov or webm")
    return ImageHeader(name, *VIDEO_SIZE, animated=True)


__all__ = ["read_header", "read_video_header"]
