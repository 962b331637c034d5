"""The header of a JPEG: its frame, its EXIF, and how many scans go over it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from service.errors import NotAnImage
from service.headers import exif
from service.headers.cursor import Cursor, HeaderDamaged
from service.wire import ImageHeader

SOF_BASELINE = 0xC0
SOF_EXTENDED = 0xC1
SOF_PROGRESSIVE = 0xC2
OTHER_FRAMES = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
"""Lossless, hierarchical and arithmetically coded frames, which no decoder here reads."""
SOF_JPEG_LS = 0xF7
SOS = 0xDA
EOI = 0xD9
APP1 = 0xE1
WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""A marker that ends the compressed data of a scan: 0xFF that neither stands for itself nor restarts the decoder."""


@dataclass
class _JpegInfo:
    """What the segments read so far say; `start` is where the first scan's data begin, 0 before that."""

    width: int = 0
    height: int = 0
    orientation: int = 1
    channels: int = 0
    is_progressive: bool = False
    scans: int = 0
    start: int = 0


def parse(cursor: Cursor) -> ImageHeader:
    """Return the header of a JPEG. Raises NotAnImage for kinds that are not decoded, HeaderDamaged."""
    cursor.take(2)
    info = _JpegInfo()
    while True:
        kind = _marker(cursor)
        if kind == EOI or (info.start and cursor.left < 2):
            break
        body = cursor.number(2) - 2
        if body < 0:
            raise HeaderDamaged("a segment is shorter than its own length")
        if kind == SOS:
            if _read_scan(cursor, body, info):
                break
        else:
            _read_segment(cursor, kind, body, info)
    if not info.start:
        raise HeaderDamaged("there are no compressed data")
    # Progressive files are decoded through their coefficients: two bytes each, for up to all channels.
    coefficients = 2 * info.channels if info.is_progressive or info.scans > 1 else 0
    bytes_a_pixel = (7 if info.channels == 4 else 3) + coefficients  # inks are held beside the result
    return ImageHeader(
        "JPEG",
        info.width,
        info.height,
        info.orientation,
        info.channels,
        scans=info.scans,
        start=info.start,
        held=info.width * info.height * bytes_a_pixel,
    )


def _read_segment(cursor: Cursor, kind: int, body: int, info: _JpegInfo) -> None:
    """Read a segment of `body` bytes that is no scan."""
    if kind in (SOF_BASELINE, SOF_EXTENDED, SOF_PROGRESSIVE):
        _read_frame(cursor, kind, body, info)
    elif kind == SOF_JPEG_LS or kind in OTHER_FRAMES:
        name = "JPEG-LS" if kind == SOF_JPEG_LS else "lossless and arithmetically coded JPEG"
        raise NotAnImage(f"{name} files are not read, only baseline and progressive JPEG")
    elif kind == APP1 and cursor.peek(min(body, 6)) == b"Exif\0\0" and info.orientation == 1:
        info.orientation = exif.orientation(cursor.take(body))
    else:
        cursor.skip(body)


def _read_frame(cursor: Cursor, kind: int, body: int, info: _JpegInfo) -> None:
    if info.channels:
        raise HeaderDamaged("it announces two pictures")
    bits = cursor.number(1)
    if bits != 8:
        raise NotAnImage(f"JPEG files of {bits} bits a channel are not read, only those of 8")
    info.height = cursor.number(2)
    info.width = cursor.number(2)
    info.channels = cursor.number(1)
    info.is_progressive = kind == SOF_PROGRESSIVE
    cursor.skip(body - 6)


def _read_scan(cursor: Cursor, body: int, info: _JpegInfo) -> bool:
    """Move past a scan; return whether nothing after it is read."""
    if not info.channels:
        raise HeaderDamaged("compressed data come before the size of the picture")
    in_scan = cursor.peek(1)[0] if body else 0
    cursor.skip(body)
    info.start = info.start or cursor.at
    info.scans += 1
    if not info.is_progressive and in_scan == info.channels:
        return True  # all of the picture: the decoder stops here, too
    next_marker = MARKER_IN_SCAN.search(cursor.data, cursor.at)
    if next_marker is None:
        return True
    cursor.at = next_marker.start()
    return False


def scan_end(data: bytes, start: int, scans: int) -> int:
    """Return where the compressed data of the last of `scans` scans end; the data of the first begin at `start`."""
    at = start
    while True:
        marker = MARKER_IN_SCAN.search(data, at)
        if marker is None:
            return len(data)
        scans -= 1
        if not scans:
            return marker.start()
        at = marker.start()
        while data[at + 1 : at + 2] != b"\xda":  # the tables before the next scan
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            if at >= len(data):
                return len(data)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def _marker(cursor: Cursor) -> int:
    """Return the kind of the next segment and go on behind its marker.

    What stands before the marker is skipped, as decoders do.
    """
    while True:
        cursor.count_part()
        position = cursor.data.find(b"\xff", cursor.at)
        if position < 0:
            raise HeaderDamaged("it ends before the compressed data")
        cursor.at = position + 1
        kind = cursor.number(1)
        while kind == 0xFF:
            kind = cursor.number(1)
        if kind and kind not in WITHOUT_LENGTH:
            return kind
