"""The orientation of a picture, as its EXIF says."""

from __future__ import annotations

from typing import Literal

ORIENTATION_TAG = 0x0112
SHORT = 3
MAX_ENTRIES = 512


def orientation(block: bytes) -> int:
    """Return how the picture must be turned, 1–8 as EXIF counts; 1 where the block is damaged or does not say."""
    block = block.removeprefix(b"Exif\0\0")
    if len(block) < 8 or block[:4] not in (b"II*\0", b"MM\0*"):
        return 1
    order: Literal["little", "big"] = "little" if block[:2] == b"II" else "big"
    start = int.from_bytes(block[4:8], order)
    count = min(int.from_bytes(block[start : start + 2], order), MAX_ENTRIES)
    for number in range(count):
        entry = block[start + 2 + 12 * number : start + 14 + 12 * number]
        if len(entry) < 12:
            return 1
        if int.from_bytes(entry[:2], order) == ORIENTATION_TAG and int.from_bytes(entry[2:4], order) == SHORT:
            value = int.from_bytes(entry[8:10], order)
            return value if 1 <= value <= 8 else 1
    return 1
