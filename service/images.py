"""Compressed bytes to upright RGB pixels, in the memory that the header announced.

bytes ─headers.read_header→ ImageHeader (413, 415, 422 before any decoder runs) ─decode→ uint8 [H, W, 3]

Whole pictures are held once as decoded and once as the result; what must be converted between is converted in strips.
"""

from __future__ import annotations

import importlib
import io
import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any, cast

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageFile

from service.errors import ImageBroken, NotAnImage
from service.headers import read_header
from service.headers.jpeg import scan_end
from service.headers.png import essential
from service.wire import ImageHeader

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Floats = np.ndarray[Any, np.dtype[np.float32]]

STRIP_PIXELS = 1 << 20
"""Pixels that are converted at once."""
ORIENTATION = 0x0112  # the EXIF tag
EOI = b"\xff\xd9"
NO_END_MARK = "Premature end of JPEG file"
HARMLESS = re.compile("extraneous bytes|Inconsistent progression|Unknown Adobe|JFIF|Invalid SOS|end of data marker")
"""Warnings of libjpeg after which it decodes all the same."""
FILLER = b"\xaa" * 512
"""Bytes that no decoder reads where the picture was complete before them. A decoder whose data end early goes on with
zeros: the first bit here is a one, so that from there on it decodes another picture."""
MOST_BITS = 16
"""Bits of a sample. What black and white are in larger integers, and in floating-point numbers, no file says."""
READERS = {"HEIF": "pillow_heif", "JXL": "pillow_jxl"}
"""Packages that read formats for Pillow."""
BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, struct.error,
    zlib.error, NotImplementedError, RuntimeError, MemoryError, Image.DecompressionBombError,
)  # fmt: skip  # what Pillow's readers raise on damaged files

Image.MAX_IMAGE_PIXELS = None  # read_header() has a stricter limit of its own

__all__ = ["Floats", "Pixels", "decode", "read_header"]


def decode(data: bytes, header: ImageHeader) -> Pixels:
    """Decode to RGB uint8 [H, W, 3], upright by EXIF, transparency over white, 16 bits to 8, first frame.

    `header` is what read_header() returned for these bytes. Raises NotAnImage, ImageBroken.
    """
    orientation = header.orientation
    pixels: Pixels | None = None
    if header.format == "JPEG":
        pixels = _decode_jpeg(data, header)
    elif header.format == "PNG":
        data = _whole_png(data)
        pixels = _decode_opencv(data, header)
    elif header.format == "WEBP" and not header.animated:
        _check_length(data)
        pixels = _decode_opencv(data, header)
    if pixels is None:
        pixels, orientation = _decode_pillow(data, header)
    return np.ascontiguousarray(_upright(pixels, orientation))


# -- JPEG -------------------------------------------------------------------------------------------------------------


def _decode_jpeg(data: bytes, header: ImageHeader) -> Pixels:
    """Raises ImageBroken where the decoder had to end early; a file that lacks only its end mark is whole."""
    try:
        return _jpeg(data, header)
    except ValueError as error:
        warning = str(error)
    if warning.startswith(NO_END_MARK):
        data += EOI
        try:
            return _jpeg(data, header)
        except ValueError as error:
            warning = str(error)
    if HARMLESS.search(warning) is None:
        raise ImageBroken("the JPEG file is damaged or cut short")
    # simplejpeg cannot go on after a warning of the header, OpenCV can.
    end = len(data[: scan_end(data, header.start, header.scans)].rstrip(b"\xff"))  # a marker may begin with several
    pixels = _decode_opencv(data, header)
    decoded_with_filler = _decode_opencv(data[:end] + FILLER + data[end:], header)
    if pixels is None or decoded_with_filler is None:
        raise ImageBroken("the JPEG file is damaged")
    if not np.array_equal(pixels, decoded_with_filler):  # libjpeg tells only its first warning: it may have ended early
        raise ImageBroken("the JPEG file is cut short")
    return pixels


def _jpeg(data: bytes, header: ImageHeader) -> Pixels:
    colors = {1: "RGB", 3: "RGB", 4: "CMYK"}.get(header.channels)
    if colors is None:
        raise ValueError(f"a JPEG of {header.channels} channels")
    pixels = cast(Pixels, simplejpeg.decode_jpeg(data, colors, strict=True))
    if pixels.shape[:2] != (header.height, header.width):
        raise ValueError("the picture has another size than its header")
    return pixels if colors == "RGB" else _cmyk_to_rgb(pixels)


