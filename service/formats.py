"""Which kind of image a file is, by its first bytes. Imports nothing, so that the client can ask too."""

from __future__ import annotations

from typing import Literal

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "HEIF", "TIFF", "JXL")
VideoFormat = Literal["MP4", "WEBM"]
HEAD_BYTES = 64
"""Bytes from the start of a file that sniff() looks at."""

MAGICS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\xff\x0a": "JXL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JXL",
}
AVIF_BRANDS = frozenset({b"avif", b"avis"})
HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"})
EBML = b"\x1a\x45\xdf\xa3"
MP4_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
"""What an MP4 or QuickTime file may begin with, after four bytes of length."""
BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
"""What stands at byte 14 of a BMP file; text may well begin with the letters BM."""


def sniff_video(data: bytes) -> VideoFormat | None:
    """Return the kind of video that the first bytes announce; animated GIF and WebP are images to this."""
    if data.startswith(EBML):
        return "WEBM"
    return "MP4" if data[4:8] in MP4_BOXES and sniff(data) is None else None


def sniff(data: bytes) -> str | None:
    """Return the format that the first bytes announce, None if it is none of FORMATS."""
    if data[4:8] == b"ftyp":
        brands = {data[i : i + 4] for i in (8, *range(16, min(48, len(data)), 4))}
        if brands & AVIF_BRANDS:
            return "AVIF"
        return "HEIF" if brands & HEIF_BRANDS else None
    if data[:4] == b"RIFF":
        return "WEBP" if data[8:12] == b"WEBP" else None
    if data[:2] == b"BM":
        header_size = int.from_bytes(data[14:18], "little")
        return "BMP" if len(data) < 18 or header_size in BMP_HEADER_SIZES else None
    return next((name for magic, name in MAGICS.items() if data.startswith(magic)), None)
