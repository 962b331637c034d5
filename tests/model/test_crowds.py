"""The shipped weights on many and on small faces: crowds are found whole, what was not searched for is told."""

import cv2
import numpy as np
import pytest
import skimage.data

from model.runtime.limits import Limits
from model.runtime.pipeline import Analyzer

HEAD = (slice(28, 228), slice(130, 330))
"""A square of the astronaut's photo; her face takes about 0.55 of its side."""
FACE = 0.55


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer()


def grid(columns: int, rows: int, face: int, width: int = 0, height: int = 0) -> np.ndarray:
    """RGB uint8 [H, W, 3]: one head `columns` × `rows` times, mirrored in turn, its face of so many pixels."""
    side = round(face / FACE)
    heads = [skimage.data.astronaut()[HEAD], skimage.data.astronaut()[HEAD][:, ::-1]]
    heads = [cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA) for head in heads]
    step_x, step_y = max(width // columns, side), max(height // rows, side)
    picture = np.full((step_y * rows, step_x * columns, 3), 200, np.uint8)
    for number in range(columns * rows):
        x, y = number % columns * step_x, number // columns * step_y
        picture[y : y + side, x : x + side] = heads[number % 2]
    return picture


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "rows"), [(6, 5), (20, 15)])
def test_crowds_are_found_whole(analyzer: Analyzer, columns: int, rows: int) -> None:
    count = columns * rows
    (faces,) = analyzer.analyze([grid(columns, rows, 39)], Limits(max_faces=1000))
    assert len(faces.boxes) >= 0.98 * count


@pytest.mark.slow
def test_faces_that_were_left_out_are_told(analyzer: Analyzer) -> None:
    (some,) = analyzer.analyze([grid(6, 5, 39)], Limits(max_faces=20))
    assert len(some.boxes) == 20
    assert some.more


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_small_faces_of_large_photos_are_found_or_the_answer_says_from_which_size_on(analyzer: Analyzer) -> None:
    photo = grid(6, 4, 24, 4200, 2900)  # 12 megapixels
    (as_asked,) = analyzer.analyze([photo], Limits(min_size=16))
    assert len(as_asked.boxes) == 24
    (by_default,) = analyzer.analyze([photo], Limits())
    assert len(by_default.boxes) == 24 or by_default.searched_min_size > 24


@pytest.mark.parametrize("face", [14, 17, 20])
def test_small_faces_of_small_photos_are_found(analyzer: Analyzer, face: int) -> None:
    (faces,) = analyzer.analyze([grid(3, 2, face)])
    assert len(faces) == 6
    assert faces.searched_min_size == 12


@pytest.mark.parametrize(("min_size", "count"), [(24, 0), (12, 4)])
def test_faces_of_the_size_that_is_asked_for_are_found(analyzer: Analyzer, min_size: int, count: int) -> None:
    (faces,) = analyzer.analyze([grid(2, 2, 16, 640, 480)], Limits(min_size=min_size))
    assert len(faces) == count


def test_the_search_for_small_faces_changes_nothing_about_larger_ones(analyzer: Analyzer) -> None:
    photo = np.full((240, 320, 3), 200, np.uint8)
    photo[:130, :130] = cv2.resize(skimage.data.astronaut()[HEAD], (130, 130), interpolation=cv2.INTER_AREA)
    photo[150:180, 200:230] = cv2.resize(skimage.data.astronaut()[HEAD], (30, 30), interpolation=cv2.INTER_AREA)
    both, large = analyzer.analyze([photo, photo], [Limits(), Limits(min_size=24)])
    assert (len(both), len(large)) == (2, 1)
    for name in ("boxes", "scores", "landmarks", "descriptor"):
        np.testing.assert_allclose(getattr(both, name)[:1], getattr(large, name), rtol=1e-4, atol=1e-3)
