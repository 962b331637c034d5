"""Decoding: every format and oddity ends as the same upright RGB; what is refused is refused from the header."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service import images
from service.errors import BodyTooLarge, ImageBroken, ImageTooLarge, NoImage, NotAnImage, ServiceError
from service.headers import read_header
from service.images import ORIENTATION

BYTES, PIXELS = 32 << 20, 100_000_000


def decode(data: bytes) -> images.Pixels:
    """As the worker does."""
    return images.decode(data, read_header(data, BYTES, PIXELS))


def scene(height: int = 48, width: int = 64) -> np.ndarray:
    """Four quadrants of different colour: every turn and mirror image of it differs."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = (220, 30, 30)
    picture[: height // 2, width // 2 :] = (30, 200, 40)
    picture[height // 2 :, : width // 2] = (40, 50, 210)
    picture[height // 2 :, width // 2 :] = (230, 220, 60)
    return picture


def encoded(kind: str, picture: np.ndarray | None = None, **how: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(scene() if picture is None else picture).save(out, kind, **how)
    return out.getvalue()


def corners(picture: np.ndarray) -> np.ndarray:
    quarter_height, quarter_width = picture.shape[0] // 4, picture.shape[1] // 4
    return picture[quarter_height :: 2 * quarter_height, quarter_width :: 2 * quarter_width][:2, :2].astype(int)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF"])
def test_each_format_gives_the_same_picture(kind: str) -> None:
    data = encoded(kind)
    header = read_header(data, BYTES, PIXELS)
    assert (header.format, header.width, header.height) == (kind, 64, 48)
    picture = decode(data)
    assert picture.dtype == np.uint8
    assert picture.shape == (48, 64, 3)
    assert picture.flags.c_contiguous
    assert np.abs(corners(picture) - corners(scene())).max() < 30


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "AVIF"])
def test_exif_orientation_is_undone(kind: str, orientation: int) -> None:
    turned = {
        1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud,
        5: lambda p: p.transpose(1, 0, 2), 6: np.rot90, 7: lambda p: np.rot90(p, 2).transpose(1, 0, 2),
        8: lambda p: np.rot90(p, 3),
    }[orientation](scene())  # fmt: skip  # how the camera stored it
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(kind, np.ascontiguousarray(turned), exif=exif)
    picture = decode(data)
    assert picture.shape == (48, 64, 3)
    assert np.abs(corners(picture) - corners(scene())).max() < 30


def test_grey_and_palette_become_rgb() -> None:
    grey = scene()[:, :, 1]
    for data in (encoded("PNG", grey), encoded("JPEG", grey, quality=95)):
        assert np.abs(decode(data).astype(int) - grey[:, :, None]).max() < 12
    out = io.BytesIO()
    Image.fromarray(scene()).quantize(16).save(out, "PNG")
    assert np.abs(corners(decode(out.getvalue())) - corners(scene())).max() < 8


def test_transparency_shows_white_and_not_the_hidden_colour() -> None:
    rgba = np.dstack([scene(), np.full((48, 64), 255, np.uint8)])
    rgba[:, :32, 3] = 0
    for kind, how in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        picture = decode(encoded(kind, rgba, **how))
        assert (picture[:, :32] == 255).all()
        assert (picture[:, 32:] == scene()[:, 32:]).all()


def test_sixteen_bits_become_eight() -> None:
    grey = np.linspace(0, 65535, 64, dtype=np.uint16)[None].repeat(48, 0)
    data = cv2.imencode(".png", grey)[1].tobytes()
    assert (decode(data) == (grey >> 8)[:, :, None]).all()
    colour = scene().astype(np.uint16) * 257
    data = cv2.imencode(".png", colour[:, :, ::-1])[1].tobytes()
    assert np.abs(decode(data).astype(int) - scene()).max() <= 1


def test_cmyk_jpeg_is_read() -> None:
    out = io.BytesIO()
    Image.fromarray(scene()).convert("CMYK").save(out, "JPEG", quality=95)
    assert np.abs(corners(decode(out.getvalue())) - corners(scene())).max() < 40


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_an_animation_the_first_frame(kind: str) -> None:
    out = io.BytesIO()
    first, second = Image.fromarray(scene()), Image.new("RGB", (64, 48))
    first.save(out, kind, save_all=True, append_images=[second])
    assert np.abs(corners(decode(out.getvalue())) - corners(scene())).max() < 30


def test_one_pixel() -> None:
    assert decode(encoded("PNG", np.full((1, 1, 3), 7, np.uint8))).tolist() == [[[7, 7, 7]]]


def test_8000_by_8000_is_within_the_default_limits() -> None:
    data = cv2.imencode(".jpg", np.full((8000, 8000, 3), 128, np.uint8))[1].tobytes()
    assert read_header(data, BYTES, PIXELS).pixels == 64_000_000
    assert decode(data).shape == (8000, 8000, 3)


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = b"IDAT" + zlib.compress(bytes(1000))
    return body + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


def test_a_bomb_is_refused_from_its_header() -> None:
    with pytest.raises(ImageTooLarge, match="50000"):
        read_header(png_header(50_000, 50_000), BYTES, PIXELS)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", NoImage),
        (b"not an image", NotAnImage),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", NotAnImage),
        (b"%PDF-1.7", NotAnImage),
        (b"8BPS" + bytes(100), NotAnImage),
        (b"II*\0" + bytes(100), ImageBroken),
        (b"\xff\xd8\xff", ImageBroken),
        (b"\x89PNG\r\n\x1a\n", ImageBroken),
        (b"RIFF\0\0\0\0WEBP", ImageBroken),
        (b"RIFF\0\0\0\0WAVE", NotAnImage),
        (b"\0\0\0\x20ftypavif", ImageBroken),
        (b"\0\0\0\x20ftypmp42", NotAnImage),
        (b"BM", ImageBroken),
        (b"GIF89a", ImageBroken),
        (b"x" * 101, BodyTooLarge),
    ],
)
def test_what_is_no_image_is_told_apart_from_what_is_broken(data: bytes, error: type[ServiceError]) -> None:
    with pytest.raises(error):
        read_header(data, 100 if len(data) > 100 and data[:1] == b"x" else BYTES, PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_a_file_cut_short_is_broken(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = encoded(kind, noise)
    cut = data[: len(data) * 2 // 3]
    with pytest.raises(ImageBroken):
        decode(cut)


def test_a_jpeg_cut_short_behind_a_thumbnail_is_broken() -> None:
    exif = Image.Exif()
    exif[270] = encoded("JPEG", scene(16, 16)).decode("latin-1")  # an end mark early in the file
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = encoded("JPEG", noise, exif=exif)
    with pytest.raises(ImageBroken):
        decode(data[: len(data) * 2 // 3])


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF"]),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=8),
    keep=st.floats(0.05, 1),
)
def test_damage_never_raises_anything_but_a_service_error(
    kind: str, changes: list[tuple[float, int]], keep: float
) -> None:
    data = bytearray(encoded(kind))
    for place, value in changes:
        data[int(place * len(data))] = value
    try:
        header = read_header(bytes(data[: int(keep * len(data))]), BYTES, 1_000_000)
        picture = decode(bytes(data[: int(keep * len(data))]))
    except ServiceError:
        return
    assert picture.ndim == 3
    assert picture.shape[0] * picture.shape[1] == header.pixels


def test_heic_is_read_where_its_reader_is_installed() -> None:
    heif = pytest.importorskip("pillow_heif", reason="the optional extra `heic` is not installed")
    out = io.BytesIO()
    heif.from_pillow(Image.fromarray(scene(64, 96))).save(out, quality=90)
    assert read_header(out.getvalue(), BYTES, PIXELS).format == "HEIF"
    assert np.abs(corners(decode(out.getvalue())) - corners(scene(64, 96))).max() < 40


def noise(height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


JPEG_KINDS = {
    "baseline": [],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 2],
}


def jpeg(kind: str, picture: np.ndarray | None = None) -> bytes:
    return bytes(cv2.imencode(".jpg", noise() if picture is None else picture, JPEG_KINDS[kind])[1])


@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_a_jpeg_is_read_as_pillow_reads_it(kind: str) -> None:
    data = jpeg(kind)
    header = read_header(data, BYTES, PIXELS)
    assert (header.width, header.height, header.channels) == (64, 48, 3)
    assert header.scans == (10 if kind == "progressive" else 1)
    with Image.open(io.BytesIO(data)) as opened:
        assert np.abs(decode(data).astype(int) - np.asarray(opened.convert("RGB"))).max() <= 1


@pytest.mark.parametrize("kind", JPEG_KINDS)
@pytest.mark.parametrize("share", [0.4, 0.7, 0.99])
@pytest.mark.parametrize("end", ["mark", "next frame", "nothing", "junk", "junk and mark"])
def test_a_jpeg_that_ends_early_is_broken(kind: str, share: float, end: str) -> None:
    data = jpeg(kind)
    junk = bytes(range(1, 9)) * 4
    tail = {"mark": b"\xff\xd9", "next frame": data, "nothing": b"", "junk": b"", "junk and mark": b"\xff\xd9"}[end]
    cut = data[: int(len(data) * share)]
    if end.startswith("junk"):
        tables = data.index(b"\xff\xdb")
        cut = cut[:tables] + junk + cut[tables:]  # a harmless warning first: libjpeg tells the first one only
    with pytest.raises(ImageBroken):
        decode(cut + tail)


@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_a_jpeg_whose_picture_is_whole_is_read(kind: str) -> None:
    data = jpeg(kind)
    whole = decode(data)
    tables = data.index(b"\xff\xdb")
    for same in (
        data[:-2],  # only the end mark is missing
        data + b"MotionPhoto" * 100,
        data + data,
        data[:-2] + bytes(range(1, 20)) + data[-2:],
        data[:tables] + bytes(range(1, 20)) + data[tables:],
        data[:2] + b"\xff\xfe\xff\xff" + bytes(65_533) + data[2:],
    ):
        assert (decode(same) == whole).all()


def test_a_grey_picture_is_not_taken_for_a_cut_one() -> None:
    data = jpeg("baseline", np.full((48, 64, 3), 128, np.uint8))
    assert (decode(data) == 128).all()
    assert (decode(data[:-2] + bytes(9) + data[-2:]) == 128).all()


def frame_of(kind: int, bits: int) -> bytes:
    data = bytearray(jpeg("baseline"))
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4] = kind, bits
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (frame_of(0xC1, 12), "12 bits"),
        (frame_of(0xC3, 16), "lossless"),
        (frame_of(0xC9, 8), "arithmetic"),
        (frame_of(0xF7, 8), "JPEG-LS"),
    ],
)
def test_kinds_of_jpeg_that_are_not_decoded_are_named(data: bytes, words: str) -> None:
    with pytest.raises(NotAnImage, match=words):
        read_header(data, BYTES, PIXELS)


def png_chunk(kind: bytes, data: bytes, right: bool = True) -> bytes:
    check = zlib.crc32(kind + data) if right else 1
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(3 << 20))),
        png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(np.random.default_rng(0).bytes(2 << 20))),
        png_chunk(b"tEXt", b"note\0wrong", right=False),
        png_chunk(b"teSt", b"") * 9_000,
    ],
    ids=["text", "profile", "wrong-crc", "many"],
)
def test_what_a_png_carries_beside_its_pixels_does_no_harm(chunk: bytes) -> None:
    data = encoded("PNG", noise())
    assert (decode(data[:33] + chunk + data[33:]) == noise()).all()


