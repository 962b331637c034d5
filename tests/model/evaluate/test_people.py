"""Verification by group, on descriptors whose similarities are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.datasets import Sample
from model.evaluate import people
from model.evaluate.run import Analyzed
from model.structures import Faces


def photo(name: str, subject: str, female: float, angle: float, yaw: float, side: float) -> Analyzed:
    """A photo of one face whose descriptor stands at an angle in degrees in a plane."""
    empty = Faces.empty()
    columns = {key: value for key, value in vars(empty).items() if isinstance(value, np.ndarray)}
    fields = {key: np.zeros((1, *value.shape[1:]), np.float32) for key, value in columns.items()}
    face = replace(empty, **fields)
    face.descriptor[0, :2] = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    face.boxes[0] = 10.0, 10.0, 10 + side, 10 + side
    face.pose[0, 2] = yaw
    return Analyzed(Sample("celeba_wild", name, Path(name), "test", subject=subject, female=female), face, 300, 300)


@pytest.fixture
def photos():
    return [
        photo("test/a.webp", "1", 1, 0, 0, 100),
        photo("test/b.webp", "1", 1, 10, -40, 100),
        photo("test/c.webp", "2", 0, 90, 5, 60),
        photo("test/d.webp", "2", 0, 150, 5, 60),
        photo("test/e.webp", "3", 0, 40, 20, 200),
    ]


def test_mates_and_strangers_are_counted_inside_each_group(photos):
    """Strangers are at least 30° apart (b and e); a and b, 10°, are accepted above them, c and d, 60°, are not."""
    result = people.score(photos, {"test/a.webp", "test/b.webp", "test/c.webp"})
    rows = {row[0]: row[1:] for row in result.tables[0].rows}
    assert result["threshold"] == pytest.approx(np.cos(np.deg2rad(30)), abs=1e-6)
    assert result["tar_at_far_0.001"] == pytest.approx(50)
    assert rows["all"] == (5, 2, 50.0, 0.0)
    assert rows["female"][:3] == (2, 1, 100.0)
    assert rows["male"] == (3, 1, 0.0, 0.0)
    assert rows["labelled young"] == (3, 1, 100.0, 0.0)
    assert rows["not labelled young"][:2] == (2, 0)
    assert np.isnan(rows["not labelled young"][2])
    assert [rows[name][0] for name in ("yaw 0–15°", "yaw 15–30°", "yaw 30 +°")] == [3, 1, 1]
    assert [rows[name][0] for name in ("face 0–80 px", "face 80–120 px", "face 120 + px")] == [2, 2, 1]


def test_photos_without_a_face_are_left_out(photos):
    empty = Analyzed(Sample("celeba_wild", "test/f.webp", Path("f"), "test", subject="3"), Faces.empty(), 300, 300)
    assert people.score([*photos, empty], set()).photos == 5


def test_young_photos_are_those_the_table_says(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("image,partition,Young\n1.webp,test,1\n2.webp,test,0\n1.webp,train,0\n")
    assert people.young_photos(table) == {"test/1.webp"}
