"""The protocols on photos made or harmed for them: perfect, absent and shifted detections, and what the harms do."""

import numpy as np
import pytest

from model import boxes, landmarks
from model.datasets import Sample
from model.evaluate import harmed, profiles
from model.evaluate.run import Analyzed
from model.structures import Faces
from tests.model.evaluate.test_protocols import SIDE, faces

POINTS = landmarks.CANONICAL * 100 + 50


def profile(yaw, found, path, visibility=None):
    """A sample of this yaw with what was found in its photo."""
    seen = np.ones(21, np.float32) if visibility is None else visibility
    sample = Sample(
        "profiles", str(path), path, "test", landmarks=POINTS, visibility=seen, pose=np.float32([0, 0, yaw])
    )
    return Analyzed(sample, found, SIDE, SIDE)


def figures(result):
    return {figure.name: figure.value for figure in result.figures}


class TestProfiles:
    def test_perfect_absent_and_elsewhere(self, tmp_path):
        perfect = profile(80, faces(pose=[[0, 0, 80]]), tmp_path / "a")
        absent = profile(-70, Faces.empty(), tmp_path / "b")
        elsewhere = profile(-70, faces(POINTS[None] + 80), tmp_path / "c")
        got = figures(profiles.score([perfect, absent, elsewhere]))
        assert got["found"] == pytest.approx(100 / 3)
        assert got["faces_missed"] == 2
        assert got["nme_visible"] == pytest.approx(0, abs=1e-5)
        assert got["yaw_mae"] == 0

    def test_an_overlap_of_four_tenths_is_enough(self, tmp_path):
        left, _, right, _ = boxes.from_landmarks(POINTS[None])[0].tolist()
        side = right - left
        for shift, is_found in ((0.40, True), (0.45, False)):  # overlaps of 0.6 / 1.4 = 0.43 and 0.55 / 1.45 = 0.38
            moved = faces(POINTS[None] + np.array([shift * side, 0.0], np.float32), pose=[[0, 0, 60]])
            assert figures(profiles.score([profile(70, moved, tmp_path)]))["found"] == 100 * is_found

    def test_hidden_points_do_not_count_and_yaw_is_the_mean_error(self, tmp_path):
        moved, visibility = POINTS.copy(), np.ones(21, np.float32)
        moved[16] += 30
        visibility[16] = 0
        found = [faces(moved[None], pose=[[0, 0, yaw]]) for yaw in (60, 85)]
        got = figures(profiles.score([profile(70, f, tmp_path, visibility) for f in found]))
        assert got["nme_visible"] == pytest.approx(0, abs=1e-5)
        assert got["yaw_mae"] == pytest.approx(12.5, abs=1e-4)

    def test_the_table_tells_both_sides_apart(self, tmp_path):
        [table] = profiles.score([profile(65, faces(), tmp_path), profile(-90, Faces.empty(), tmp_path)]).tables
        by_name = {row[0]: row[1:3] for row in table.rows}
        assert by_name["nose to the right, 60–75°"] == (1, 100)
        assert by_name["nose to the left, 75–90°"] == (1, 0)


class TestHarms:
    PHOTO = np.random.default_rng(0).integers(0, 256, (80, 120, 3), dtype=np.uint8)

    def test_each_does_what_it_says(self):
        rng = np.random.default_rng(0)
        assert harmed.quarter(self.PHOTO, rng).shape == (20, 30, 3)
        grey = np.full((50, 60, 3), 128, np.uint8)
        assert harmed.shrunk(self.PHOTO, np.array([[10.0, 10, 50, 50]]), 10).shape == (20, 30, 3)
        assert harmed.shrunk(self.PHOTO, np.array([[10.0, 10, 15, 15]]), 10).shape == self.PHOTO.shape
        night = harmed.dark(grey, rng)
        assert night.mean() == pytest.approx(255 * 0.35 * (128 / 255) ** 2, abs=0.3)
        assert night.std() == pytest.approx(4, abs=0.2)
        assert harmed.blurred(self.PHOTO, rng).std() < 0.6 * self.PHOTO.std()
        assert (harmed.blurred(grey, rng) == grey).all()
        packed = harmed.compressed(self.PHOTO, rng)
        assert packed.shape == self.PHOTO.shape
        assert np.abs(packed.astype(int) - self.PHOTO).mean() > 10

    @pytest.mark.parametrize("degrees", [0, 90, 180, 270])
    def test_turned_photos_take_their_landmarks_along(self, degrees, tmp_path):
        photo, points = np.zeros((180, 240, 3), np.uint8), POINTS + 0.37  # none between two pixels
        column, row = np.floor(points).astype(int).T
        photo[row, column] = np.arange(10, 31)[:, None]
        expected = photo[row, column, 0]  # two landmarks can share a pixel
        sample = Sample("drawn", "a", tmp_path, "val", landmarks=points)
        turned, moved, box = harmed.turn(photo, sample, degrees)
        assert turned.shape[:2] == ((240, 180) if degrees in (90, 270) else (180, 240))
        column, row = np.floor(moved).astype(int).T
        assert (turned[row, column, 0] == expected).all()
        truth = boxes.from_landmarks(POINTS[None])[0]
        assert (box[0, 2:] - box[0, :2]) == pytest.approx(truth[2:] - truth[:2], abs=1e-3)
        # The chin is below the eyes, to the left of them, above them, to the right of them.
        down = moved[20] - moved[[7, 10]].mean(axis=0)
        assert np.argmax([down[1], -down[0], -down[1], down[0]]) == degrees // 90

    def test_found_and_right(self):
        points, box = POINTS, boxes.from_landmarks(POINTS[None])
        assert harmed.outcome(np.zeros((0, 4)), np.zeros((0, 21, 2)), points, box) == (False, False)
        assert harmed.outcome(box, points[None], points, box) == (True, True)
        assert harmed.outcome(box + 100, points[None] + 100, points, box) == (False, False)
        upside_down = points[::-1]
        assert harmed.outcome(box, upside_down[None], points, box) == (True, False)

    def test_the_figures_are_shares_of_found_faces(self):
        got = harmed.score({"plain": [(True, True)] * 3 + [(False, False)], "turned_180": [(True, False)]}, 5)
        assert figures(got) == {"found_plain": 75, "found_turned_180": 100}
        assert [row[-1] for row in got.tables[0].rows] == [75, 0]
