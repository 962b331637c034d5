"""Groups and calibration, by cases worked out by hand and by photos that skimage packages."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from model import boxes, landmarks
from model.datasets import Sample
from model.evaluate import groups
from model.evaluate.run import Analyzed
from model.structures import Faces


def found(count, **changes):
    plain = {name: np.zeros(count) for name in ("yaw", "sharpness", "age", "female", "smile")}
    plain |= {f"true_{name}": np.zeros(count) for name in ("age", "female", "smile")}
    return plain | {"side": np.full(count, 100.0)} | {k: np.asarray(v, float) for k, v in changes.items()}


def test_calibration_is_the_weighted_distance_of_the_bins():
    scores = np.array([0.05, 0.05, 0.95, 0.95, 0.95, 0.95])
    truth = np.array([0, 1, 1, 1, 1, 0])
    (said, seen), error = groups.calibration(scores, truth)
    np.testing.assert_allclose(said, [0.05, 0.95])
    np.testing.assert_allclose(seen, [0.5, 0.75])
    assert error == pytest.approx(2 / 6 * 0.45 + 4 / 6 * 0.20)


def test_scores_that_say_what_is_seen_have_no_error():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0, 1, 200_000)
    assert groups.calibration(scores, rng.uniform(0, 1, len(scores)) < scores)[1] < 0.005
    assert groups.calibration(np.ones(4), np.ones(4))[1] == 0


def test_no_photos_have_no_calibration():
    result = groups.score(found(0), found(0))
    assert all(np.isnan(figure.value) for figure in result.figures)
    assert not any(table.rows for table in result.tables)


def test_every_photo_stands_in_one_row_of_each_table():
    aged = found(4, yaw=[0, 14.9, 15, 80], side=[30, 40, 100, 500], sharpness=[0, 0.3, 1, 1], true_age=[1, 2, 3, 4])
    smiling = found(2, smile=[0.9, 0.2], true_smile=[1, 1])
    tables = {table.title: table for table in groups.score(aged, smiling).tables}
    assert tables["UTKFace by yaw"].rows == [
        ("0–15°", 2, 1.5, 100.0),
        ("15–30°", 1, 3.0, 100.0),
        ("45° +", 1, 4.0, 100.0),
    ]
    assert [row[1] for row in tables["UTKFace by face size"].rows] == [1, 1, 1, 1]
    assert [row[1] for row in tables["UTKFace by sharpness"].rows] == [1, 1, 2]
    assert tables["CelebA by yaw"].rows == [("0–15°", 2, 100.0, 50.0)]
    assert tables["Error of an age by the age answered"].rows == [("0–9", 4, 2.5, pytest.approx(3.4))]


def test_columns_of_a_photo(tmp_path: Path):
    """Sharp and blurred copies of one photo differ in sharpness alone; a photo without a face has no column."""
    photo = skimage.data.astronaut()[28:228, 130:330, ::-1]
    points = landmarks.CANONICAL[None] * 100 + 50
    face = replace(
        Faces.empty(),
        **{
            name: np.full((1, *value.shape[1:]), 0.5, np.float32)
            for name, value in vars(Faces.empty()).items()
            if isinstance(value, np.ndarray)
        },
    )
    face = replace(face, boxes=boxes.from_landmarks(points), landmarks=points, pose=np.array([[1.0, 2, -30]]))
    photos = []
    for name, image in {"sharp": photo, "soft": cv2.GaussianBlur(photo, (0, 0), 4)}.items():
        path = tmp_path / f"{name}.png"
        cv2.imwrite(str(path), image)
        photos.append(Analyzed(Sample("drawn", name, path, "test", age=40, female=1, smile=0), face, 200, 200))
    photos.append(Analyzed(Sample("drawn", "none", tmp_path / "none.png", "test"), Faces.empty(), 200, 200))
    table = groups.columns(photos)
    assert {len(values) for values in table.values()} == {2}
    assert table["sharpness"][0] > table["sharpness"][1] + 0.2
    assert table["yaw"].tolist() == [30, 30]
    assert table["true_age"].tolist() == [40, 40]
    assert table["side"][0] == pytest.approx(float(face.boxes[0, 2] - face.boxes[0, 0]))
