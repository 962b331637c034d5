"""TIFF: what its header says, every kind of it that cameras and scanners write, and hostile ones."""

import io
import struct
import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from service import images
from service.errors import ImageBroken, ImageTooLarge, NotAnImage
from service.headers import read_header
from service.wire import ImageHeader
from service.worker.isolation import IsolatedDecoder, is_suspicious

PIXELS = 100_000_000
HELD = 512 << 20
LONG, SHORT = 4, 3


@pytest.fixture(scope="module")
def decoder() -> Iterator[IsolatedDecoder]:
    running = IsolatedDecoder(64 << 20)
    yield running
    running.close()


def scene() -> np.ndarray:
    """Four quadrants of different colour [48, 64, 3]."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32] = (220, 30, 30)
    picture[:24, 32:] = (30, 200, 40)
    picture[24:, :32] = (40, 50, 210)
    picture[24:, 32:] = (230, 220, 60)
    return picture


def written(pixels: np.ndarray, **how: object) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, **how)
    return out.getvalue()


def header_of(data: bytes) -> ImageHeader:
    return read_header(data, len(data), PIXELS, HELD)


def inks(picture: np.ndarray) -> np.ndarray:
    """Return a picture [H, W, 3] as cyan, magenta, yellow and no black."""
    return np.dstack([255 - picture, np.zeros(picture.shape[:2], np.uint8)])


KINDS = {
    "strips": written(scene(), photometric="rgb", rowsperstrip=5),
    "tiles": written(scene(), photometric="rgb", tile=(16, 16)),
    "deflated tiles": written(scene(), photometric="rgb", tile=(32, 16), compression="zlib"),
    "planes": written(np.moveaxis(scene(), 2, 0), photometric="rgb", planarconfig="separate"),
    "16 bits": written(scene().astype(np.uint16) * 257, photometric="rgb"),
    "big-endian 16 bits": written(scene().astype(np.uint16) * 257, photometric="rgb", byteorder=">"),
    "inks": written(inks(scene()), photometric="separated"),
    "16 bits of ink": written(inks(scene()).astype(np.uint16) * 257, photometric="separated"),
    "BigTIFF": written(scene(), photometric="rgb", bigtiff=True),
    "pages": written(np.stack([scene(), 255 - scene()]), photometric="rgb"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_picture(kind: str, decoder: IsolatedDecoder) -> None:
    data = KINDS[kind]
    header = header_of(data)
    assert (header.format, header.width, header.height) == ("TIFF", 64, 48)
    assert is_suspicious(header), "it is decoded in a process of its own"
    picture = decoder.decode(data, header, time.monotonic() + 60)
    assert np.abs(picture.astype(int) - scene()).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_is_read(bits: int) -> None:
    grey = np.arange(48 * 64).reshape(48, 64) % 256
    data = written((grey * (257 if bits == 16 else 1)).astype(f"u{bits // 8}"), photometric="minisblack")
    assert np.array_equal(images.decode(data, header_of(data))[:, :, 1], grey)


@pytest.mark.parametrize("kind", ["<f4", "<u4", "<i4", "<f8"])
@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
def test_samples_whose_black_and_white_nobody_knows_are_refused(kind: str, photometric: str) -> None:
    """Floating-point numbers from 0 to 1 would be read as black, and answered with no face."""
    pixels = scene()[:, :, 0] if photometric == "minisblack" else scene()
    data = written((pixels / 255).astype(kind), photometric=photometric)
    with pytest.raises(ImageBroken, match="send 8 or 16 bits"):
        images.decode(data, header_of(data))


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate"])
def test_compressed_ones_are_read(compression: str) -> None:
    out = io.BytesIO()
    Image.fromarray(scene()).save(out, "TIFF", compression=compression)
    picture = images.decode(out.getvalue(), header_of(out.getvalue()))
    assert np.abs(picture.astype(int) - scene())[4:20, 4:28].max() < 10


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_upright_once(orientation: int) -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    Image.fromarray(scene()).save(out, "TIFF", exif=exif)
    stored = io.BytesIO()
    Image.fromarray(scene()).save(stored, "PNG", exif=exif)
    expected = images.decode(stored.getvalue(), header_of(stored.getvalue()))
    assert np.array_equal(images.decode(out.getvalue(), header_of(out.getvalue())), expected)


def made(*entries: tuple[int, int, int, int], order: str = "<", offset: int = 8) -> bytes:
    """Return a TIFF of one directory with these entries: tag, type, count, value."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    body = b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
    return magic + struct.pack(f"{order}I", offset) + struct.pack(f"{order}H", len(entries)) + body + bytes(4)


SIZE = ((256, LONG, 1, 64), (257, LONG, 1, 48))


@pytest.mark.parametrize(
    "data",
    [
        b"II*\0",
        b"MM\0*\xff\xff\xff\xff",
        made(*SIZE, offset=5_000),
        made(*SIZE)[:20],
        made((256, LONG, 1, 64)),
        made((256, LONG, 0, 64), (257, LONG, 1, 48)),
        made((256, LONG, 0xFFFFFFFF, 8), (257, LONG, 1, 48)),
        made((256, 99, 1, 64), (257, LONG, 1, 48)),
        made(*SIZE, (258, SHORT, 4, 0xFFFFFF00)),
        made(*SIZE, (277, SHORT, 1, 0)),
        made(*SIZE, (277, LONG, 1, 60_000)),
        made(*SIZE, (258, LONG, 1, 1 << 30)),
        made((256, LONG, 1, 0), (257, LONG, 1, 48)),
        made(*SIZE * 300),
        b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 1 << 62),
    ],
)
def test_damaged_ones_are_refused_by_their_header(data: bytes) -> None:
    with pytest.raises(ImageBroken):
        header_of(data)


@pytest.mark.parametrize(
    "data",
    [
        made((256, LONG, 1, 0xFFFFFFFF), (257, LONG, 1, 0xFFFFFFFF)),
        made(*SIZE, (256, LONG, 1, 1 << 30)),
        made(*SIZE, (322, LONG, 1, 1 << 20), (323, LONG, 1, 1 << 20)),
        made((256, LONG, 1, 9_000), (257, LONG, 1, 9_000), (277, SHORT, 1, 16), (258, SHORT, 1, 32)),
    ],
)
def test_too_large_ones_are_refused_by_their_header(data: bytes) -> None:
    with pytest.raises(ImageTooLarge):
        header_of(data)


def test_a_directory_that_leads_to_itself_is_read_once() -> None:
    data = made(*SIZE, order=">")
    looped = data[:-4] + struct.pack(">I", 8)
    assert header_of(looped).width == 64


@given(st.binary(max_size=300), st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]))
@example(b"", b"II*\0")
def test_anything_else_has_a_header_or_an_error(data: bytes, magic: bytes) -> None:
    with suppress(ImageBroken, ImageTooLarge, NotAnImage):
        assert header_of(magic + data).format == "TIFF"


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8))
def test_damaged_ones_bring_nothing_down(decoder: IsolatedDecoder, kind: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(KINDS[kind])
    for place, value in changes:
        data[int(place * min(len(data), 400)) if place < 0.7 else int(place * len(data))] = value
    with suppress(ImageBroken, ImageTooLarge, NotAnImage):
        header = header_of(bytes(data))
        picture = decoder.decode(bytes(data), header, time.monotonic() + 20)
        assert picture.shape[0] * picture.shape[1] <= header.pixels