def test_headers_are_small_and_have_few_parts() -> None:
    data = encoded("PNG", noise())
    with pytest.raises(ImageBroken, match="chunks"):
        read_header(data[:33] + png_chunk(b"teSt", b"") * 20_000 + data[33:], BYTES, PIXELS)
    data = jpeg("baseline")
    with pytest.raises(ImageBroken, match="parts"):
        read_header(data[:2] + b"\xff\xfe\x00\x02" * 20_000 + data[2:], BYTES, PIXELS)


def test_scans_times_pixels_are_bounded() -> None:
    data = jpeg("progressive", np.zeros((2000, 2000, 3), np.uint8))
    last = data.rindex(b"\xff\xda")
    scans = data[:-2] + data[last:-2] * 2000 + data[-2:]
    with pytest.raises(ImageTooLarge, match="scans"):
        read_header(scans, BYTES, PIXELS)
    assert read_header(data, BYTES, PIXELS).scans == 10


@pytest.mark.parametrize(
    ("kind", "mode", "held"), [("PNG", "RGB", 3), ("PNG", "RGBA", 7), ("PNG", "L", 3), ("WEBP", "RGB", 7)]
)
def test_what_decoding_holds_is_known_before_and_bounded(kind: str, mode: str, held: int) -> None:
    out = io.BytesIO()
    Image.new(mode, (200, 100)).save(out, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert read_header(out.getvalue(), BYTES, PIXELS, 20_000 * held).held == 20_000 * held
    with pytest.raises(ImageTooLarge, match="takes"):
        read_header(out.getvalue(), BYTES, PIXELS, 20_000 * held - 1)
