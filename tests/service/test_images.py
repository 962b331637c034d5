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

BYTES, PIXELS = 32 << 20, 100_000_000


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
    header = images.probe(data, BYTES, PIXELS)
    assert (header.format, header.width, header.height) == (kind, 64, 48)
    picture = images.decode(data)
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
    exif[images.ORIENTATION] = orientation
    data = encoded(kind, np.ascontiguousarray(turned), exif=exif)
    picture = images.decode(data)
    assert picture.shape == (48, 64, 3)
    assert np.abs(corners(picture) - corners(scene())).max() < 30


def test_grey_and_palette_become_rgb() -> None:
    grey = scene()[:, :, 1]
    for data in (encoded("PNG", grey), encoded("JPEG", grey, quality=95)):
        assert np.abs(images.decode(data).astype(int) - grey[:, :, None]).max() < 12
    out = io.BytesIO()
    Image.fromarray(scene()).quantize(16).save(out, "PNG")
    assert np.abs(corners(images.decode(out.getvalue())) - corners(scene())).max() < 8


def test_transparency_shows_white_and_not_the_hidden_colour() -> None:
    rgba = np.dstack([scene(), np.full((48, 64), 255, np.uint8)])
    rgba[:, :32, 3] = 0
    for kind, how in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        picture = images.decode(encoded(kind, rgba, **how))
        assert (picture[:, :32] == 255).all()
        assert (picture[:, 32:] == scene()[:, 32:]).all()


def test_sixteen_bits_become_eight() -> None:
    grey = np.linspace(0, 65535, 64, dtype=np.uint16)[None].repeat(48, 0)
    data = cv2.imencode(".png", grey)[1].tobytes()
    assert (images.decode(data) == (grey >> 8)[:, :, None]).all()
    colour = scene().astype(np.uint16) * 257
    data = cv2.imencode(".png", colour[:, :, ::-1])[1].tobytes()
    assert np.abs(images.decode(data).astype(int) - scene()).max() <= 1


def test_cmyk_jpeg_is_read() -> None:
    out = io.BytesIO()
    Image.fromarray(scene()).convert("CMYK").save(out, "JPEG", quality=95)
    assert np.abs(corners(images.decode(out.getvalue())) - corners(scene())).max() < 40


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_an_animation_the_first_frame(kind: str) -> None:
    out = io.BytesIO()
    first, second = Image.fromarray(scene()), Image.new("RGB", (64, 48))
    first.save(out, kind, save_all=True, append_images=[second])
    assert np.abs(corners(images.decode(out.getvalue())) - corners(scene())).max() < 30


def test_one_pixel() -> None:
    assert images.decode(encoded("PNG", np.full((1, 1, 3), 7, np.uint8))).tolist() == [[[7, 7, 7]]]


def test_8000_by_8000_is_within_the_default_limits() -> None:
    data = cv2.imencode(".jpg", np.full((8000, 8000, 3), 128, np.uint8))[1].tobytes()
    assert images.probe(data, BYTES, PIXELS).pixels == 64_000_000
    assert images.decode(data).shape == (8000, 8000, 3)


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    data = b"IDAT" + zlib.compress(bytes(1000))
    return body + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


def test_a_bomb_is_refused_from_its_header() -> None:
    with pytest.raises(ImageTooLarge, match="50000"):
        images.probe(png_header(50_000, 50_000), BYTES, PIXELS)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", NoImage),
        (b"not an image", NotAnImage),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", NotAnImage),
        (b"%PDF-1.7", NotAnImage),
        (b"II*\0" + bytes(100), NotAnImage),
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
        images.probe(data, 100 if len(data) > 100 and data[:1] == b"x" else BYTES, PIXELS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_a_file_cut_short_is_broken(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = encoded(kind, noise)
    cut = data[: len(data) * 2 // 3]
    with pytest.raises(ImageBroken):
        images.decode(cut)


def test_a_jpeg_cut_short_behind_a_thumbnail_is_broken() -> None:
    exif = Image.Exif()
    exif[270] = encoded("JPEG", scene(16, 16)).decode("latin-1")  # an end mark early in the file
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    data = encoded("JPEG", noise, exif=exif)
    with pytest.raises(ImageBroken):
        images.decode(data[: len(data) * 2 // 3])


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
        header = images.probe(bytes(data[: int(keep * len(data))]), BYTES, 1_000_000)
        picture = images.decode(bytes(data[: int(keep * len(data))]))
    except ServiceError:
        return
    assert picture.ndim == 3
    assert picture.shape[0] * picture.shape[1] == header.pixels


def test_heic_is_read_where_its_reader_is_installed() -> None:
    heif = pytest.importorskip("pillow_heif", reason="the optional extra `heic` is not installed")
    out = io.BytesIO()
    heif.from_pillow(Image.fromarray(scene(64, 96))).save(out, quality=90)
    assert images.probe(out.getvalue(), BYTES, PIXELS).format == "HEIF"
    assert np.abs(corners(images.decode(out.getvalue())) - corners(scene(64, 96))).max() < 40


def test_a_plain_jpeg_is_read_as_pillow_reads_it() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    grey, progressive = image[:, :, 0], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    baseline = bytes(cv2.imencode(".jpg", image)[1])
    comment = b"\xff\xfe\xff\xff" + bytes(65_533)
    plain = [bytes(cv2.imencode(".jpg", *words)[1]) for words in ((image,), (image, progressive), (grey,))]
    plain.append(encoded("JPEG", image, keep_rgb=True))
    for data in (*plain, baseline[:2] + comment + baseline[2:]):
        header, scan = images.plain_jpeg(data) or (None, 0)
        with Image.open(io.BytesIO(data)) as opened:
            assert header == images.Header("JPEG", *opened.size) == images.probe(data, BYTES, PIXELS)
            assert opened.fp is not None
            assert data[scan : scan + 2] == b"\xff\xda"
            assert np.abs(images.decode(data).astype(int) - np.asarray(opened.convert("RGB"))).max() <= 1


def test_what_is_no_plain_jpeg_is_left_to_pillow() -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    plain, rest = bytes(cv2.imencode(".jpg", image)[1]), bytes(cv2.imencode(".png", image)[1])
    many = plain[:2] + b"\xff\xfe\x00\x02" * 5_000 + plain[2:]  # comments of no length
    frame = plain.index(b"\xff\xc0")
    twice = plain[:frame] + plain[frame : frame + 19] + plain[frame:]
    flat = plain[: frame + 5] + b"\0\0" + plain[frame + 7 :]
    turned, inks = Image.Exif(), io.BytesIO()
    turned[images.ORIENTATION] = 6
    Image.fromarray(image).convert("CMYK").save(inks, "JPEG")
    exif = encoded("JPEG", image, exif=turned)
    for other in (many, rest, twice, flat, plain[:20], b"", b"\xff\xd8\xff", exif, inks.getvalue()):
        assert images.plain_jpeg(other) is None
    assert images.probe(many, BYTES, PIXELS).pixels == 48 * 64
