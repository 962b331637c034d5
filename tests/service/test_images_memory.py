"""What decoding takes, measured in a process of its own: no more than the header says; nothing where it is refused."""

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from service.config import Settings
from service.errors import ImageTooLarge
from service.headers import read_header

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
LIMITS = Settings.model_fields
MAX_BYTES, MAX_PIXELS, MAX_DECODED = (int(LIMITS[name].default) for name in ("max_bytes", "max_pixels", "max_decoded"))
SIDE = 3000
"""9 Mpx: large beside what the decoders' libraries take for themselves."""
SLACK = 24 << 20
MEASURE = """
import resource, sys
from pathlib import Path
from service import images
small = Path(sys.argv[1]).read_bytes()
images.decode(small, images.read_header(small, 1 << 30, 1 << 30))  # libraries are loaded, threads started
data = Path(sys.argv[2]).read_bytes()
header = images.read_header(data, 1 << 30, 1 << 30)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
pixels = images.decode(data, header)
print(header.held, peak() - before, *pixels.shape)
"""


def opencv(kind: str, channels: int, depth: type = np.uint8, *options: int) -> Callable[[int], bytes]:
    return lambda side: bytes(cv2.imencode(kind, np.zeros((side, side, channels), depth), list(options))[1])


def pillow(kind: str, mode: str, **options: object) -> Callable[[int], bytes]:
    def encode(side: int) -> bytes:
        out = io.BytesIO()
        Image.new(mode, (side, side)).save(out, kind, **options)
        return out.getvalue()

    return encode


KINDS = {
    "PNG": opencv(".png", 3),
    "PNG, transparent": opencv(".png", 4),
    "PNG, 16 bits": opencv(".png", 3, np.uint16),
    "PNG, 16 bits, transparent": opencv(".png", 4, np.uint16),
    "PNG, palette": pillow("PNG", "P"),
    "WebP, lossless": pillow("WEBP", "RGB", lossless=True, method=0, quality=0),
    "WebP, lossless, transparent": pillow("WEBP", "RGBA", lossless=True, method=0, quality=0),
    "JPEG": opencv(".jpg", 3),
    "JPEG, progressive": opencv(".jpg", 3, np.uint8, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "JPEG, CMYK": pillow("JPEG", "CMYK"),
    "GIF": pillow("GIF", "P"),
    "BMP": opencv(".bmp", 3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_holds_no_more_than_the_header_announced(kind: str, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(KINDS[kind](64))
    (tmp_path / "large").write_bytes(KINDS[kind](SIDE))
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "small"), str(tmp_path / "large")]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    held, grown, height, width, channels = map(int, done.stdout.split())
    assert (height, width, channels) == (SIDE, SIDE, 3)
    assert held >= 3 * SIDE * SIDE
    assert grown <= held + SLACK, f"{grown / SIDE**2:.1f} bytes a pixel, {held / SIDE**2:.1f} announced"


def png_header(side: int, bits: int, color: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def lossless_webp_header(side: int) -> bytes:
    data = b"\x2f" + struct.pack("<I", (side - 1) | (side - 1) << 14 | 1 << 28) + bytes(16)  # with an alpha channel
    return b"RIFF" + struct.pack("<I", len(data) + 13) + b"WEBPVP8L" + struct.pack("<I", len(data)) + data + b"\0"


@pytest.mark.parametrize(
    "data",
    [png_header(9_900, 8, 6), png_header(9_900, 16, 6), lossless_webp_header(9_900)],
    ids=["transparent PNG", "transparent PNG of 16 bits", "transparent lossless WebP"],
)
def test_photos_of_98_megapixels_that_would_take_more_than_the_limit_are_refused_by_their_header(data: bytes) -> None:
    with pytest.raises(ImageTooLarge, match=r"takes .* bytes"):
        read_header(data, MAX_BYTES, MAX_PIXELS, MAX_DECODED)