def _cmyk_to_rgb(inks: Pixels) -> Pixels:
    """Convert inverted inks [H, W, 4], as Adobe and after it everybody stores them."""
    result = np.empty((*inks.shape[:2], 3), np.uint8)
    for rows in _strips(*inks.shape[:2]):
        strip = inks[rows].astype(np.uint16)
        result[rows] = (strip[:, :, :3] * strip[:, :, 3:] + 127) // 255
    return result


# -- PNG and WebP -----------------------------------------------------------------------------------------------------


def _whole_png(data: bytes) -> bytes:
    """Return the chunks that pixels depend on. Raises ImageBroken for a file that is cut short."""
    needed = essential(data)
    if needed[-8:-4] != b"IEND":
        raise ImageBroken("the PNG file is cut short")
    return needed


def _check_length(data: bytes) -> None:
    """Raises ImageBroken for a WebP that is cut short, which its decoder fills with grey."""
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise ImageBroken("the WebP file is cut short")


def _decode_opencv(data: bytes, header: ImageHeader) -> Pixels | None:
    """Return the pixels; None where OpenCV cannot read the file or would ignore its transparency."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    if header.transparent:
        if header.format == "PNG" and header.channels not in (2, 4):  # a color of no use instead of an alpha channel
            return None
        flags = cv2.IMREAD_UNCHANGED
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        return None
    if not header.transparent:
        return cast(Pixels, pixels)
    return _bgra_over_white(pixels) if pixels.ndim == 3 and pixels.shape[2] == 4 else None


def _bgra_over_white(colors: np.ndarray[Any, Any]) -> Pixels:
    """Composite colors [H, W, 4] of 8 or 16 bits over white."""
    result = np.empty((*colors.shape[:2], 3), np.uint8)
    for rows in _strips(*colors.shape[:2]):
        strip = colors[rows]
        strip = (strip >> 8 if strip.dtype == np.uint16 else strip).astype(np.uint16)
        alpha = strip[:, :, 3:]
        result[rows] = (strip[:, :, 2::-1] * alpha + 255 * (255 - alpha) + 127) // 255
    return result


# -- all else ---------------------------------------------------------------------------------------------------------


def _decode_pillow(data: bytes, header: ImageHeader) -> tuple[Pixels, int]:
    """Return the pixels as stored and the orientation that Pillow knows of. Raises NotAnImage, ImageBroken."""
    _register_reader(header.format)
    if header.format == "TIFF" and header.bits > MOST_BITS:
        raise ImageBroken(f"a TIFF file of {header.bits} bits a sample is not read: send 8 or 16 bits")
    try:
        image = Image.open(io.BytesIO(data), formats=[header.format])
        if image.width * image.height > header.pixels:
            raise ImageBroken(f"the {header.format} file is larger than its header says")
        image.load()
        pixels = pillow_to_rgb(image)
    except BROKEN as error:
        raise ImageBroken(f"the {header.format} file is damaged or cut short") from error
    if header.format == "JXL" and not getattr(image, "jpeg", False):
        return pixels, 1  # its decoder turns what it did not make of a JPEG
    turned_by_decoder = header.format in ("AVIF", "HEIF", "TIFF", "JXL")
    return pixels, _orientation(image) if turned_by_decoder else header.orientation


def _register_reader(name: str) -> None:
    """Let Pillow read a format that it reads by another package only. Raises NotAnImage where that is missing."""
    package = READERS.get(name)
    if package is None:
        return
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise NotAnImage(f"{name} files need the package {package.replace('_', '-')}") from error
    if name == "HEIF":
        module.register_heif_opener()  # the other registers itself


def _orientation(image: ImageFile.ImageFile) -> int:
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except BROKEN:  # damaged EXIF does not make the picture unreadable
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def pillow_to_rgb(image: Image.Image) -> Pixels:
    """Return the pixels [H, W, 3] of a picture of any mode, transparency over white."""
    result = np.empty((image.height, image.width, 3), np.uint8)
    for rows in _strips(image.height, image.width):
        strip = image.crop((0, rows.start, image.width, rows.stop))
        if strip.mode.startswith("I"):  # 16 bits of grey
            result[rows] = (np.asarray(strip).clip(0, 65535).astype(np.uint16) >> 8).astype(np.uint8)[:, :, None]
            continue
        if strip.has_transparency_data:
            white = Image.new("RGBA", strip.size, "white")
            strip = Image.alpha_composite(white, strip.convert("RGBA"))
        result[rows] = np.asarray(strip.convert("RGB"))
    return result


def _strips(height: int, width: int) -> Iterator[slice]:
    rows = max(1, STRIP_PIXELS // max(width, 1))
    for start in range(0, height, rows):
        yield slice(start, min(start + rows, height))


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
