"""Photos as callers have them: paths, bytes, files and arrays; what is none is refused by name."""

import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.client.photos import as_list, encode_png, read_photo

DATA = b"\x89PNG some bytes"


class OwnPath(os.PathLike[str]):
    """A path of somebody else's class."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)


def test_every_kind_of_photo_gives_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(DATA)
    for photo in (DATA, bytearray(DATA), memoryview(DATA), file, OwnPath(file), io.BytesIO(DATA)):
        assert read_photo(photo) == DATA
    with file.open("rb") as opened:
        assert read_photo(opened) == DATA


@pytest.mark.parametrize("photo", ["a.jpg", "http://x/a.jpg", 7, None, {}, io.StringIO("text")])
def test_what_is_no_photo_is_a_type_error(photo: object) -> None:
    with pytest.raises(TypeError, match="photo"):
        read_photo(photo)  # type: ignore[arg-type]


def test_text_is_answered_with_the_path_it_may_be() -> None:
    with pytest.raises(TypeError, match=r"not text; for a path: Path\('ada.jpg'\)"):
        read_photo("ada.jpg")  # type: ignore[arg-type]


def test_a_missing_file_is_the_file_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_photo(tmp_path / "none.jpg")


@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3, 4]))))
def test_arrays_arrive_as_they_are(pixels: np.ndarray) -> None:
    decoded = cv2.imdecode(np.frombuffer(encode_png(pixels), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels.shape[2] == 3:
        decoded = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    if pixels.shape[2] == 4:
        decoded = cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA)
    np.testing.assert_array_equal(decoded.reshape(pixels.shape), pixels)


def test_gray_arrays_and_views_arrive_too() -> None:
    pixels = np.arange(7 * 11, dtype=np.uint8).reshape(7, 11)
    for array in (pixels, pixels.T, pixels[::-1, ::2]):
        decoded = cv2.imdecode(np.frombuffer(read_photo(array), np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(decoded, array)


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_an_array_that_is_no_image_is_a_value_error(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        read_photo(array)


def test_one_or_many() -> None:
    array = np.zeros((2, 2), np.uint8)
    assert as_list(DATA) == [DATA]
    assert as_list([DATA, DATA]) == [DATA, DATA]
    assert as_list((Path("a"),)) == [Path("a")]
    assert as_list(array)[0] is array
