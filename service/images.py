"""Compressed bytes to upright RGB pixels, and everything that can be refused before decoding.

bytes ─probe→ Header (magic, width × height, orientation: 413, 415, 422) ─decode→ uint8 [H, W, 3]
"""

from __future__ import annotations

import importlib
import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from PIL import Image, ImageFile

from service.errors import BodyTooLarge, ImageBroken, ImageTooLarge, NoImage, NotAnImage

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "HEIF")
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".avif", ".heic", ".heif"})
FAST = frozenset({"JPEG", "PNG", "WEBP"})  # OpenCV decodes these twice as fast as Pillow
EOI = b"\xff\xd9"
PLAIN_SEGMENTS = 64
SCAN, FRAMES = 0xDA, (0xC0, 0xC1, 0xC2)
PLAIN = frozenset({0xC4, 0xDB, 0xDD, 0xE0, *range(0xE2, 0xF0), 0xFE})
"""Of a JPEG's segments: tables, restart interval, APP0 and APP2 to APP15, comment; APP1 holds EXIF and XMP."""
ORIENTATION = 0x0112  # the EXIF tag
BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, struct.error,
    zlib.error, NotImplementedError, RuntimeError, MemoryError, Image.DecompressionBombError,
)  # fmt: skip  # what Pillow's readers raise on damaged files

Image.MAX_IMAGE_PIXELS = None  # probe() has a stricter limit of its own


@dataclass(frozen=True)
class Header:
    """What an image says about itself; width and height are as stored, before the EXIF orientation."""

    format: str
    width: int
    height: int
    orientation: int = 1

    @property
    def pixels(self) -> int:
        """Width × height."""
        return self.width * self.height


def sniff(data: bytes) -> str | None:
    """The format that the first bytes announce, None if it is none of FORMATS."""
    if data[4:8] == b"ftyp":
        brands = {data[i : i + 4] for i in (8, *range(16, min(48, len(data)), 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIF" if brands & {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"} else None
    if data[:4] == b"RIFF":
        return "WEBP" if data[8:12] == b"WEBP" else None
    magics = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"BM": "BMP"}
    return next((name for magic, name in magics.items() if data.startswith(magic)), None)


def plain_jpeg(data: bytes) -> tuple[Header, int] | None:
    """The header of a JPEG without EXIF or XMP, and where its compressed data begin: a hundredth of a millisecond.

    None for what is none, for 12 bits, CMYK, other than baseline and progressive, and damage, which Pillow tells apart.
    """
    size, at = (0, 0), 2
    for _ in range(PLAIN_SEGMENTS if data.startswith(b"\xff\xd8\xff") else 0):
        head = data[at : at + 10]
        if len(head) < 10 or head[0] != 0xFF:
            return None
        kind = head[1]
        if kind == SCAN:
            return (Header("JPEG", *size), at) if all(size) else None
        if kind in FRAMES:
            bits, height, width, components = struct.unpack(">BHHB", head[4:])
            if any(size) or bits != 8 or components not in (1, 3):
                return None
            size = width, height
        elif kind not in PLAIN:
            return None
        at += 2 + int.from_bytes(head[2:4], "big")
    return None


def probe(data: bytes, max_bytes: int, max_pixels: int) -> Header:
    """Read the header only. Raises NoImage, NotAnImage, BodyTooLarge, ImageTooLarge or ImageBroken."""
    if not data:
        raise NoImage("the image is empty")
    if len(data) > max_bytes:
        raise BodyTooLarge(f"an image may have {max_bytes:,} bytes, this one has {len(data):,}")
    plain = plain_jpeg(data)
    if plain:
        header = plain[0]
    else:
        image = _open(data)
        header = Header(cast(str, image.format), *image.size, _orientation(image))
    if header.pixels > max_pixels:
        raise ImageTooLarge(f"an image may have {max_pixels:,} pixels, this one has {header.width} × {header.height}")
    return header


def decode(data: bytes) -> Pixels:
    """Decode to RGB uint8 [H, W, 3], upright by EXIF, transparency over white, 16 bits to 8, first frame.

    Raises NotAnImage or ImageBroken. Ask probe() first: this function allocates whatever the header says.
    """
    plain = plain_jpeg(data)
    if plain and data.rfind(EOI, plain[1]) >= 0:
        pixels = _decode_opencv(data, (plain[0].width, plain[0].height))
        if pixels is not None:
            return pixels
    image = _open(data)
    pixels = _decode_fast(data, image)
    if pixels is None:
        try:
            pixels = _to_rgb(image)
        except BROKEN as error:
            raise ImageBroken(f"the {image.format} file is damaged or cut short") from error
    return np.ascontiguousarray(_upright(pixels, _orientation(image)))


def _open(data: bytes) -> ImageFile.ImageFile:
    name = sniff(data)
    if name is None:
        raise NotAnImage(f"none of {', '.join(FORMATS)}")
    if name == "HEIF" and not _heif():
        raise NotAnImage("HEIC needs the optional package pillow-heif")
    try:
        return Image.open(io.BytesIO(data), formats=[name])
    except BROKEN as error:
        raise ImageBroken(f"the header of the {name} file is damaged") from error


def _heif() -> bool:
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return False
    return True


def _orientation(image: ImageFile.ImageFile) -> int:
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except BROKEN:  # damaged EXIF does not make the picture unreadable
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _decode_fast(data: bytes, image: ImageFile.ImageFile) -> Pixels | None:
    if image.format not in FAST or image.mode not in ("RGB", "L") or image.has_transparency_data:
        return None
    if getattr(image, "is_animated", False) or not _complete(data, image):
        return None
    return _decode_opencv(data, image.size)


def _decode_opencv(data: bytes, size: tuple[int, int]) -> Pixels | None:
    try:
        found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return cast(Pixels, found) if found is not None and found.shape[1::-1] == size else None


def _complete(data: bytes, image: ImageFile.ImageFile) -> bool:
    """Whether the file reaches its end mark: OpenCV paints what a cut file lacks in grey and says nothing."""
    if image.format == "JPEG":
        scan = image.fp.tell() if image.fp else 0  # Pillow stops where the compressed data begin
        return data.rfind(EOI, scan) >= 0
    if image.format == "PNG":
        return data.find(b"IEND", -4096) >= 0
    return len(data) >= 8 + int.from_bytes(data[4:8], "little")


def _to_rgb(image: Image.Image) -> Pixels:
    image.load()
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode == "I":
        grey = (np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
