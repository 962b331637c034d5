"""The 21 points against ../shared's table of facts, written out."""

import numpy as np
import pytest

from model import landmarks


def test_there_are_21_of_them():
    assert landmarks.COUNT == len(landmarks.NAMES) == len(set(landmarks.NAMES)) == len(landmarks.CANONICAL) == 21


def test_mirroring_twice_is_nothing():
    assert [landmarks.MIRROR[i] for i in landmarks.MIRROR] == list(range(21))


def test_mirroring_swaps_left_and_right_by_name():
    for index, name in enumerate(landmarks.NAMES):
        swapped = name.replace("left", "LEFT").replace("right", "left").replace("LEFT", "right")
        assert landmarks.NAMES[landmarks.MIRROR[index]] == swapped


def test_the_canonical_face_is_symmetric():
    mirrored = landmarks.CANONICAL[list(landmarks.MIRROR)] * (-1, 1) + (1, 0)
    np.testing.assert_allclose(mirrored, landmarks.CANONICAL, atol=1e-6)


def test_left_is_the_images_left():
    x = dict(zip(landmarks.NAMES, landmarks.CANONICAL[:, 0], strict=True))
    pairs = [(name, name.replace("left", "right")) for name in landmarks.NAMES if name.startswith("left")]
    assert all(x[left] < 0.5 < x[right] for left, right in pairs)


def test_alignment_uses_eye_corners_nose_tip_and_mouth_corners():
    assert [landmarks.NAMES[i] for i in landmarks.ALIGNMENT] == [
        "left_eye_outer",
        "left_eye_inner",
        "right_eye_inner",
        "right_eye_outer",
        "nose_tip",
        "mouth_left",
        "mouth_right",
    ]
    assert [landmarks.NAMES[i] for i in landmarks.EARS] == ["left_ear", "right_ear"]
    assert [landmarks.NAMES[i] for i in landmarks.MTFL] == [
        "left_eye_centre",
        "right_eye_centre",
        "nose_tip",
        "mouth_left",
        "mouth_right",
    ]


def test_from_68_points():
    points = np.stack([np.arange(68), np.arange(68) ** 2], axis=1).astype(float)
    mean = {"left_eye_centre": range(36, 42), "right_eye_centre": range(42, 48), "mouth_centre": (62, 66)}
    single = [17, 19, 21, 22, 24, 26, 36, None, 39, 42, None, 45, 1, 31, 30, 35, 15, 48, None, 54, 8]
    found = landmarks.from_68(points)
    assert found.shape == (21, 2)
    assert found.dtype == np.float32
    for name, index, point in zip(landmarks.NAMES, single, found, strict=True):
        expected = points[index] if index is not None else points[list(mean[name])].mean(axis=0)
        np.testing.assert_allclose(point, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(67, 2), (68, 3), (136,), (1, 68, 2)])
def test_from_68_of_another_shape(shape):
    with pytest.raises(ValueError, match="68 points needed"):
        landmarks.from_68(np.zeros(shape))
