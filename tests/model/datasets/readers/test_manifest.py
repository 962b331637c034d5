"""The manifest of one's own photos: what each column becomes, and what is refused."""

import math

import numpy as np
import pytest

from model.datasets.readers import manifest
from tests.model.evaluate.paper import archives


class TestManifest:
    def write(self, root, columns, *rows):
        archives.table(root / "manifest.csv", columns.split(), [row.split(",") for row in rows])
        for name in ("a.jpg", "b.jpg"):
            archives.photo(root / name, archives.face_points(0))
        return manifest.read(root)

    def test_everything(self, tmp_path):
        archives.pts(tmp_path)
        columns = "photo split x1 y1 x2 y2 age age_sigma gender smile subject group roll pitch yaw points"
        full = "a.jpg,test,1,2,30,40,25.5,2,f,1,Ann,home,1,2,3,afw/1_1.pts"
        one, bare, again = self.write(tmp_path, columns, full, "b.jpg" + "," * 15, "a.jpg" + "," * 15)
        assert (one.split, one.age, one.age_sigma, one.female, one.smile) == ("test", 25.5, 2, 1, 1)
        assert (one.subject, one.group, one.box.tolist(), one.pose.tolist()) == (
            "Ann",
            "home",
            [1, 2, 30, 40],
            [1, 2, 3],
        )
        assert np.isfinite(one.landmarks).sum() == 38
        assert (bare.split, bare.box, bare.pose, bare.landmarks, bare.subject) == ("train", None, None, None, None)
        assert all(math.isnan(value) for value in (bare.age, bare.female, bare.smile))
        assert (one.name, again.name) == ("a.jpg", "a.jpg#1")

    @pytest.mark.parametrize(
        ("columns", "row", "said"),
        [
            ("photo colour", "a.jpg,red", "columns are photo and any of"),
            ("age", "3", "columns are photo and any of"),
            ("photo age", "a.jpg,old", "line 2: could not convert"),
            ("photo age", "a.jpg,inf", "line 2: age 'inf' is no number"),
            ("photo gender", "a.jpg,woman", "line 2: gender 'woman' is none of f, m"),
            ("photo split", "a.jpg,all", "line 2: split 'all' is none of"),
            ("photo x1", "a.jpg,3", "line 2: x1, y1, x2, y2 go together"),
            ("photo", "../a.jpg", "line 2: '../a.jpg' is no path below"),
            ("photo", "/etc/hostname", "line 2: '/etc/hostname' is no path below"),
        ],
    )
    def test_what_is_refused(self, tmp_path, columns, row, said):
        with pytest.raises(ValueError, match=said):
            self.write(tmp_path, columns, row)

    def test_what_is_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"manifest\.csv is missing"):
            manifest.read(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"c\.jpg is missing"):
            self.write(tmp_path, "photo", "c.jpg")
