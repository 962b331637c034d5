"""Images that lie about their size, repeat themselves or never end: refused by their header, or decoded as it says."""

import io
import struct
import time
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service import images
from service.errors import ImageBroken, ImageTooLarge, NotAnImage, ServiceError
from service.formats import FORMATS, sniff
from service.headers import read_header

BYTES, PIXELS, DECODED = 64 << 20, 100_000_000, 512 << 20
WIDTH, HEIGHT = 640, 480
SMALL = struct.pack(">II", 64, 48)


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))


def encoded(kind: str, image: Image.Image | None = None, **how: object) -> bytes:
    out = io.BytesIO()
    (image or picture()).save(out, kind, **how)
    return out.getvalue()


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def riff(*parts: tuple[bytes, bytes]) -> bytes:
    """A WebP of these chunks."""
    body = b"WEBP" + b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in parts
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def canvas(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    """The chunk of a WebP that names its canvas."""
    return b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def jpeg_frame(data: bytes) -> int:
    """Where the height of a JPEG stands."""
    return data.index(b"\xff\xc0") + 5


def heic() -> bytes:
    reader = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    reader.from_pillow(picture()).save(out, quality=50)
    return out.getvalue()


# -- sizes beyond all limits, in a few bytes --------------------------------------------------------------------------

SIDE = 60_000
BOMBS: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND")
    ),
    "JPEG": lambda: (d := encoded("JPEG"))[: jpeg_frame(d)] + struct.pack(">HH", SIDE, SIDE) + d[jpeg_frame(d) + 4 :],
    "GIF, screen": lambda: (d := encoded("GIF"))[:6] + struct.pack("<HH", SIDE, SIDE) + d[10:],
    "GIF, picture": lambda: encoded("GIF").replace(
        struct.pack("<HHHH", 0, 0, WIDTH, HEIGHT), struct.pack("<HHHH", SIDE, SIDE, SIDE, SIDE)
    ),
    "BMP": lambda: (d := encoded("BMP"))[:18] + struct.pack("<ii", SIDE, SIDE) + d[26:],
    "BMP from its top": lambda: (d := encoded("BMP"))[:18] + struct.pack("<ii", SIDE, -(2**31)) + d[26:],
    "WebP, lossy": lambda: riff((b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", 16383, 16383) + bytes(20))),
    "WebP, lossless": lambda: riff((b"VP8L", b"\x2f" + struct.pack("<I", 16383 | 16383 << 14) + bytes(20))),
    "WebP, canvas": lambda: riff(canvas(1 << 24, 1 << 24), (b"ANMF", bytes(40))),
    "AVIF": lambda: encoded("AVIF").replace(struct.pack(">II", WIDTH, HEIGHT), struct.pack(">II", SIDE, SIDE)),
    "HEIC": lambda: heic().replace(struct.pack(">II", WIDTH, HEIGHT), struct.pack(">II", SIDE, SIDE)),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_of_pixels_is_refused_by_its_header(kind: str) -> None:
    with pytest.raises(ImageTooLarge):
        read_header(BOMBS[kind](), BYTES, PIXELS, DECODED)


@pytest.mark.parametrize("side", [0, 1, 2**31 - 1, 2**32 - 1])
def test_sizes_at_the_ends_of_their_range(side: int) -> None:
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    with pytest.raises((ImageTooLarge, ImageBroken)):
        read_header(data + chunk(b"IEND"), BYTES, PIXELS, DECODED)


# -- sizes that the pixels do not have --------------------------------------------------------------------------------

LIES: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: (d := encoded("PNG"))[:8] + chunk(b"IHDR", SMALL + d[24:29]) + d[33:],
    "JPEG": lambda: (d := encoded("JPEG"))[: jpeg_frame(d)] + struct.pack(">HH", 48, 64) + d[jpeg_frame(d) + 4 :],
    "JPEG of two frames": lambda: (
        (d := encoded("JPEG"))[:2]
        + d[jpeg_frame(d) - 5 : jpeg_frame(d)]
        + struct.pack(">HH", 48, 64)
        + d[jpeg_frame(d) + 4 : jpeg_frame(d) + 14]
        + d[2:]
    ),
    "GIF": lambda: (d := encoded("GIF"))[:6] + struct.pack("<HH", 64, 48) + d[10:],
    "BMP": lambda: (d := encoded("BMP"))[:18] + struct.pack("<ii", 64, 48) + d[26:],
    "WebP, canvas": lambda: riff(canvas(64, 48), (b"VP8 ", encoded("WEBP")[20:])),
    "WebP, canvas of a lossless one": lambda: riff(canvas(64, 48), (b"VP8L", encoded("WEBP", lossless=True)[20:])),
    "WebP, a second picture": lambda: riff(
        (b"VP8 ", encoded("WEBP", picture().resize((64, 48)))[20:]), (b"VP8 ", encoded("WEBP")[20:])
    ),
}


@pytest.mark.parametrize("kind", LIES)
def test_what_is_decoded_has_the_size_that_was_announced(kind: str) -> None:
    data = LIES[kind]()
    try:
        header = read_header(data, BYTES, PIXELS, DECODED)
        pixels = images.decode(data, header)
    except ImageBroken:
        return
    assert pixels.shape[0] * pixels.shape[1] == header.pixels


# -- more parts than anybody needs ------------------------------------------------------------------------------------

TINY = encoded("PNG", Image.new("RGB", (8, 8)))
WAYS = {
    "before the pixels": TINY[:33] + chunk(b"teSt") * 1_000_000 + TINY[33:],
    "empty pixels before the pixels": TINY[:33] + chunk(b"IDAT") * 1_000_000 + TINY[33:],
    "empty pixels behind the pixels": TINY[:-12] + chunk(b"IDAT") * 1_000_000 + TINY[-12:],
    "behind the pixels": TINY[:-12] + chunk(b"teSt") * 1_000_000 + TINY[-12:],
}


@pytest.mark.parametrize("way", WAYS)
def test_a_png_of_a_million_empty_chunks_is_refused_at_once(way: str) -> None:
    started = time.process_time()
    with pytest.raises(ImageBroken, match="chunks"):
        read_header(WAYS[way], BYTES, PIXELS, DECODED)
    assert time.process_time() - started < 0.5


def test_what_stands_behind_the_end_of_a_png_is_not_looked_at() -> None:
    data = TINY + chunk(b"IDAT") * 1_000_000
    started = time.process_time()
    assert images.decode(data, read_header(data, BYTES, PIXELS, DECODED)).shape == (8, 8, 3)
    assert time.process_time() - started < 0.5


def test_a_png_in_many_parts_is_read() -> None:
    whole = encoded("PNG")
    packed, at = b"", 33
    while whole[at + 4 : at + 8] == b"IDAT":
        size = int.from_bytes(whole[at : at + 4], "big")
        packed += whole[at + 8 : at + 8 + size]
        at += 12 + size
    parts = b"".join(chunk(b"IDAT", packed[at : at + 128]) for at in range(0, len(packed), 128))
    assert parts.count(b"IDAT") > 5_000
    data = whole[:33] + parts + chunk(b"IEND")
    assert (images.decode(data, read_header(data, BYTES, PIXELS, DECODED)) == np.asarray(picture())).all()


def test_segments_of_a_jpeg_and_comments_of_a_gif_are_counted() -> None:
    jpeg, gif = encoded("JPEG"), encoded("GIF")
    table = 13 + 3 * 2 ** ((gif[10] & 7) + 1) if gif[10] & 0x80 else 13
    for data in (
        jpeg[:2] + b"\xff\xfe\x00\x02" * 1_000_000 + jpeg[2:],
        gif[:table] + b"\x21\xfe\x01a\x00" * 1_000_000 + gif[table:],
        gif[:table] + b"\x21\xfe" + b"\x01a" * 1_000_000 + b"\x00" + gif[table:],
    ):
        started = time.process_time()
        with pytest.raises(ImageBroken, match="parts"):
            read_header(data, BYTES, PIXELS, DECODED)
        assert time.process_time() - started < 0.5


# -- animations -------------------------------------------------------------------------------------------------------

FRAMES = 2_000


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_of_many_frames_only_the_first_costs_time(kind: str) -> None:
    first = Image.new("RGB", (64, 48), (200, 30, 30))
    others = [Image.new("RGB", (64, 48), (number % 256, number // 256, 0)) for number in range(FRAMES)]
    data = encoded(kind, first, save_all=True, append_images=others, duration=10)
    started = time.process_time()
    pixels = images.decode(data, read_header(data, BYTES, PIXELS, DECODED))
    assert time.process_time() - started < 0.5
    assert pixels.shape == (48, 64, 3)
    assert np.abs(pixels.astype(int) - (200, 30, 30)).max() < 12


@pytest.mark.parametrize("place", [(0, 0, 16384, 16384), (16000, 16000, 64, 48)])
def test_a_frame_beyond_the_canvas_of_an_animation(place: tuple[int, int, int, int]) -> None:
    x, y, width, height = (value.to_bytes(3, "little") for value in (place[0], place[1], place[2] - 1, place[3] - 1))
    frame = encoded("WEBP")[12:]
    data = riff(canvas(64, 48, 2), (b"ANIM", bytes(6)), (b"ANMF", x + y + width + height + bytes(4) + frame))
    with pytest.raises(ImageBroken):
        images.decode(data, read_header(data, BYTES, PIXELS, DECODED))


# -- anything at all --------------------------------------------------------------------------------------------------

STARTS = [
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\x00\x01\x00\x00WEBPVP8X",
    b"RIFF\x00\x01\x00\x00WEBPVP8L",
    b"GIF89a",
    b"BM",
    b"\x00\x00\x00\x20ftypavif",
    b"\x00\x00\x00\x20ftypheic",
    b"II*\x00\x08\x00\x00\x00",
    b"\xff\x0a",
]


@settings(max_examples=400, deadline=None)
@given(start=st.sampled_from(STARTS), tail=st.binary(max_size=400), again=st.integers(0, 40))
def test_whatever_follows_a_signature_has_a_header_or_an_error(start: bytes, tail: bytes, again: int) -> None:
    data = start + tail + tail[:20] * again
    started = time.process_time()
    try:
        header = read_header(data, BYTES, PIXELS, DECODED)
    except (ImageBroken, ImageTooLarge, NotAnImage):
        pass
    else:
        assert header.format in FORMATS
        assert 0 < header.pixels <= PIXELS
        assert header.held <= DECODED
    assert time.process_time() - started < 1


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64))
def test_noise_is_mostly_no_image_and_never_a_failure(data: bytes) -> None:
    try:
        read_header(data, BYTES, PIXELS, DECODED)
    except ServiceError:
        return
    assert sniff(data) is not None
