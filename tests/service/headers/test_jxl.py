"""JPEG XL: what its header says, and hostile ones."""

import io
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service import images
from service.errors import ImageBroken, ImageTooLarge, NotAnImage
from service.headers import read_header
from service.wire import ImageHeader
from service.worker.isolation import IsolatedDecoder, is_suspicious

pytest.importorskip("pillow_jxl", reason="pillow-jxl-plugin is not installed")


def written(width: int, height: int, **how: object) -> bytes:
    gradient = np.linspace(0, 255, width * height * 3).reshape(height, width, 3).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(gradient).save(out, "JXL", effort=1, **how)
    return out.getvalue()


def header_of(data: bytes) -> ImageHeader:
    return read_header(data, len(data), 100_000_000, 512 << 20)


@pytest.mark.parametrize(
    "size", [(64, 48), (63, 49), (8, 8), (256, 256), (640, 480), (600, 400), (1920, 1080), (1000, 10), (17, 3000)]
)
def test_the_header_names_the_size_and_the_decoder_keeps_it(size: tuple[int, int]) -> None:
    data = written(*size)
    header = header_of(data)
    assert (header.format, header.width, header.height) == ("JXL", *size)
    assert images.decode(data, header).shape == (size[1], size[0], 3)


def test_it_is_decoded_in_a_process_of_its_own() -> None:
    data = written(64, 48, lossless=True)
    header = header_of(data)
    assert is_suspicious(header)
    decoder = IsolatedDecoder(64 << 20)
    try:
        picture = decoder.decode(data, header, time.monotonic() + 60)
        with pytest.raises(ImageBroken):
            decoder.decode(data[: len(data) // 2], header, time.monotonic() + 60)
    finally:
        decoder.close()
    assert np.array_equal(picture, np.linspace(0, 255, 64 * 48 * 3).reshape(48, 64, 3).astype(np.uint8))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_jpeg_that_became_one_is_turned_as_the_jpeg_is(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    gradient = np.linspace(0, 255, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)
    Image.fromarray(gradient).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as opened:
        opened.save(tmp_path / "a.jxl", lossless_jpeg=True)
    jpeg, packed = ((tmp_path / name).read_bytes() for name in ("a.jpg", "a.jxl"))
    expected = images.decode(jpeg, header_of(jpeg)).astype(int)
    picture = images.decode(packed, header_of(packed))
    assert picture.shape == expected.shape
    assert np.abs(picture - expected).max() <= 3


BOX = b"\0\0\0\x0cJXL \r\n\x87\n"


@pytest.mark.parametrize(
    "data", [b"\xff\x0a", BOX, BOX + b"\0\0\0\x08jxlc", BOX + b"\0\0\0\x10jxlp\0\0\0\0nothing", BOX + bytes(8)]
)
def test_damaged_ones_are_refused_by_their_header(data: bytes) -> None:
    with pytest.raises(ImageBroken):
        header_of(data)


def test_too_large_ones_are_refused_by_their_header() -> None:
    with pytest.raises(ImageTooLarge):
        header_of(b"\xff\x0a" + b"\xfe" * 14)


@given(st.binary(max_size=100), st.sampled_from([b"\xff\x0a", BOX, BOX + b"\0\0\0\0jxlp"]))
def test_anything_else_has_a_header_or_an_error(data: bytes, start: bytes) -> None:
    with suppress(ImageBroken, ImageTooLarge, NotAnImage):
        assert header_of(start + data).format == "JXL"
